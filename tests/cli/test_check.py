import json
import shutil

import pytest

from command import failed, in_process, stereosr
from shared_data import ROOT, shared

LEFT, RIGHT = (ROOT / "engines/stereosr/models/bundled/examples/render" / f"hr{i}.png" for i in (0, 1))


def test_a_good_pair_ends_with_zero():
    done = stereosr("check", LEFT, RIGHT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "verdict: a rectified stereo pair"
    assert "disparity" in done.stdout


def test_a_faulty_one_with_one_and_the_fix():
    done = in_process("check", RIGHT, LEFT)
    assert done.returncode == 1
    assert "swap left and right" in done.stdout
    assert done.stderr == ""


def test_json_is_one_line():
    row = json.loads(in_process("check", LEFT, LEFT, "--json").stdout)
    assert row["good"] is False
    assert row["input"] == [str(LEFT)] * 2
    assert [f["kind"] for f in row["findings"]] == ["identical"]
    row = json.loads(in_process("check", LEFT, RIGHT, "--json").stdout)
    assert row["good"] is True
    assert row["matches"] > 200
    assert row["measured"]["disparity"][1] > 0


def test_what_cannot_be_told_is_not_good(tmp_path):
    import cv2
    import numpy as np

    for name, shade in (("left", 90), ("right", 91)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((90, 200), shade, np.uint8))
    done = in_process("check", tmp_path / "left.png", tmp_path / "right.png")
    assert done.returncode == 1
    assert "cannot tell" in done.stdout


def test_wrong_calls_name_the_fix(tmp_path):
    failed(in_process("check", LEFT, RIGHT, LEFT), 2, "LEFT RIGHT")
    failed(in_process("check", LEFT), 1, "--layout")
    shutil.copy(LEFT, tmp_path / "left.png")
    (tmp_path / "right.png").write_text("no picture")
    failed(in_process("check", tmp_path / "left.png", tmp_path / "right.png"), 1, "right.png", "no picture")


@pytest.mark.parametrize("name", ["super_mario.jps", "panasonic_gx8.mpo", "calf_sbs.jpg"])
def test_files_that_hold_both_views(name):
    """None of the three cameras was aligned; none has its eyes exchanged."""
    done = in_process("check", shared("formats") / name, "--json")
    row = json.loads(done.stdout)
    assert done.returncode == 1
    assert row["rows"] == "alignable"
    assert row["measured"]["row_error_aligned"] < 0.3 < row["measured"]["row_error"]
    assert [f["kind"] for f in row["findings"]] == ["rows"]


def test_upscale_says_what_is_odd_and_rectifies(tmp_path):
    import cv2
    import numpy as np

    for name, file, moved in (("left", LEFT, 0), ("right", RIGHT, 2)):
        view = cv2.imread(str(file))[100:240, 200:400]
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.roll(view, moved, 0))
    pair = [tmp_path / f"{name}.png" for name in ("left", "right")]
    done = in_process("upscale", *pair, "-s", 2, "--rectify", "off", "--json")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert "by default" in row["warnings"][0]
    assert row["alignment"] is None
    done = in_process("upscale", *pair, "-s", 2, "--suffix", "_r", "--json")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert "the right view was moved 2.0 px up" in row["warnings"][0]
    assert row["alignment"]["shift"] == pytest.approx(-2, abs=0.1)
    assert row["alignment"]["matrix"][1][2] == pytest.approx(-2, abs=0.3)
    assert row["apart"] is False
    assert in_process("check", *(tmp_path / f"{name}_r.png" for name in ("left", "right"))).returncode == 0


def test_measurements_are_told_in_words():
    text = in_process("check", LEFT, RIGHT).stdout
    assert "rows           common" in text
    assert "view order     consistent" in text
    assert "exposure       alike" in text
    assert "view order     exchanged" in in_process("check", RIGHT, LEFT).stdout


def test_folders_are_checked_pair_by_pair_and_what_is_wrong_with_one_stays_with_it(tmp_path):
    for name, (left, right) in {"good": (LEFT, RIGHT), "swapped": (RIGHT, LEFT)}.items():
        shutil.copy(left, tmp_path / f"{name}_L.png")
        shutil.copy(right, tmp_path / f"{name}_R.png")
    (tmp_path / "clip_SBS.mp4").write_text("no video")
    shutil.copy(LEFT, tmp_path / "alone_L.png")
    before = sorted(tmp_path.iterdir())
    done = in_process("check", tmp_path)
    assert done.returncode == 1
    first, second, last = done.stdout.splitlines()
    assert first == "good: good"
    assert second.startswith("swapped: the views are exchanged")
    assert last == "1 of 2 pairs are good"
    assert "alone_L.png" in done.stderr
    (tmp_path / "swapped_R.png").write_text("no picture")
    done = in_process("check", tmp_path, "--json")
    assert done.returncode == 3
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["good"]
    assert "failed: swapped" in done.stderr
    assert sorted(tmp_path.iterdir()) == before
