"""Self-ensemble and model ensemble: backends made of backends, averaged in float.

A stereo pair allows fewer flips than a single picture: a horizontal flip exchanges the views, a vertical one does
not, and a rotation by 90 degrees would break the epipolar lines.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from stereosr.backends.base import Backend, BackendBase, RunReport, infer_each
from stereosr.errors import UsageError
from stereosr.models.spec import ModelSpec
from stereosr.types import Image, StereoPair


@dataclass(frozen=True, slots=True)
class Flip:
    """A symmetry of rectified stereo; each is its own inverse."""

    horizontal: bool
    vertical: bool

    def __call__(self, pair: StereoPair) -> StereoPair:
        left, right = self._view(pair.left), self._view(pair.right)
        return StereoPair(right, left) if self.horizontal else StereoPair(left, right)

    def _view(self, image: Image) -> Image:
        return image[:: -1 if self.vertical else 1, :: -1 if self.horizontal else 1]


FLIPS = tuple(Flip(h, v) for h, v in product((False, True), repeat=2))


class SelfEnsemble(BackendBase):
    """The mean of a backend's outputs over the four flips of its input; the backend is closed with it.

    The flips of a tile overlap, two at a time; tiles do not, so that the backend never has more than two under way.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.spec = _with_sums(backend.spec)
        self.device = backend.device

    def report(self) -> RunReport:
        return self._backend.report()

    def _infer(self, pair: StereoPair) -> StereoPair:
        results = infer_each(self._backend, (flip(pair) for flip in FLIPS))
        return _mean(flip(result) for flip, result in zip(FLIPS, results, strict=True))

    def _close(self) -> None:
        self._backend.close()


class ModelEnsemble(BackendBase):
    """The mean of several models' outputs; their backends are closed with it.

    Raises:
        UsageError: if the models differ in scale.
    """

    def __init__(self, backends: Sequence[Backend]) -> None:
        scales = {b.spec.scale for b in backends}
        if len(scales) != 1:
            raise UsageError(
                f"models of one ensemble have one scale, not {' and '.join(f'x{s}' for s in sorted(scales))}"
            )
        self._backends = tuple(backends)
        self.spec = _common_spec([b.spec for b in backends])
        self.device = " + ".join(dict.fromkeys(b.device for b in backends))

    def report(self) -> RunReport:
        return RunReport.joined(b.report() for b in self._backends)

    def _infer(self, pair: StereoPair) -> StereoPair:
        return _mean(b.infer(pair) for b in self._backends)

    def _submit(self, pair: StereoPair) -> Callable[[], StereoPair]:
        results = [b.submit(pair) for b in self._backends]
        return lambda: _mean(result() for result in results)

    def _close(self) -> None:
        with ExitStack() as stack:  # closes the others too where one fails
            for backend in self._backends:
                stack.callback(backend.close)


def _common_spec(specs: Sequence[ModelSpec]) -> ModelSpec:
    """What a tile must satisfy to suit every one of the models."""
    return replace(
        specs[0],
        name=" + ".join(s.name for s in specs),
        min_tile=(max(s.min_tile[0] for s in specs), max(s.min_tile[1] for s in specs)),
        multiple_of=int(np.lcm.reduce([s.multiple_of for s in specs])),
        halo=max(s.halo for s in specs),
        memory=(  # each model keeps what it once took
            sum(s.memory[0] for s in specs) + _sums(specs[0]),
            sum(s.memory[1] for s in specs),
        ),
        scores={},
    )


def _with_sums(spec: ModelSpec) -> ModelSpec:
    return replace(spec, memory=(spec.memory[0] + _sums(spec), spec.memory[1]))


def _sums(spec: ModelSpec) -> int:
    """Bytes an LR pixel for the sum of the outputs, and for one output beside it: two views, three floats each."""
    return 2 * 2 * 3 * 4 * spec.scale**2


def _mean(pairs: Iterable[StereoPair]) -> StereoPair:
    """One at a time: all outputs at once would take more memory than the network."""
    members = iter(pairs)
    first = next(members)
    left, right, count = first.left, first.right, 1
    for pair in members:
        left, right, count = left + pair.left, right + pair.right, count + 1
    return StereoPair(left / np.float32(count), right / np.float32(count))
