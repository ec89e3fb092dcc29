"""A pair as it comes, through the network: aligned, matched in light, or each view by itself."""

from collections.abc import Callable
from typing import Any

import numpy as np

from stereosr.backends.base import Backend
from stereosr.geometry.light import Light
from stereosr.geometry.rectify import Alignment, move
from stereosr.geometry.resize import reduce
from stereosr.geometry.treatment import Treatment
from stereosr.inference.tiling import TilePlan
from stereosr.inference.upscale import upscale_pixels
from stereosr.types import Image, Pixels, StereoPair, as_float

_FRACTION = 0.25  # of a row by which views may miss each other before they are aligned by more than whole rows


def upscale_treated(
    pair: StereoPair,
    backend: Backend,
    plan: TilePlan,
    dtype: "np.dtype[Any]",
    treatment: Treatment,
    on_plan: Callable[[TilePlan], None] = lambda _plan: None,
    on_tile: Callable[[], None] = lambda: None,
) -> tuple[Pixels, Pixels]:
    """Both views super-resolved, as a treatment says.

    The network wants the views on common rows, and loses much of a view that was moved by a part of a pixel. So a view
    that a result is made of is never moved before the network, only the one that helps it. It helps by what the
    network makes of it, moved at the larger size and shrunk: that keeps more than moving it as it is. Such a pair
    takes three passes; one suffices where whole rows bring the views together.

    Args:
        pair: the views as they came.
        backend: to run.
        plan: for a picture of their size.
        dtype: of the results.
        treatment: what is done.
        on_plan: as in ``iter_bands``, of each pass.
        on_tile: likewise.

    Returns:
        The left and the right view, ``scale`` times as large; the right one in the left one's geometry, unless the
        treatment keeps its own.

    Raises:
        OutOfMemory: if not even the smallest tile fits.
        StereosrError: if the model gives a value that is not finite.
    """

    def run(left: Image, right: Image, rows: int = 0, light: Light | None = None) -> tuple[Pixels, Pixels]:
        """One pass, with the right view ``rows`` lower; rows without a partner are kept."""
        height, scale = left.shape[0], backend.spec.scale
        shifted = _on_canvas(left, max(-rows, 0), abs(rows)), _on_canvas(right, max(rows, 0), abs(rows))
        whole = plan.tile[0] + (abs(rows) if plan.tile[0] == height else 0), plan.tile[1]
        fitting = TilePlan.of(height + abs(rows), plan.width, whole, plan.overlap) if rows else plan
        results = upscale_pixels(StereoPair(*shifted), backend, fitting, dtype, on_plan, on_tile, light)
        tops = max(-rows, 0) * scale, max(rows, 0) * scale
        cut = [view[top : top + height * scale] for view, top in zip(results, tops, strict=True)]
        return cut[0], cut[1]

    if treatment.apart:
        return run(pair.left, pair.left)[0], run(pair.right, pair.right)[1]
    alignment, light = treatment.alignment, treatment.light
    if alignment is None:
        return run(pair.left, pair.right, light=light)
    rows, exact = _whole_rows(alignment, pair.height, pair.width)
    left, right = run(pair.left, pair.right, rows, light)
    large = alignment.scaled(backend.spec.scale)
    if not exact:
        del right  # memory: each pass gives two more
        seen = _as_seen(left, large, pair, back=True)
        del left
        right = run(seen, pair.right, light=light)[1]
        seen = _as_seen(right, large, pair)
        left = run(pair.left, seen, light=light)[0]
    return left, right if treatment.keep_geometry else move(right, large)


def count_passes(treatment: Treatment, height: int, width: int) -> int:
    """How often ``upscale_treated`` has the network look at a pair of this size."""
    if treatment.apart:
        return 2
    return 1 if treatment.alignment is None or _whole_rows(treatment.alignment, height, width)[1] else 3


def _whole_rows(alignment: Alignment, height: int, width: int) -> tuple[int, bool]:
    """By how many rows the right view is to go down; and whether the views then lie close enough."""
    moves = alignment.rows(height, width)
    rows = round(float(np.median(moves)))
    return rows, bool(np.sqrt(np.mean((moves - rows) ** 2)) < _FRACTION)


def _as_seen(result: Pixels, alignment: Alignment, pair: StereoPair, *, back: bool = False) -> Image:
    """A view in the geometry of the other one, LR again, from its own result."""
    return as_float(reduce(move(result, alignment, back=back), pair.height, pair.width))


def _on_canvas(view: Image, top: int, more: int) -> Image:
    """The view with ``more`` rows, ``top`` of them above it; they repeat its first and last."""
    return np.pad(view, ((top, more - top), (0, 0), (0, 0)), "edge") if more else view
