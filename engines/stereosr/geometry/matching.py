"""Points that both views of a pair show."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from stereosr.types import Pixels

Points = NDArray[np.float64]
"""N x 2: x and y in pixels, 0 is the centre of the first pixel."""

MIN_MATCHES = 12
"""Minimum number of matches for a verdict; unrelated views never exceeded 5."""

_COARSE_SIDE, _FINE_SIDE = 640, 1600  # of the pictures in which points are found, and then placed
_RATIO = 0.8  # a match is believed if the second best is this much worse (D. Lowe, IJCV 2004)
_MIN_FEATURES, _MIN_SIDE = 8, 64  # ORB looks at 31 pixels around a point
_SAMPLES = 300


@dataclass(frozen=True, slots=True)
class Matches:
    """Points that both views show.

    Attributes:
        left: where they lie in the left view.
        right: where they lie in the right view, in the same order.
        features: how many were found in the view that shows fewer.
    """

    left: Points
    right: Points
    features: int

    def __len__(self) -> int:
        return len(self.left)

    @property
    def disparity(self) -> NDArray[np.float64]:
        """How much further left each point lies in the right view, in pixels: larger is nearer."""
        return np.asarray(self.left[:, 0] - self.right[:, 0])

    @property
    def vertical_offset(self) -> NDArray[np.float64]:
        """How much lower each point lies in the right view, in pixels: 0 in a rectified pair."""
        return np.asarray(self.right[:, 1] - self.left[:, 1])


def match(left: Pixels, right: Pixels) -> Matches:
    """Find points of one view in the other, to about a tenth of a pixel.

    ORB finds them in small pictures, RANSAC keeps those whose rows agree, and Lucas and Kanade's method places them.

    Args:
        left: H x W x 3, RGB, uint8 or uint16.
        right: likewise.

    Returns:
        The matches; none where there is too little to see.
    """
    (a, fine), (b, _) = _grey(left, _FINE_SIDE), _grey(right, _FINE_SIDE)
    (small_a, small), (small_b, _) = shrink(a, _COARSE_SIDE), shrink(b, _COARSE_SIDE)
    nothing = Matches(np.empty((0, 2)), np.empty((0, 2)), 0)
    if min(small_a.shape) < _MIN_SIDE:
        return nothing
    orb = cv2.ORB.create(1000, fastThreshold=10)
    (points_a, words_a), (points_b, words_b) = (orb.detectAndCompute(view, np.empty(0)) for view in (small_a, small_b))
    nothing = replace(nothing, features=min(len(points_a), len(points_b)))
    if nothing.features < _MIN_FEATURES:
        return nothing
    both = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(words_a, words_b, k=2)
    alike = [best for best, second in both if best.distance < _RATIO * second.distance]
    if len(alike) < _MIN_FEATURES:
        return nothing
    found = np.array([[points_a[m.queryIdx].pt, points_b[m.trainIdx].pt] for m in alike])
    found = found[consensus(found[:, 0], found[:, 1])]
    start, guess = np.ascontiguousarray(((found + 0.5) / small - 0.5).swapaxes(0, 1), np.float32)
    placed, seen, _ = cv2.calcOpticalFlowPyrLK(
        a,
        match_brightness(a, b),
        start,
        guess.copy(),
        winSize=(21, 21),
        maxLevel=1 if small > 0.6 else 2,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    kept = (seen[:, 0] > 0) & (np.abs(placed - guess).max(1) < 6 / small)
    full = [(view[kept].astype(np.float64) + 0.5) / fine - 0.5 for view in (start, placed)]
    return Matches(full[0], full[1], nothing.features)


def consensus(left: Points, right: Points, tolerance: float = 3.0) -> NDArray[np.bool_]:
    """Which matches agree on how the right view is turned: RANSAC with MSAC's truncated loss.

    Of many turns of the right view, each fixed by three matches, the one is taken that misses the others least; on
    rows alone, as columns differ by depth.

    Args:
        left: points in the left view.
        right: the same points in the right view.
        tolerance: rows that a match may miss.

    Returns:
        N booleans.
    """
    points = np.column_stack([np.ones(len(right)), right])
    chosen = np.random.default_rng(0).integers(0, len(right), (_SAMPLES, 3))
    rows = np.linalg.pinv(points[chosen]) @ left[chosen][..., 1:]
    misses = np.abs(points @ rows[..., 0].T - left[:, 1:])
    return np.asarray(misses[:, np.minimum(misses, tolerance).sum(0).argmin()] < tolerance)


def shrink(view: Pixels, side: int) -> tuple[Pixels, float]:
    """A view with 8 bits a sample, no side longer than ``side``; and the factor that it was shrunk by."""
    factor = min(1.0, side / max(view.shape[:2]))
    if factor < 1:
        size = tuple(max(1, round(n * factor)) for n in view.shape[1::-1])
        view = cv2.resize(view, size, interpolation=cv2.INTER_AREA).astype(view.dtype, copy=False)
    return (view if view.dtype == np.uint8 else view >> 8).astype(np.uint8, copy=False), factor


def match_brightness(a: Pixels, b: Pixels) -> Pixels:
    """``b`` with the mean and contrast of ``a``, for what compares brightness; uint8."""
    gain = a.std() / max(float(b.std()), 1e-3)
    bright: Pixels = np.clip(b * gain + (a.mean() - gain * b.mean()), 0, 255).astype(np.uint8)
    return bright


def _grey(view: Pixels, side: int) -> tuple[Pixels, float]:
    small, factor = shrink(view, side)
    return cv2.cvtColor(np.ascontiguousarray(small), cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False), factor
