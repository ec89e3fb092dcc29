"""What a video file holds beside its pictures: decided before the work, joined with the pictures after it."""

import errno
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

from stereosr.errors import StereosrError
from stereosr.io.video_encode import START_TAG
from stereosr.io.video_source import (
    MP4,
    Colours,
    Span,
    VideoInfo,
    av_errors,
    damages,
    picture_streams,
    reading,
    sample,
    undamaged,
)
from stereosr.io.video_tags import Tags, drop_box, insert_boxes, stereo_mode

_PACKETS = 3
"""Packets of each stream that are tried in the new container."""
_SEARCHED = 2000
"""Packets that are looked through for them."""

_DISK_ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EFBIG)

_OF_THE_OLD_FILE = ("encoder", "duration", "bps", "number_of", "_statistics", "stereo_mode", "alpha_mode", "rotate")
_OF_THE_OLD_CONTAINER = ("encoder", "major_brand", "minor_version", "compatible_brands")
"""How the names of tags begin that would not be true of the new file."""


@dataclass(frozen=True, slots=True)
class MuxPlan:
    """What is written into a new file beside its pictures.

    Attributes:
        info: of the source.
        tags: what the new file says of its pictures.
        colours: of the new pictures.
        span: the part of the source that is wanted; None for all, with its timestamps.
        copied: the streams, by their index, that are copied packet by packet.
        converted: those that are encoded anew, and the codec.
        covers: those that are one picture, and their only packet.
        has_timecode: whether the timecode is kept.
        notes: what is not kept as it was, a line each.
    """

    info: VideoInfo
    tags: Tags
    colours: Colours
    span: Span | None
    copied: frozenset[int] = frozenset()
    converted: tuple[tuple[int, str], ...] = ()
    covers: tuple[tuple[int, bytes], ...] = ()
    has_timecode: bool = True
    notes: tuple[str, ...] = ()

    @property
    def shift(self) -> Fraction:
        """Seconds that are taken from all timestamps."""
        return Fraction(0) if self.span is None else self.info.start + self.span.start

    def holds(self, time: Fraction) -> bool:
        """Whether what the source has at ``time``, in its own seconds, is wanted."""
        return self.span is None or self.span.holds(time - self.info.start)


def plan_mux(plan: MuxPlan, read: frozenset[int], trial: tuple[Path, int], target: Path) -> MuxPlan:
    """Decide what of a source goes into a new file, by trying: each stream by itself, then all of them together.

    Args:
        plan: the source, what the new file says of its pictures, and the part that is wanted.
        read: the streams of pictures that are upscaled.
        trial: a piece of the new video, and the number of the stream in it.
        target: a file of the suffix of the new one, which is written and removed.

    Raises:
        StereosrError: if the source cannot be read, or the container does not take the pictures.
    """
    info = plan.info
    try:
        with reading(info.path) as file, av_errors(f"cannot read {info.path}"):
            found = _first_packets(file)

            def fits(plan: MuxPlan) -> bool:
                return _trial_error(target, file, found, trial, plan) is None

            copied, converted, notes = set(), [], []
            if error := _trial_error(target, file, found, trial, plan):
                plan = replace(plan, has_timecode=False)
                if not fits(plan):
                    raise error
                notes.append(f"the timecode does not fit {target.suffix}: left out")
            covers = []
            for stream in _side_streams(file):
                if cover := next(
                    (bytes(p) for p in found if p.stream.index == stream.index and _is_cover(stream)), b""
                ):
                    if fits(replace(plan, covers=((stream.index, cover),))):
                        covers.append((stream.index, cover))
                    else:
                        notes.append(f"the cover does not fit {target.suffix}: left out")
                    continue
                if fits(replace(plan, copied=frozenset({stream.index}))):
                    copied.add(stream.index)
                    continue
                codec = "aac" if target.suffix.lower() in MP4 else "flac"
                is_decoded = stream.type == "audio" and stream.codec_context is not None
                if is_decoded and fits(replace(plan, converted=((stream.index, codec),))):
                    converted.append((stream.index, codec))
                    notes.append(f"{_named(stream)} does not fit {target.suffix}: converted to {codec}")
                else:
                    notes.append(f"{_named(stream)} does not fit {target.suffix}: left out")
            for stream in picture_streams(file):
                if stream.index not in read:
                    notes.append(f"{_named(stream)} is left out: one video stream is upscaled")
            plan = replace(plan, copied=frozenset(copied), converted=tuple(converted), covers=tuple(covers))
            if error := _trial_error(target, file, found, trial, plan):
                raise error
        if info.tags.has_mesh:
            notes.append("its spherical projection is a mesh: left out")
        kept = sample(target, 1)[0].tags
        for name, what in _TAG_NAMES.items():
            if getattr(plan.tags, name) and not getattr(kept, name):
                notes.append(f"{what} cannot be said in {target.suffix} of this codec: left out")
    finally:
        target.unlink(missing_ok=True)
    return replace(plan, notes=tuple(notes))


_TAG_NAMES = {
    "packing": "how the views lie",
    "spherical": "the spherical projection",
    "mastering": "the mastering display of HDR",
    "light": "the light level of HDR",
}
"""Of a file's tags, for people."""


def _trial_error(
    target: Path, file: Any, packets: list[Any], trial: tuple[Path, int], plan: MuxPlan
) -> StereosrError | None:
    """Write a file of few packets by a plan; what went wrong."""
    try:
        dropped = _write(target, file, lambda: map(_copy, packets), [trial[0]], trial[1], plan)
    except StereosrError as error:
        return error
    muxed = sum(packet.stream.index in plan.copied for packet in packets)
    return StereosrError(f"cannot write {target}: no packet fits") if 0 < muxed <= dropped else None


def join(segments: list[Path], number: int, target: Path, plan: MuxPlan) -> int:
    """The segments in a row, beside what else the plan takes from the source.

    Args:
        segments: in their order.
        number: of the stream in each of them.
        target: the file that is written.
        plan: as ``plan_mux`` made it.

    Returns:
        How many packets beside the pictures were damaged, and are left out.

    Raises:
        StereosrError: if it cannot be written.
    """
    with reading(plan.info.path) as file:
        return _write(target, file, lambda: file.demux(), segments, number, plan)


# --- the side streams ------------------------------------------------------------------------------------------------


def _side_streams(file: Any) -> list[Any]:
    """What could be kept beside the pictures. Tracks that the muxer makes anew, of timecode and chapters, are not."""
    from av.stream import Discard

    pictures = {stream.index for stream in picture_streams(file)}
    return [
        stream
        for stream in file.streams
        if stream.index not in pictures
        and not (stream.type == "data" and ("timecode" in stream.metadata or stream.discard == Discard.all))
    ]


def _is_cover(stream: Any) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic) and stream.codec_context is not None


def _add_cover(out: Any, old: Any, data: bytes) -> tuple[Any, Any] | None:
    """Add a picture that stands for the film: an attachment in Matroska, else a stream of the packet that is given."""
    import av

    if out.format.name == "matroska":
        kind = old.codec_context.name.replace("mjpeg", "jpeg")
        name = old.metadata.get("filename", f"cover.{kind.replace('jpeg', 'jpg')}")
        out.add_attachment(name, old.metadata.get("mimetype", f"image/{kind}"), data)
        return None
    stream = out.add_stream_from_template(old, **_OPAQUE)
    stream.disposition = old.disposition
    packet = av.Packet(data)
    packet.time_base = stream.time_base
    packet.pts = packet.dts = 0
    packet.is_keyframe = True
    return packet, stream


def _named(stream: Any) -> str:
    """A stream, for people: ``audio stream 1 (wmav2)``."""
    name = getattr(stream, "name", None) or stream.metadata.get("handler_name", "") or "unknown codec"
    return f"{stream.type} stream {stream.index} ({name})"


def _first_packets(file: Any) -> list[Any]:
    found: list[Any] = []
    wanted = {stream.index: _PACKETS for stream in file.streams if stream.type != "attachment"}
    for searched, packet in enumerate(undamaged(file.demux(), f"cannot read {file.name}")):
        if searched > _SEARCHED or not any(wanted.values()):
            break
        if packet.size and (packet.pts is not None or _is_cover(packet.stream)) and wanted.get(packet.stream.index):
            wanted[packet.stream.index] -= 1
            found.append(packet)
    return found


def _copy(packet: Any) -> Any:
    """A packet of one's own: a muxer changes those that it is given."""
    import av

    copy = av.Packet(bytes(packet))
    copy.stream, copy.time_base = packet.stream, packet.time_base
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    return copy


def _write(
    target: Path,
    file: Any,
    packets: Callable[[], Iterable[Any]],
    segments: list[Path],
    number: int,
    plan: MuxPlan,
) -> int:
    """A new file.

    Args:
        target: its path.
        file: the source, open.
        packets: gives those of the source.
        segments: the pieces of the new video.
        number: of the stream in each of them.
        plan: what is written.

    Returns:
        How many packets beside the pictures were damaged, and are left out.
    """
    dropped = 0
    # bitexact: the same work gives the same bytes, without a random identity
    options = {"fflags": "+bitexact"}
    if target.suffix.lower() in MP4:
        options |= {"movflags": "+faststart", "strict": "unofficial"}
    elif target.suffix.lower() == ".mkv":
        options["default_mode"] = "passthrough"
    with av_errors(f"cannot write {target}"):
        import av

        with av.open(str(target), "w", container_options=options) as out:
            original = file.streams[plan.info.index]
            video = _add_pictures(out, segments[0], number, plan)
            _describe(video, original)
            if not plan.has_timecode:
                video.metadata.pop("timecode", None)
            if mode := stereo_mode(plan.tags):
                video.metadata["stereo_mode"] = mode
            if original.disposition:
                video.disposition = original.disposition
            routes: dict[int, Any] = {}
            for index in sorted(plan.copied):
                old = file.streams[index]
                routes[index] = out.add_stream_from_template(old, **({} if old.codec_context is None else _OPAQUE))
                _describe(routes[index], old)
                routes[index].disposition = old.disposition
            converters = {i: _Converter(file.streams[i], out, codec, plan) for i, codec in plan.converted}
            for index, converter in converters.items():
                _describe(converter.stream, file.streams[index])
                converter.stream.disposition = file.streams[index].disposition
            added = [_add_cover(out, file.streams[index], data) for index, data in plan.covers]
            covers = [cover for cover in added if cover is not None]
            out.metadata.update(_kept(file.metadata, _OF_THE_OLD_CONTAINER))
            out.set_chapters(list(_chapters(file, plan)))
            out.start_encoding()
            pictures = (
                (p, video) for p in _with_durations(p for path in segments for p in _segment_packets(path, number))
            )
            others = _side_packets(packets() if routes or converters else (), routes, converters, plan)
            for packet, stream in heapq.merge(covers, pictures, others, key=lambda p: p[0].dts * p[0].time_base):
                packet.stream = stream
                try:
                    out.mux(packet)
                except av.FFmpegError as error:
                    if stream is video or error.errno in _DISK_ERRORS:
                        raise
                    dropped += 1  # damaged: it is not worth the pictures
        if target.suffix.lower() in MP4:
            drop_box(target, b"vexu")  # FFmpeg's says of any two views that they are MV-HEVC
    return dropped


_TEMPLATES = {"prores": "mov", "ffv1": None}
"""Which codecs no MP4 file holds, and what to use instead."""

_OPAQUE: dict[str, Any] = {"opaque": True}  # the template's codec need not have an encoder here


def _add_pictures(out: Any, segment: Path, number: int, plan: MuxPlan) -> Any:
    """The stream of the pictures, by way of a movie of one packet that says of itself what the new file is to say:
    PyAV hands side data on from one stream to another, and has no other way to set it."""
    import av

    with reading(segment) as file:
        coded = file.streams.video[number]
        kind = _TEMPLATES.get(coded.codec_context.name, "mp4")
        if kind is None:
            video = out.add_stream_from_template(coded, opaque=True, framerate=plan.info.rate)
        else:
            movie = BytesIO()
            with av.open(movie, "w", format=kind) as template:
                copy = template.add_stream_from_template(coded, opaque=True)
                packet = next(_segment_packets(segment, number))
                packet.stream = copy
                template.mux(packet)
            with av.open(BytesIO(insert_boxes(movie.getvalue(), plan.tags))) as template:
                video = out.add_stream_from_template(template.streams.video[0], opaque=True, framerate=plan.info.rate)
            video.codec_context.extradata = coded.codec_context.extradata
        video.time_base = plan.info.time_base
        for name in Colours.__slots__:
            setattr(video.codec_context, name, getattr(plan.colours, name))
        if coded.codec_context.name == "hevc" and Path(out.name).suffix.lower() in MP4:
            video.codec_context.codec_tag = "hvc1"  # Apple's players know no other
    return video


def _describe(new: Any, old: Any) -> None:
    new.metadata.update(_kept(old.metadata, _OF_THE_OLD_FILE))


def _kept(metadata: Mapping[str, str], dropped: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in metadata.items() if not name.lower().startswith(dropped)}


def _chapters(file: Any, plan: MuxPlan) -> Iterator[Any]:
    for chapter in file.chapters():
        if plan.span is not None:
            base = chapter["time_base"]
            start, end = (chapter[name] * base - plan.shift for name in ("start", "end"))
            length = None if plan.span.end is None else plan.span.end - plan.span.start
            start, end = max(start, Fraction(0)), end if length is None else min(end, length)
            if end <= start:
                continue
            chapter |= {"start": round(start / base), "end": round(end / base)}
        yield chapter


def _side_packets(
    packets: Iterable[Any], routes: Mapping[int, Any], converters: Mapping[int, "_Converter"], plan: MuxPlan
) -> Iterator[tuple[Any, Any]]:
    """The packets of the streams that are kept, each with its new stream. A damaged source ends where it is damaged."""
    last: dict[int, int] = {}
    for packet in undamaged(packets, f"cannot read {plan.info.path}"):
        index = packet.stream.index
        if packet.pts is None or not packet.size or not plan.holds(packet.pts * packet.time_base):
            continue
        if index in converters:
            yield from converters[index].convert(packet)
        elif index in routes:
            ticks = round(plan.shift / packet.time_base)
            dts = (packet.pts if packet.dts is None else packet.dts) - ticks
            if packet.stream.type == "audio":  # muxers take it in no other order
                dts = last[index] = max(dts, last.get(index, dts - 1) + 1)
            packet.dts, packet.pts = dts, max(packet.pts - ticks, dts)
            yield packet, routes[index]
    for converter in converters.values():
        yield from converter.finish()


class _Converter:
    """Encodes a stream of sound anew."""

    def __init__(self, old: Any, out: Any, codec: str, plan: MuxPlan) -> None:
        context = old.codec_context
        self.stream = out.add_stream(codec, rate=context.sample_rate)
        new = self.stream.codec_context
        new.layout = {1: "mono", 2: "stereo"}.get(context.channels, context.layout.name)
        if codec == "flac":
            new.format = "s16" if context.format.bits <= 16 else "s32"
        context.flush_buffers()  # it may have been tried before
        self._decoder, self._plan = context, plan
        self._resampler: Any = None
        self._end = Fraction(0)

    def convert(self, packet: Any) -> Iterator[tuple[Any, Any]]:
        """What a packet gives. One that is damaged gives nothing."""
        try:
            frames = self._decoder.decode(packet)
        except damages():
            return
        if self._resampler is None:
            self._end = packet.pts * packet.time_base - self._plan.shift  # not all frames have a timestamp
        yield from self._encode(frames)

    def finish(self) -> Iterator[tuple[Any, Any]]:
        """What is left."""
        yield from self._encode(self._decoder.decode(None))
        if self._resampler is not None:
            yield from self._packets([*self._resampler.resample(None), None])

    def _encode(self, frames: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        for frame in frames:
            rate = Fraction(1, frame.sample_rate)
            begin = self._end if frame.pts is None else frame.pts * frame.time_base - self._plan.shift
            self._end = begin + frame.samples * rate
            frame.time_base, frame.pts = rate, round(begin / rate)
            if self._resampler is None:
                from av import AudioResampler

                new = self.stream.codec_context
                self._resampler = AudioResampler(new.format, new.layout, new.sample_rate, new.frame_size or None)
            yield from self._packets(self._resampler.resample(frame))

    def _packets(self, frames: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        for frame in frames:
            yield from ((packet, self.stream) for packet in self.stream.encode(frame))


# --- the pictures ----------------------------------------------------------------------------------------------------


def end_of_segment(path: Path) -> Fraction:
    """The timestamp of a segment's last frame, in seconds. Raises StereosrError if it cannot be read."""
    return max(Fraction(packet.pts * packet.time_base) for packet in _segment_packets(path, 0))


def _segment_packets(path: Path, number: int) -> Iterator[Any]:
    """The packets of one video in a segment, with the timestamps that ``write_segment`` was given."""
    with reading(path) as file:
        begin, shift = Fraction(file.metadata[START_TAG]) if START_TAG in file.metadata else None, 0
        for packet in file.demux(file.streams.video[number]):
            if packet.pts is not None:  # the last one, which is empty, has none
                if begin is not None:
                    shift, begin = round(begin / packet.time_base) - packet.pts, None
                packet.dts = packet.pts = packet.pts + shift
                yield packet


def _with_durations(packets: Iterable[Any]) -> Iterator[Any]:
    """Each shown until the next one, the last one as long as that before: NUT keeps no durations."""
    held: Any = None
    for packet in packets:
        if held is not None:
            packet.duration = held.duration = packet.pts - held.pts
            yield held
        held = packet
    if held is not None:
        yield held
