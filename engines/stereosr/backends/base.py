"""The contract of a backend: what opens a model file and runs tiles through it.

A backend is one module of this package with a tuple ``BACKENDS`` of what it offers, and a class that derives from
``BackendBase`` and has at least ``_infer``. It is found by the tuple; nothing else has to be edited.

Threads: a backend may be used from any thread, by one at a time. Calls of ``infer``, ``submit``, ``report`` and
``close``, and of what ``submit`` returned, must not overlap; whoever shares a backend between threads holds a lock
around each of them. A backend may start threads of its own.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from stereosr.backends.nvidia import driver
from stereosr.errors import UsageError
from stereosr.models.spec import ModelSpec
from stereosr.types import StereoPair


@dataclass(frozen=True, slots=True)
class RunReport:
    """What ran.

    Attributes:
        device: as the library itself reports it: ``onnxruntime CPUExecutionProvider``.
        precision: that the results were computed in: ``fp32``, ``fp16``, ``bf16``, or ``fp16+fp32`` where some tiles
            were recomputed.
        warnings: what people should know about the results, a line each.
    """

    device: str
    precision: str
    warnings: tuple[str, ...] = ()

    @staticmethod
    def joined(reports: Iterable["RunReport"]) -> "RunReport":
        """One report for what ran in several backends; what they have in common is said once."""
        devices, precisions, warnings = zip(*((r.device, r.precision, r.warnings) for r in reports), strict=True)
        return RunReport(
            " + ".join(dict.fromkeys(devices)),
            "+".join(sorted({part for precision in precisions for part in precision.split("+")})),
            tuple(dict.fromkeys(line for lines in warnings for line in lines)),
        )


class Backend(Protocol):
    """A model, opened and ready; a context manager that closes it."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def device(self) -> str:
        """What really runs, as the library itself reports it: ``onnxruntime CPUExecutionProvider``."""
        ...

    def infer(self, pair: StereoPair) -> StereoPair:
        """Super-resolve one tile.

        Args:
            pair: of H x W pixels, a size that the spec allows.

        Returns:
            sH x sW pixels, not clamped.

        Raises:
            MemoryError: if the tile is too large for the device; a smaller one may work.
            UsageError: if the backend is closed.
        """
        ...

    def submit(self, pair: StereoPair) -> Callable[[], StereoPair]:
        """Start one tile.

        Returns:
            A function that waits for the result; call it at most once. Results are asked for in the order of the
            tiles, and at most two tiles are under way at a time. A result that nobody asks for is thrown away.

        Raises:
            As ``infer``, here or when the result is asked for.
        """
        ...

    def report(self) -> RunReport:
        """What ran since the last call of this method, or since the model was opened."""
        ...

    def close(self) -> None:
        """Give back all that the model holds. Closing twice is fine."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class BackendBase(ABC):
    """What backends have in common: a new one has ``_infer``, and what else differs.

    Attributes:
        spec: of the model.
        device: see ``Backend.device``.
    """

    spec: ModelSpec
    device: str
    _closed = False

    @abstractmethod
    def _infer(self, pair: StereoPair) -> StereoPair:
        """As ``Backend.infer``."""

    def _submit(self, pair: StereoPair) -> Callable[[], StereoPair]:
        """As ``Backend.submit``. Without two tiles under way, the work is done when the result is asked for."""
        return partial(self._infer, pair)

    def _close(self) -> None:  # noqa: B027 - most have nothing to give back
        """Give back what the model holds; called once."""

    def report(self) -> RunReport:
        return RunReport(self.device, self.spec.precision)

    def infer(self, pair: StereoPair) -> StereoPair:
        self._check_open()
        return self._infer(pair)

    def submit(self, pair: StereoPair) -> Callable[[], StereoPair]:
        self._check_open()
        finish = self._submit(pair)

        def result() -> StereoPair:
            self._check_open()
            return finish()

        return result

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"{self.spec.title} was closed: open the model again")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to open a model.

    Attributes:
        threads: of the CPU, None for all cores that this process may use.
        gpu: number of the GPU, from 0.
    """

    threads: int | None = None
    gpu: int = 0


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """One way to run models.

    Attributes:
        priority: orders the backends for ``auto``, the smallest first.
        distribution: the package, as pip names it, that it needs.
        missing: returns None where the backend works on this machine, else one line that says why not and what to
            install.
        open: opens a model file. Any thread may call it, and any thread may use the result, one at a time.
        on_gpu: it needs an NVIDIA GPU, and prefers an fp16 file where there is one.
        automatic: ``auto`` may take it; else it has to be named.
        reads: suffixes of the files that it opens.
    """

    name: str
    priority: int
    distribution: str
    missing: Callable[[], str | None]
    open: Callable[[Path, RunOptions], Backend]
    on_gpu: bool = False
    automatic: bool = True
    reads: tuple[str, ...] = (".onnx",)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those of the files that ``auto`` looks for, the preferred one first."""
        return ("fp16", "fp32") if self.on_gpu else ("fp32",)

    def state(self, suffix: str) -> "State":
        """Whether the backend can open files of this suffix here, and whether people would expect it to."""
        reads = " and ".join(self.reads)
        missing = self.missing() if suffix in self.reads else f"it opens {reads} files, not {suffix}"
        expected = installed_version(self.distribution) is not None or (self.on_gpu and driver() is not None)
        return State(self.name, missing, expected)


def installed_version(distribution: str) -> str | None:
    """The version of an installed package, as pip names it; None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class State:
    """A backend on this machine.

    Attributes:
        missing: why it cannot be used, None if it can.
        expected: its library or the GPU that it is for is here, so people expect it to work.
    """

    name: str
    missing: str | None
    expected: bool


def infer_each(backend: Backend, pairs: Iterable[StereoPair]) -> Iterator[StereoPair]:
    """``backend.infer`` for one pair after the other; each is started before the result of the last is asked for."""
    under_way: deque[Callable[[], StereoPair]] = deque()
    for pair in pairs:
        under_way.append(backend.submit(pair))
        if len(under_way) == 2:
            yield under_way.popleft()()
    while under_way:
        yield under_way.popleft()()
