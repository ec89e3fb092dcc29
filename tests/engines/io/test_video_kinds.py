"""One test a kind of video: what cameras, editors and discs put into one is kept, converted or said to be left out."""

import hashlib
import os
import struct
import sys
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import FakeBackend, local_mean
from stereosr.batch.inputs import Naming, collect, collect_lists
from stereosr.batch.item import Result, Settings
from stereosr.batch.job import run
from stereosr.errors import StereosrError, UsageError
from stereosr.evaluation.metrics import psnr
from stereosr.io import video_encode
from stereosr.io.video import Conversion, VideoOptions, check_layouts
from stereosr.io.video_encode import CODECS, output_suffix
from stereosr.io.video_source import sample
from stereosr.io.video_tags import Spherical, Tags, insert_boxes
from stereosr.types import Pixels
from video_files import Movie, picture, twice

av = pytest.importorskip("av", reason="needs PyAV")


def upscaled(*paths: Path, layout: Any = "sbs", out_layout: Any = None, **settings: Any) -> Result:
    """The only result of a job: twice as large, under ``out``."""
    naming = Naming(out=paths[0].parent / "out", suffix="_x2", layout=out_layout, codec=settings.get("codec"))
    (item,) = collect(paths, naming, layout).items
    (result,) = run([item], FakeBackend(), Settings(model="fake", **settings), None)
    return result


def done(*paths: Path, **options: Any) -> Path:
    """The only target of a job that goes well without a word."""
    result = upscaled(*paths, **options)
    assert result.error is None, result.error
    of_the_pair = ("swap", "by default", "same picture")
    assert [warning for warning in result.warnings if not any(word in warning for word in of_the_pair)] == []
    return result.item.targets[0]


def frames(path: Path, stream: int = 0) -> list[tuple[Fraction, Pixels]]:
    with av.open(str(path)) as file:
        return [(f.pts * f.time_base, f.to_ndarray(format="rgb24")) for f in file.decode(video=stream)]


def times(path: Path) -> list[Fraction]:
    return [time for time, _ in frames(path)]


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as file:
        streams = [s for s in file.streams if s.type == kind]
        return [bytes(p) for p in file.demux(streams) if p.size] if streams else []


def doubled(pixels: Pixels) -> Pixels:
    return pixels.repeat(2, 0).repeat(2, 1)


def alike(large: Pixels, small: Pixels, least: float = 28) -> bool:
    return psnr(large, doubled(small)) > least


def test_timecode(tmp_path):
    """As GoPro, DJI and ProRes files have: a track that the muxer makes itself."""
    movie = Movie(audio="aac", tags={"timecode": "01:00:00:00"}, rate=Fraction(25), time_base=Fraction(1, 12800))
    source = movie.write(tmp_path / "clip.mp4")
    target = done(source)
    for path in (source, target):
        with av.open(str(path)) as file:
            assert [s.type for s in file.streams] == ["video", "audio", "data"]
            assert file.streams.video[0].metadata["timecode"] == "01:00:00:00"
            assert file.streams.video[0].average_rate == 25
    assert packets(target, "audio") == packets(source, "audio")


@pytest.mark.parametrize(("name", "audio"), [("c.wmv", "wmav2"), ("c.avi", "adpcm_ima_wav")])
def test_sound_that_the_new_container_does_not_take_is_converted_and_said(tmp_path, name, audio):
    movie = Movie(audio=audio, encoder="mjpeg", pix_fmt="yuvj420p", time_base=Fraction(1, 10))
    source = movie.write(tmp_path / name)
    result = upscaled(source)
    assert result.error is None
    assert f"audio stream 1 ({audio}) does not fit .mkv: converted to flac" in result.warnings
    heard = []
    for path in (source, result.item.targets[0]):
        with av.open(str(path)) as file:
            shift = av.AudioResampler("s16", "mono", 44100)
            parts = [part for frame in file.decode(audio=0) for part in shift.resample(frame)]
            heard.append(np.concatenate([part.to_ndarray()[0] for part in parts]).astype(int))
    assert heard[0].shape == heard[1].shape
    assert np.abs(heard[0] - heard[1]).max() <= 1


def test_chapters_subtitles_fonts_and_flags(tmp_path):
    movie = Movie(audio="aac", subtitles=True, chapters=True, font=True, time_base=Fraction(1, 1000))
    source = movie.write(tmp_path / "clip.mkv")
    target = done(source)
    seen = []
    for path in (source, target):
        with av.open(str(path)) as file:
            fonts = [(s.name, s.mimetype, s.data) for s in file.streams if s.type == "attachment"]
            kept = [(s.type, s.disposition, s.language) for s in file.streams if s.type != "video"]
            chapters = [
                (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]) for c in file.chapters()
            ]
            seen.append((fonts, kept, chapters, file.metadata["title"], file.streams.video[0].average_rate))
    assert seen[0] == seen[1]
    assert seen[1][-1] == 10
    assert len(seen[1][2]) == 2
    assert packets(target, "subtitle") == packets(source, "subtitle") == [b"a word"]


def test_data_is_kept_or_said_to_be_left_out(tmp_path):
    source = Movie(positions=True).write(tmp_path / "clip.mp4")
    target = done(source)
    assert packets(target, "data") == packets(source, "data") == [b"\0\x04here"]
    result = upscaled(source, codec="ffv1")
    assert result.error is None
    assert any("data stream 1" in word and "left out" in word for word in result.warnings)


def test_sound_that_nobody_here_knows_is_left_out_and_said(tmp_path):
    """As an iPhone's apac."""
    source = Movie(audio="aac").write(tmp_path / "clip.mp4")
    source.write_bytes(source.read_bytes().replace(b"mp4a", b"apac").replace(b"esds", b"free"))
    result = upscaled(source)
    assert result.error is None
    assert any("audio stream 1" in word and "left out" in word for word in result.warnings)
    assert packets(result.item.targets[0], "audio") == []


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_a_cover_is_kept(tmp_path, codec):
    source = Movie(cover=True).write(tmp_path / "clip.mp4")
    target = done(source, codec=codec)
    for path in (source, target):
        with av.open(str(path)) as file:
            assert [s.disposition == av.stream.Disposition.attached_pic for s in file.streams] == [False, True]
            assert len([p for p in file.demux(video=1) if p.size]) == 1


def test_a_second_picture_stream_is_said_to_be_left_out(tmp_path):
    result = upscaled(Movie(videos=2).write(tmp_path / "clip.mkv"))
    assert result.error is None
    assert any("video stream 1" in word and "left out" in word for word in result.warnings)


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [((-1, 0, 0, -1), lambda p: p[::-1, ::-1]), ((0, 1, -1, 0), lambda p: np.rot90(p, -1)), ((-1, 0, 0, 1), np.fliplr)],
)
def test_display_matrices_are_applied(tmp_path, matrix, turned):
    a, b, c, d = (65536 * n for n in matrix)
    source = Movie(display=(a, b, 0, c, d, 0, 0, 0, 1 << 30)).write(tmp_path / "clip.mp4")
    info, shown = sample(source, 1)
    stored = frames(source)[0][1]
    assert psnr(shown[0], turned(stored)) > 30
    assert info.size == turned(stored).shape[:2]
    target = done(source, layout="ou")
    assert alike(frames(target)[0][1], turned(stored))
    assert sample(target, 1)[0].size == tuple(2 * n for n in info.size)


@pytest.mark.parametrize(
    ("mode", "out_layout", "swap", "said"),
    [
        ("left_right", None, False, "left_right"),
        ("left_right", "ou", False, "top_bottom"),
        ("left_right", "anaglyph", False, None),
        ("right_left", None, False, "left_right"),
        ("right_left", "ou", True, "top_bottom"),
    ],
)
def test_stereo_mode_is_honoured_and_written_anew(tmp_path, mode, out_layout, swap, said):
    source = Movie(tags={"stereo_mode": mode}, time_base=Fraction(1, 1000)).write(tmp_path / "clip.mkv")
    target = done(source, out_layout=out_layout, swap=swap)
    with av.open(str(target)) as file:
        assert file.streams.video[0].metadata.get("stereo_mode") == said
    if out_layout != "anaglyph":
        first, second = np.split(frames(source)[0][1], 2, 1)
        left, right = (second, first) if (mode == "right_left") != swap else (first, second)
        assert alike(frames(target)[0][1], np.concatenate([left, right], 0 if out_layout else 1))


def test_right_first_by_name_is_said_in_the_file(tmp_path):
    target = done(Movie().write(tmp_path / "clip_RL.mkv"))
    with av.open(str(target)) as file:
        assert file.streams.video[0].metadata["stereo_mode"] == "right_left"


def test_rgb_gets_a_matrix_that_is_written(tmp_path):
    source = Movie(encoder="ffv1", pix_fmt="bgr0", time_base=Fraction(1, 1000)).write(tmp_path / "clip.mkv")
    target = done(source)
    info = sample(target, 1)[0]
    assert (info.colours.colorspace, info.colours.color_range) == (1, 1)
    assert alike(frames(target)[2][1], frames(source)[2][1])


@pytest.mark.parametrize(("size", "matrix"), [((32, 64), 6), ((576, 64), 5), ((720, 64), 1)])
def test_the_matrix_that_was_used_is_written(tmp_path, size, matrix):
    """A player takes another one for larger pictures without a word on it."""
    flat = np.full((*size, 3), (200, 60, 90), np.uint8)
    source = Movie(frames=[flat] * 2).write(tmp_path / "clip.mp4")
    with av.open(str(source)) as file:
        assert int(next(file.decode(video=0)).colorspace) == 2
    target = done(source)
    with av.open(str(source)) as old, av.open(str(target)) as new:
        before, after = next(old.decode(video=0)), next(new.decode(video=0))
        assert int(after.colorspace) == matrix
        planes = [frame.to_ndarray(format="yuv444p").mean((1, 2)) for frame in (before, after)]
        assert np.abs(planes[0] - planes[1]).max() < 1.5


@pytest.mark.parametrize(
    ("pix_fmt", "encoder", "chroma"),
    [("yuv411p", "ffv1", "yuv422p"), ("yuv410p", "ffv1", "yuv420p"), ("yuv440p", "ffv1", "yuv444p")],
)
def test_rare_subsamplings_become_the_least_that_holds_them(tmp_path, pix_fmt, encoder, chroma):
    source = Movie(encoder=encoder, pix_fmt=pix_fmt, time_base=Fraction(1, 1000)).write(tmp_path / "clip.mkv")
    with av.open(str(done(source))) as file:
        assert file.streams.video[0].codec_context.pix_fmt == chroma


def test_a_file_that_was_cut_short_says_what_is_missing(tmp_path):
    whole = Movie(frames=[picture(n) for n in range(20)], time_base=Fraction(1, 1000), options={"g": "1"})
    data = whole.write(tmp_path / "whole.mkv").read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    result = upscaled(cut)
    assert result.error is None
    assert result.frames + result.missing == 20
    assert result.missing > 5
    assert any("could not be read" in word for word in result.warnings)
    assert upscaled(tmp_path / "whole.mkv").missing == 0


def test_sound_that_lasts_longer_is_no_damage(tmp_path):
    movie = Movie(audio="pcm_s16le", rate=Fraction(25), time_base=Fraction(1, 1000))
    assert upscaled(movie.write(tmp_path / "clip.mkv")).missing == 0


def test_damage_in_the_middle_costs_its_frames_only(tmp_path):
    movie = Movie(frames=[picture(n) for n in range(12)], encoder="png", pix_fmt="rgb24", time_base=Fraction(1, 10))
    source = movie.write(tmp_path / "clip.avi")
    data = source.read_bytes()
    broken = data.split(b"\x89PNG")
    source.write_bytes(b"\x89PNG".join(broken[:6]) + b"\0PNG" + b"\x89PNG".join(broken[6:]))
    result = upscaled(source)
    assert result.error is None
    assert result.frames + result.missing == 12
    assert 1 <= result.missing <= 2  # a reader may take what is broken for the end of what follows


def test_damaged_sound_costs_its_packets_only(tmp_path):
    """As a broadcast that was received badly: the muxer refuses a packet when all pictures are done."""
    source = Movie(frames=[picture(n) for n in range(20)], audio="aac").write(tmp_path / "clip.ts")
    data = bytearray(source.read_bytes())
    headers = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xf1"]  # of ADTS
    for at in headers[20:23]:
        data[at + 2 : at + 7] = bytes(5)
    source.write_bytes(data)
    result = upscaled(source)
    assert result.error is None
    assert result.frames == 20
    assert any("packets of sound" in word for word in result.warnings)
    assert len(packets(result.item.targets[0], "audio")) > 30
    assert list((tmp_path / "out").iterdir()) == list(result.item.targets)


def tagged(path: Path, tags: Tags) -> Path:
    """A file that says this of itself as well."""
    path.write_bytes(insert_boxes(path.read_bytes(), tags))
    return path


MASTERING = (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450, 10_000_000, 50)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_hdr_is_kept(tmp_path, codec):
    movie = Movie(pix_fmt="yuv420p10le", attributes={"colorspace": 9, "color_primaries": 9, "color_trc": 16})
    source = tagged(movie.write(tmp_path / "clip.mp4"), Tags(mastering=MASTERING, light=(1000, 400)))
    assert sample(source, 1)[0].tags.mastering == MASTERING
    info = sample(done(source, codec=codec), 1)[0]
    assert (info.tags.mastering, info.tags.light) == (MASTERING, (1000, 400))
    assert (info.bits, info.colours.colorspace, info.colours.color_trc) == (10, 9, 16)


VR180 = Spherical(2, (0, 0, 0), (1 << 30, 0, 1 << 30, 0), 0)


@pytest.mark.parametrize("out_layout", [None, "ou"])
def test_vr_is_kept_and_written_anew_for_another_layout(tmp_path, out_layout):
    source = tagged(Movie().write(tmp_path / "clip_180_LR.mp4"), Tags("sbs", spherical=VR180))
    target = done(source, out_layout=out_layout)
    assert sample(target, 1)[0].tags == Tags("ou" if out_layout else "sbs", spherical=VR180)
    assert target.name == ("clip_180_TB_x2.mp4" if out_layout else "clip_180_LR_x2.mp4")


def test_no_seam_is_left_where_views_go_round(tmp_path):
    """Of views that begin elsewhere, the same comes out; not so where nothing says that they go round."""
    begun = [0, 12]
    shown = [np.concatenate([np.roll(picture(n), -at, 1) for n in (1, 2)], 1) for at in begun]
    differences = []
    for name in ("a_360.mkv", "a.mkv"):
        results = []
        for at, pixels in zip(begun, shown, strict=True):
            movie = Movie(frames=[pixels], encoder="ffv1", pix_fmt="bgr0", time_base=Fraction(1, 1000))
            source = movie.write(tmp_path / name)
            (item,) = collect([source], Naming(out=tmp_path / "out", suffix="", codec="ffv1"), "sbs").items
            (result,) = run([item], FakeBackend(local_mean), Settings(model="fake", codec="ffv1", overwrite=True), None)
            assert result.error is None
            left, _ = np.split(frames(item.targets[0])[0][1], 2, 1)
            results.append(np.roll(left, 2 * at, 1).astype(int))
        differences.append(np.abs(results[0] - results[1]).max())
    assert differences[0] <= 2  # of rounding, in colour samples
    assert differences[1] > 10


def test_what_cannot_be_said_in_a_container_is_named(tmp_path):
    source = tagged(Movie().write(tmp_path / "clip.mp4"), Tags("sbs", spherical=VR180))
    result = upscaled(source, codec="ffv1")
    assert result.error is None
    assert any("spherical" in word for word in result.warnings)


def test_the_padding_of_a_cube_map_grows_with_the_picture(tmp_path):
    source = tagged(Movie().write(tmp_path / "c.mp4"), Tags(spherical=Spherical(1, (0, 0, 0), (0, 0, 0, 0), 3)))
    assert sample(done(source), 1)[0].tags.spherical.padding == 6


def test_the_xml_of_older_spherical_video_is_read_and_written_as_boxes(tmp_path):
    """Google's Spherical Video V1: 360 degrees, over-under."""
    words = {"StitchingSoftware": "x", "Spherical": "true", "Stitched": "true"}
    words |= {"ProjectionType": "equirectangular", "StereoMode": "top-bottom"}
    body = "".join(f"<GSpherical:{name}>{value}</GSpherical:{name}>" for name, value in words.items())
    text = f'<?xml version="1.0"?><rdf:SphericalVideo xmlns:GSpherical="x">{body}</rdf:SphericalVideo>'
    box = _box(b"uuid", bytes.fromhex("ffcc8263f8554a938814587a02521fdd") + text.encode())
    source = Movie().write(tmp_path / "clip.mp4")
    source.write_bytes(grown(source.read_bytes(), (b"moov", b"trak"), box))
    around = Spherical(0, (0, 0, 0), (0, 0, 0, 0), 0)
    assert sample(source, 1)[0].tags == Tags("ou", spherical=around)
    assert sample(done(source, layout="ou"), 1)[0].tags == Tags("ou", spherical=around)
    beside = done(source, layout="ou", out_layout="sbs")
    assert sample(beside, 1)[0].tags == Tags("sbs", spherical=around)


def test_a_mesh_is_said_to_be_left_out(tmp_path):
    mesh = _box(b"sv3d", _box(b"svhd", bytes(5)) + _box(b"proj", _box(b"prhd", bytes(16)) + _box(b"mshp", bytes(8))))
    source = Movie().write(tmp_path / "clip.mp4")
    source.write_bytes(grown(source.read_bytes(), VIDEO_ENTRY, mesh))
    result = upscaled(source)
    assert result.error is None
    assert any("mesh" in word for word in result.warnings)


def test_a_recording_that_was_not_ended_names_the_way_out(tmp_path):
    source = Movie().write(tmp_path / "clip.mp4")
    source.write_bytes(source.read_bytes()[:-900])
    with pytest.raises(StereosrError, match=r"recording was not ended.*untrunc"):
        sample(source)


def test_mv_hevc_is_refused_with_the_way_out(tmp_path):
    """As an iPhone writes it: both eyes in one track, in no packing of a frame."""
    source = Movie(encoder="libx265", options={"x265-params": "log-level=none"}).write(tmp_path / "clip.mov")
    eyes = _box(b"vexu", _box(b"eyes", _box(b"stri", bytes(4) + b"\x03")))
    source.write_bytes(grown(source.read_bytes(), VIDEO_ENTRY, eyes))
    with pytest.raises(StereosrError, match=r"MV-HEVC.*spatial export"):
        sample(source)


VIDEO_ENTRY = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")


def grown(movie: bytes, path: tuple[bytes, ...], box: bytes) -> bytes:
    """A movie, whose description comes last, with a box at the end of another one, or of the description of samples."""
    starts, at = [], 0
    for name in path:
        at = movie.index(name, at) - 4
        starts.append(at)
        at += 8
    if path[-1] == b"stsd":
        starts.append(at + 8)
    end = starts[-1] + int.from_bytes(movie[starts[-1] : starts[-1] + 4])
    movie = movie[:end] + box + movie[end:]
    for start in starts:
        size = int.from_bytes(movie[start : start + 4]) + len(box)
        movie = movie[:start] + struct.pack(">I", size) + movie[start + 4 :]
    return movie


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


# --- codecs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", [name for name in CODECS if name != "hevc_nvenc"])
def test_codecs(tmp_path, monkeypatch, codec):
    """Encoded in two segments, and decoded back: the same frames at the same times, and the same sound."""
    monkeypatch.setattr("stereosr.io.video.SEGMENT", 4)
    movie = Movie(audio="aac", time_base=Fraction(1, 1000), pts=[40, 140, 250, 330, 440, 545])
    source = movie.write(tmp_path / "clip.mkv")
    preset = {"av1": "12", "hevc": "ultrafast", "h264": "ultrafast"}.get(codec)
    target = done(source, codec=codec, preset=preset)
    assert times(target) == times(source)
    assert packets(target, "audio") == packets(source, "audio")
    for (_, small), (_, large) in zip(frames(source), frames(target), strict=True):
        assert alike(large, small, 26)
    with av.open(str(target)) as file:
        assert file.streams.video[0].codec_context.codec.canonical_name == codec


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "prores"])
@pytest.mark.parametrize("out_layout", [None, "ou"])
def test_containers_codecs_and_layouts(tmp_path, suffix, codec, out_layout):
    source = Movie(audio="aac", rate=Fraction(30000, 1001), time_base=Fraction(1, 30000)).write(tmp_path / f"c{suffix}")
    preset = {"prores": None, "av1": "12"}.get(codec, "ultrafast")
    result = upscaled(source, codec=codec, preset=preset, out_layout=out_layout)
    assert result.error is None
    (target,) = result.item.targets
    expected = {"prores": ".mov", "av1": ".mp4" if suffix == ".mp4" else ".mkv"}.get(codec, suffix)
    assert target.suffix == expected
    tick = Fraction(1, 1000) if expected == ".mkv" else 0
    starts = [times(path)[0] for path in (source, target)]  # no time is below zero in Matroska, where sound begins so
    for before, after in zip(times(source), times(target), strict=True):
        assert abs((after - starts[1]) - (before - starts[0])) <= tick
    assert packets(target, "audio") == packets(source, "audio")
    with av.open(str(target)) as file:
        rate = file.streams.video[0].average_rate
    assert rate == Fraction(30000, 1001) or (expected == ".mkv" and abs(rate / Fraction(30000, 1001) - 1) < 1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux's priorities")
def test_no_encoder_makes_this_process_a_real_time_one(tmp_path, monkeypatch):
    """SVT-AV1 does so, if it may: as root, for instance, in a container."""
    seen: set[int] = set()

    def look() -> None:
        for task in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):
                seen.add(os.sched_getscheduler(int(task.name)))

    look()
    before, frame = seen.copy(), video_encode._frame

    def looks(*arguments: Any) -> Any:
        look()
        return frame(*arguments)

    monkeypatch.setattr(video_encode, "_frame", looks)
    for codec in ("h264", "hevc", "av1"):
        done(Movie().write(tmp_path / f"{codec}.mkv"), codec=codec)
    look()
    assert seen == before


def test_large_pictures_are_hevc(tmp_path):
    wide = np.repeat(picture(0, 16, 64), 33, 1)
    target = done(Movie(frames=[wide]).write(tmp_path / "clip.mp4"))
    with av.open(str(target)) as file:
        assert (file.streams.video[0].codec_context.name, file.streams.video[0].width) == ("hevc", 4224)


def test_an_encoder_that_does_not_work_here_is_named_before_the_first_frame(tmp_path):
    source = Movie().write(tmp_path / "clip.mp4")
    for options, words in (
        ({"codec": "hevc_nvenc"}, "hevc_nvenc does not encode this here"),
        ({"preset": "nonsense"}, "libx264 does not encode this here"),
    ):
        result = upscaled(source, **options)
        assert result.frames == 0
        assert words in str(result.error)
    assert "no presets" in str(upscaled(source, codec="ffv1", preset="fast").error)
    assert list((tmp_path / "out").iterdir()) == []


def test_suffixes():
    assert [output_suffix(Path(f"a{s}")) for s in (".mp4", ".MOV", ".ts", ".avi", ".mkv")] == [
        ".mp4",
        ".MOV",
        ".mkv",
        ".mkv",
        ".mkv",
    ]
    assert [output_suffix(Path("a.mp4"), codec) for codec in ("hevc", "av1", "prores", "ffv1")] == [
        ".mp4",
        ".mp4",
        ".mov",
        ".mkv",
    ]


@pytest.mark.parametrize(
    ("pix_fmt", "options", "said"),
    [
        ("yuv444p12le", {}, "12 bits a sample become 10"),
        ("yuv444p", {"codec": "av1", "preset": "12"}, "colour is kept in 4:2:0, not 4:4:4"),
        ("yuva420p", {}, "the alpha channel is left out"),
        ("yuv420p", {"codec": "ffv1", "quality": 50}, "ffv1 has one quality"),
    ],
)
def test_what_is_not_kept_as_it_was_is_said(tmp_path, pix_fmt, options, said):
    source = Movie(encoder="ffv1", pix_fmt=pix_fmt, time_base=Fraction(1, 1000)).write(tmp_path / "clip.mkv")
    result = upscaled(source, **options)
    assert result.error is None
    assert any(said in word for word in result.warnings)


def test_a_colour_matrix_that_cannot_be_undone_is_refused(tmp_path):
    source = Movie(attributes={"colorspace": 14}).write(tmp_path / "clip.mp4")
    with pytest.raises(StereosrError, match="colour matrix 14"):
        sample(source)


def test_a_display_matrix_of_no_quarter_turn_is_said(tmp_path):
    a = 46341
    source = Movie(display=(a, a, 0, -a, a, 0, 0, 0, 1 << 30)).write(tmp_path / "clip.mp4")
    result = upscaled(source)
    assert result.error is None
    assert any("no quarter turn" in word for word in result.warnings)


# --- two files, two streams ------------------------------------------------------------------------------------------


def test_two_files_are_a_pair_aligned_by_time(tmp_path):
    left = [picture(n, 32, 32) for n in range(6)]
    right = [picture(n + 50, 32, 32) for n in range(6)]
    a = Movie(frames=left, audio="aac").write(tmp_path / "left.mp4")
    late = [0, 1024, 3072, 4096, 5120, 6144]  # the third one is missing, and there is one more
    b = Movie(frames=right, pts=late).write(tmp_path / "right.mp4")
    result = upscaled(a, b, layout=None)
    assert result.error is None
    assert any("2 frames of one view have no partner" in word for word in result.warnings)
    assert [t.name for t in result.item.targets] == ["left_x2.mp4", "right_x2.mp4"]
    shown = [frames(target) for target in result.item.targets]
    assert [[float(t) for t, _ in view] for view in shown] == [[0, 0.1, 0.3, 0.4, 0.5]] * 2
    for number, (la, lb) in enumerate([(0, 0), (1, 1), (3, 2), (4, 3), (5, 4)]):
        assert alike(shown[0][number][1], left[la], 26)
        assert alike(shown[1][number][1], right[lb], 26)
    assert packets(result.item.targets[0], "audio") == packets(a, "audio")
    joined = upscaled(a, b, layout="pair", out_layout="sbs").item.targets
    assert [t.name for t in joined] == [f"{tmp_path.name}_SBS_x2.mp4"]
    assert frames(joined[0])[0][1].shape == (64, 128, 3)


def test_two_streams_of_one_file(tmp_path):
    source = Movie(videos=2, encoder="mjpeg", pix_fmt="yuvj420p", time_base=Fraction(1, 10)).write(tmp_path / "w3.avi")
    (item,) = collect([source], Naming(out=tmp_path / "out", suffix="_x2")).items
    assert (item.layout, item.out_layout, item.targets[0].name) == ("pair", "sbs", "w3_SBS_x2.mkv")
    target = done(source, layout=None)
    assert frames(target)[0][1].shape == (64, 256, 3)
    one = Movie().write(tmp_path / "one.mp4")
    with pytest.raises(UsageError, match="one video stream"):
        Conversion((one,), (tmp_path / "x.mp4",), ("pair", "sbs"), twice)


def test_side_by_side_to_two_files(tmp_path):
    source = Movie(audio="aac").write(tmp_path / "clip_SBS.mp4")
    result = upscaled(source, out_layout="pair")
    assert result.error is None
    assert [t.name for t in result.item.targets] == ["clip_L_x2.mp4", "clip_R_x2.mp4"]
    halves = np.split(frames(source)[1][1], 2, 1)
    for target, half in zip(result.item.targets, halves, strict=True):
        assert alike(frames(target)[1][1], half, 26)
        assert packets(target, "audio") == packets(source, "audio")


def test_views_of_unequal_size_are_refused(tmp_path):
    a = Movie().write(tmp_path / "left.mp4")
    b = Movie(frames=[picture(0, 32, 32)]).write(tmp_path / "right.mp4")
    assert "left is 64x32, right is 32x32" in str(upscaled(a, b, layout="pair").error)


# --- parts, previews -------------------------------------------------------------------------------------------------


def test_a_part_starts_at_zero_with_its_sound_and_chapters(tmp_path):
    movie = Movie(frames=[picture(n) for n in range(10)], audio="aac", chapters=True, time_base=Fraction(1, 1000))
    source = movie.write(tmp_path / "clip.mkv")
    target = done(source, trim=(0.2, 0.5))
    shown = frames(target)
    assert [float(t) for t, _ in shown] == pytest.approx([0, 0.1, 0.2], abs=0.002)
    assert alike(shown[0][1], frames(source)[2][1])
    with av.open(str(target)) as file:
        chapters = [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in file.chapters()]
    assert [[round(float(t), 2) for t in c] for c in chapters] == [[0, 0.1], [0.1, 0.3]]
    heard = packets(target, "audio")
    all_of_it = packets(source, "audio")
    assert heard == all_of_it[all_of_it.index(heard[0]) :][: len(heard)]
    assert abs(len(heard) * 1024 / 44100 - 0.3) < 0.05


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_part_far_behind_is_the_same_as_if_all_before_it_had_been_read(tmp_path, monkeypatch, suffix):
    movie = Movie(frames=[picture(n) for n in range(90)], options={"g": "12", "bf": "2"}, time_base=Fraction(1, 1000))
    source = movie.write(tmp_path / f"clip{suffix}")
    target = done(source, trim=(7.3, 8), layout="sbs")
    near = target.read_bytes()
    assert [round(float(t), 1) for t in times(target)] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    monkeypatch.setattr("stereosr.io.video_source._RUN_UP", 100)
    assert done(source, trim=(7.3, 8), layout="sbs", overwrite=True).read_bytes() == near
    monkeypatch.undo()
    assert upscaled(source, trim=(7.3, None), overwrite=True).missing == 0


def test_parts_that_are_not_there_are_refused(tmp_path):
    source = Movie().write(tmp_path / "clip.mp4")
    assert "ends before 5 seconds" in str(upscaled(source, trim=(5, None)).error)
    with pytest.raises(UsageError, match="ends after it starts"):
        Conversion((source,), (tmp_path / "x.mp4",), ("sbs", "sbs"), twice, VideoOptions(trim=(2, 1)))


def test_previews_are_pictures_and_nothing_else(tmp_path):
    from stereosr.io.images import read_picture

    source = Movie(frames=[picture(n) for n in range(9)]).write(tmp_path / "clip_SBS.mp4")
    result = upscaled(source, preview=3)
    assert result.error is None
    assert "9 frames at" in result.warnings[0]
    written = sorted((tmp_path / "out").iterdir())
    assert [p.name for p in written] == [f"clip_SBS_x2_preview_{t:09.3f}s.png" for t in (0.1, 0.4, 0.7)]
    for path, number in zip(written, (1, 4, 7), strict=True):
        assert alike(read_picture(path).pixels, frames(source)[number][1])
    assert "exists" in str(upscaled(source, preview=3).error)


# --- the work --------------------------------------------------------------------------------------------------------


def test_a_frame_that_is_the_same_is_not_computed_again(tmp_path):
    shown = [picture(n // 4) for n in range(8)]
    source = Movie(frames=shown, encoder="ffv1", time_base=Fraction(1, 1000)).write(tmp_path / "clip.mkv")
    calls = 0

    def count(pair: Any) -> Any:
        nonlocal calls
        calls += 1
        return pair

    (item,) = collect([source], Naming(out=tmp_path / "out", suffix="_x2"), "sbs").items
    (result,) = run([item], FakeBackend(count), Settings(model="fake"), None)
    assert (result.error, result.frames, calls) == (None, 8, 2)
    assert len(frames(item.targets[0])) == 8


def test_layouts_that_are_not_of_videos_are_refused_before_any_work(tmp_path):
    source = Movie().write(tmp_path / "clip.mp4")
    for layout in ("mpo", "jps", "heic"):
        with pytest.raises(UsageError, match="choose sbs or"):
            collect([source], Naming(out=tmp_path, suffix="_x2"), layout)
    with pytest.raises(UsageError, match=r"choose sbs or .* or anaglyph"):
        check_layouts(source, "sbs", "mpo")


def test_the_same_work_gives_the_same_bytes(tmp_path):
    source = Movie(audio="aac", font=True, subtitles=True, time_base=Fraction(1, 1000)).write(tmp_path / "clip.mkv")
    digests = {hashlib.sha256(done(source, overwrite=True).read_bytes()).hexdigest() for _ in range(2)}
    assert len(digests) == 1


def test_folders_of_two_files_each(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    view = Movie(frames=[picture(0, 32, 32)])
    for name in ("a_L.mp4", "a_R.mp4", "b_SBS.mp4"):
        view.write(folder / name)
    found = collect([folder], Naming(out=tmp_path / "out", suffix="_x2"))
    assert [p.name for p in found.items[0].sources] == ["a_L.mp4", "a_R.mp4"]
    assert [p.name for p in found.items[0].targets] == ["a_L_x2.mp4", "a_R_x2.mp4"]
    listed = collect_lists(str(folder / "*_L.mp4"), str(folder / "*_R.mp4"), Naming(out=tmp_path / "out", suffix="_x2"))
    assert [p.name for p in listed.items[0].sources] == ["a_L.mp4", "a_R.mp4"]
