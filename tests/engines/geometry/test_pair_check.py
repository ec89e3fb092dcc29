import time

import cv2
import numpy as np
import pytest

from shared_data import ROOT, shared
from stereosr.geometry.pair_check import check_pair_or_unknown, examine
from stereosr.geometry.rectify import Alignment, move
from stereosr.geometry.treatment import Treatment, choose_treatment
from stereosr.io.encode import encode_picture
from stereosr.io.images import Picture, decode_picture, read_picture

HR = ROOT / "engines/stereosr/models/bundled/examples/render"


@pytest.fixture(scope="module")
def pair() -> tuple[Picture, Picture]:
    return read_picture(HR / "hr0.png"), read_picture(HR / "hr1.png")


def apply(alignment: Alignment, picture: Picture) -> Picture:
    return Picture(move(picture.pixels, alignment))


def kinds(left: Picture, right: Picture) -> list[str]:
    return [finding.kind for finding in examine(left, right).findings]


def lit(picture: Picture, *factors: float) -> Picture:
    return Picture(np.clip(picture.pixels * np.array(factors), 0, 255).astype(np.uint8))


def test_a_good_pair_is_good(pair):
    seen = examine(*pair)
    assert seen.good
    assert seen.measured is not None
    least, median, most = seen.measured.disparity
    assert 10 < least < median < most < 45  # as rendered
    assert seen.measured.order > 3
    assert abs(seen.measured.vertical_offset) < 0.1


def test_every_fault_is_found_and_no_other(pair, tmp_path):
    left, right = pair
    again = decode_picture(encode_picture(left, "JPEG", 60, tmp_path), tmp_path)
    other = Picture(np.random.default_rng(0).integers(0, 256, left.pixels.shape, np.uint8))
    for views, fault in (
        ((right, left), "swapped"),
        ((left, left), "identical"),
        ((left, again), "identical"),
        ((left, Picture(right.pixels[:, 4:])), "size"),
        ((left, apply(Alignment(3), right)), "rows"),
        ((left, apply(Alignment(-1, 0.02), right)), "rows"),
        ((left, lit(right, 0.7, 0.7, 0.7)), "exposure"),
        ((left, lit(right, 1, 1, 0.8)), "colour"),
        ((left, other), "unrelated"),
    ):
        assert kinds(*views) == [fault]


def test_views_shifted_to_lie_behind_the_screen_are_not_taken_for_exchanged_ones(pair):
    left, right = pair
    seen = examine(Picture(left.pixels[:, 50:]), Picture(right.pixels[:, :-50]))
    assert seen.good
    assert seen.measured is not None
    assert seen.measured.disparity[2] < 0


def test_faults_are_told_apart_when_they_come_together(pair):
    left, right = pair
    assert kinds(lit(right, 0.7, 0.7, 0.7), apply(Alignment(3), left)) == ["rows", "swapped", "exposure"]


def test_where_rows_cannot_be_brought_together_the_advice_is_another(pair):
    left, right = pair
    assert "by default" in check_pair_or_unknown(left, apply(Alignment(3), right)).problems[0]
    (far,) = check_pair_or_unknown(left, Picture(np.roll(right.pixels, 60, 0))).problems
    assert "by default" not in far
    assert "calibration" in far


def test_of_flat_and_tiny_pictures_nothing_is_said():
    flat = np.full((200, 300, 3), 90, np.uint8)
    ramp = np.repeat(np.linspace(0, 255, 300).astype(np.uint8)[None, :, None], 200, 0).repeat(3, 2)
    for a, b in ((flat, ramp), (ramp, np.roll(ramp, 3, 1)), (ramp[:1, :1], flat[:1, :1]), (ramp[:, :2], flat[:, :2])):
        seen = examine(Picture(a), Picture(b))
        assert not seen.good
        assert not seen.findings
        assert "too little texture" in str(seen.unknown)
        assert check_pair_or_unknown(Picture(a), Picture(b)).problems == []


def test_sixteen_bits_are_judged_alike(pair):
    wide = [Picture(view.pixels.astype(np.uint16) * 257) for view in pair]
    assert examine(*wide).good
    assert kinds(wide[1], wide[0]) == ["swapped"]


def test_large_pictures_cost_little(pair):
    large = [Picture(cv2.resize(v.pixels, (4000, 2400)).astype(np.uint8)) for v in pair]
    started = time.process_time()
    assert examine(*large).good
    assert time.process_time() - started < 2  # most of it is scaling 20 megapixels down


def test_calibrated_pairs_are_left_as_they_are():
    lr, middlebury = shared("bench/KITTI2015") / "lr_x4", shared("bench/Middlebury4") / "hr"
    for folder in (*lr.iterdir(), *middlebury.iterdir()):
        views = (read_picture(next(folder.glob(f"?r{i}.png"))) for i in (0, 1))
        assert choose_treatment(examine(*views)) == Treatment(), folder.name


@pytest.mark.parametrize("scene", ["000004", "000010", "000012", "000016"])
def test_real_pairs_from_a_car(scene):
    folder = shared("bench/KITTI2015") / "hr" / scene
    left, right = (read_picture(folder / f"hr{i}.png") for i in (0, 1))
    assert kinds(left, right) == []
    assert kinds(right, left) == ["swapped"]


@pytest.mark.parametrize(("name", "faults"), [("gray", []), ("exposure", ["exposure"]), ("unrectified", ["rows"])])
def test_real_pairs_with_faults(name, faults):
    folder = shared("formats") / name
    left, right = (read_picture(folder / f"{side}.png") for side in ("left", "right"))
    assert kinds(left, right) == faults
