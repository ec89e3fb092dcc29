"""Self-ensemble and model ensemble: backends made of backends, averaged in float.

A stereo pair allows fewer flips than a single picture: a horizontal flip exchanges the views, a vertical one does
not, and a rotation by 90 degrees would break the epipolar lines.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from stereosr.backends.base import Backend
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


class SelfEnsemble:
    """The mean of a backend's outputs over the four flips of its input."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.spec: ModelSpec = _with_sums(backend.spec)
        self.device = backend.device

    def infer(self, pair: StereoPair) -> StereoPair:
        return _mean(flip(self._backend.infer(flip(pair))) for flip in FLIPS)

    def close(self) -> None:
        self._backend.close()


class ModelEnsemble:
    """The mean of several models' outputs.

    Raises:
        UsageError: if the models differ in scale.
    """

    def __init__(self, backends: Sequence[Backend]) -> None:
        scales = {b.spec.scale for b in backends}
        if len(scales) != 1:
            raise UsageError(
                f"models of one ensemble have one scale, not {' and '.join(f'x{s}' for s in sorted(scales))}"
            )
        self._backends = backends
        self.spec: ModelSpec = _common_spec([b.spec for b in backends])
        self.device = " + ".join(dict.fromkeys(b.device for b in backends))

    def infer(self, pair: StereoPair) -> StereoPair:
        return _mean(b.infer(pair) for b in self._backends)

    def close(self) -> None:
        for backend in self._backends:
            backend.close()


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
