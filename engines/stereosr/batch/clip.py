"""A video, upscaled frame by frame; what is decided for it is decided before the first, for all frames of a shot."""

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from stereosr.backends.base import Backend
from stereosr.batch.item import Item, Result, Settings
from stereosr.batch.pictures import described, infer, reach_notes, sample_type, tiling_notes
from stereosr.batch.shots import Shot, best_look, find_shots, treatment_at
from stereosr.errors import UsageError
from stereosr.geometry.pair_check import PairReport, check_pair_or_unknown
from stereosr.geometry.resize import reduce
from stereosr.geometry.treatment import Treatment, choose_treatment
from stereosr.inference.memory import held_memory, plan_tiles
from stereosr.inference.tiling import TilePlan
from stereosr.io.encode import write_pictures
from stereosr.io.images import Picture
from stereosr.io.layouts import join_views
from stereosr.io.video import QUEUE_DEPTH, SEGMENT, Conversion, VideoOptions
from stereosr.system import peak_memory
from stereosr.types import Pixels

_log = logging.getLogger("stereosr")

_WRAP_COLUMNS = 64
"""LR columns that are shown to the model beyond either edge of a view that goes round."""
_WORTH_AN_ESTIMATE = 60
"""Seconds that a video takes for which an estimate is worth a line."""
_WARMUP_FRAMES = 2
"""The frame after which the time of the whole is estimated: the first ones take longer."""


def upscale_clip(
    item: Item,
    key: str,
    backend: Backend,
    settings: Settings,
    before_rename: Callable[[Mapping[Path, Path]], None],
    on_plan: Callable[[int], None],
    on_frame: Callable[[], None],
) -> Result:
    """Upscale a video, going on from where an earlier run with this ``key`` was stopped.

    Args:
        item: one file, or two, that are a video.
        key: of the item, as a job knows it.
        backend: what runs the model; used in the calling thread alone.
        settings: of the job.
        before_rename: as in ``Conversion.run``.
        on_plan: is told how many frames are left to do.
        on_frame: is called after each of them.

    Returns:
        What became of it.

    Raises:
        StereosrError: as ``Conversion`` and ``upscale_pixels``.
        OutOfMemory: if a frame and its results, or the smallest tile, do not fit.
    """
    started = time.perf_counter()
    video, clip = _opened(item, backend, settings)
    if clip.is_misaligned:
        clip = replace(clip, shots=tuple(find_shots(video, clip.treatment, settings)))
        if changes := len(clip.shots) - 1:
            clip.notes.append(f"what aligns the views changes at {changes} cut{'s' * (changes > 1)}")
    if settings.preview is not None:
        return _preview(item, video, clip, backend, settings, on_plan, on_frame)
    left = max(0, video.count - video.finished_frames(key))
    frames = _Frames(clip, backend, settings, left, on_frame)
    on_plan(left)
    done = video.run(frames, key, before_rename)
    if done.missing:
        total = f" of {video.count}" if video.count else ""
        clip.notes.append(f"{done.missing}{total} frames could not be read: the source is cut short or damaged")
    return Result(
        item,
        "done",
        size=clip.size,
        output_size=clip.output_size,
        tiles=frames.plan.count,
        frames=frames.done,
        missing=done.missing,
        seconds=time.perf_counter() - started,
        peak_memory=peak_memory(),
        alignment=described(clip.treatment.alignment, clip.size),
        apart=clip.treatment.apart,
        shots=[
            {"start": float(shot.start), "apart": shot.treatment.apart}
            | {"alignment": described(shot.treatment.alignment, clip.size)}
            for shot in clip.shots
        ],
        warnings=[
            *clip.notes,
            *done.notes,
            *reach_notes(clip.report, backend.spec, clip.size[1]),
            *tiling_notes(frames.plan, backend.spec, settings.tiles),
        ],
    )


def look_at_clip(item: Item, backend: Backend, settings: Settings) -> tuple["Clip", TilePlan, int]:
    """A video that is to be upscaled, the tiles of a frame, and how many frames are to be done; 0 if it does not say.

    Raises:
        StereosrError, OutOfMemory: as ``upscale_clip``.
    """
    video, clip = _opened(item, backend, settings)
    plan = _Frames(clip, backend, settings, 0, lambda: None).plan
    return (
        clip,
        plan,
        video.count if settings.preview is None else min(settings.preview, video.count or settings.preview),
    )


def _opened(item: Item, backend: Backend, settings: Settings) -> tuple[Conversion, "Clip"]:
    options = VideoOptions(settings.codec, settings.preset, settings.quality, settings.depth, settings.trim)

    def result_size(height: int, width: int) -> tuple[int, int]:
        """As asked for, but even, as codecs want it."""
        rows, columns = settings.size.of(height, width, backend.spec.scale)
        return rows - rows % 2, columns - columns % 2

    video = Conversion(item.sources, item.targets, (item.layout, item.out_layout), result_size, options)
    clip = _look(video, item, settings)
    return video, replace(clip, output_size=result_size(*clip.size))


@dataclass(frozen=True, slots=True)
class Clip:
    """What is known of a video, by that of a few sampled frames whose views have most in common.

    Attributes:
        name: what people know it by.
        view: the left one of that frame.
        report: what that frame shows of the pair.
        treatment: what is done with every frame, but for those of shots that need another one.
        is_misaligned: whether something is done with any of the frames: worth a look at all shots.
        shots: of a video whose shots were looked at.
        notes: what people should know, a line each.
        wraps: whether the left edge of a view goes on at its right edge.
        output_size: rows and columns of a view of the result.
    """

    name: str
    view: Picture
    report: PairReport
    treatment: Treatment
    is_misaligned: bool
    notes: list[str]
    wraps: bool
    shots: tuple[Shot, ...] = ()
    output_size: tuple[int, int] = (0, 0)

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.view.pixels.shape[:2]
        return height, width


def _look(video: Conversion, item: Item, settings: Settings) -> Clip:
    looks = [_in_order(*pair, settings) for pair in video.source.samples()]
    (left, _), report = best_look(looks)
    treatment, *others = (
        choose_treatment(each, settings.rectify, keep_geometry=settings.keep_geometry)
        for each in (report, *(check_pair_or_unknown(*views) for views in looks))
    )
    misaligned = any(t.apart or t.alignment is not None for t in (treatment, *others))
    spherical = video.source.infos[0].tags.spherical
    named = re.search(r"(?<![^\W_])360(?![^\W_])", item.sources[0].stem) is not None
    wraps = named if spherical is None else spherical.is_full_circle
    return Clip(item.name, left, report, treatment, misaligned, list(treatment.notes), wraps)


@dataclass(frozen=True, slots=True)
class _Done:
    """What a frame became, and of what."""

    pixels: tuple[Pixels, Pixels]
    treatment: Treatment
    results: tuple[Picture, Picture]

    def is_of(self, pixels: tuple[Pixels, Pixels], treatment: Treatment) -> bool:
        return treatment == self.treatment and all(map(np.array_equal, pixels, self.pixels))


class _Frames:
    """Upscales the views of one frame after the other; tiles that fitted one frame are kept for the next, results for
    a frame that is the same.

    Attributes:
        plan: the tiles.
        done: number of frames that were done.
    """

    def __init__(
        self, clip: Clip, backend: Backend, settings: Settings, left: int, on_frame: Callable[[], None]
    ) -> None:
        self._clip, self._backend, self._settings, self._on_frame = clip, backend, settings, on_frame
        dtype = sample_type(clip.view, settings)
        # An encoder looks ahead; of a segment it holds no more than its frames, at 1.5 samples a pixel. Beside it, some
        # frames wait for it, and some were read ahead.
        samples = 2 * clip.view.pixels.size
        treatments = [clip.treatment, *(shot.treatment for shot in clip.shots)]
        held = max(held_memory(clip.view.pixels, backend.spec.scale, dtype, t) for t in treatments)
        held += (SEGMENT // 2 + QUEUE_DEPTH + 1) * samples * backend.spec.scale**2 * dtype.itemsize
        held += (QUEUE_DEPTH + 2) * samples * clip.view.pixels.itemsize
        height, width = clip.size
        self._wrap = min(_WRAP_COLUMNS, width) if clip.wraps else 0
        self._size = height, width + 2 * self._wrap
        self.plan = plan_tiles(self._size, clip.report, backend.spec, settings.tiles, held)
        self.done = 0
        self._remaining, self._started = left, 0.0
        self._last: _Done | None = None

    def __call__(self, left: Picture, right: Picture, time: Fraction) -> tuple[Picture, Picture]:
        left, right = _in_order(left, right, self._settings)
        pixels = left.pixels, right.pixels
        treatment = treatment_at(self._clip.shots, time) if self._clip.shots else self._clip.treatment
        if self._last is None or not self._last.is_of(pixels, treatment):
            self._last = _Done(pixels, treatment, self._upscaled(left, right, treatment))
        self.done += 1
        self._estimate()
        self._on_frame()
        return self._last.results

    def _upscaled(self, left: Picture, right: Picture, treatment: Treatment) -> tuple[Picture, Picture]:
        dtype = sample_type(left, self._settings)
        views = self._widened(left), self._widened(right)
        results = infer(views, self._backend, self.plan, dtype, treatment, self._keep, lambda: None)
        cut = self._wrap * self._backend.spec.scale
        first, second = (result[:, cut : result.shape[1] - cut] for result in results)
        return Picture(reduce(first, *self._clip.output_size)), Picture(reduce(second, *self._clip.output_size))

    def _widened(self, view: Picture) -> Picture:
        """A view that goes all around, with a strip of its other side at either edge, so that no seam is left there."""
        beyond = ((0, 0), (self._wrap, self._wrap), (0, 0))
        return replace(view, pixels=np.pad(view.pixels, beyond, "wrap")) if self._wrap else view

    def _keep(self, fitting: TilePlan) -> None:
        self.plan = TilePlan.of(*self._size, fitting.tile, fitting.overlap)

    def _estimate(self) -> None:
        """Tell, once, how long the whole will take."""
        if self.done == _WARMUP_FRAMES:
            self._started = time.perf_counter()
        elif self.done == 2 * _WARMUP_FRAMES and self._remaining > self.done:
            seconds = (time.perf_counter() - self._started) / _WARMUP_FRAMES
            if seconds * self._remaining > _WORTH_AN_ESTIMATE:
                _log.info("%s: %s", self._clip.name, _duration(self._remaining, seconds))


def _preview(
    item: Item,
    video: Conversion,
    clip: Clip,
    backend: Backend,
    settings: Settings,
    on_plan: Callable[[int], None],
    on_frame: Callable[[], None],
) -> Result:
    """Write some frames, evenly spaced, as pictures beside the target, and estimate the time of the whole."""
    assert settings.preview is not None
    times = video.times(min(settings.preview, video.count or settings.preview))
    frames = _Frames(clip, backend, settings, 0, on_frame)
    on_plan(len(times))
    target, spent, written = item.targets[0], [], []
    pictures = [target.with_name(f"{target.stem}_preview_{float(at):09.3f}s.png") for at in times]
    if not settings.overwrite and (others := [path for path in pictures if path.exists()]):
        raise UsageError(f"{others[0]} exists: overwrite it, or give another folder", settings=("overwrite", "out"))
    for picture, at, views in zip(pictures, times, video.source.views_at(times), strict=False):
        started = time.perf_counter()
        pair = frames(*views, at)
        spent.append(time.perf_counter() - started)
        layout = "sbs" if item.out_layout == "pair" else item.out_layout
        write_pictures([(picture, join_views(*pair, layout, target))])
        written.append(picture)
    # the first one may have been slow, as engines and memory are made ready
    estimate = _duration(video.count, min(spent)) if spent and video.count else "the file does not say how long it is"
    notes = [f"preview of {len(written)} frames; {estimate}", *clip.notes]
    return Result(
        replace(item, targets=tuple(written)),
        "done",
        size=clip.size,
        output_size=clip.output_size,
        tiles=frames.plan.count,
        frames=frames.done,
        seconds=sum(spent),
        peak_memory=peak_memory(),
        warnings=notes,
    )


def _duration(frames: int, seconds: float) -> str:
    """How long frames take, for people."""
    whole = frames * seconds
    told = f"{whole / 3600:.1f} hours" if whole >= 3600 else f"{whole / 60:.1f} minutes"
    return f"{frames} frames at {seconds:.2f} s each take about {told}"


def _in_order(left: Picture, right: Picture, settings: Settings) -> tuple[Picture, Picture]:
    return (right, left) if settings.swap else (left, right)
