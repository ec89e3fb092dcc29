"""What runs a model file: the Backend protocol, the kinds there are, and the choice among them.

A backend is one file in ``backends/`` with a ``KIND``; it is found, never listed.
"""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from stereosr_engines.errors import BackendUnavailable, UsageError
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
    """``threads``: of the CPU, None for all cores. ``gpu``: index of the card."""

    threads: int | None = None
    gpu: int = 0


@dataclass(frozen=True, slots=True)
class BackendKind:
    """One way to run models.

    ``rank`` orders the kinds for ``auto``, the smallest first. ``missing()`` is None where the kind works on this
    machine, else one line that says why not and what to install. ``open(path, options)`` opens a model file.
    """

    name: str
    rank: int
    missing: Callable[[], str | None]
    open: Callable[[Path, RunOptions], Backend]


@cache
def kinds() -> tuple[BackendKind, ...]:
    """Every kind of backend, the preferred first."""
    from stereosr_engines import backends

    names = (m.name for m in pkgutil.iter_modules(backends.__path__))
    found = (importlib.import_module(f"{backends.__name__}.{name}").KIND for name in names)
    return tuple(sorted(found, key=lambda kind: kind.rank))


@dataclass(frozen=True, slots=True)
class Choice:
    """The kind to use, and one reason for each better one that was passed over."""

    name: str
    stepped_down: tuple[str, ...]


def choose(requested: str, state: Sequence[tuple[str, str | None]]) -> Choice:
    """Which backend to use. Pure: ``state`` is (name, why it is missing or None), the preferred first.

    Raises:
        UsageError: for a name that does not exist.
        BackendUnavailable: if the one asked for, or all of them, cannot be used. Nothing falls back in silence.
    """
    if requested == "auto":
        for position, (name, missing) in enumerate(state):
            if missing is None:
                return Choice(name, tuple(f"{n}: {why}" for n, why in state[:position]))
        raise BackendUnavailable("no backend works here: " + "; ".join(f"{n}: {why}" for n, why in state))
    reasons = dict(state)
    if requested not in reasons:
        raise UsageError(f"no backend named {requested!r}; there are auto, {', '.join(reasons)}")
    why = reasons[requested]
    if why is not None:
        raise BackendUnavailable(f"backend {requested} cannot be used: {why}")
    return Choice(requested, ())


def open_backend(path: Path, requested: str = "auto", options: RunOptions | None = None) -> tuple[Backend, Choice]:
    """Open a model file with the backend asked for, or the best one that works here.

    Raises:
        UsageError, BackendUnavailable: as ``choose``; also for a file that is not a model of ours.
    """
    choice = choose(requested, [(kind.name, kind.missing()) for kind in kinds()])
    kind = next(k for k in kinds() if k.name == choice.name)
    return kind.open(path, options or RunOptions()), choice
