"""The contract of a backend: what opens a model file and runs tiles through it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

from stereosr.backends.nvidia import driver
from stereosr.models.spec import ModelSpec
from stereosr.types import StereoPair


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
class BackendInfo:
    """One way to run models.

    Attributes:
        priority: orders the kinds for ``auto``, the smallest first.
        distribution: the package, as pip names it, that it stands on.
        missing: None where the kind works on this machine, else one line that says why not and what to install.
        open: opens a model file.
        on_gpu: it needs an NVIDIA card, and takes an fp16 file where there is one.
        reads: suffixes of the files that it opens.
    """

    name: str
    priority: int
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
        expected = installed_version(self.distribution) is not None or (self.on_gpu and driver() is not None)
        return State(self.name, missing, expected)


def installed_version(distribution: str) -> str | None:
    """The version of a package that pip installed_version, None without it."""
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
