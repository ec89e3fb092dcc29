"""Side-by-side and over-under video, in and out, through PyAV: frame by frame, in segments that survive a stop."""

import heapq
import re
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from stereosr.errors import StereosrError, UsageError, install_hint
from stereosr.io.images import Picture
from stereosr.io.layouts import Layout, detect_halves, join_views, split_halves
from stereosr.types import Pixels

SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"}
"""What is taken for a video."""

SEGMENT = 24
"""Frames that are lost at most where a job is killed."""

# What H.264 calls the layouts; players go by it.
_PACKING: dict[Layout, int] = {"sbs": 3, "sbs-half": 3, "ou": 4, "ou-half": 4}
_WRITTEN = (*_PACKING, "anaglyph")
_MP4 = {".mp4", ".m4v", ".mov"}
_QUALITY = 70
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}  # a frame's colour matrix to its name in swscale

_T = TypeVar("_T")
Work = Callable[[Picture, Picture], tuple[Picture, Picture]]
"""What is done to the views of a frame."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Frames from all over a video, H x W x 3, the first one first; ``packing`` is what it says of itself: sbs or ou.

    ``count`` is the number of its frames, as far as its file knows.
    """

    frames: tuple[Pixels, ...]
    packing: str
    count: int


def output_suffix(path: Path) -> str:
    """The suffix of what is made of a video: ``.mkv`` if the source's container cannot hold H.264."""
    return path.suffix if path.suffix.lower() in _MP4 else ".mkv"


def sample(path: Path, most: int = 5) -> Sample:
    """Look into a video. Raises StereosrError if it cannot be read."""
    frames: dict[int, Pixels] = {}
    packing = ""
    with _reading(path) as (file, stream), _errors(f"cannot read {path}"):
        for part in range(most if file.duration else 1):
            if part:
                file.seek(file.duration * part // most)
            frame = next(file.decode(stream), None)
            if frame is None:
                break
            frames[frame.pts] = _pixels(frame)
            packing = packing or _packing(frame)
        total = stream.frames or round((file.duration or 0) / 1e6 * (stream.average_rate or 0))
    if not frames:
        raise StereosrError(f"cannot read {path}: it has no frames")
    return Sample(tuple(frames.values()), packing, total)


def detect_video_layout(path: Path) -> Layout | None:
    """How the frames hold two views, by what the file and its name say and by the halves; None if they show one."""
    seen = sample(path)
    found = (detect_halves(frame, f"{path.stem} {seen.packing}") for frame in seen.frames)
    return next((layout for layout in found if layout), None)


def convert(
    source: Path,
    target: Path,
    layouts: tuple[Layout, Layout],
    work: Work,
    key: str,
    quality: int | None = None,
    depth: int | None = None,
    before_rename: Callable[[Path], None] = lambda _finished: None,
) -> None:
    """Do ``work`` on every frame of a video, and write H.264 with the same timestamps, audio and subtitles.

    What is done lies in segments in a hidden folder beside the target; another call with the same ``key`` goes on from
    there. The target appears when it is whole.

    Args:
        layouts: of the source and of the target.
        quality: 1 to 100, where 100 is lossless.
        depth: 8 bits a sample, 16 for 10 of them, None as in the source.
        before_rename: called with the finished file just before it gets the name ``target``; an error it raises
            prevents that.

    What ``work`` and ``before_rename`` raise passes through unchanged.

    Raises:
        StereosrError: if the source cannot be read, is interlaced or lacks timestamps, or the target not be written.
        UsageError: for a layout that a video cannot have.
    """
    if layouts[0] not in _PACKING:
        raise UsageError(f"a video cannot be read as {layouts[0]}: pass --layout {' or '.join(_PACKING)}")
    if layouts[1] not in _WRITTEN:
        raise UsageError(f"a video cannot be written as {layouts[1]}: pass --out-layout {' or '.join(_WRITTEN)}")
    style = _style(source, layouts[1], quality, depth)
    before = finished_frames(target, key)
    parts = _parts(target)
    if not before:
        _begin(parts, key)
    frames = _frames(source, layouts[0], before)
    done = ((pts, join_views(*work(left, right), layouts[1], target).pixels) for pts, left, right in frames)
    try:
        for number, first in zip(count(before, SEGMENT), done, strict=False):
            _write_segment(parts / f"{number:09}.nut", chain([first], islice(done, SEGMENT - 1)), style)
        _join(parts, source, target, before_rename)
        shutil.rmtree(parts)
    finally:
        if not finished_frames(target, key):
            shutil.rmtree(parts, ignore_errors=True)


def finished_frames(target: Path, key: str) -> int:
    """How many frames a call with this ``key`` would find done."""
    parts = _parts(target)
    note = parts / "key"
    ours = note.exists() and note.read_text() == key
    return SEGMENT * len(list(parts.glob("*.nut"))) if ours else 0


def _parts(target: Path) -> Path:
    return target.with_name(f".{target.name}.parts")


# --- reading ---------------------------------------------------------------------------------------------------------


@contextmanager
def _reading(path: Path) -> Iterator[tuple[Any, Any]]:
    """A video file and its first picture stream, open. What goes wrong inside the ``with`` is not renamed."""
    with _errors(f"cannot read {path}"):
        import av.stream

        file = av.open(str(path))
    with file:
        cover = av.stream.Disposition.attached_pic
        stream = next((s for s in file.streams.video if not s.disposition & cover), None)
        if stream is None:
            raise StereosrError(f"cannot read {path}: there is no video in it")
        stream.thread_type = "AUTO"
        yield file, stream


def _named(what: str, items: Iterable[_T]) -> Iterator[_T]:
    """The same items. An error while one is fetched says ``what``; an error of whoever uses the items does not."""
    iterator = iter(items)
    while True:
        with _errors(what):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        import av
    except ImportError:
        raise UsageError(f"videos need PyAV: {install_hint('video')}") from None
    try:
        yield
    except StereosrError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        raise StereosrError(f"{what}: {getattr(error, 'strerror', None) or error}") from error


def _frames(path: Path, layout: Layout, skip: int) -> Iterator[tuple[int, Picture, Picture]]:
    """The timestamp and the views of every frame but the first ``skip``."""
    last, what = None, f"cannot read {path}"
    with _reading(path) as (file, stream):
        for number, frame in enumerate(_named(what, file.decode(stream))):
            if frame.pts is None or (last is not None and frame.pts <= last):
                raise StereosrError(
                    f"{path}: frame {number} has no timestamp of its own: remux it first, e.g. ffmpeg -fflags +genpts "
                    "-i FILE -c copy NEW.mkv"
                )
            if frame.interlaced_frame:
                raise StereosrError(f"{path} is interlaced: make whole frames first, e.g. by ffmpeg -vf bwdif")
            last = frame.pts
            if number >= skip:
                with _errors(what):
                    views = split_halves(Picture(_pixels(frame)), layout, path)
                yield frame.pts, *views


def _pixels(frame: Any) -> Pixels:
    name = "rgb48le" if _bits(frame) > 8 else "rgb24"
    pixels: Pixels = frame.to_ndarray(format=name, interpolation=_scaler())
    return pixels


def _bits(frame: Any) -> int:
    return max(int(component.bits) for component in frame.format.components)


def _scaler() -> Any:
    from av.video.reformatter import Interpolation

    return Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def _packing(frame: Any) -> str:
    """What H.264 or Matroska says of how a frame holds two views, ``sbs`` or ``ou``."""
    for data in frame.side_data:
        if data.type.name == "STEREO3D":
            return {1: "sbs", 2: "ou"}.get(struct.unpack("=i", bytes(data)[:4])[0], "")  # AVStereo3DType
    return ""


# --- writing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Style:
    """What all segments have in common."""

    pix_fmt: str
    time_base: Any
    rate: Any
    aspect: Any
    colours: dict[str, int]
    options: dict[str, str]


def _style(path: Path, layout: Layout, quality: int | None, depth: int | None) -> _Style:
    with _reading(path) as (file, stream), _errors(f"cannot read {path}"):
        frame = next(file.decode(stream), None)
        if frame is None:
            raise StereosrError(f"cannot read {path}: it has no frames")
        wide = _bits(frame) > 8 if depth is None else depth > 8
        chroma = re.match(r"yuvj?(4\d\d)p", frame.format.name)
        crf = 51 * (100 - (_QUALITY if quality is None else quality)) / 100
        # Without B-frames packets lie in the order of their timestamps, and segments join without a seam.
        options = {"crf": str(crf), "bf": "0"}
        if layout in _PACKING:
            options["x264-params"] = f"frame-packing={_PACKING[layout]}"
        return _Style(
            f"yuv{chroma[1] if chroma else 420}p{'10le' if wide else ''}",
            stream.time_base,
            stream.average_rate or 25,
            stream.sample_aspect_ratio,
            {n: int(getattr(frame, n)) for n in ("colorspace", "color_range", "color_primaries", "color_trc")},
            options,
        )


def _begin(parts: Path, key: str) -> None:
    """An empty folder for the segments of this key."""
    with _errors(f"cannot write {parts}"):
        if parts.exists():
            shutil.rmtree(parts)
        parts.mkdir(parents=True)
        (parts / "key").write_text(key)


def _write_segment(path: Path, frames: Iterable[tuple[int, Pixels]], style: _Style) -> None:
    """A piece of the video, whole or not at all, in NUT, which keeps any timestamp."""
    unfinished, what = path.with_suffix(".unfinished"), f"cannot write {path}"
    try:
        with ExitStack() as opened:
            with _errors(what):
                import av

                file = opened.enter_context(av.open(str(unfinished), "w", format="nut"))
            stream: Any = None
            for pts, pixels in frames:  # what fails in here is not the writing
                with _errors(what):
                    if stream is None:
                        stream = _add_stream(file, pixels, style)
                    file.mux(stream.encode(_frame(pixels, pts, style)))
            with _errors(what):
                file.mux(stream.encode(None))
                opened.close()
                unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _add_stream(file: Any, pixels: Pixels, style: _Style) -> Any:
    stream = file.add_stream("libx264", rate=style.rate, options=style.options)
    stream.height, stream.width = pixels.shape[:2]
    stream.pix_fmt = style.pix_fmt
    stream.time_base = stream.codec_context.time_base = style.time_base
    if style.aspect:
        stream.codec_context.sample_aspect_ratio = style.aspect
    for name, value in style.colours.items():
        setattr(stream.codec_context, name, value)
    return stream


def _frame(pixels: Pixels, pts: int, style: _Style) -> Any:
    import av

    samples: Any = np.ascontiguousarray(pixels)
    rgb = av.VideoFrame.from_ndarray(samples, "rgb24" if pixels.dtype == np.uint8 else "rgb48le")
    frame = rgb.reformat(
        format=style.pix_fmt,
        dst_colorspace=_MATRICES.get(style.colours["colorspace"]),
        dst_color_range=style.colours["color_range"],
        interpolation=_scaler(),
    )
    frame.pts, frame.time_base = pts, style.time_base
    return frame


def _join(parts: Path, source: Path, target: Path, before_rename: Callable[[Path], None]) -> None:
    """The segments in a row, beside what else the source holds, packet by packet."""
    joined = parts / f"joined{target.suffix}"
    try:
        with _errors(f"cannot write {target}"), _reading(source) as (file, original):
            import av

            segments = sorted(parts.glob("*.nut"))
            options = {"movflags": "+faststart"} if target.suffix.lower() in _MP4 else {}
            with av.open(str(joined), "w", options=options) as out:
                with av.open(str(segments[0])) as first:
                    video = out.add_stream_from_template(first.streams.video[0])
                video.time_base = original.time_base
                kept = [s for s in file.streams if s.type in ("audio", "subtitle")]
                copies: dict[int, Any] = {s.index: out.add_stream_from_template(s) for s in kept}
                for old, new in [(original, video), *((s, copies[s.index]) for s in kept)]:
                    new.metadata.update(old.metadata)
                out.metadata.update(file.metadata)
                pictures = (
                    (packet, video) for packet in _lasting(p for path in segments for p in _video_packets(path))
                )
                others = ((p, copies[p.stream.index]) for p in _packets(file, kept))
                for packet, stream in heapq.merge(pictures, others, key=lambda p: p[0].dts * p[0].time_base):
                    packet.stream = stream
                    out.mux(packet)
        before_rename(joined)
        with _errors(f"cannot write {target}"):
            joined.replace(target)
    finally:
        joined.unlink(missing_ok=True)


def _video_packets(path: Path) -> Iterator[Any]:
    with _reading(path) as (file, stream):
        yield from _packets(file, [stream])


def _lasting(packets: Iterable[Any]) -> Iterator[Any]:
    """Each shown until the next one, the last one as long as that before: NUT keeps no durations."""
    held: Any = None
    for packet in packets:
        if held is not None:
            packet.duration = held.duration = packet.pts - held.pts
            yield held
        held = packet
    if held is not None:
        yield held


def _packets(file: Any, streams: list[Any]) -> Iterator[Any]:
    for packet in _named(f"cannot read {file.name}", file.demux(streams)) if streams else ():
        if packet.pts is not None:  # the last one, which is empty, has none
            packet.dts = packet.pts if packet.dts is None else packet.dts
            yield packet
