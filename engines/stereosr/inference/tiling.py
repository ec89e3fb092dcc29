"""TilePlan: which windows of a picture are super-resolved, and how they are put together without a seam.

Both networks attend along whole rows, so the natural tile is a full-width band: it loses nothing horizontally, and
vertically only what a few rows of overlap give back. The width is split only where not even the lowest band fits.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from stereosr.errors import OutOfMemory
from stereosr.models.spec import ModelSpec
from stereosr.system import format_bytes
from stereosr.types import Image, Window


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Windows of one size, ``tile``, that cover a picture of ``height`` x ``width`` LR pixels.

    Neighbours share at least ``overlap`` rows or columns, except where a tile spans the picture.
    """

    height: int
    width: int
    tile: tuple[int, int]
    overlap: tuple[int, int]

    @staticmethod
    def of(height: int, width: int, tile: tuple[int, int], overlap: tuple[int, int]) -> "TilePlan":
        """A plan with tiles of at most the given size; overlaps are cut to half a tile."""
        rows, columns = min(tile[0], height), min(tile[1], width)
        return TilePlan(height, width, (rows, columns), (min(overlap[0], rows // 2), min(overlap[1], columns // 2)))

    @property
    def tops(self) -> tuple[int, ...]:
        return _starts(self.height, self.tile[0], self.overlap[0])

    @property
    def lefts(self) -> tuple[int, ...]:
        return _starts(self.width, self.tile[1], self.overlap[1])

    @property
    def count(self) -> int:
        return len(self.tops) * len(self.lefts)

    def window(self, top: int, left: int) -> Window:
        return Window(top, left, *self.tile)


def _starts(size: int, tile: int, overlap: int) -> tuple[int, ...]:
    if tile >= size:
        return (0,)
    count = -(-(size - overlap) // (tile - overlap))
    return tuple(round(i * (size - tile) / (count - 1)) for i in range(count))


TARGET_TILE_BYTES = 2 * 2**30
"""Bytes for a tile, unless one of full width needs more: larger tiles would save next to nothing."""

TARGET_TILE_GMACS = 500
"""10^9 multiply-accumulates for a tile: about ten seconds of two processor cores, after which a bar moves on."""

_GMACS_PIXELS = 320 * 180
"""LR pixels of the pair that ``spec.gmacs`` is of."""

_OVERLAPS = 8
"""A band is not made lower for that than so many times what it shares with the next one."""


def plan_for_memory(
    height: int, width: int, spec: ModelSpec, budget: int, disparity: int, overlap: int | None = None
) -> TilePlan:
    """Tiles whose working memory stays within ``budget`` bytes, and if possible within ``TARGET_TILE_BYTES``.

    The estimate is ``spec.memory``: bytes a pixel, and bytes a pixel and column for the attention maps (H x W x W).
    Bands hold about ``TARGET_TILE_GMACS`` and are equally high, so that they share no more rows than they must. They
    come first; if a band of the smallest height does not fit, the width is halved, with an overlap by the largest
    ``disparity`` in LR pixels.

    Raises:
        OutOfMemory: if not even the smallest tile fits.
    """
    down = overlap_rows(spec) if overlap is None else overlap
    across = overlap_columns(spec, disparity)
    least = max(spec.min_tile[0], min(height, 2 * down))

    def band(columns: int) -> int:
        padded = max(columns, spec.min_tile[1])
        return least * (spec.memory[0] * padded + spec.memory[1] * padded * padded)

    columns, limit = clamp_to_max_tile(spec, height, width)[1], min(budget, TARGET_TILE_BYTES)
    if band(columns) > budget:
        while band(columns) > limit and columns > max(2 * across, 1):
            columns = max(columns // 2 + across, 1)
    if band(columns) > budget:
        raise OutOfMemory(
            f"the smallest tile of {spec.title} ({columns}x{least}) needs {format_bytes(band(columns))}, "
            f"{format_bytes(budget)} may be used: free memory, allow more of it or lower the largest disparity",
            settings=("max_memory", "max_disparity"),
        )
    rows = max(least, least * limit // band(columns))
    if spec.gmacs:
        by_work = int(TARGET_TILE_GMACS / (spec.gmacs / _GMACS_PIXELS * columns))
        rows = min(rows, max(by_work, least, _OVERLAPS * down))
    if least < rows < height:
        bands = -(-(height - down) // (rows - down))
        rows = max(least, -(-(height - down) // bands) + down)
    return TilePlan.of(height, width, clamp_to_max_tile(spec, rows, columns), (down, across))


def overlap_rows(spec: ModelSpec) -> int:
    """Rows that full-width bands share, so that what is used of each has the model's halo around it."""
    return _overlap(spec.halo)


def overlap_columns(spec: ModelSpec, disparity: int) -> int:
    """Columns that tiles side by side share, so that what is used of each has around it all that it depends on.

    These are its matches, at most ``disparity`` LR pixels away, and half of TLSC's window.
    """
    return _overlap(max(disparity, spec.halo, spec.mean_window[1] // 2 if spec.mean_window else 0))


def _overlap(reach: int) -> int:
    """Pixels of which three eighths, what ``crossfade`` takes from the neighbour alone, are at least ``reach``."""
    return -(-reach * 8 // 3)


def clamp_to_max_tile(spec: ModelSpec, rows: int, columns: int) -> tuple[int, int]:
    """A tile of this size, or of what the engine takes at most."""
    most = spec.max_tile or (rows, columns)
    return min(rows, most[0]), min(columns, most[1])


def computed_pixels(plan: TilePlan, spec: ModelSpec) -> int:
    """LR pixels of all tiles together: what tiles share counts in each, as does what is put beside small ones."""
    rows, columns = (max(side, least) for side, least in zip(plan.tile, spec.min_tile, strict=True))
    return plan.count * rows * columns


def crossfade(pieces: Iterable[tuple[int, Image]], axis: int) -> Iterator[Image]:
    """Join pieces along ``axis``, given as (start, array) in order; where two overlap, the later one fades in.

    Three eighths of an overlap at either side, where a tile sees least beyond its edge, are taken from the other tile
    alone. Yields the finished stretches in order; only one overlap is held back at a time.
    """
    tail: Image | None = None
    tail_start = 0
    for start, piece in pieces:
        if tail is not None:
            shared = tail_start + tail.shape[axis] - start
            yield _cut(tail, axis, 0, start - tail_start)
            piece = piece.copy()
            weight = _fade(shared).reshape([-1 if i == axis else 1 for i in range(piece.ndim)])
            over = _cut(piece, axis, 0, shared)
            over += (1 - weight) * (_cut(tail, axis, start - tail_start, tail.shape[axis]) - over)
        tail, tail_start = piece, start
    if tail is not None:
        yield tail


def _fade(length: int) -> Image:
    ramp = (np.arange(length, dtype=np.float32) + 0.5) / max(length, 1)
    return np.clip(4 * ramp - 1.5, 0, 1).astype(np.float32)


def _cut(array: Image, axis: int, start: int, stop: int) -> Image:
    return array[(slice(None),) * axis + (slice(start, stop),)]
