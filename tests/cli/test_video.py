import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from command import failed, in_process, stereosr
from shared_data import ROOT
from stereosr.io.images import read_picture
from stereosr.io.video_encode import CODECS
from stereosr_cli import options
from video_files import Movie, picture

av = pytest.importorskip("av", reason="needs PyAV")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Three frames of the middle of the example, side by side."""
    left, right = (read_picture(ROOT / f"examples/{side}.png").pixels for side in ("left", "right"))
    path = tmp_path / "clip_SBS.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=24, options={"crf": "5"})
        stream.width, stream.height = 272, 46
        for n in range(3):
            both = np.concatenate([view[30 + n : 76 + n, 10:146] for view in (left, right)], 1)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(both, "rgb24")))
        file.mux(stream.encode(None))
    return path


def test_a_side_by_side_clip(clip):
    done = stereosr("upscale", clip, "-o", clip.parent / "out", "--json")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["status"], row["frames"], row["size"]) == ("done", 3, [46, 136])
    assert [p.name for p in (clip.parent / "out").iterdir()] == ["clip_SBS_x4.mp4"]
    with av.open(row["output"][0]) as file:
        shown = [(f.pts * f.time_base, f.width, f.height) for f in file.decode(video=0)]
    assert [(round(float(t) * 24), w, h) for t, w, h in shown] == [(n, 1088, 184) for n in range(3)]


@pytest.mark.parametrize(
    ("asked", "view"),
    [(("-s", "1.5"), (68, 204)), (("--width", "300"), (100, 300)), (("--max-size", "200"), (68, 200))],
)
def test_any_size_in_even_numbers(clip, asked, view):
    done = in_process("upscale", clip, "-o", clip.parent / "out", *asked, "--json", "--trim", ":0.05")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert tuple(row["output_size"]) == view
    with av.open(row["output"][0]) as file:
        assert (file.streams.video[0].height, file.streams.video[0].width) == (view[0], 2 * view[1])
    told = in_process("upscale", clip, "-o", clip.parent / "told", *asked, "--json", "--dry-run")
    assert json.loads(told.stdout)["output_size"] == row["output_size"]


def test_a_clip_that_was_cut_short_is_written_and_ends_with_3(tmp_path):
    movie = Movie(frames=[picture(n, 46, 272) for n in range(12)], time_base=Fraction(1, 1000), options={"g": "1"})
    cut = movie.write(tmp_path / "clip_SBS.mkv")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 3])
    done = in_process("upscale", cut, "-s", "2", "--json", "--layout", "sbs")
    row = json.loads(done.stdout)
    failed(done, 3, f"clip_SBS lacks {row['missing_frames']} frames")
    assert row["frames"] + row["missing_frames"] == 12
    assert Path(row["output"][0]).exists()


def test_a_part_in_another_codec_after_a_preview(clip):
    out = ("-s", "2", "-o", clip.parent / "out")
    done = in_process("upscale", clip, *out, "--preview", "1")
    assert "3 frames at" in done.stderr
    done = in_process("upscale", clip, *out, "--codec", "hevc", "--preset", "ultrafast", "--trim", "0.04:1m")
    assert {p.name for p in (clip.parent / "out").iterdir()} == {
        "clip_SBS_x2.mp4",
        "clip_SBS_x2_preview_00000.042s.png",
    }, done.stderr
    with av.open(str(clip.parent / "out" / "clip_SBS_x2.mp4")) as file:
        assert (file.streams.video[0].name, len(list(file.decode(video=0)))) == ("hevc", 2)


def test_codecs_offered_are_those_there_are():
    assert tuple(CODECS) == options.CODECS


def test_what_cannot_be_done_says_why(clip):
    plain = clip.with_name("plain.mp4")
    with av.open(str(plain), "w") as file:
        stream = file.add_stream("libx264", rate=24)
        stream.width, stream.height = 272, 46
        file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((46, 272, 3), 90, np.uint8), "rgb24")))
        file.mux(stream.encode(None))
    failed(in_process("upscale", plain), 2, "plain.mp4", "--layout")
    failed(in_process("upscale", clip, "--out-layout", "mpo"), 2, "cannot be written as mpo")
    failed(in_process("upscale", clip, "--layout", "jps"), 2, "cannot be read as jps")
    failed(in_process("upscale", clip, "--trim", "2:1"), 2, "it ends before it starts")
    plain.write_text("no video")
    failed(in_process("upscale", plain), 1, "plain.mp4")
    done = in_process("upscale", clip, "--dry-run")
    assert re.search(r"clip_SBS_x4\.mp4: \d+x\d+ -> \d+x\d+, 1 tile, \d+ frames, about ", done.stdout)
    done = in_process("upscale", clip.parent, "-o", clip.parent / "out", "--dry-run")
    assert done.stdout.startswith(f"{clip} -> {clip.parent / 'out/clip_SBS_x4.mp4'}: ")
    assert "plain.mp4" in done.stderr
    assert {p.name for p in clip.parent.iterdir()} == {"clip_SBS.mp4", "plain.mp4"}
