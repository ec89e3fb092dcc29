"""What runs a model file: the Backend protocol, the kinds there are, and the choice among them.

A backend is one file in ``backends/`` with a ``KIND``; it is found, never listed.
"""

import importlib
import pkgutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

from stereosr_engines.errors import BackendUnavailable, UsageError
from stereosr_engines.gpu import driver
from stereosr_engines.spec import ModelSpec
from stereosr_engines.types import StereoPair


class Backend(Protocol):
    """A model, opened and ready."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def device(self) -> str:
        """What really runs, as the library itself reports it: ``onnxruntime CPUExecutionProvider``."""
        ...

    def infer(self, pair: StereoPair) -> StereoPair:
        """Super-resolve one tile whose size the spec allows. The result is not clamped.

        Raises:
            MemoryError: if the tile is too large for the device; a smaller one may work.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RunOptions:
    """``threads``: of the CPU, None for all cores. ``gpu``: number of the card. ``say``: is told what people should
    know."""

    threads: int | None = None
    gpu: int = 0
    say: Callable[[str], None] = lambda _line: None


@dataclass(frozen=True, slots=True)
class BackendKind:
    """One way to run models.

    Attributes:
        rank: orders the kinds for ``auto``, the smallest first.
        distribution: the package, as pip names it, that it stands on.
        missing: None where the kind works on this machine, else one line that says why not and what to install.
        open: opens a model file.
        on_gpu: it needs an NVIDIA card, and takes an fp16 file where there is one.
        reads: suffixes of the files that it opens.
    """

    name: str
    rank: int
    distribution: str
    missing: Callable[[], str | None]
    open: Callable[[Path, RunOptions], Backend]
    on_gpu: bool = False
    reads: tuple[str, ...] = (".onnx",)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those of the files that ``auto`` looks for, the preferred one first."""
        return ("fp16", "fp32") if self.on_gpu else ("fp32",)

    def state(self, suffix: str) -> "State":
        """Whether the kind can open files of this suffix here, and whether people would expect it to."""
        missing = self.missing() if suffix in self.reads else f"it opens {' and '.join(self.reads)} files, no {suffix}"
        expected = installed(self.distribution) is not None or (self.on_gpu and driver() is not None)
        return State(self.name, missing, expected)


def installed(distribution: str) -> str | None:
    """The version of a package that pip installed, None without it."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class State:
    """A kind as it is here. ``expected``: its library or the card that it is for is here, so it should work."""

    name: str
    missing: str | None
    expected: bool


@cache
def kinds() -> tuple[BackendKind, ...]:
    """Every kind of backend, the preferred first."""
    from stereosr_engines import backends

    names = (m.name for m in pkgutil.iter_modules(backends.__path__))
    found = (importlib.import_module(f"{backends.__name__}.{name}").KIND for name in names)
    return tuple(sorted(found, key=lambda kind: kind.rank))


@dataclass(frozen=True, slots=True)
class Choice:
    """The kind to use, and one reason for each better one that was expected to work and passed over."""

    name: str
    stepped_down: tuple[str, ...]


def choose(requested: str, states: Sequence[State]) -> Choice:
    """Which backend to use. Pure: the states are given, the preferred kind first.

    Raises:
        UsageError: for a name that does not exist.
        BackendUnavailable: if the one asked for, or all of them, cannot be used. Nothing falls back in silence.
    """
    if requested == "auto":
        for position, state in enumerate(states):
            if state.missing is None:
                better = (s for s in states[:position] if s.expected)
                return Choice(state.name, tuple(f"{s.name}: {s.missing}" for s in better))
        raise BackendUnavailable("no backend works here: " + "; ".join(f"{s.name}: {s.missing}" for s in states))
    asked = next((s for s in states if s.name == requested), None)
    if asked is None:
        raise UsageError(f"no backend named {requested!r}; there are auto, {', '.join(s.name for s in states)}")
    if asked.missing is not None:
        raise BackendUnavailable(f"backend {requested} cannot be used: {asked.missing}")
    return Choice(requested, ())


def select(requested: str, suffix: str) -> BackendKind:
    """The kind of backend for files of this suffix, before it is opened. Raises as ``choose``."""
    choice = choose(requested, [kind.state(suffix) for kind in kinds()])
    return _kind(choice)


def open_model(
    find: Callable[[BackendKind], Path], suffix: str, requested: str, options: RunOptions
) -> tuple[Backend, Path, Choice]:
    """Open the file of this suffix that ``find`` has for the kind asked for, or with ``auto`` for the best that works.

    What shows only when a backend is opened (its libraries do not load, say) makes ``auto`` step down too. Tiles that
    fp16 spoils are done again in fp32.

    Raises:
        UsageError, BackendUnavailable: as ``choose``; also for a file that is not a model of ours.
        OutOfMemory: if the model does not fit.
    """
    from stereosr_engines.guard import Guarded

    states = [kind.state(suffix) for kind in kinds()]
    while True:
        choice = choose(requested, states)
        kind = _kind(choice)
        path = find(kind)
        try:
            backend = kind.open(path, options)
        except BackendUnavailable as error:
            if requested != "auto":
                raise
            failed = State(kind.name, str(error), expected=True)
            states = [failed if state.name == kind.name else state for state in states]
            continue
        return (Guarded(backend, path, kind, options) if backend.spec.precision == "fp16" else backend), path, choice


def _kind(choice: Choice) -> BackendKind:
    return next(kind for kind in kinds() if kind.name == choice.name)


def open_backend(path: Path, requested: str = "auto", options: RunOptions | None = None) -> Backend:
    """Open a model file. Raises as ``open_model``."""
    return open_model(lambda _kind: path, path.suffix, requested, options or RunOptions())[0]


def infer_each(backend: Backend, pairs: Iterable[StereoPair]) -> Iterator[StereoPair]:
    """``backend.infer`` for one pair after the other; where it can, the next one begins before the last is done."""
    submit: Callable[[StereoPair], Callable[[], StereoPair]] | None = getattr(backend, "submit", None)
    if submit is None:
        yield from map(backend.infer, pairs)
        return
    under_way: deque[Callable[[], StereoPair]] = deque()
    for pair in pairs:
        under_way.append(submit(pair))
        if len(under_way) == 2:
            yield under_way.popleft()()
    while under_way:
        yield under_way.popleft()()
