"""Videos that are written: codecs, what all frames have in common, segments."""

import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from stereosr.errors import UsageError
from stereosr.io.video_source import MP4, Colours, VideoInfo, av_errors, scaler
from stereosr.io.video_tags import Tags
from stereosr.types import Pixels

START_TAG = "comment"
"""The tag of a segment that tells when its first frame is shown, in seconds, where its format does not."""

_QUALITY = 70
_H264_MAX_SIDE = 4096
"""Pixels a side that H.264's decoders take."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec that videos are written in.

    Attributes:
        encoder: FFmpeg's.
        suffixes: of containers that hold it, beside Matroska's.
        worst_quality: of the encoder's scale of quality, whose best is 0; None where quality is not chosen.
        quality_option: the option that takes quality.
        options: of the encoder. None of them has B-frames: packets lie in the order of their timestamps, and segments
            join without a seam.
        params: the option that takes the encoder library's own parameters, and those that are always given.
        has_presets: whether there is an option ``preset``.
        segments: the format of segments: NUT, which keeps any timestamp, or MOV, which keeps their distance.
    """

    encoder: str
    suffixes: tuple[str, ...] = MP4
    worst_quality: int | None = None
    quality_option: str = "crf"
    options: tuple[tuple[str, str], ...] = ()
    params: tuple[str, str] = ("", "")
    has_presets: bool = True
    segments: str = "nut"


CODECS = {
    "h264": Codec("libx264", worst_quality=51, options=(("bf", "0"),), params=("x264-params", "")),
    "hevc": Codec("libx265", worst_quality=51, params=("x265-params", "bframes=0:log-level=error")),
    "av1": Codec("libsvtav1", (".mp4", ".m4v"), worst_quality=63, params=("svtav1-params", "")),
    "prores": Codec("prores_ks", (".mov",), has_presets=False, segments="mov"),
    "ffv1": Codec("ffv1", (), options=(("level", "3"), ("slicecrc", "1")), has_presets=False),
    "hevc_nvenc": Codec("hevc_nvenc", worst_quality=51, quality_option="cq", options=(("bf", "0"), ("rc", "vbr"))),
}
"""By the names that people choose them by."""


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How a video is written.

    Attributes:
        codec: a key of ``CODECS``; None for H.264, or HEVC where a side is longer than 4096 pixels.
        preset: of the encoder: how much effort it makes.
        quality: 1 to 100; None for 70.
        depth: 8 bits a sample, 16 for 10 of them or as many as the source has; None as in the source.
        trim: seconds from the beginning at which to start and to end; the end may be None.
    """

    codec: str | None = None
    preset: str | None = None
    quality: int | None = None
    depth: int | None = None
    trim: tuple[float, float | None] | None = None


@dataclass(frozen=True, slots=True)
class Style:
    """What all frames of a video have in common.

    Attributes:
        codec: that they are encoded by.
        pix_fmt: FFmpeg's name of the encoder's samples.
        time_base: seconds, the unit of their timestamps.
        rate: frames a second, as the file says; timestamps decide.
        aspect: width to height of a pixel; None if the source does not say it.
        colours: matrix, range, primaries and transfer that are used and written.
        options: of the encoder, by FFmpeg's names.
    """

    codec: Codec
    pix_fmt: str
    time_base: Fraction
    rate: Fraction
    aspect: Fraction | None
    colours: Colours
    options: dict[str, str]


def output_suffix(path: Path, codec: str | None = None) -> str:
    """The suffix of what is made of a video: the source's where its container holds the codec, else another's.

    Args:
        path: of the source.
        codec: a key of ``CODECS``; None as in ``VideoOptions``.
    """
    suffixes = CODECS[codec or "h264"].suffixes
    if path.suffix.lower() in (*suffixes, ".mkv"):
        return path.suffix
    return suffixes[0] if len(suffixes) == 1 else ".mkv"


def choose_style(info: VideoInfo, size: tuple[int, int], tags: Tags, options: VideoOptions) -> tuple[Style, list[str]]:
    """How frames of this size are encoded, and what cannot be kept of the source, a line each.

    Args:
        info: of the source.
        size: rows and columns of a frame that is written.
        tags: what the new video says of itself.
        options: what was asked for.

    Returns:
        The style, and the lines.

    Raises:
        UsageError: for a codec that is not known, or a preset where there are none.
    """
    name = options.codec or ("hevc" if max(size) > _H264_MAX_SIDE else "h264")
    if name not in CODECS:
        raise UsageError(f"invalid codec {name!r}: choose one of {', '.join(CODECS)}")
    codec = CODECS[name]
    if options.preset and not codec.has_presets:
        raise UsageError(f"{name} has no presets: leave the preset out", settings=("preset",))
    bits = {None: info.bits, 8: 8}.get(options.depth, max(10, info.bits))
    chroma = "420" if info.is_rgb and codec.worst_quality is not None else info.chroma  # players of these know no other
    pix_fmt, has_chroma, has_bits = _pixel_format(codec, chroma, bits)
    notes = []
    if has_chroma < chroma:
        notes.append(f"colour is kept in 4:{has_chroma[1]}:{has_chroma[2]}, not 4:{chroma[1]}:{chroma[2]}: {name}")
    if has_bits < bits:
        notes.append(f"{bits} bits a sample become {has_bits}: {name}")
    if options.quality is not None and codec.worst_quality is None:
        notes.append(f"{name} has one quality: the one asked for is left out")
    if info.has_alpha:
        notes.append("the alpha channel is left out")
    colours = info.colours
    if info.is_rgb:
        colours = replace(colours, colorspace=1, color_range=1)
    chosen = dict(codec.options)
    if codec.worst_quality is not None:
        dial = codec.worst_quality * (100 - (_QUALITY if options.quality is None else options.quality)) / 100
        chosen[codec.quality_option] = f"{dial:g}" if codec.worst_quality == 51 else str(round(dial))
    elif codec.encoder == "prores_ks":
        chosen["profile"] = "4" if has_chroma == "444" else "3"
    if options.preset:
        chosen["preset"] = options.preset
    if codec.params[0]:
        params = [codec.params[1], *_bitstream_metadata(codec.encoder, tags)]
        chosen |= {codec.params[0]: ":".join(filter(None, params))} if any(params) else {}
    return Style(codec, pix_fmt, info.time_base, info.rate, info.aspect, colours, chosen), notes


def _pixel_format(codec: Codec, chroma: str, bits: int) -> tuple[str, str, int]:
    """The encoder's format that holds this, or comes next to it; its subsampling and its bits."""
    with av_errors(f"cannot encode by {codec.encoder}"):
        from av.codec import Codec as AvCodec

        names = [known.name for known in AvCodec(codec.encoder, "w").video_formats or ()]
    found = []
    for name in names:
        if match := re.fullmatch(r"yuv(420|422|444)p(?:(\d+)le)?", name):
            found.append((name, match[1], int(match[2] or 8)))
        elif name == "p010le":
            found.append((name, "420", 10))
    lacks = [(max(0, bits - b), max(0, int(chroma) - int(c)), int(c), b) for _, c, b in found]
    return found[lacks.index(min(lacks))]


def _bitstream_metadata(encoder: str, tags: Tags) -> list[str]:
    """What the stream itself says of its pictures, for players that do not look at the container."""
    params = []
    if encoder == "libx264" and tags.packing and not tags.right_first:
        params.append(f"frame-packing={ {'sbs': 3, 'ou': 4}[tags.packing] }")
    if encoder in ("libx264", "libx265"):
        if tags.mastering is not None:
            r, g, b, white, (most, least) = (tags.mastering[at : at + 2] for at in (0, 2, 4, 6, 8))
            colours = "".join(f"{n}({x},{y})" for n, (x, y) in (("G", g), ("B", b), ("R", r), ("WP", white)))
            params.append(f"{'mastering' if encoder == 'libx264' else 'master'}-display={colours}L({most},{least})")
        if tags.light is not None:
            params.append(f"{'cll' if encoder == 'libx264' else 'max-cll'}={tags.light[0]},{tags.light[1]}")
    return params


def write_segment(path: Path, frames: Iterable[tuple[int, tuple[Pixels, ...]]], style: Style) -> None:
    """A piece of one video or of two, whole or not at all, in a format that keeps any timestamp.

    Args:
        path: of the piece.
        frames: timestamps, and the pictures of each video, H x W x 3, RGB. What fetching them raises passes through.
        style: of all of them.

    Raises:
        StereosrError: if it cannot be written.
    """
    unfinished, what = path.with_suffix(".unfinished"), f"cannot write {path}"
    try:
        with ExitStack() as opened:
            with av_errors(what):
                import av

                options = {"movflags": "frag_keyframe+empty_moov+frag_discont+default_base_moof"}
                kind = style.codec.segments
                file = opened.enter_context(
                    av.open(str(unfinished), "w", format=kind, container_options=options if kind == "mov" else {})
                )
            streams: list[Any] = []
            for pts, pictures in frames:
                with av_errors(what):
                    if not streams:
                        streams = [_add_stream(file, pixels, style) for pixels in pictures]
                        file.metadata[START_TAG] = str(pts * style.time_base)
                    for stream, pixels in zip(streams, pictures, strict=True):
                        file.mux(stream.encode(_frame(pixels, pts, style)))
            with av_errors(what):
                for stream in streams:
                    file.mux(stream.encode(None))
                opened.close()
                unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _add_stream(file: Any, pixels: Pixels, style: Style) -> Any:
    stream = file.add_stream(style.codec.encoder, rate=style.rate, options=style.options)
    stream.height, stream.width = pixels.shape[:2]
    stream.pix_fmt = style.pix_fmt
    stream.time_base = stream.codec_context.time_base = style.time_base
    if style.aspect:
        stream.codec_context.sample_aspect_ratio = style.aspect
    for name in Colours.__slots__:
        setattr(stream.codec_context, name, getattr(style.colours, name))
    with _ordinary_priority():
        stream.codec_context.open()
    return stream


@contextmanager
def _ordinary_priority() -> Iterator[None]:
    """Where it may, as root, SVT-AV1 makes the thread that opens it and all of its own real-time ones, for good: they
    would starve whatever else the machine does, and so would every program started later."""
    if not hasattr(os, "sched_setscheduler"):  # Linux has it
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    before = _threads() - {threading.get_native_id()}
    yield
    for thread in _threads() - before:
        with suppress(ProcessLookupError):
            os.sched_setscheduler(thread, policy, parameters)


def _threads() -> set[int]:
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}


def _frame(pixels: Pixels, pts: int, style: Style) -> Any:
    import av

    samples: Any = np.ascontiguousarray(pixels)
    rgb = av.VideoFrame.from_ndarray(samples, "rgb24" if pixels.dtype == np.uint8 else "rgb48le")
    frame = rgb.reformat(
        format=style.pix_fmt,
        dst_colorspace={6: 5}.get(style.colours.colorspace, style.colours.colorspace),  # swscale's name for both
        dst_color_range=style.colours.color_range,
        interpolation=scaler(),
    )
    frame.colorspace, frame.color_range = style.colours.colorspace, style.colours.color_range
    frame.color_primaries, frame.color_trc = style.colours.color_primaries, style.colours.color_trc
    frame.pts, frame.time_base = pts, style.time_base
    return frame
