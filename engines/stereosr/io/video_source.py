"""Videos that are read: what a file holds, some of its frames, all of its frames."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stereosr.errors import StereosrError, UsageError, install_hint
from stereosr.io.images import Picture
from stereosr.io.layouts import Layout, is_right_first, split_halves
from stereosr.io.video_tags import Orientation, Tags, find_box, read_orientation, read_tags
from stereosr.types import Pixels

Gray = NDArray[np.uint8]

# Colour matrices (ITU-T H.273) that swscale knows; 0 is RGB, 2 unspecified.
_MATRICES = (1, 4, 5, 6, 7, 9)
_RGB, _UNSPECIFIED = 0, 2
_SLACK = Fraction(1, 4)
"""Seconds that the end of a video may lie before the one its file claims: containers round, and count differently."""

_INDEXED = ("mov,", "matroska")
"""How the names of formats begin in which a time is found at once."""
_RUN_UP = 4
"""Seconds before a time from which frames are decoded to have it whole."""

_ONE_DURATION = ("matroska,webm", "asf", "flv")
"""Formats, by FFmpeg's names, that have one duration for all streams."""

MP4 = (".mp4", ".m4v", ".mov")
"""Suffixes of containers of the ISO base media file family."""

_MV_HEVC = (
    "holds its views as MV-HEVC (Apple spatial video), which is not read here: make it side by side first, e.g. by "
    "'spatial export -i FILE -f sbs -o NEW_SBS.mp4' (blog.mikeswanson.com/spatial) or in Final Cut"
)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a video: seconds from its beginning; ``end`` None is that of the video."""

    start: Fraction = Fraction(0)
    end: Fraction | None = None

    def holds(self, time: Fraction) -> bool:
        """Whether what is shown at ``time`` is in it."""
        return self.start <= time and (self.end is None or time < self.end)


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours of the samples, by the numbers of ITU-T H.273; a frame's attributes of these names hold them.

    ``colorspace`` is the matrix that is used to get RGB, and to go back.
    """

    colorspace: int
    color_range: int
    color_primaries: int
    color_trc: int


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video file says of one of its picture streams.

    Attributes:
        path: of the file.
        index: of the stream among the file's.
        size: rows and columns of a frame as it is shown.
        start: seconds, of the first frame.
        count: number of frames as far as the file knows; 0 if it does not.
        rate: frames a second, on average.
        time_base: seconds, the unit of timestamps.
        aspect: width to height of a pixel as it is shown; None if the file does not say it.
        bits: a sample.
        chroma: ``444``, ``422`` or ``420``: the least that holds the source's colour samples.
        is_rgb: whether the samples are RGB.
        has_alpha: whether there is a fourth channel.
        colours: of the samples.
        orientation: how frames are to be turned to be shown; None if not by quarters.
        tags: what else the file says of its pictures.
    """

    path: Path
    index: int
    size: tuple[int, int]
    start: Fraction
    count: int
    rate: Fraction
    time_base: Fraction
    aspect: Fraction | None
    bits: int
    chroma: str
    is_rgb: bool
    has_alpha: bool
    colours: Colours
    orientation: Orientation | None
    tags: Tags


@contextmanager
def av_errors(what: str) -> Iterator[None]:
    """Errors of PyAV and of the system become ``what: reason``.

    Args:
        what: that could not be done, with the file's name.

    Raises:
        StereosrError: as said.
        UsageError: without PyAV.
    """
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


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """A video file, open. What goes wrong inside the ``with`` is not renamed.

    Raises:
        StereosrError: if it cannot be opened.
        UsageError: without PyAV.
    """
    with av_errors(f"cannot read {path}"):
        import av

        try:
            file = av.open(str(path), metadata_errors="replace")
        except av.InvalidDataError:
            if path.suffix.lower() not in MP4:
                raise
            raise StereosrError(
                f"cannot read {path}: it is no video, or its recording was not ended; repair it first, e.g. by untrunc"
            ) from None
    with file:
        yield file


def damages() -> tuple[type[Exception], ...]:
    """The errors of PyAV that mean damaged data, not a fault of reading."""
    from av.error import ArgumentError, InvalidDataError, PatchWelcomeError

    return InvalidDataError, ArgumentError, PatchWelcomeError


def undamaged(packets: Iterable[Any], what: str) -> Iterator[Any]:
    """Packets, up to where their file is damaged.

    Args:
        packets: of PyAV.
        what: for messages, as in ``av_errors``.

    Raises:
        StereosrError: if the file cannot be read.
    """
    iterator, damage = iter(packets), damages()
    while True:
        with av_errors(what):
            try:
                packet = next(iterator, None)
            except damage:
                return
        if packet is None:
            return
        yield packet


def picture_streams(file: Any) -> list[Any]:
    """The video streams of an open file but for its cover."""
    import av.stream

    cover = av.stream.Disposition.attached_pic
    return [stream for stream in file.streams.video if not stream.disposition & cover]


def stream_count(path: Path) -> int:
    """How many picture streams a file has. Raises StereosrError if it cannot be read."""
    with reading(path) as file:
        return len(picture_streams(file))


def sample(path: Path, most: int = 5, which: int = 0) -> tuple[VideoInfo, list[Pixels]]:
    """Look into a video.

    Args:
        path: of the file.
        most: number of frames that are looked at, from all over the video.
        which: of several picture streams.

    Returns:
        What the file says, and frames as they are shown, H x W x 3, the first one first.

    Raises:
        StereosrError: if it cannot be read, is interlaced or lacks timestamps.
        UsageError: without PyAV.
    """
    frames: dict[int, Pixels] = {}
    info: VideoInfo | None = None
    with reading(path) as file, av_errors(f"cannot read {path}"):
        stream = _stream(file, path, which)
        for part in range(most if file.duration else 1):
            if part:
                file.seek((file.start_time or 0) + file.duration * part // most)
            frame = next(_decoded(file, stream), None)
            if frame is None:
                break
            if info is None:
                info = _info(path, file, stream, frame)
            frames.setdefault(frame.pts, to_pixels(frame, info))
    if info is None:
        raise StereosrError(f"cannot read {path}: it has no frames")
    return info, list(frames.values())


def frames_at(path: Path, times: list[Fraction], which: int = 0) -> Iterator[Pixels]:
    """The frames shown at some times.

    Args:
        path: of the file.
        times: seconds from the first frame, in ascending order.
        which: of several picture streams.

    Returns:
        A frame for each time, H x W x 3; fewer if the file ends before.

    Raises:
        StereosrError, UsageError: as ``sample``.
    """
    info, _ = sample(path, 1, which)
    with reading(path) as file, av_errors(f"cannot read {path}"):
        stream = _stream(file, path, which)
        for time in times:
            at = info.start + time
            file.seek(int(at / info.time_base), stream=stream)
            shown = None
            for frame in _decoded(file, stream):
                if shown is not None and frame.pts * info.time_base > at:
                    break
                shown = frame
            if shown is not None:
                yield to_pixels(shown, info)


class FrameReader:
    """The frames of a video in the order they are shown, each with a timestamp later than the one before.

    What cannot be decoded, and what has no timestamp of its own, is left out.

    Attributes:
        start: seconds from the first frame before which nothing is wanted; a file with an index is not decoded from its
            beginning then. To be set before the first frame is read.
        missing: after the last frame, how many could not be read, as far as is known.
        interlaced: how many frames were interlaced.
    """

    def __init__(self, info: VideoInfo, which: int = 0) -> None:
        """Read nothing yet.

        Args:
            info: what ``sample`` said of the stream.
            which: of several picture streams.
        """
        self.missing = self.interlaced = 0
        self.start = Fraction(0)
        self._info, self._which = info, which

    def __iter__(self) -> "Iterator[Any]":
        """PyAV's frames. Raises StereosrError if the file cannot be opened any more."""
        info, what, damage = self._info, f"cannot read {self._info.path}", damages()
        last: int | None = None
        packets, frames, broken = 0, 0, False
        with reading(info.path) as file:
            with av_errors(what):
                stream = _stream(file, info.path, self._which)
                claimed = _declared_end(file, stream)
                indexed = len(stream.index_entries)
                jumps = self.start > _RUN_UP and file.format.name.startswith(_INDEXED)
                if jumps:
                    file.seek(int((info.start + self.start - _RUN_UP) / info.time_base), stream=stream)
                demuxed = file.demux(stream)
            while True:
                with av_errors(what):
                    try:
                        packet = next(demuxed, None)
                    except damage:
                        packet, broken = None, True  # what follows cannot be told apart
                    if packet is None:
                        break
                    packets += packet.size > 0
                    try:
                        decoded = packet.decode()
                    except damage:
                        self.missing += 1
                        continue
                for frame in decoded:
                    if frame.pts is None or (last is not None and frame.pts <= last):
                        self.missing += 1
                        continue
                    last = frame.pts
                    frames += 1
                    self.interlaced += frame.interlaced_frame
                    yield frame
        cut = int(broken) if jumps else max(int(broken), indexed - packets)
        if claimed is not None and last is not None:
            gap = claimed - (last * info.time_base + 1 / info.rate)
            if gap > _SLACK:
                cut = max(cut, round(gap * info.rate), 0 if jumps else info.count - frames - self.missing)
        self.missing += cut


def to_pixels(frame: Any, info: VideoInfo) -> Pixels:
    """A frame as it is shown.

    Args:
        frame: of PyAV.
        info: of its stream.

    Returns:
        H x W x 3, RGB, uint8, or uint16 over its whole range for more than 8 bits a sample.
    """
    if not info.is_rgb:
        frame.colorspace = info.colours.colorspace
    name = "rgb48le" if info.bits > 8 else "rgb24"
    pixels: Pixels = frame.to_ndarray(format=name, interpolation=scaler())
    return pixels if info.orientation in (None, Orientation()) else info.orientation.apply(pixels)


def scaler() -> Any:
    """How colour samples are interpolated, and values rounded."""
    from av.video.reformatter import Interpolation

    return Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


# --- two views -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StereoSource:
    """A video of two views: halves of the frames of one file, two streams of one file, or two files.

    Attributes:
        paths: one file, or the left and the right one.
        layout: of one file; ``pair`` for two streams or two files.
        infos: of each picture stream that is read.
    """

    paths: tuple[Path, ...]
    layout: Layout
    infos: tuple[VideoInfo, ...]

    @classmethod
    def open(cls, paths: tuple[Path, ...], layout: Layout) -> "StereoSource":
        """Look at the files.

        Args:
            paths: one file, or the left and the right one.
            layout: of one file; ``pair`` for two streams or two files.

        Raises:
            StereosrError: as ``sample``.
            UsageError: if there are not two streams, or if they differ in size.
        """
        if layout != "pair":
            return cls(paths, layout, (sample(paths[0], 1)[0],))
        if len(paths) == 1 and stream_count(paths[0]) < 2:
            raise UsageError(f"{paths[0]} has one video stream, not two: its layout is sbs or ou", settings=("layout",))
        infos = tuple(sample(path, 1, which)[0] for path, which in _each(paths))
        if infos[0].size != infos[1].size:
            a, b = (f"{info.size[1]}x{info.size[0]}" for info in infos)
            raise UsageError(f"{paths[0].name}: left is {a}, right is {b}: the views of a pair have one size")
        return cls(paths, layout, infos)

    @property
    def name(self) -> str:
        """For messages."""
        return " + ".join(map(str, self.paths))

    def samples(self, most: int = 5) -> list[tuple[Picture, Picture]]:
        """Views from all over the video."""
        sampled = [sample(info.path, most, which)[1] for info, (_, which) in self._streams()]
        return [self._views([frames[i] for frames in sampled]) for i in range(min(map(len, sampled)))]

    def views_at(self, times: list[Fraction]) -> Iterator[tuple[Picture, Picture]]:
        """The views shown at these times, seconds from the first frame, in ascending order."""
        found = [frames_at(info.path, times, which) for info, (_, which) in self._streams()]
        for shown in zip(*found, strict=False):
            yield self._views(list(shown))

    def thumbnails(self, span: Span) -> Iterator[tuple[Fraction, Gray]]:
        """Each frame of a part, of the left one of two streams: seconds from the first frame, and its brightness.

        Returns:
            A time and 36 x 64 samples, uint8, for each frame.

        Raises:
            StereosrError: if the file cannot be read.
        """
        reader, info = FrameReader(self.infos[0]), self.infos[0]
        reader.start = span.start
        for frame in reader:
            time = frame.pts * info.time_base - info.start
            if span.end is not None and time >= span.end:
                return
            if span.holds(time):
                with av_errors(f"cannot read {self.name}"):
                    yield time, frame.to_ndarray(width=64, height=36, format="gray", interpolation="AREA")

    def reader(self) -> "ViewReader":
        """A reader of all the views, from the first frame on."""
        return ViewReader(self)

    def _streams(self) -> Iterator[tuple[VideoInfo, tuple[Path, int]]]:
        return zip(self.infos, _each(self.paths) if self.layout == "pair" else [(self.paths[0], 0)], strict=True)

    def _views(self, pixels: list[Pixels]) -> tuple[Picture, Picture]:
        if len(pixels) == 2:
            return Picture(pixels[0]), Picture(pixels[1])
        views = split_halves(Picture(pixels[0]), self.layout, self.paths[0])
        return views[::-1] if self.is_right_first else views

    @property
    def is_right_first(self) -> bool:
        """Whether the file says, and its name does not, that the right view is the first one."""
        return self.infos[0].tags.right_first and not is_right_first(self.paths[0], self.layout)


class ViewReader:
    """Reads all the views of a video.

    Attributes:
        notes: after the last pair, what people should know, a line each.
        missing: after the last pair, how many frames could not be read.
    """

    def __init__(self, source: StereoSource) -> None:
        self._source = source
        self._readers = [FrameReader(info, which) for info, (_, which) in source._streams()]
        self._unpaired = 0

    @property
    def missing(self) -> int:
        """How many frames could not be read."""
        return max(reader.missing for reader in self._readers)

    @property
    def notes(self) -> list[str]:
        """What people should know, a line each."""
        notes = []
        if self._unpaired:
            notes.append(f"{self._unpaired} frames of one view have no partner at their time in the other: left out")
        if interlaced := max(reader.interlaced for reader in self._readers):
            notes.append(f"{interlaced} frames are interlaced: they were upscaled as they are")
        return notes

    def read(self, after: int | None, span: Span) -> Iterator[tuple[int, Picture, Picture]]:
        """The timestamp, in units of the first stream, and the views of each pair.

        Args:
            after: a timestamp, up to which pairs are not wanted; None for all.
            span: the part that is wanted.

        Raises:
            StereosrError: if a file cannot be read.
        """
        infos = self._source.infos
        begun = span.start if after is None else after * infos[0].time_base - infos[0].start
        for reader in self._readers:
            reader.start = max(span.start, begun)
        for shown in self._paired() if len(infos) == 2 else ((frame,) for frame in self._readers[0]):
            time = shown[0].pts * infos[0].time_base - infos[0].start
            if span.end is not None and time >= span.end:
                for reader in self._readers:
                    reader.missing = 0  # nothing is known of the rest
                return
            if not span.holds(time) or (after is not None and shown[0].pts <= after):
                continue
            with av_errors(f"cannot read {self._source.name}"):
                pixels = [to_pixels(frame, info) for frame, info in zip(shown, infos, strict=True)]
                views = self._source._views(pixels)
            yield (shown[0].pts, *views)

    def _paired(self) -> Iterator[tuple[Any, Any]]:
        """Frames that are shown at one time, give or take half a frame; two files begin together."""
        infos, together = self._source.infos, len(self._source.paths) == 2
        starts = [info.start if together else min(i.start for i in infos) for info in infos]
        slack = 1 / infos[0].rate / 2
        iterators = [iter(reader) for reader in self._readers]
        shown: list[Any] = [next(frames, None) for frames in iterators]
        while None not in shown:
            left, right = (f.pts * i.time_base - start for f, i, start in zip(shown, infos, starts, strict=True))
            if abs(left - right) <= slack:
                yield shown[0], shown[1]
                shown = [next(frames, None) for frames in iterators]
            else:
                early = int(right < left)
                self._unpaired += 1
                shown[early] = next(iterators[early], None)
        for frame, frames in zip(shown, iterators, strict=True):
            if frame is not None:
                self._unpaired += 1 + sum(1 for _ in frames)


def _each(paths: tuple[Path, ...]) -> list[tuple[Path, int]]:
    """File and number of the stream of the left and the right view."""
    return [(paths[0], 0), (paths[0], 1)] if len(paths) == 1 else [(paths[0], 0), (paths[1], 0)]


# --- PyAV ------------------------------------------------------------------------------------------------------------


def _stream(file: Any, path: Path, which: int) -> Any:
    streams = picture_streams(file)
    if len(streams) <= which:
        raise StereosrError(f"cannot read {path}: there is no video in it")
    stream = streams[which]
    if stream.codec_context is None:
        raise StereosrError(f"cannot read {path}: its codec is not known here; convert it to H.264 or HEVC first")
    stream.thread_type = "SLICE"  # where frames are decoded side by side, a damaged one takes others along
    return stream


def _decoded(file: Any, stream: Any) -> Iterator[Any]:
    """Frames from where the file stands, but for those that are damaged."""
    for packet in undamaged(file.demux(stream), f"cannot read {file.name}"):
        with suppress(*damages()):
            yield from packet.decode()


def _info(path: Path, file: Any, stream: Any, frame: Any) -> VideoInfo:
    """What a file and its first frame say. Raises StereosrError for what cannot be done."""
    if frame.pts is None:
        raise StereosrError(
            f"{path}: its frames have no timestamps of their own: remux it first, e.g. ffmpeg -fflags +genpts -i FILE "
            "-c copy NEW.mkv"
        )
    if frame.interlaced_frame:
        raise StereosrError(f"{path} is interlaced: make whole frames first, e.g. by ffmpeg -vf bwdif")
    side_data = {data.type.name: bytes(data) for data in frame.side_data}
    tags = read_tags(side_data)
    if tags.spherical is None and path.suffix.lower() in MP4 and find_box(path, b"sv3d") is not None:
        tags = replace(tags, has_mesh=True)
    if tags.packing == "unknown":
        if stream.codec_context.name == "hevc":
            raise StereosrError(f"{path} {_MV_HEVC}")
        tags = replace(tags, packing="")
    orientation = read_orientation(side_data.get("DISPLAYMATRIX"))
    lying = orientation is not None and orientation.transposed
    components, is_rgb = frame.format.components, frame.format.is_rgb
    size = (frame.width, frame.height) if lying else (frame.height, frame.width)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    aspect = stream.sample_aspect_ratio or None
    end = _declared_end(file, stream) or _estimated_end(file, stream)
    start = frame.pts * stream.time_base
    return VideoInfo(
        path=path,
        index=stream.index,
        size=size,
        start=start,
        count=stream.frames or (0 if end is None else max(0, round((end - start) * rate))),
        rate=rate,
        time_base=stream.time_base,
        aspect=1 / aspect if aspect and lying else aspect,
        bits=max(int(component.bits) for component in components),
        chroma=_chroma(frame),
        is_rgb=is_rgb,
        has_alpha=any(component.is_alpha for component in components),
        colours=_colours(path, frame),
        orientation=orientation,
        tags=tags,
    )


def _declared_end(file: Any, stream: Any) -> Fraction | None:
    """When the last frame ends by what the file says, in seconds; None where it does not say so of the pictures."""
    if match := re.match(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", "")):
        return int(match[1]) * 3600 + int(match[2]) * 60 + Fraction(match[3])  # of Matroska, from zero
    of_the_file = file.format.name in _ONE_DURATION and any(other.type != "video" for other in file.streams)
    return None if of_the_file else _estimated_end(file, stream)


def _estimated_end(file: Any, stream: Any) -> Fraction | None:
    """The same, or else when the longest stream ends; None where the file does not say that either."""
    if stream.duration:
        return Fraction(((stream.start_time or 0) + stream.duration) * stream.time_base)
    if file.duration:
        return Fraction((file.start_time or 0) + file.duration, 1_000_000)
    return None


def _chroma(frame: Any) -> str:
    """The least of the usual subsamplings that holds the colour samples of a frame."""
    if frame.format.is_rgb:
        return "444"
    luma, *colour = frame.format.components
    if len(colour) < 2:
        return "420"
    wide, high = colour[0].width * 2 > luma.width + 1, colour[0].height * 2 > luma.height + 1
    return "444" if wide else "422" if high else "420"


def _colours(path: Path, frame: Any) -> Colours:
    """Those of a frame; a matrix that is not said is the one that players take for pictures of this size."""
    matrix, value_range = int(frame.colorspace), int(frame.color_range)
    if frame.format.is_rgb:
        matrix = _RGB
    elif matrix in (_RGB, _UNSPECIFIED):
        large = frame.width >= 1280 or frame.height > 576
        matrix = 1 if large else 5 if frame.height == 576 else 6
    elif matrix not in _MATRICES:
        raise StereosrError(
            f"cannot read {path}: no conversion to RGB is known for its colour matrix {matrix} (H.273); convert it "
            "first, e.g. by ffmpeg -vf zscale=matrix=2020_ncl"
        )
    return Colours(matrix, value_range, int(frame.color_primaries), int(frame.color_trc))
