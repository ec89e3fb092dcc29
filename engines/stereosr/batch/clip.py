"""A video, upscaled frame by frame; what is decided for it is decided once, for all of its frames."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stereosr.backends.base import Backend
from stereosr.batch.item import Item, Result, Settings
from stereosr.batch.pictures import held_memory, infer, plan_tiles, sample_type
from stereosr.geometry.pair_check import PairReport, check_pair_or_unknown
from stereosr.geometry.rectify import Alignment, apply, correction, match
from stereosr.inference.tiling import TilePlan
from stereosr.io.images import Picture
from stereosr.io.layouts import split_halves
from stereosr.io.video import SEGMENT, convert, finished_frames, sample
from stereosr.system import peak_memory


def upscale_clip(
    item: Item,
    key: str,
    backend: Backend,
    settings: Settings,
    before_rename: Callable[[Path], None],
    on_plan: Callable[[int], None],
    on_frame: Callable[[], None],
) -> Result:
    """Upscale a video, going on from where an earlier run with this ``key`` was stopped.

    Args:
        before_rename: as in ``convert``.
        on_plan: is told how many frames are left to do.
        on_frame: is called after each of them.

    Raises:
        StereosrError: as ``convert`` and ``upscale_pixels``.
        OutOfMemory: if a frame and its results, or the smallest tile, do not fit.
    """
    source, target = item.sources[0], item.targets[0]
    clip = _look(item, settings)
    frames = _Frames(clip, backend, settings, on_frame)
    on_plan(max(0, clip.count - finished_frames(target, key)))
    started = time.perf_counter()
    layouts = (item.layout, item.out_layout)
    convert(source, target, layouts, frames, key, settings.quality, settings.depth, before_rename)
    return Result(
        item,
        "done",
        size=clip.size,
        tiles=frames.plan.count,
        frames=frames.done,
        seconds=time.perf_counter() - started,
        peak_memory=peak_memory(),
        warnings=clip.notes + clip.report.problems,
    )


@dataclass(frozen=True, slots=True)
class _Clip:
    """A video as the one of some frames shows it in which the views have most in common.

    ``count`` is the number of frames as far as the file knows, ``alignment`` what the right view needs.
    """

    view: Picture
    count: int
    alignment: Alignment | None
    report: PairReport
    notes: list[str]

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.view.pixels.shape[:2]
        return height, width


def _look(item: Item, settings: Settings) -> _Clip:
    source = item.sources[0]
    samples = sample(source)
    views = [_in_order(*split_halves(Picture(frame), item.layout, source), settings) for frame in samples.frames]
    left, right = max(views, key=lambda pair: len(match(pair[0].pixels, pair[1].pixels)))
    alignment, notes = correction(left, right) if settings.rectify else (None, [])
    report = check_pair_or_unknown(left, right if alignment is None else apply(alignment, right))
    return _Clip(left, samples.count, alignment, report, notes)


class _Frames:
    """Upscales the views of one frame after the other; tiles that fitted one frame are kept for the next."""

    def __init__(self, clip: _Clip, backend: Backend, settings: Settings, on_frame: Callable[[], None]) -> None:
        self._clip, self._backend, self._settings, self._on_frame = clip, backend, settings, on_frame
        dtype = sample_type(clip.view, settings)
        # An encoder looks ahead; of a segment it holds no more than its frames, at 1.5 samples a pixel.
        held = held_memory(clip.view, backend.spec.scale, dtype)
        held += SEGMENT * clip.view.pixels.size * backend.spec.scale**2 * dtype.itemsize
        self.plan = plan_tiles(clip.size, clip.report, backend.spec, settings.tiles, held)
        self.done = 0

    def __call__(self, left: Picture, right: Picture) -> tuple[Picture, Picture]:
        left, right = _in_order(left, right, self._settings)
        if self._clip.alignment is not None:
            right = apply(self._clip.alignment, right)
        dtype = sample_type(left, self._settings)
        results = infer((left, right), self._backend, self.plan, dtype, self._keep, lambda: None)
        self.done += 1
        self._on_frame()
        return Picture(results[0]), Picture(results[1])

    def _keep(self, fitting: TilePlan) -> None:
        self.plan = TilePlan.of(*self._clip.size, fitting.tile, fitting.overlap)


def _in_order(left: Picture, right: Picture, settings: Settings) -> tuple[Picture, Picture]:
    return (right, left) if settings.swap else (left, right)
