import numpy as np
import pytest

from shared_data import ROOT
from stereosr.geometry.matching import match
from stereosr.io.images import Picture, read_picture

HR = ROOT / "engines/stereosr/models/bundled/examples/render"


def test_points_are_placed_to_a_tenth_of_a_pixel() -> None:
    left, right = read_picture(HR / "hr0.png"), read_picture(HR / "hr1.png")
    matches = match(left.pixels, right.pixels)
    assert len(matches) > 200
    assert np.median(np.abs(matches.vertical_offset)) < 0.1
    moved = match(left.pixels, np.roll(right.pixels, (3, 5), (0, 1)))
    assert np.median(moved.vertical_offset) == pytest.approx(3 + np.median(matches.vertical_offset), abs=0.1)
    assert np.median(moved.disparity) == pytest.approx(np.median(matches.disparity) - 5, abs=0.2)


def test_nothing_is_matched_where_there_is_nothing_to_see() -> None:
    flat = Picture(np.full((200, 300, 3), 90, np.uint8)).pixels
    assert len(match(flat, flat)) == 0
    assert len(match(flat[:40], flat[:40])) == 0
