"""Videos of each kind that cameras, editors and discs make, tiny: 64 x 32 pixels, two views side by side or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from stereosr.types import Pixels


def picture(number: int, height: int = 32, width: int = 64) -> Pixels:
    """Soft waves that move; no two numbers below 100 give the same."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = (np.sin(x / 5 + number / 3), np.sin(y / 4 - number / 5), np.sin((x + y) / 7 + number / 9))
    return (127 + 80 * np.stack(waves, -1)).astype(np.uint8)


def twice(height: int, width: int) -> tuple[int, int]:
    """The size of a view's result at x2."""
    return 2 * height, 2 * width


@dataclass(frozen=True, slots=True, kw_only=True)
class Movie:
    """What a file is made of.

    Attributes:
        frames: H x W x 3, RGB.
        pts: of the frames, in units of ``time_base``; None for one every tenth of a second.
        videos: how many picture streams of these frames there are.
        attributes: of the encoder's context, e.g. ``colorspace``.
        tags: of the picture stream.
        display: a display matrix.
        audio: an encoder.
        positions: a track of data as GoPro's cameras write it, in MP4 alone.
    """

    frames: Sequence[Pixels] = tuple(picture(n) for n in range(6))
    pts: Sequence[int] | None = None
    time_base: Fraction = Fraction(1, 10240)
    rate: Fraction = Fraction(10)
    videos: int = 1
    encoder: str = "libx264"
    pix_fmt: str = "yuv420p"
    options: Mapping[str, str] | None = None
    attributes: Mapping[str, int] | None = None
    tags: Mapping[str, str] | None = None
    display: Sequence[int] | None = None
    audio: str | None = None
    positions: bool = False
    subtitles: bool = False
    chapters: bool = False
    font: bool = False
    cover: bool = False

    def write(self, path: Path) -> Path:
        """The file, at ``path``."""
        import av

        with av.open(str(path), "w", container_options={"strict": "unofficial"}) as file:
            pictures = [self._pictures(file) for _ in range(self.videos)]
            sound = None if self.audio is None else self._sound(file)
            others = self._others(file)
            if self.chapters:
                names, base = ("one", "two"), Fraction(1, 1000)
                file.set_chapters(
                    [
                        {
                            "id": i + 1,
                            "start": 300 * i,
                            "end": 300 * i + 300,
                            "time_base": base,
                            "metadata": {"title": n},
                        }
                        for i, n in enumerate(names)
                    ]
                )
                file.metadata["title"] = "a film"
            if self.cover:
                stands_for_it = Movie(encoder="mjpeg", pix_fmt="yuvj420p", rate=Fraction(1))._pictures(file)
                stands_for_it.disposition = av.stream.Disposition.attached_pic
                shown = self._frame(0, picture(7)).reformat(format="yuvj420p")
                others += [*stands_for_it.encode(shown), *stands_for_it.encode(None)]
            for packet in others:
                file.mux(packet)
            for number, pixels in enumerate(self.frames):
                for stream in pictures:
                    file.mux(stream.encode(self._frame(number, pixels)))
                if sound is not None:
                    file.mux(sound.encode(_tone(number)))
            for stream in (*pictures, *([] if sound is None else [sound])):
                file.mux(stream.encode(None))
        if self.positions:
            path.write_bytes(path.read_bytes().replace(b"tx3g", b"gpmd").replace(b"sbtl", b"meta"))
        return path

    def _pictures(self, file: Any) -> Any:
        options = {"preset": "ultrafast", "crf": "8"} if self.encoder == "libx264" else {}
        stream = file.add_stream(self.encoder, rate=self.rate, options=options | dict(self.options or {}))
        stream.height, stream.width = self.frames[0].shape[:2]
        stream.pix_fmt = self.pix_fmt
        stream.time_base = stream.codec_context.time_base = self.time_base
        for name, value in (self.attributes or {}).items():
            setattr(stream.codec_context, name, value)
        stream.metadata.update(self.tags or {})
        if self.display:
            stream.set_display_matrix(self.display)
        return stream

    def _frame(self, number: int, pixels: Pixels) -> Any:
        import av

        samples: Any = np.ascontiguousarray(pixels)
        frame = av.VideoFrame.from_ndarray(samples, "rgb24")
        frame = frame.reformat(format=self.pix_fmt, dst_colorspace=(self.attributes or {}).get("colorspace"))
        step = round(1 / self.rate / self.time_base)
        frame.pts, frame.time_base = (self.pts[number] if self.pts else step * number), self.time_base
        return frame

    def _sound(self, file: Any) -> Any:
        return file.add_stream(self.audio, rate=44100, layout="mono", bit_rate=64000)

    def _others(self, file: Any) -> list[Any]:
        import av

        packets = []
        if self.subtitles:
            words = file.add_mux_stream("subrip")
            words.disposition, words.metadata["language"] = av.stream.Disposition.forced, "eng"
            packets.append(_packet(b"a word", words, Fraction(1, 1000), 100, 200))
        if self.positions:
            track = file.add_mux_stream("mov_text")
            packets.append(_packet(b"\0\x04here", track, Fraction(1, 1000), 0, 100))
        if self.font:
            file.add_attachment("f.ttf", "application/x-truetype-font", b"a font")
        return packets


def _packet(content: bytes, stream: Any, time_base: Fraction, pts: int, duration: int) -> Any:
    import av

    packet = av.Packet(content)
    packet.stream, packet.time_base = stream, time_base
    packet.pts = packet.dts = pts
    packet.duration = duration
    return packet


def _tone(number: int) -> Any:
    """A tenth of a second."""
    import av

    at = np.arange(4410 * number, 4410 * (number + 1))
    wave = (8000 * np.sin(at / 20)).astype(np.int16)[None]
    heard = av.AudioFrame.from_ndarray(wave, "s16", "mono")
    heard.sample_rate, heard.pts, heard.time_base = 44100, 4410 * number, Fraction(1, 44100)
    return heard
