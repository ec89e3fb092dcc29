"""Scales that no model has: models one after the other."""

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace
from itertools import combinations_with_replacement
from math import lcm, prod

import numpy as np

from stereosr.backends.base import Backend, BackendBase, RunReport
from stereosr.errors import UsageError
from stereosr.models.spec import ModelSpec
from stereosr.types import StereoPair

_STEPS = 2  # models in a row; each sharpens what the last one invented


def steps_to(scale: float, available: Collection[int]) -> tuple[int, ...]:
    """The scales of the models that together reach a scale, the largest first.

    Args:
        scale: wanted.
        available: scales that there are models of.

    Returns:
        Those of the smallest product that is as large as ``scale``; of equals, the fewest.

    Raises:
        UsageError: if two in a row do not reach it.
    """
    chains: list[tuple[int, ...]] = []
    for count in range(1, _STEPS + 1):
        chains += combinations_with_replacement(sorted(available), count)
    reaching = sorted((prod(chain), len(chain), chain) for chain in chains if prod(chain) >= scale)
    if not reaching:
        largest = max(map(prod, chains), default=1)
        raise UsageError(f"scale {scale:g} is out of reach, {largest} is the largest: give a smaller one")
    return tuple(sorted(reaching[0][2], reverse=True))


def spec_of_both(a: ModelSpec, b: ModelSpec) -> ModelSpec:
    """What two models in a row are together: what a tile must satisfy to suit both."""
    scale = a.scale
    limits = [m for m in (a.max_tile, b.max_tile and (b.max_tile[0] // scale, b.max_tile[1] // scale)) if m]
    return replace(
        a,
        name=a.name if a.name == b.name else f"{a.name} + {b.name}",
        scale=scale * b.scale,
        min_tile=(max(a.min_tile[0], -(-b.min_tile[0] // scale)), max(a.min_tile[1], -(-b.min_tile[1] // scale))),
        max_tile=(min(m[0] for m in limits), min(m[1] for m in limits)) if limits else None,
        multiple_of=lcm(a.multiple_of, b.multiple_of),
        halo=a.halo + -(-b.halo // scale),
        memory=(a.memory[0] + scale**2 * b.memory[0], a.memory[1] + scale**3 * b.memory[1]),
        scores={},
    )


class Cascade(BackendBase):
    """Two backends in a row, which are closed with it: the second one enlarges what the first one gave."""

    def __init__(self, first: Backend, second: Backend) -> None:
        self._first, self._second = first, second
        self.spec = spec_of_both(first.spec, second.spec)
        self.device = " + ".join(dict.fromkeys((first.device, second.device)))

    def report(self) -> RunReport:
        return RunReport.joined((self._first.report(), self._second.report()))

    def _infer(self, pair: StereoPair) -> StereoPair:
        between = self._first.infer(pair)
        return self._second.infer(StereoPair(np.clip(between.left, 0, 1), np.clip(between.right, 0, 1)))

    def _close(self) -> None:
        with ExitStack() as stack:  # closes the second too where the first fails
            stack.callback(self._second.close)
            stack.callback(self._first.close)
