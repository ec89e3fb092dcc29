import json
from pathlib import Path

import numpy as np
import pytest

from command import failed, in_process, stereosr
from shared_data import ROOT
from stereosr.io.images import read_picture

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


def test_what_cannot_be_done_says_why(clip):
    plain = clip.with_name("plain.mp4")
    with av.open(str(plain), "w") as file:
        stream = file.add_stream("libx264", rate=24)
        stream.width, stream.height = 272, 46
        file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((46, 272, 3), 90, np.uint8), "rgb24")))
        file.mux(stream.encode(None))
    failed(in_process("upscale", plain), 2, "plain.mp4", "--layout sbs")
    failed(in_process("upscale", clip, "--out-layout", "pair"), 2, "cannot be written as pair")
    plain.write_text("no video")
    failed(in_process("upscale", plain), 1, "plain.mp4")
    done = in_process("upscale", clip, "--dry-run")
    assert done.stdout.strip().endswith("clip_SBS_x4.mp4")
    done = in_process("upscale", clip.parent, "-o", clip.parent / "out", "--dry-run")
    assert done.stdout == f"{clip} -> {clip.parent / 'out/clip_SBS_x4.mp4'}\n"
    assert "plain.mp4" in done.stderr
    assert {p.name for p in clip.parent.iterdir()} == {"clip_SBS.mp4", "plain.mp4"}
