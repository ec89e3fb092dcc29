"""The judge of depth: exact on a pair of known disparity, worse where depth is spoilt."""

import cv2
import numpy as np
import pytest

from shared_data import shared
from stereosr.evaluation.consistency import consistency, disparity
from stereosr.evaluation.degrade import degrade, imresize, modcrop

SHIFT = 9


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A smooth random texture, and the same seen ``SHIFT`` pixels further left: a plane of that disparity."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 200, 3), np.uint8)
    wide = cv2.GaussianBlur(cv2.resize(noise, (400, 120), interpolation=cv2.INTER_CUBIC), (0, 0), 1)
    return wide[:, : 400 - SHIFT].copy(), wide[:, SHIFT:].copy()


def test_a_plane_has_its_disparity(pair):
    found = disparity(*pair)
    assert np.isfinite(found).mean() > 0.9
    assert np.nanmedian(found) == SHIFT
    assert np.nanmax(np.abs(found - SHIFT)) < 1
    assert np.isnan(found[:, :3]).all()  # those columns are not in the right view


def test_the_pair_itself_is_consistent(pair):
    seen = consistency(*pair, disparity(*pair))
    assert (seen.disparity, seen.lost) == (0, 0)
    assert seen.warp < 0.5


def test_views_exchanged_moved_or_unlike_are_not(pair):
    left, right = pair
    truth = disparity(left, right)
    moved = consistency(left, np.roll(right, -3, axis=1), truth)
    assert moved.disparity == pytest.approx(3, abs=0.2)
    assert moved.lost > 0.95
    assert consistency(right, left, truth).lost > 0.95
    assert consistency(left, right + np.uint8(4) * (right < 250), truth).warp == pytest.approx(4, abs=0.3)


def test_nothing_to_stand_on_is_nan(pair):
    seen = consistency(*pair, np.full(pair[0].shape[:2], np.nan, np.float32))
    assert all(np.isnan(v) for v in (seen.disparity, seen.lost, seen.warp))


def test_a_stronger_degradation_loses_more_depth():
    scene = shared("bench/Middlebury4") / "hr/motorcycle"
    hr = [modcrop(cv2.imread(str(scene / f"hr{v}.png")), 4) for v in (0, 1)]
    truth = disparity(*hr)
    two, four = (consistency(*(imresize(degrade(v, s), s) for v in hr), truth) for s in (2, 4))
    assert 0 < two.lost < four.lost < 0.3
    assert two.disparity < four.disparity
