"""A backend and a plan give a super-resolved pair, in bounded memory."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from stereosr.backends.base import Backend, infer_each
from stereosr.errors import OutOfMemory, StereosrError
from stereosr.geometry.light import Light
from stereosr.inference.tiling import TilePlan, crossfade
from stereosr.models.spec import ModelSpec
from stereosr.types import Image, Pixels, StereoPair, Window, quantise


def upscale(pair: StereoPair, backend: Backend, plan: TilePlan | None = None) -> StereoPair:
    """The whole super-resolved pair, sH x sW x 3, not clamped. Without a plan the picture is one tile."""
    plan = plan or TilePlan.of(pair.height, pair.width, (pair.height, pair.width), (0, 0))
    bands = list(iter_bands(pair, backend, plan))
    return StereoPair(np.concatenate([b.left for b in bands]), np.concatenate([b.right for b in bands]))


def iter_bands(
    pair: StereoPair,
    backend: Backend,
    plan: TilePlan,
    on_plan: Callable[[TilePlan], None] = lambda _plan: None,
    on_tile: Callable[[], None] = lambda: None,
) -> Iterator[StereoPair]:
    """The super-resolved pair from top to bottom, in stretches of rows; only one band of tiles is held at a time.

    Where a tile does not fit into memory, what is left of the picture is done in smaller ones. ``on_plan`` is called
    with every plan, ``on_tile`` after each tile. Raises:
        OutOfMemory: if not even the smallest tile fits.
        StereosrError: if the model gives a value that is not finite.
    """
    scale, done = backend.spec.scale, 0
    while done < pair.height:
        above = min(done, plan.overlap[0])  # rows done already, for what follows to see
        rest = pair.crop(Window(done - above, 0, pair.height - done + above, pair.width))
        plan = TilePlan.of(rest.height, rest.width, plan.tile, plan.overlap)
        on_plan(plan)
        try:
            for band in _bands(rest, backend, plan, on_tile):
                cut = min(above * scale, band.height)
                above -= cut // scale
                if cut < band.height:
                    done += (band.height - cut) // scale
                    yield StereoPair(band.left[cut:], band.right[cut:])
        except OutOfMemory:  # final, though it is a MemoryError
            raise
        except MemoryError:
            plan = halve(plan, backend.spec)


def _bands(pair: StereoPair, backend: Backend, plan: TilePlan, on_tile: Callable[[], None]) -> Iterator[StereoPair]:
    scale = backend.spec.scale
    windows = [plan.window(top, left) for top in plan.tops for left in plan.lefts]
    results = infer_each(backend, (_fitting(pair.crop(window), backend.spec) for window in windows))

    def tile() -> Image:
        result = next(results).crop(Window(0, 0, *plan.tile).scaled(scale))
        on_tile()
        views = np.stack([result.left, result.right])
        if not np.isfinite(views).all():
            raise StereosrError(
                f"{backend.spec.title} gave values that are not finite on {backend.device}: use another model"
            )
        return views

    def band() -> Image:
        columns = ((left * scale, tile()) for left in plan.lefts)
        return np.concatenate(list(crossfade(columns, axis=2)), axis=2)

    for rows in crossfade(((top * scale, band()) for top in plan.tops), axis=1):
        yield StereoPair(rows[0], rows[1])


def _fitting(pair: StereoPair, spec: ModelSpec) -> StereoPair:
    """The pair, mirrored on at right and bottom to a size that the model takes."""
    step = spec.multiple_of
    rows, columns = max(pair.height, spec.min_tile[0]), max(pair.width, spec.min_tile[1])
    rows, columns = -(-rows // step) * step, -(-columns // step) * step
    if (rows, columns) == (pair.height, pair.width):
        return pair
    pad = ((0, rows - pair.height), (0, columns - pair.width), (0, 0))
    return StereoPair(np.pad(pair.left, pad, "symmetric"), np.pad(pair.right, pad, "symmetric"))


def halve(plan: TilePlan, spec: ModelSpec) -> TilePlan:
    """The next smaller plan after a tile did not fit: half the rows, at last half the columns.

    Raises:
        OutOfMemory: if the tile is the smallest already.
    """
    rows, columns = plan.tile
    if rows > max(spec.min_tile[0], 2 * plan.overlap[0], 8):
        return replace(plan, tile=(max(-(-rows // 2), 2 * plan.overlap[0], 1), columns))
    if columns > max(spec.min_tile[1], 2 * plan.overlap[1], 8):
        return replace(plan, tile=(rows, max(-(-columns // 2), 2 * plan.overlap[1], 1)))
    raise OutOfMemory(
        f"a tile of {columns}x{rows} does not fit into memory: close other programs or use a smaller model"
    )


def upscale_pixels(
    pair: StereoPair,
    backend: Backend,
    plan: TilePlan,
    dtype: "np.dtype[Any]",
    on_plan: Callable[[TilePlan], None] = lambda _plan: None,
    on_tile: Callable[[], None] = lambda: None,
    light: Light | None = None,
) -> tuple[Pixels, Pixels]:
    """Both views super-resolved, as pixels of ``dtype``; ``light`` is what the right view needs for the network.

    Raises as ``iter_bands``.
    """
    scale = backend.spec.scale
    shape = (pair.height * scale, pair.width * scale, 3)
    left, right = np.empty(shape, dtype), np.empty(shape, dtype)
    top = 0
    if light is not None:
        pair = StereoPair(pair.left, light.match(pair.right))
    for band in iter_bands(pair, backend, plan, on_plan, on_tile):
        rows = slice(top, top + band.height)
        left[rows] = quantise(band.left, dtype)
        right[rows] = quantise(band.right if light is None else light.restore(band.right), dtype)
        top += band.height
    return left, right
