import numpy as np
import pytest

from shared_data import ROOT, shared
from stereosr.geometry.rectify import Alignment, align, apply, match, rectify
from stereosr.io.images import Picture, read_picture

HR = ROOT / "engines/stereosr/models/bundled/examples/render"


@pytest.fixture(scope="module")
def pair() -> tuple[Picture, Picture]:
    return read_picture(HR / "hr0.png"), read_picture(HR / "hr1.png")


def row_error(left: Picture, right: Picture) -> float:
    return float(np.median(np.abs(match(left.pixels, right.pixels).drop)))


def test_points_are_placed_to_a_tenth_of_a_pixel(pair):
    left, right = pair
    matches = match(left.pixels, right.pixels)
    assert len(matches) > 200
    assert np.median(np.abs(matches.drop)) < 0.1
    moved = match(left.pixels, np.roll(right.pixels, (3, 5), (0, 1)))
    assert np.median(moved.drop) == pytest.approx(3 + np.median(matches.drop), abs=0.1)
    assert np.median(moved.disparity) == pytest.approx(np.median(matches.disparity) - 5, abs=0.2)


@pytest.mark.parametrize("moved", [Alignment(4.4), Alignment(-2.5, 0.008, 1.01), Alignment(0.0, -0.01, 0.995)])
def test_what_was_moved_is_moved_back(pair, moved):
    left, right = pair
    height, width = left.pixels.shape[:2]
    apart = apply(moved, right)
    found = align(match(left.pixels, apart.pixels), height, width)
    both = np.vstack([moved.matrix(height, width), [0, 0, 1]]) @ np.vstack([found.matrix(height, width), [0, 0, 1]])
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
    assert np.abs(corners @ both.T - corners)[:, 1].max() < 0.3  # columns are told by no match
    again, said = rectify(left, apart)
    assert row_error(left, again) < 0.15 < 1 < row_error(left, apart)
    assert said[0].startswith("rows were ")
    assert "the right view was moved" in said[0]


def test_rows_that_agree_are_left_alone(pair):
    left, right = pair
    again, said = rectify(left, right)
    assert again is right
    assert said == []


def test_what_no_small_move_brings_together_is_left_alone(pair):
    left, right = pair
    for other, words in (
        (np.roll(right.pixels, 60, 0), "no small move"),
        (np.zeros_like(right.pixels), "only 0 points"),
        (right.pixels[::-1].copy(), "points are seen"),
    ):
        again, said = rectify(left, Picture(other))
        assert again.pixels is other
        assert words in said[0]


def test_sixteen_bits_and_alpha_are_moved_along(pair):
    left, right = pair
    wide = right.pixels.astype(np.uint16) * 257
    moved = apply(Alignment(2.0), Picture(wide, wide[..., 0]))
    assert moved.pixels.dtype == np.uint16
    assert moved.alpha is not None
    np.testing.assert_array_equal(moved.pixels[2:], wide[:-2])
    np.testing.assert_array_equal(moved.alpha[2:], wide[:-2, :, 0])
    np.testing.assert_array_equal(moved.pixels[:2], wide[[0, 0]])
    assert row_error(Picture(left.pixels.astype(np.uint16) * 257), moved) == pytest.approx(2, abs=0.1)


def test_a_real_pair_with_a_vertical_offset_comes_out_on_common_rows():
    folder = shared("formats/unrectified")
    left, right = read_picture(folder / "left.png"), read_picture(folder / "right.png")
    again, _ = rectify(left, right)
    after = match(left.pixels, again.pixels).drop
    assert row_error(left, right) > 1.5
    assert np.median(np.abs(after)) < 0.2
    assert np.percentile(np.abs(after), 90) < 0.5
