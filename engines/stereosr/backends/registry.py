"""The backends there are, and the choice among them. They are found by their ``BACKENDS``, never listed."""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stereosr.backends.base import Backend, BackendInfo, RunOptions, State
from stereosr.backends.fp32_fallback import Fp32Fallback
from stereosr.errors import BackendUnavailable, UsageError


@cache
def available_backends() -> tuple[BackendInfo, ...]:
    """Every backend that a module beside this one names in ``BACKENDS``, the preferred first."""
    package = importlib.import_module(__package__)
    modules = (importlib.import_module(f"{__package__}.{m.name}") for m in pkgutil.iter_modules(package.__path__))
    found = (backend for module in modules for backend in getattr(module, "BACKENDS", ()))
    return tuple(sorted(found, key=lambda backend: backend.priority))


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend to use, and one reason for each better one that was expected to work and was passed over."""

    name: str
    stepped_down: tuple[str, ...]


def choose(requested: str, states: Sequence[State]) -> Choice:
    """Which backend to use. Pure: the states are given, the preferred backend first.

    Raises:
        BackendUnavailable: if the one asked for, or all of them, cannot be used. Nothing falls back in silence.
    """
    if requested == "auto":
        for position, state in enumerate(states):
            if state.missing is None:
                better = (s for s in states[:position] if s.expected)
                return Choice(state.name, tuple(f"{s.name}: {s.missing}" for s in better))
        raise BackendUnavailable("no backend works here: " + "; ".join(f"{s.name}: {s.missing}" for s in states))
    asked = next(state for state in states if state.name == requested)
    if asked.missing is not None:
        raise BackendUnavailable(f"backend {requested} cannot be used: {asked.missing}")
    return Choice(requested, ())


def _states(requested: str, suffix: str) -> list[State]:
    """Of the backend that is named, or of all that ``auto`` may take; asking others could take long.

    Raises:
        UsageError: for a name that does not exist.
    """
    there = available_backends()
    asked = [info for info in there if (info.automatic if requested == "auto" else info.name == requested)]
    if not asked:
        raise UsageError(f"no backend named {requested!r}; there are auto, {', '.join(info.name for info in there)}")
    return [info.state(suffix) for info in asked]


def select(requested: str, suffix: str) -> BackendInfo:
    """The backend for files of this suffix, before one is opened. Raises as ``open_model``."""
    return _named(choose(requested, _states(requested, suffix)).name)


def open_model(
    find: Callable[[BackendInfo], Path], suffix: str, requested: str, options: RunOptions
) -> tuple[Backend, Path, Choice]:
    """Open a model in the backend asked for, or with ``auto`` in the best that works.

    What shows only when a backend is opened (its libraries do not load, say) makes ``auto`` step down too. Tiles that
    fp16 spoils are recomputed in fp32.

    Args:
        find: returns the file for a backend; which it is may depend on the precisions that the backend prefers.
        suffix: of the file.
        requested: name of a backend, or ``auto``.
        options: how to open it.

    Returns:
        The open backend, the file, and which backend it is.

    Raises:
        UsageError: for a backend that does not exist, or a file that is not a model of ours.
        BackendUnavailable: as ``choose``.
        OutOfMemory: if the model does not fit.
    """
    states = _states(requested, suffix)
    while True:
        choice = choose(requested, states)
        info = _named(choice.name)
        path = find(info)
        try:
            backend = info.open(path, options)
        except BackendUnavailable as error:
            if requested != "auto":
                raise
            failed = State(info.name, str(error), expected=True)
            states = [failed if state.name == info.name else state for state in states]
            continue
        if backend.spec.precision == "fp16":
            backend = Fp32Fallback(backend, path, info, options)
        return backend, path, choice


def _named(name: str) -> BackendInfo:
    return next(info for info in available_backends() if info.name == name)


def open_backend(path: Path, requested: str = "auto", options: RunOptions | None = None) -> Backend:
    """Open a model file. Raises as ``open_model``."""
    return open_model(lambda _info: path, path.suffix, requested, options or RunOptions())[0]
