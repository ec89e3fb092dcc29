"""A pair of pictures: read, upscaled, encoded."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stereosr.backends.base import Backend
from stereosr.batch.item import Item, Result, Settings
from stereosr.errors import OutOfMemory, UsageError
from stereosr.geometry.pair_check import PairReport, check_pair_or_unknown
from stereosr.geometry.rectify import Alignment, move
from stereosr.geometry.resize import reduce
from stereosr.geometry.treatment import Treatment, choose_treatment
from stereosr.inference.choice import Choice, choose_engine
from stereosr.inference.memory import held_memory, plan_tiles
from stereosr.inference.settings import TileSettings
from stereosr.inference.tiling import TilePlan, computed_pixels
from stereosr.inference.treated import upscale_treated
from stereosr.io.encode import encode_picture
from stereosr.io.images import SUFFIXES, Picture
from stereosr.io.layouts import check_fits_format, encode_stereo, read_pair
from stereosr.models.spec import ModelSpec
from stereosr.system import format_bytes, peak_memory
from stereosr.types import Pixels, StereoPair, in_depth, quantise, to_float

_log = logging.getLogger("stereosr")

_LARGE = 50e6
"""Pixels of a result from which on people are told of ways to a smaller one."""


_WASTEFUL = 2
"""How often tiles compute a picture's pixels, from which on that is worth a line; those chosen by us: 1.3 at most,
where there is memory."""


@dataclass(frozen=True, slots=True)
class Views:
    """A pair as it was read.

    Attributes:
        left: the left view, exchanged already if that was asked for.
        right: likewise.
        report: what was measured of the pair.
        treatment: what is done about that.
        choice: the engine that the pair needs; None unless that was asked for.
    """

    left: Picture
    right: Picture
    report: PairReport
    treatment: Treatment
    choice: Choice | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of one view."""
        height, width = self.left.pixels.shape[:2]
        return height, width


def read_views(item: Item, settings: Settings) -> Views:
    """Read the views of an item, exchange them if asked to, measure the pair, and decide how it is treated.

    Args:
        item: two files, or one that holds both views.
        settings: of the job.

    Returns:
        The views, and what was decided.

    Raises:
        UnreadableImage: if a file cannot be read.
        UsageError: if the views differ in size.
    """
    left, right = read_pair(item.sources, item.layout, item.decoded)
    if left.pixels.shape != right.pixels.shape:
        a, b = (f"{view.pixels.shape[1]}x{view.pixels.shape[0]}" for view in (left, right))
        raise UsageError(
            f"{item.name}: left is {a}, right is {b}: the views of a pair have one size; crop or resize one"
        )
    choice = choose_engine(left, right, item.layout) if settings.auto else None
    if settings.swap:
        left, right = right, left
    left, right = _filled(left), _filled(right)
    report = check_pair_or_unknown(left, right)
    treatment = choose_treatment(report, settings.rectify, keep_geometry=settings.keep_geometry)
    notes = (*dict.fromkeys(left.notes + right.notes), *treatment.notes)
    return Views(left, right, report, replace(treatment, notes=notes), choice)


def upscale_views(
    item: Item,
    views: Views,
    backend: Backend,
    settings: Settings,
    on_plan: Callable[[int], None],
    on_tile: Callable[[], None],
) -> tuple[tuple[Picture, Picture], Result]:
    """Super-resolve both views.

    Args:
        item: of the views.
        views: as ``read_views`` gave them.
        backend: what runs the model.
        settings: of the job.
        on_plan: is told the number of tiles of each pass; again where it changes.
        on_tile: is called after each tile.

    Returns:
        The results in the order of the item's targets, and the item's result.

    Raises:
        StereosrError: if a target's format has no pictures of this size, or as ``upscale_pixels``.
        OutOfMemory: if the pictures, or the smallest tile, do not fit.
    """
    height, width = settings.size.of(*views.size, backend.spec.scale)
    if not settings.size.is_given and height * width >= _LARGE:
        megapixels = f"2 x {height * width / 1e6:.0f} megapixels"
        _log.info("%s: the result has %s; a scale or a largest side makes it smaller", item.name, megapixels)
    for target in item.targets:
        check_fits_format(target, height, width, item.out_layout)
    tiles = 0

    def count() -> None:
        nonlocal tiles
        tiles += 1
        on_tile()

    started = time.perf_counter()
    own = _sample_types(views, settings)
    dtype = max(own, key=lambda each: each.itemsize)
    if len(item.targets) == 1:  # joined views have one depth
        own = dtype, dtype
    plan = plan_views(views, backend.spec, settings)
    both, treatment = (views.left, views.right), views.treatment
    left, right = infer(both, backend, plan, dtype, treatment, lambda fitting: on_plan(fitting.count), count)
    left, right = reduce(left, height, width), reduce(right, height, width)
    moved = None if treatment.keep_geometry else treatment.alignment
    pictures = _like(views.left, in_depth(left, own[0])), _like(views.right, in_depth(right, own[1]), moved)
    if settings.swap and len(item.sources) == len(item.targets) == 2:
        pictures = pictures[::-1]  # each output is named after its own input file
    return pictures, Result(
        item,
        "done",
        size=views.size,
        output_size=(height, width),
        tiles=tiles,
        seconds=time.perf_counter() - started,
        peak_memory=peak_memory(),
        alignment=described(treatment.alignment, views.size),
        apart=treatment.apart,
        warnings=[
            *treatment.notes,
            *reach_notes(views.report, backend.spec, views.size[1]),
            *tiling_notes(plan, backend.spec, settings.tiles),
        ],
    )


def plan_views(views: Views, spec: ModelSpec, settings: Settings) -> TilePlan:
    """The tiles of a pair. Raises as ``plan_tiles``."""
    dtype = max(_sample_types(views, settings), key=lambda each: each.itemsize)
    held = held_memory(views.left.pixels, spec.scale, dtype, views.treatment)
    return plan_tiles(views.size, views.report, spec, settings.tiles, held)


def _sample_types(views: Views, settings: Settings) -> "tuple[np.dtype[Any], np.dtype[Any]]":
    return sample_type(views.left, settings), sample_type(views.right, settings)


def encode_results(item: Item, pictures: tuple[Picture, Picture], quality: int | None) -> Iterator[tuple[Path, bytes]]:
    """Encode both results; two files at a time.

    Args:
        item: says what is written.
        pictures: the results, in the order of the targets.
        quality: of lossy formats, 1 to 100; None for the format's own default.

    Returns:
        Each target and the bytes of its file.

    Raises:
        StereosrError, UsageError: as ``encode_stereo`` and ``encode_picture``.
    """
    if len(item.targets) == 1:
        yield item.targets[0], encode_stereo(*pictures, item.out_layout, quality, item.targets[0])
        return

    def encode(picture: Picture, target: Path) -> bytes:
        return encode_picture(picture, SUFFIXES.get(target.suffix.lower(), ""), quality, target)

    with ThreadPoolExecutor(2, "stereosr-encode") as encoders:
        yield from zip(item.targets, encoders.map(encode, pictures, item.targets), strict=True)


# --- what a frame of a video needs as well ---------------------------------------------------------------------------


def infer(
    views: tuple[Picture, Picture],
    backend: Backend,
    plan: TilePlan,
    dtype: "np.dtype[Any]",
    treatment: Treatment,
    on_plan: Callable[[TilePlan], None],
    on_tile: Callable[[], None],
) -> tuple[Pixels, Pixels]:
    """Super-resolve both views.

    Args:
        views: the left and the right one.
        backend: what runs the model.
        plan: the tiles, for views of this size.
        dtype: of the samples of the results.
        treatment: what is done with the pair.
        on_plan: is told every plan; another one where a tile did not fit.
        on_tile: is called after each tile.

    Returns:
        Both results, sH x sW x 3.

    Raises:
        OutOfMemory: if the views and their results, or the smallest tile, do not fit.
        StereosrError: as ``upscale_pixels``.
    """
    try:
        pair = StereoPair(*(to_float(view.pixels) for view in views))
        return upscale_treated(pair, backend, plan, dtype, treatment, on_plan, on_tile)
    except OutOfMemory:
        raise
    except MemoryError as error:
        need = 2 * views[0].pixels.size * (4 + backend.spec.scale**2 * dtype.itemsize)
        raise OutOfMemory(
            f"both views and their results need {format_bytes(need)} beside the model: cut them into parts"
        ) from error


def described(alignment: Alignment | None, size: tuple[int, int]) -> dict[str, Any] | None:
    """The parameters and the 3 x 3 matrix of an alignment, for JSON; ``size`` is rows and columns of an LR view."""
    return None if alignment is None else asdict(alignment) | {"matrix": alignment.matrix(*size).tolist()}


def sample_type(picture: Picture, settings: Settings) -> "np.dtype[Any]":
    """The type of a result's samples: of the depth asked for, or as read."""
    return picture.pixels.dtype if settings.depth is None else np.dtype(f"uint{settings.depth}")


def reach_notes(report: PairReport, spec: ModelSpec, width: int) -> list[str]:
    """What people should know of a pair that shows near things further apart than a model looks, a line each."""
    if spec.reach is None or report.measured is None or width <= 4 * spec.reach:
        return []  # four times the reach is seen whole
    apart = max(map(abs, report.measured.disparity))
    if apart <= spec.reach:
        return []
    return [
        f"near things are up to {apart:.0f} px apart in the views, and {spec.name} looks {spec.reach} px far to either "
        "side: there the views help each other less, unless its engine is exported with a longer reach"
    ]


def tiling_notes(plan: TilePlan, spec: ModelSpec, settings: TileSettings) -> list[str]:
    """What people should know of tiles that they asked for, a line each."""
    times = computed_pixels(plan, spec) / (plan.height * plan.width)
    if settings.tile is None or plan.count == 1 or times < _WASTEFUL:
        return []
    rows, columns = plan.tile
    return [
        f"tiles of {columns}x{rows} share so much that {times:.1f} times the picture is computed: ask for larger ones"
    ]


def _like(source: Picture, pixels: Pixels, moved: Alignment | None = None) -> Picture:
    """A picture of these pixels with everything else of ``source``; alpha is enlarged by bicubic, and moved along."""
    alpha = None
    if source.alpha is not None:
        size = (pixels.shape[1], pixels.shape[0])
        wide = cv2.resize(to_float(source.alpha), size, interpolation=cv2.INTER_CUBIC)
        alpha = quantise(np.asarray(wide, dtype=np.float32), pixels.dtype)
        if moved is not None:
            alpha = move(alpha, moved.scaled(pixels.shape[1] / source.pixels.shape[1]))
    metadata = source.metadata.scaled(pixels.shape[0] / source.pixels.shape[0])
    return replace(source, pixels=pixels, alpha=alpha, metadata=metadata)


def _filled(picture: Picture) -> Picture:
    """With the colour of the nearest visible pixel wherever the picture is transparent: what lies there unseen, black
    as a rule, would show at the edges of what is enlarged."""
    if picture.alpha is None or picture.alpha.all() or not picture.alpha.any():
        return picture
    hidden = (picture.alpha == 0).astype(np.uint8)
    kind = cv2.DIST_LABEL_PIXEL
    nearest = cv2.distanceTransformWithLabels(hidden, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=kind)[1]
    colours = np.zeros((int(nearest.max()) + 1, 3), picture.pixels.dtype)
    colours[nearest[hidden == 0]] = picture.pixels[hidden == 0]
    return replace(picture, pixels=colours[nearest])
