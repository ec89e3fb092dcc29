"""The clean engine and the photo engine as one backend, which is told for each pair which of them to use."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from stereosr.backends.base import Backend, BackendBase, RunReport
from stereosr.errors import UsageError
from stereosr.inference.choice import Choice
from stereosr.models.spec import ModelSpec
from stereosr.types import StereoPair


class AutoEngine(BackendBase):
    """Each engine is opened when a pair needs it first, and then kept.

    Args:
        spec: of the clean engine: what counts before one is opened.
        engines: open the clean engine, and the photo engine if there is one.
    """

    device = ""

    def __init__(self, spec: ModelSpec, engines: Sequence[Callable[[], Backend]]) -> None:
        self.spec = spec
        self._engines = tuple(engines)
        self._opened: dict[int, Backend] = {}
        self._engine: Backend | None = None

    def take(self, choice: Choice) -> None:
        """Use the engine of this choice from now on. Raises as opening a model does."""
        self._check_open()
        number = min(int(choice.photo), len(self._engines) - 1)
        if number not in self._opened:
            self._opened[number] = self._engines[number]()
        self._engine = self._opened[number]
        memory = [engine.spec.memory for engine in self._opened.values()]  # each keeps what it once took
        self.spec = replace(self._engine.spec, memory=(sum(a for a, _ in memory), sum(b for _, b in memory)))
        self.device = self._engine.device

    def report(self) -> RunReport:
        return RunReport("", "") if self._engine is None else self._engine.report()

    def _infer(self, pair: StereoPair) -> StereoPair:
        return self._taken().infer(pair)

    def _submit(self, pair: StereoPair) -> Callable[[], StereoPair]:
        return self._taken().submit(pair)

    def _taken(self) -> Backend:
        if self._engine is None:
            raise UsageError("no engine was taken: call take first")
        return self._engine

    def _close(self) -> None:
        with ExitStack() as stack:  # closes the other too where one fails
            for engine in self._opened.values():
                stack.callback(engine.close)
