import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import FakeBackend
from shared_data import ROOT
from stereosr.batch import pictures
from stereosr.batch.inputs import Naming, collect
from stereosr.batch.item import Result, Settings
from stereosr.batch.job import run
from stereosr.batch.manifest import Manifest
from stereosr.errors import OutOfMemory, StereosrError, UsageError
from stereosr.evaluation.metrics import psnr
from stereosr.inference.treated import upscale_treated
from stereosr.io import video, video_encode, video_mux, video_source
from stereosr.io.images import Picture, read_picture
from stereosr.io.video import Conversion, VideoOptions, detect_video_layout
from stereosr.io.video_source import sample
from stereosr.types import Pixels, StereoPair
from video_files import Movie, picture, twice

av = pytest.importorskip("av", reason="needs PyAV")

HR = ROOT / "engines/stereosr/models/bundled/examples/render"
LEFT, RIGHT = (read_picture(HR / f"hr{i}.png").pixels for i in (0, 1))
Work = Callable[[Picture, Picture], tuple[Picture, Picture]]
FAST = {"crf": "8", "preset": "ultrafast"}


def views(number: int, size: tuple[int, int] = (48, 160)) -> tuple[Pixels, Pixels]:
    """The pair a camera sees that moves down by two rows a frame."""
    rows, columns = slice(100 + 2 * number, 100 + 2 * number + size[0]), slice(200, 200 + size[1])
    return LEFT[rows, columns], RIGHT[rows, columns]


def side_by_side(number: int) -> Pixels:
    return np.concatenate(views(number), 1)


def make(
    path: Path,
    frames: Sequence[Pixels],
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 90000),
    pix_fmt: str = "yuv420p",
    sound: bool = False,
    options: dict[str, str] = FAST,
    **context: Any,
) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = time_base
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        tone = file.add_stream("aac", rate=48000, layout="mono") if sound else None
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            frame = frame.reformat(format=pix_fmt, dst_colorspace=context.get("colorspace"))
            frame.pts, frame.time_base = (pts[number] if pts else 3000 * number), time_base
            file.mux(stream.encode(frame))
            if tone is not None:
                wave = np.sin(np.arange(1600, dtype=np.float32) / 20)[None] / 3
                heard = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
                heard.sample_rate, heard.pts = 48000, 1600 * number
                file.mux(tone.encode(heard))
        file.mux(stream.encode(None))
        if tone is not None:
            file.mux(tone.encode(None))
    return path


def conversion(source: Path, target: Path, layouts: tuple[Any, Any] = ("sbs", "sbs"), **options: Any) -> Conversion:
    return Conversion((source,), (target,), layouts, twice, VideoOptions(**options))


def convert(source: Path, target: Path, layouts: tuple[Any, Any], work: Work, key: str, **options: Any) -> None:
    conversion(source, target, layouts, **options).run(lambda left, right, _time: work(left, right), key)


def frames(path: Path) -> list[tuple[Fraction, Pixels]]:
    with av.open(str(path)) as file:
        return [(f.pts * f.time_base, f.to_ndarray(format="rgb24")) for f in file.decode(video=0)]


def sounds(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as file:
        return [(p.pts * p.time_base, bytes(p)) for p in file.demux(audio=0) if p.pts is not None]


def doubled(*pictures: Picture) -> tuple[Picture, Picture]:
    a, b = (Picture(p.pixels.repeat(2, 0).repeat(2, 1)) for p in pictures)
    return a, b


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_every_frame_timestamp_and_sound_is_kept(tmp_path, suffix):
    uneven = [0, 3000, 6030, 33000, 33090, 90000, 93000]
    shown = [side_by_side(n) for n in range(len(uneven))]
    source = make(tmp_path / f"clip{suffix}", shown, uneven, sound=True)
    target = tmp_path / f"big{suffix}"
    convert(source, target, ("sbs", "sbs"), doubled, "key")
    before, after = frames(source), frames(target)
    assert [t for t, _ in after] == [t for t, _ in before]
    for (_, small), (_, large) in zip(before, after, strict=True):
        assert psnr(large, small.repeat(2, 0).repeat(2, 1)) > 31
    assert sounds(target) == sounds(source)
    with av.open(str(target)) as file:
        last = [p for p in file.demux(video=0) if p.pts is not None][-1]
        assert last.duration * last.time_base == Fraction(1, 30) or suffix == ".mkv"
    assert files(tmp_path) == {source.name, target.name}


def test_other_containers_become_matroska(tmp_path):
    source = make(tmp_path / "clip.ts", [side_by_side(n) for n in range(4)], [9000 + 3000 * n for n in range(4)])
    target = tmp_path / f"big{video.output_suffix(source)}"
    assert target.suffix == ".mkv"
    convert(source, target, ("sbs", "sbs"), doubled, "key")
    steps = [b - a for (a, _), (b, _) in zip(frames(target), frames(target)[1:], strict=False)]
    assert [round(float(s), 2) for s in steps] == [0.03] * 3


def test_ten_bits_and_colours_are_kept(tmp_path):
    source = make(tmp_path / "clip.mkv", [side_by_side(0)] * 2, pix_fmt="yuv422p10le", colorspace=9, color_trc=16)
    target = tmp_path / "big.mkv"
    seen: list[Picture] = []

    def work(left: Picture, right: Picture) -> tuple[Picture, Picture]:
        seen.append(left)
        return doubled(left, right)

    for depth, pix_fmt in ((None, "yuv422p10le"), (8, "yuv422p")):
        convert(source, target, ("sbs", "ou"), work, "key", depth=depth)
        assert seen[-1].pixels.dtype == np.uint16
        with av.open(str(target)) as file:
            frame = next(file.decode(video=0))
            assert frame.format.name == pix_fmt
            assert (int(frame.colorspace), int(frame.color_trc)) == (9, 16)
            both = frame.to_ndarray(format="rgb24")
        assert psnr(both[:96], views(0)[0].repeat(2, 0).repeat(2, 1)) > 31


@pytest.mark.parametrize(
    ("layouts", "size"),
    [(("sbs", "sbs-half"), (96, 320)), (("sbs", "ou"), (192, 320)), (("sbs-half", "sbs"), (96, 1280))],
)
def test_layouts(tmp_path, layouts, size):
    source = make(tmp_path / "clip.mp4", [side_by_side(n) for n in range(2)])
    target = tmp_path / "big.mp4"
    convert(source, target, layouts, doubled, "key")
    assert frames(target)[0][1].shape == (*size, 3)


def test_what_was_written_is_recognised_by_what_it_says_of_itself(tmp_path):
    source = make(tmp_path / "x_SBS.mp4", [side_by_side(n) for n in range(2)])
    assert detect_video_layout(source) == "sbs"
    assert sample(source)[0].count == 2
    for layout in ("sbs", "ou"):
        target = tmp_path / f"plain_{layout[:1]}.mkv"
        convert(source, target, ("sbs", layout), doubled, "key")
        assert sample(target)[0].tags.packing == layout
        assert detect_video_layout(target) == layout
    flat = make(tmp_path / "flat.mp4", [LEFT[:48, :320]])
    assert detect_video_layout(flat) is None


def test_a_stopped_video_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "SEGMENT", 3)
    source = make(tmp_path / "clip.mp4", [side_by_side(n) for n in range(10)], sound=True)
    calls = 0

    def stops(left: Picture, right: Picture) -> tuple[Picture, Picture]:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return doubled(left, right)

    whole, target = tmp_path / "whole.mp4", tmp_path / "big.mp4"
    convert(source, whole, ("sbs", "sbs"), doubled, "key")
    with pytest.raises(KeyboardInterrupt):
        convert(source, target, ("sbs", "sbs"), stops, "key")
    assert not target.exists()
    parts = ".big.mp4.parts"
    assert files(tmp_path / parts) == {"key", "000000000.nut", "000000003.nut"}
    assert conversion(source, target).finished_frames("key") == 6
    convert(source, target, ("sbs", "sbs"), stops, "key")
    assert calls == 8 + 4
    assert target.read_bytes() == whole.read_bytes()
    assert files(tmp_path) == {"clip.mp4", "whole.mp4", "big.mp4"}


def test_segments_of_other_settings_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "SEGMENT", 1)
    source = make(tmp_path / "clip.mp4", [side_by_side(n) for n in range(3)])
    seen: list[str] = []

    def fails(_left: Picture, _right: Picture) -> tuple[Picture, Picture]:
        seen.append("frame")
        if len(seen) == 3:
            raise StereosrError("no more")
        return doubled(_left, _right)

    with pytest.raises(StereosrError, match="no more"):
        convert(source, tmp_path / "big.mp4", ("sbs", "sbs"), fails, "one")
    convert(source, tmp_path / "big.mp4", ("sbs", "sbs"), fails, "another")
    assert len(seen) == 3 + 3


def test_killed_at_any_moment_it_ends_the_same(tmp_path):
    film = Movie(frames=[picture(n) for n in range(60)], audio="aac", chapters=True, tags={"timecode": "01:00:00:0"})
    source = film.write(tmp_path / "clip.mp4")
    command = [sys.executable, str(ROOT / "tests/workers/convert_video.py"), str(source)]
    whole, target = tmp_path / "whole.mp4", tmp_path / "out" / "big.mp4"
    subprocess.run([*command, str(whole)], check=True, timeout=120)
    for n in range(3):
        process = subprocess.Popen([*command, str(target)])
        deadline = time.monotonic() + 60
        while len(list(target.parent.glob(".*/0*.nut"))) < 2 * n + 1 and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(0.01 * n)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
        assert not target.exists()
    subprocess.run([*command, str(target)], check=True, timeout=120)
    assert target.read_bytes() == whole.read_bytes()
    assert files(target.parent) == {"big.mp4"}


def test_what_is_no_whole_video_is_refused_by_name(tmp_path):
    good = make(tmp_path / "good.mp4", [side_by_side(n) for n in range(4)], sound=True)
    with av.open(str(tmp_path / "sound.mp4"), "w") as out, av.open(str(good)) as file:
        copy = out.add_stream_from_template(file.streams.audio[0])
        for packet in file.demux(audio=0):
            if packet.pts is not None:
                packet.stream = copy
                out.mux(packet)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "cut.mp4").write_bytes(good.read_bytes()[:3000])
    for name in ("text", "empty", "cut", "sound", "nowhere"):
        path = tmp_path / f"{name}.mp4"
        for look in (detect_video_layout, lambda p: convert(p, tmp_path / "x.mp4", ("sbs", "sbs"), doubled, "key")):
            with pytest.raises(StereosrError, match=f"{name}.mp4"):
                look(path)
    assert not [name for name in files(tmp_path) if name.startswith((".", "x"))]


def test_interlaced_video_and_video_without_timestamps_are_refused(tmp_path):
    woven = make(tmp_path / "woven.mkv", [side_by_side(n) for n in range(3)], options=FAST | {"x264-params": "tff=1"})
    with av.open(str(tmp_path / "bare.h264"), "w", format="h264") as file:
        stream = file.add_stream("libx264", rate=30, options=FAST)
        stream.height, stream.width = side_by_side(0).shape[:2]
        for n in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(side_by_side(n), "rgb24")))
        file.mux(stream.encode(None))
    for path, words in ((woven, "interlaced"), (tmp_path / "bare.h264", "timestamp")):
        with pytest.raises(StereosrError, match=words):
            convert(path, tmp_path / "big.mkv", ("sbs", "sbs"), doubled, "key")
    assert not (tmp_path / "big.mkv").exists()


def test_an_error_is_named_for_where_it_happened(tmp_path, monkeypatch):
    """Whatever runs at the same time: frames are read, worked on and written in turns."""
    source = make(tmp_path / "clip.mp4", [side_by_side(n) for n in range(4)])
    target = tmp_path / "big.mp4"
    fault = ValueError("operands could not be broadcast")

    def fails(*_: object) -> tuple[Picture, Picture]:
        raise fault

    def convert_with(work: video.Work) -> None:
        convert(source, target, ("sbs", "sbs"), work, "key")

    with pytest.raises(ValueError, match="operands") as caught:
        convert_with(fails)
    assert caught.value is fault
    for module, part, words in (
        (video_source, "to_pixels", "cannot read .*clip.mp4"),
        (video_encode, "_frame", r"cannot write .*big.mp4"),
        (video_mux, "_with_durations", r"cannot write .*\.mp4"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, part, fails)
            with pytest.raises(StereosrError, match=words):
                convert_with(doubled)
    assert not target.exists()


def test_an_error_of_the_encoder_at_work_stops_the_video(tmp_path, monkeypatch):
    """The frames before it are kept for the next run; the thread has ended."""
    monkeypatch.setattr(video, "SEGMENT", 2)
    source = make(tmp_path / "clip.mp4", [side_by_side(n) for n in range(9)])
    target, write = tmp_path / "big.mp4", video_encode.write_segment

    def fails(path: Path, frames: Any, style: Any) -> None:
        if path.name == "000000004.nut":
            raise StereosrError("the disk is full")
        write(path, frames, style)

    with monkeypatch.context() as patch:
        patch.setattr(video, "write_segment", fails)
        with pytest.raises(StereosrError, match="the disk is full"):
            convert(source, target, ("sbs", "sbs"), doubled, "key")
    assert not [t for t in threading.enumerate() if t.name.startswith("stereosr")]
    assert conversion(source, target).finished_frames("key") == 4
    convert(source, target, ("sbs", "sbs"), doubled, "key")
    assert files(tmp_path) == {"clip.mp4", "big.mp4"}


def test_frames_are_read_ahead_and_encoded_while_others_are_worked_on(tmp_path, monkeypatch):
    """The first one is worked on when the third is read, and encoded when the third is worked on."""
    source = make(tmp_path / "clip.mp4", [side_by_side(n) for n in range(5)])
    read, worked_on = threading.Event(), threading.Event()
    decode, write = video_source.to_pixels, video_encode.write_segment
    counts = {"read": 0, "done": 0}
    waited: list[bool] = []

    def reads(*arguments: Any) -> Pixels:
        counts["read"] += 1
        if counts["read"] == 3:
            read.set()
        return decode(*arguments)

    def works(left: Picture, right: Picture) -> tuple[Picture, Picture]:
        counts["done"] += 1
        if counts["done"] == 1:
            waited.append(read.wait(30))
        if counts["done"] == 3:
            worked_on.set()
        return doubled(left, right)

    def writes(path: Path, frames: Any, style: Any) -> None:
        def slowly() -> Any:
            for number, frame in enumerate(frames):
                if number == 0:
                    waited.append(worked_on.wait(30))
                yield frame

        write(path, slowly() if path.suffix == ".nut" else frames, style)

    conversion_of_it = conversion(source, tmp_path / "big.mp4")
    monkeypatch.setattr(video_source.StereoSource, "samples", lambda *_: [tuple(map(Picture, views(0)))])
    monkeypatch.setattr(video_source, "to_pixels", reads)
    monkeypatch.setattr(video, "write_segment", writes)
    conversion_of_it.run(lambda left, right, _time: works(left, right), "key")
    assert waited == [True, True]


def test_who_is_told_before_the_video_appears_can_prevent_it(tmp_path):
    source = make(tmp_path / "clip.mp4", [side_by_side(0)])
    target = tmp_path / "big.mp4"

    def refuses(finished: Mapping[Path, Path]) -> None:
        assert len(frames(finished[target])) == 1
        assert not target.exists()
        raise UsageError("something is there")

    with pytest.raises(UsageError, match="something is there"):
        conversion(source, target).run(lambda left, right, _time: doubled(left, right), "key", refuses)
    assert not target.exists()


def test_layouts_that_no_video_has_are_refused(tmp_path):
    source = make(tmp_path / "clip.mp4", [side_by_side(0)])
    for layouts, setting in ((("mpo", "sbs"), "layout"), (("sbs", "jps"), "out_layout")):
        with pytest.raises(UsageError) as refused:
            convert(source, tmp_path / "big.mp4", layouts, doubled, "key")
        assert refused.value.settings == (setting,)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    source = make(tmp_path / "clip.mp4", [side_by_side(0)])
    (tmp_path / "file").write_text("")
    with pytest.raises(StereosrError, match="file"):
        convert(source, tmp_path / "file" / "big.mp4", ("sbs", "sbs"), doubled, "key")


# --- as a job --------------------------------------------------------------------------------------------------------


def upscaled(path: Path, out: Path, manifest: Path | None = None, **settings: Any) -> Result:
    (item,) = collect([path], Naming(out=out, suffix="_x2")).items
    (result,) = run([item], FakeBackend(), Settings(model="fake", **settings), manifest)
    return result


def test_a_video_is_an_item_of_a_job_like_any_other(tmp_path):
    clip = make(tmp_path / "clip_SBS.mp4", [side_by_side(n) for n in range(5)])
    plans: list[int] = []
    (item,) = collect([clip], Naming(out=tmp_path / "out", suffix="_x2")).items
    (result,) = run([item], FakeBackend(), Settings(model="fake"), None, lambda _item, frames: plans.append(frames))
    assert result.error is None
    assert (result.status, result.frames, result.tiles, result.size) == ("done", 5, 1, (48, 160))
    assert plans == [5]
    assert item.targets == (tmp_path / "out" / "clip_SBS_x2.mp4",)
    assert frames(item.targets[0])[0][1].shape == (96, 640, 3)
    again = upscaled(clip, tmp_path / "out")
    assert "overwrite" in again.error.settings
    assert upscaled(clip, tmp_path / "out", overwrite=True).status == "done"
    assert files(tmp_path) == {"clip_SBS.mp4", "out", "out/clip_SBS_x2.mp4"}


def test_a_finished_video_is_skipped(tmp_path):
    clip = make(tmp_path / "clip_SBS.mp4", [side_by_side(0)])
    manifest = tmp_path / "out" / "manifest"
    assert upscaled(clip, tmp_path / "out", manifest).status == "done"
    assert upscaled(clip, tmp_path / "out", manifest).status == "skipped"
    assert upscaled(clip, tmp_path / "out", manifest, swap=True).status == "failed"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (MemoryError(), "both views and their results need .* KiB beside the model"),
        (ValueError("operands could not be broadcast"), "clip_SBS: ValueError: operands could not be broadcast"),
    ],
)
def test_what_befalls_a_frame_fails_the_video_and_the_rest_goes_on(tmp_path, monkeypatch, fault, told):
    """And it is not taken for an error of writing."""
    calls = 0

    def fails(*arguments: Any) -> tuple[Pixels, Pixels]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise fault
        return upscale_treated(*arguments)

    monkeypatch.setattr(pictures, "upscale_treated", fails)
    clips = [make(tmp_path / f"{name}_SBS.mp4", [side_by_side(n) for n in range(3)]) for name in ("clip", "other")]
    items = collect(clips, Naming(out=tmp_path / "out", suffix="_x2"), "sbs").items
    first, second = run(items, FakeBackend(), Settings(model="fake"), None)
    assert first.error is not None
    assert re.search(told, str(first.error))
    assert isinstance(first.error, OutOfMemory) == isinstance(fault, MemoryError)
    assert first.error.__cause__ is fault
    assert (second.status, second.frames) == ("done", 3)
    assert files(tmp_path / "out") == {"other_SBS_x2.mp4"}


def test_a_video_that_somebody_else_put_there_is_not_replaced(tmp_path, monkeypatch):
    """Neither while ours is made, nor after a run that was killed; what such a run finished itself is."""
    clip = make(tmp_path / "clip_SBS.mp4", [side_by_side(n) for n in range(2)])
    out, manifest = tmp_path / "out", tmp_path / "out" / "manifest"
    target = out / "clip_SBS_x2.mp4"

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # killed between the two: the video has its name, the manifest says "started"
        patch.setattr(Manifest, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            upscaled(clip, out, manifest)
    ours = target.read_bytes()
    target.write_text("another one")
    assert "clip_SBS_x2.mp4 exists" in str(upscaled(clip, out, manifest).error)
    assert target.read_text() == "another one"
    target.write_bytes(ours)
    assert upscaled(clip, out, manifest).status == "done"
    target.unlink()
    item = collect([clip], Naming(out=out, suffix="_x2")).items[0]

    def meanwhile(pair: StereoPair) -> StereoPair:
        target.write_text("another one")
        return pair

    (result,) = run([item], FakeBackend(meanwhile), Settings(model="fake"), manifest)
    assert "clip_SBS_x2.mp4 exists" in str(result.error)
    assert target.read_text() == "another one"


def test_swap_and_rectify_hold_for_every_frame(tmp_path):
    large = [views(n, (200, 300)) for n in range(3)]
    swapped = [np.concatenate([np.roll(b, 3, 0), a], 1) for a, b in large]
    clip = make(tmp_path / "clip_SBS.mp4", swapped)
    odd = upscaled(clip, tmp_path / "odd", rectify="off")
    assert any("by default" in w for w in odd.warnings)
    assert any("swap" in w for w in odd.warnings)
    result = upscaled(clip, tmp_path / "out", swap=True)
    assert len(result.warnings) == 1
    assert "the right view was moved 3." in result.warnings[0] or "the right view was moved 2.9" in result.warnings[0]
    (target,) = result.item.targets
    for (left, right), (_, frame) in zip(large, frames(target), strict=True):
        assert psnr(frame[:, :600], left.repeat(2, 0).repeat(2, 1)) > 31
        assert psnr(frame[20:-20, 600:], right.repeat(2, 0).repeat(2, 1)[20:-20]) > 28


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    clip = make(tmp_path / "clip_SBS.mp4", [side_by_side(0)])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r"stereosr\[video\]"):
        sample(clip)
    shutil.rmtree(tmp_path)
