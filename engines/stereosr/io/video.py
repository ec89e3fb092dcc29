"""Two views in video, in and out, through PyAV: frame by frame, in segments that survive a stop."""

import logging
import queue
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from stereosr.errors import StereosrError, UsageError
from stereosr.io.images import Picture
from stereosr.io.layouts import Layout, detect_halves, is_right_first, join_views
from stereosr.io.video_encode import Style, VideoOptions, choose_style, output_suffix, write_segment
from stereosr.io.video_mux import MuxPlan, end_of_segment, join, plan_mux
from stereosr.io.video_source import Gray, Span, StereoSource, ViewReader, av_errors, sample, stream_count
from stereosr.io.video_tags import Tags, packing_of
from stereosr.types import Pixels

__all__ = ["SEGMENT", "SUFFIXES", "Conversion", "VideoOptions", "check_layouts", "detect_video_layout", "output_suffix"]

SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"}
"""What is taken for a video."""

SEGMENT = 24
"""Frames that are lost at most where a job is killed."""

QUEUE_DEPTH = 2
"""Frames that are read ahead, and that wait to be encoded."""

_READ: tuple[Layout, ...] = ("sbs", "sbs-half", "ou", "ou-half", "pair")
_WRITTEN: tuple[Layout, ...] = (*_READ, "anaglyph")

_log = logging.getLogger("stereosr")
_T = TypeVar("_T")
Work = Callable[[Picture, Picture, Fraction], tuple[Picture, Picture]]
"""What is done to the views of a frame; it is told when the frame is shown, seconds from the first one."""


def check_layouts(path: Path, layout: Layout, out_layout: Layout) -> None:
    """Raises UsageError for layouts that a video cannot be read or written in."""
    if layout not in _READ:
        raise UsageError(
            f"{path}: a video cannot be read as {layout}: choose {' or '.join(_READ)}", settings=("layout",)
        )
    if out_layout not in _WRITTEN:
        raise UsageError(
            f"{path}: a video cannot be written as {out_layout}: choose {' or '.join(_WRITTEN)}",
            settings=("out_layout",),
        )


def detect_video_layout(path: Path) -> Layout | None:
    """How a video holds two views, by what it and its name say and by the halves of its frames.

    Args:
        path: of the file.

    Returns:
        ``pair`` for two streams of pictures; None if there is one view.

    Raises:
        StereosrError: if it cannot be read.
        UsageError: without PyAV.
    """
    info, frames = sample(path)
    if stream_count(path) == 2 and sample(path, 1, 1)[0].size == info.size:
        return "pair"
    found = (detect_halves(frame, f"{path.stem} {info.tags.packing}") for frame in frames)
    return next((layout for layout in found if layout), None)


@dataclass(frozen=True, slots=True)
class ConversionResult:
    """What became of a video.

    Attributes:
        missing: frames of the source that could not be read.
        notes: what people should know, a line each.
    """

    missing: int
    notes: list[str]


class Conversion:
    """A video to be read, worked on frame by frame, and written; what is done lies in segments in a hidden folder
    beside the first target until the targets are whole."""

    def __init__(
        self,
        sources: tuple[Path, ...],
        targets: tuple[Path, ...],
        layouts: tuple[Layout, Layout],
        result_size: Callable[[int, int], tuple[int, int]],
        options: VideoOptions | None = None,
    ) -> None:
        """Look at the source.

        Args:
            sources: one file, or that of the left view and that of the right one.
            targets: the same of the result.
            layouts: of the source and of the target; ``pair`` for two files, or for two streams of one source.
            result_size: gives rows and columns of a view's result by those of the view.
            options: how the target is written.

        Raises:
            StereosrError: if the source cannot be read, is interlaced or lacks timestamps.
            UsageError: for a layout that a video cannot have, or a part that it does not have.
        """
        check_layouts(sources[0], *layouts)
        self.options = options or VideoOptions()
        self.source = StereoSource.open(sources, layouts[0])
        self._targets, self._layout, self._result_size = targets, layouts[1], result_size
        self._parts = targets[0].with_name(f".{targets[0].name}.parts")
        self._span = self._trim_span()

    @property
    def count(self) -> int:
        """How many frames there are to do, as far as the source knows; 0 if it does not."""
        info = self.source.infos[0]
        if self._span is None:
            return info.count
        ends = [Fraction(info.count) / info.rate] if info.count else []
        if self._span.end is not None:
            ends.append(self._span.end)
        return max(0, round((min(ends) - self._span.start) * info.rate)) if ends else 0

    def times(self, count: int) -> list[Fraction]:
        """``count`` times evenly spaced over what is wanted, seconds from the first frame."""
        rate, total = self.source.infos[0].rate, max(1, self.count)
        start = Fraction(0) if self._span is None else self._span.start
        return [start + total * (2 * i + 1) // (2 * count) / rate for i in range(count)]

    def thumbnails(self) -> Iterator[tuple[Fraction, Gray]]:
        """As those of the source, of what is to be done."""
        return self.source.thumbnails(self._span or Span())

    def finished_frames(self, key: str) -> int:
        """How many frames a ``run`` with this ``key`` would find done."""
        note = self._parts / "key"
        ours = note.exists() and note.read_text() == key
        return SEGMENT * len(list(self._parts.glob("*.nut"))) if ours else 0

    def run(
        self, work: Work, key: str, before_rename: Callable[[Mapping[Path, Path]], None] = lambda _finished: None
    ) -> ConversionResult:
        """Do ``work`` on every frame, in the calling thread, while others read ahead and encode.

        All that can be decided is decided before the first frame: which streams of the source fit the new file is
        tried with the real containers. The targets appear when they are whole.

        Args:
            work: is given the left and the right view and their time. What it raises passes through unchanged.
            key: another run with the same one goes on where this one was stopped.
            before_rename: called with the targets and the finished files that are about to get their names; an error
                it raises prevents that.

        Returns:
            What is to be said of it.

        Raises:
            StereosrError: if the source cannot be read, or the target not be written.
            UsageError: for options that contradict each other.
        """
        before = self.finished_frames(key)
        if not before:
            self._begin(key)
        try:
            style, plans, notes = self._plan()
            reader = self.source.reader()
            self._upscale(work, reader, before, style)
            segments = sorted(self._parts.glob("*.nut"))
            if not segments:
                raise UsageError(f"{self.source.name}: no frame lies in the part to do", settings=("trim",))
            joined = self._join(segments, plans, notes)
            before_rename(joined)
            for target, finished in joined.items():
                with av_errors(f"cannot write {target}"):
                    finished.replace(target)
            shutil.rmtree(self._parts, ignore_errors=True)
        finally:
            if not self.finished_frames(key):
                shutil.rmtree(self._parts, ignore_errors=True)
            elif self._parts.exists():
                _log.warning("what is done of %s lies in %s: the same command goes on", self.source.name, self._parts)
        return ConversionResult(reader.missing, notes + reader.notes)

    def _trim_span(self) -> Span | None:
        if self.options.trim is None:
            return None
        start, end = self.options.trim
        span = Span(Fraction(start).limit_denominator(10**6), None)
        if end is not None:
            span = replace(span, end=Fraction(end).limit_denominator(10**6))
            if end <= start:
                raise UsageError(
                    f"nothing lies between {start:g} and {end:g} seconds: a part ends after it starts",
                    settings=("trim",),
                )
        info = self.source.infos[0]
        if info.count and span.start >= info.count / info.rate:
            raise UsageError(
                f"{info.path} ends before {start:g} seconds: it is {float(info.count / info.rate):.1f} seconds long"
            )
        return span

    def _begin(self, key: str) -> None:
        """An empty folder for the segments of this key."""
        with av_errors(f"cannot write {self._parts}"):
            if self._parts.exists():
                shutil.rmtree(self._parts)
            self._parts.mkdir(parents=True)
            (self._parts / "key").write_text(key)

    def _plan(self) -> tuple[Style, list[MuxPlan], list[str]]:
        """How the frames are encoded, and what goes into each target: tried with a blank frame of the real size."""
        info = self.source.infos[0]
        height, width = info.size
        if self.source.layout != "pair":
            height, width = self.source.samples(1)[0][0].pixels.shape[:2]
        dtype = np.uint16 if (info.bits if self.options.depth is None else self.options.depth) > 8 else np.uint8
        rows, columns = self._result_size(height, width)
        blank = Picture(np.zeros((rows, columns, 3), dtype))
        pictures = self._pictures(blank, blank)
        tags = self._tags(columns / width)
        style, notes = choose_style(info, pictures[0].shape[:2], tags, self.options)
        if info.orientation is None:
            notes.append("the display matrix is no quarter turn: left out")
        trial = self._parts / "trial.piece"
        tick = max(1, round(1 / info.rate / info.time_base))
        try:
            try:
                write_segment(trial, [(n * tick, pictures) for n in range(2)], style)
            except StereosrError as error:
                why = str(error).rsplit(": ", 1)[-1]
                raise StereosrError(
                    f"cannot write {self._targets[0]}: {style.codec.encoder} does not encode this here ({why}); choose "
                    "another codec, preset or layout",
                    settings=("codec", "preset", "out_layout"),
                ) from error
            plans = []
            for number, target in enumerate(self._targets):
                of = self.source.infos[number if len(self.source.infos) == len(self._targets) else 0]
                read = frozenset(other.index for other in self.source.infos if other.path == of.path)
                plan = MuxPlan(of, tags, style.colours, self._span)
                plan = plan_mux(plan, read, (trial, number), self._parts / f"trial{target.suffix}")
                plans.append(plan)
                notes += [note for note in plan.notes if note not in notes]
        finally:
            trial.unlink(missing_ok=True)
        return style, plans, notes

    def _tags(self, scale: float) -> Tags:
        """What the new video says of its pictures, which are so many times larger."""
        old = self.source.infos[0].tags
        packing, spherical = packing_of(self._layout), old.spherical
        if spherical is not None:
            spherical = replace(spherical, padding=round(spherical.padding * scale))
        right_first = bool(packing) and is_right_first(self._targets[0], self._layout)
        return Tags(packing, right_first, spherical, old.mastering, old.light)

    def _pictures(self, left: Picture, right: Picture) -> tuple[Pixels, ...]:
        """What is written of two views: a picture for each target."""
        if self._layout == "pair":
            return left.pixels, right.pixels
        return (join_views(left, right, self._layout, self._targets[0]).pixels,)

    def _upscale(self, work: Work, reader: ViewReader, before: int, style: Style) -> None:
        """All segments from frame ``before`` on."""
        info, ticks = self.source.infos[0], 0
        if self._span is not None:
            ticks = round((info.start + self._span.start) / info.time_base)
        after = None
        if before:
            end = end_of_segment(max(self._parts.glob("*.nut")))
            after = round(end / info.time_base) + ticks
        with (
            prefetch(reader.read(after, self._span or Span()), QUEUE_DEPTH) as frames,
            _SegmentWriter(self._parts, before, style) as out,
        ):
            for pts, left, right in frames:
                time = pts * info.time_base - info.start
                out.put((pts - ticks, self._pictures(*work(left, right, time))))

    def _join(self, segments: list[Path], plans: list[MuxPlan], notes: list[str]) -> dict[Path, Path]:
        """The targets and the finished files that are to get their names; adds to ``notes``."""
        joined = {}
        try:
            for number, (target, plan) in enumerate(zip(self._targets, plans, strict=True)):
                joined[target] = self._parts / f"joined{number}{target.suffix}"
                if dropped := join(segments, number, joined[target], plan):
                    notes.append(f"{dropped} packets of sound or other streams are damaged: left out of {target.name}")
        except BaseException:
            for finished in joined.values():
                finished.unlink(missing_ok=True)
            raise
        return joined


# --- threads ---------------------------------------------------------------------------------------------------------

_END = object()


@contextmanager
def prefetch(items: Iterable[_T], depth: int) -> Iterator[Iterator[_T]]:
    """The same items, fetched in a thread of their own, which ends with the ``with``.

    Args:
        items: what fetching them raises is raised where the item would have come.
        depth: how many of them may wait.
    """
    fetched: queue.Queue[object] = queue.Queue(depth)
    stop = threading.Event()

    def hand_on(item: object) -> None:
        while not stop.is_set():
            try:
                fetched.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def fetch() -> None:
        iterator = iter(items)
        try:
            item: object = None
            while item is not _END and not stop.is_set():
                hand_on(item := next(iterator, _END))
        except BaseException as error:
            hand_on(error)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def given() -> Iterator[_T]:
        while (item := fetched.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item  # type: ignore[misc]

    thread = threading.Thread(target=fetch, name="stereosr-decode", daemon=True)
    thread.start()
    try:
        yield given()
    finally:
        stop.set()
        thread.join()


_Encoded = tuple[int, tuple[Pixels, ...]]


class _Stopped(Exception):
    """There is no more to write: what is begun is thrown away."""


class _SegmentWriter:
    """Writes segments in a thread of its own; ``QUEUE_DEPTH`` frames may wait for it."""

    def __init__(self, parts: Path, before: int, style: Style) -> None:
        self._waiting: queue.Queue[object] = queue.Queue(QUEUE_DEPTH)
        self._pool = ThreadPoolExecutor(1, "stereosr-encode")
        self._writing: Future[None] = self._pool.submit(self._write, parts, before, style)

    def put(self, frame: _Encoded | object) -> None:
        """Encode a frame; waits where others wait already. Raises what an earlier one met."""
        while True:
            if self._writing.done():
                self._writing.result()
            try:
                return self._waiting.put(frame, timeout=0.1)
            except queue.Full:
                continue

    def __enter__(self) -> "_SegmentWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            if kind is None:
                self.put(_END)
                self._writing.result()
            else:
                while not self._writing.done():  # an error of its own is not the first one
                    try:
                        self._waiting.put(_Stopped(), timeout=0.1)
                    except queue.Full:
                        continue
                    break
        finally:
            self._pool.shutdown()

    def _write(self, parts: Path, before: int, style: Style) -> None:
        frames = self._frames()
        number = before
        for first in frames:
            write_segment(parts / f"{number:09}.nut", chain([first], islice(frames, SEGMENT - 1)), style)
            number += SEGMENT

    def _frames(self) -> Iterator[_Encoded]:
        while (item := self._waiting.get()) is not _END:
            if isinstance(item, Exception):
                raise item
            yield item  # type: ignore[misc]
