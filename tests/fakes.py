"""Backends that stand in for a network: exact, tiny, and local."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from stereosr.backends.base import BackendBase
from stereosr.models.spec import ModelSpec
from stereosr.types import Image, StereoPair

SPEC = ModelSpec(
    name="fake",
    family="fake",
    scale=2,
    precision="fp32",
    min_tile=(1, 1),
    multiple_of=1,
    halo=2,
    memory=(100, 1),
    mean_window=None,
    parameters=0,
    source="",
    trained_on="",
    license="",
)


class FakeBackend(BackendBase):
    """Enlarges each view by repeating pixels after ``operator``; notes the size of every tile it was given."""

    device = "fake"

    def __init__(self, operator: Callable[[StereoPair], StereoPair] = lambda pair: pair, **changes: object) -> None:
        self.spec = replace(SPEC, **changes)  # type: ignore[arg-type]
        self.operator = operator
        self.tiles: list[tuple[int, int]] = []
        self.closed = False

    def _infer(self, pair: StereoPair) -> StereoPair:
        self.tiles.append((pair.height, pair.width))
        result = self.operator(pair)
        return StereoPair(self._enlarge(result.left), self._enlarge(result.right))

    def _close(self) -> None:
        self.closed = True

    def _enlarge(self, image: Image) -> Image:
        return image.repeat(self.spec.scale, 0).repeat(self.spec.scale, 1)


def random_pair(height: int, width: int, seed: int = 0) -> StereoPair:
    rng = np.random.default_rng(seed)
    return StereoPair(*rng.random((2, height, width, 3), dtype=np.float32))


def local_mean(pair: StereoPair) -> StereoPair:
    """Each pixel from its 5 x 5 neighbourhood in both views: exact in tiles with a halo of 2."""
    total = np.zeros_like(pair.left)
    for view in (pair.left, pair.right):
        padded = np.pad(view, ((2, 2), (2, 2), (0, 0)), "edge")
        for y in range(5):
            for x in range(5):
                total += padded[y : y + pair.height, x : x + pair.width]
    return StereoPair(total / np.float32(50), total / np.float32(25))
