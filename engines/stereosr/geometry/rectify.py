"""Points seen by both views, and the small turn of the right view that brings them onto common rows."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from stereosr.io.images import Picture
from stereosr.types import Pixels

Points = NDArray[np.float64]
"""N x 2: x and y in pixels, 0 is the centre of the first pixel."""

_COARSE, _FINE = 640, 1600  # sides of the pictures in which points are found, and then placed
_RATIO = 0.8  # a match is believed if the second best is this much worse (D. Lowe, IJCV 2004)
FEW = 12
"""Matches without which nothing is said: unrelated views had 5 at most."""

_ENOUGH, _FITTING = 0.5, 0.75  # rows
_LARGEST = 32766  # what OpenCV moves
_LEAST, _LEAST_SIDE = 8, 64  # ORB looks at 31 pixels around a point
_SAMPLES = 300


@dataclass(frozen=True, slots=True)
class Matches:
    """Points that both views show; ``features`` were found in the poorer one."""

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
    def drop(self) -> NDArray[np.float64]:
        """How much lower each point lies in the right view, in pixels: 0 in a rectified pair."""
        return np.asarray(self.right[:, 1] - self.left[:, 1])


@dataclass(frozen=True, slots=True)
class Alignment:
    """Moves the right view by ``shift`` pixels down, after turning it by ``turn`` (radians, clockwise) and enlarging
    it by ``zoom`` about its centre."""

    shift: float
    turn: float = 0.0
    zoom: float = 1.0

    def matrix(self, height: int, width: int) -> NDArray[np.float64]:
        """2 x 3, from where a point lies in the right view of this size to where it belongs."""
        x, y = (width - 1) / 2, (height - 1) / 2
        b, c = self.turn, self.zoom
        return np.array([[c, -b, x - c * x + b * y], [b, c, y - b * x - c * y + self.shift]])

    def residual(self, matches: Matches, height: int, width: int) -> NDArray[np.float64]:
        """By how many rows each match still misses."""
        row = self.matrix(height, width)[1]
        return np.asarray(matches.right @ row[:2] + row[2] - matches.left[:, 1])

    def helps(self, matches: Matches, height: int, width: int) -> bool:
        """Whether it is small, and brings rows together that were apart."""
        small = abs(self.shift) < 0.05 * height and abs(self.turn) < 0.05 and abs(self.zoom - 1) < 0.05
        after = np.median(np.abs(self.residual(matches, height, width)))
        return bool(small and after < _FITTING and after < np.median(np.abs(matches.drop)) - 0.1)

    def __str__(self) -> str:
        parts = [f"{abs(self.shift):.1f} px {'down' if self.shift > 0 else 'up'}"]
        if abs(self.turn) > 1e-4:
            parts.append(f"turned by {np.degrees(self.turn):+.2f}°")
        if abs(self.zoom - 1) > 1e-4:
            parts.append(f"enlarged by {100 * (self.zoom - 1):+.2f} %")
        return ", ".join(parts)


def match(left: Pixels, right: Pixels) -> Matches:
    """Points of two H x W x 3 views, to about a tenth of a pixel; none where there is too little to see.

    ORB finds them in small pictures, RANSAC keeps those whose rows agree, and Lucas and Kanade's method places them.
    """
    (a, fine), (b, _) = _grey(left, _FINE), _grey(right, _FINE)
    (small_a, small), (small_b, _) = shrink(a, _COARSE), shrink(b, _COARSE)
    nothing = Matches(np.empty((0, 2)), np.empty((0, 2)), 0)
    if min(small_a.shape) < _LEAST_SIDE:
        return nothing
    orb = cv2.ORB.create(1000, fastThreshold=10)
    (points_a, words_a), (points_b, words_b) = (orb.detectAndCompute(view, np.empty(0)) for view in (small_a, small_b))
    nothing = replace(nothing, features=min(len(points_a), len(points_b)))
    if nothing.features < _LEAST:
        return nothing
    both = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(words_a, words_b, k=2)
    alike = [best for best, second in both if best.distance < _RATIO * second.distance]
    if len(alike) < _LEAST:
        return nothing
    found = np.array([[points_a[m.queryIdx].pt, points_b[m.trainIdx].pt] for m in alike])
    found = found[_consensus(found[:, 0], found[:, 1])]
    start, guess = np.ascontiguousarray(((found + 0.5) / small - 0.5).swapaxes(0, 1), np.float32)
    placed, seen, _ = cv2.calcOpticalFlowPyrLK(
        a,
        as_bright_as(a, b),
        start,
        guess.copy(),
        winSize=(21, 21),
        maxLevel=1 if small > 0.6 else 2,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    kept = (seen[:, 0] > 0) & (np.abs(placed - guess).max(1) < 6 / small)
    full = [(view[kept].astype(np.float64) + 0.5) / fine - 0.5 for view in (start, placed)]
    return Matches(full[0], full[1], nothing.features)


def align(matches: Matches, height: int, width: int) -> Alignment:
    """What brings the matches in a right view of this size onto the rows of the left one.

    A shift alone, unless there are points enough, and all over the picture, to tell turn and zoom.
    """
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    if len(matches) < 40 or (matches.right.std(0) < np.array([width, height]) / 8).any():
        return Alignment(-float(np.median(matches.drop)) if len(matches) else 0.0)
    kept = _consensus(matches.left, matches.right, tolerance=max(1.0, width / 1000))
    rows = np.column_stack([np.ones(kept.sum()), matches.right[kept] - centre])
    shift, turn, zoom = np.linalg.lstsq(rows, matches.left[kept, 1] - centre[1], rcond=None)[0]
    return Alignment(float(shift), float(turn), float(zoom))


def rectify(left: Picture, right: Picture) -> tuple[Picture, list[str]]:
    """The right view on the rows of the left one, and in words what was done, or why nothing could be."""
    alignment, said = correction(left, right)
    return (right if alignment is None else apply(alignment, right)), said


def correction(left: Picture, right: Picture) -> tuple[Alignment | None, list[str]]:
    """What the right view needs, None for nothing, and words for that.

    Rows within half a pixel are left alone: moving a picture costs a little sharpness.
    """
    height, width = right.pixels.shape[:2]
    matches = match(left.pixels, right.pixels)
    if len(matches) < FEW:
        return None, [f"not rectified: only {len(matches)} points are seen in both views"]
    before = float(np.median(np.abs(matches.drop)))
    alignment = align(matches, height, width)
    if before < _ENOUGH:
        return None, []
    if not alignment.helps(matches, height, width) or max(height, width) > _LARGEST:
        return None, ["not rectified: no small move of the right view would do"]
    return alignment, [f"rows were {before:.1f} px off: the right view was moved {alignment}"]


def apply(alignment: Alignment, right: Picture) -> Picture:
    """The right view moved; what comes in at the edges repeats the last row or column."""
    alpha = None if right.alpha is None else move(right.alpha, alignment)
    return replace(right, pixels=move(right.pixels, alignment), alpha=alpha)


def move(samples: Pixels, alignment: Alignment) -> Pixels:
    """The same on bare samples, H x W or H x W x 3."""
    height, width = samples.shape[:2]
    matrix = alignment.matrix(height, width)
    moved = cv2.warpAffine(samples, matrix, (width, height), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    return moved.astype(samples.dtype, copy=False)


def shrink(view: Pixels, side: int) -> tuple[Pixels, float]:
    """8 bits a sample, no side longer than ``side``; and the factor."""
    factor = min(1.0, side / max(view.shape[:2]))
    if factor < 1:
        size = tuple(max(1, round(n * factor)) for n in view.shape[1::-1])
        view = cv2.resize(view, size, interpolation=cv2.INTER_AREA).astype(view.dtype, copy=False)
    return (view if view.dtype == np.uint8 else view >> 8).astype(np.uint8, copy=False), factor


def as_bright_as(a: Pixels, b: Pixels) -> Pixels:
    """``b`` with the mean and contrast of ``a``, for what compares brightness."""
    gain = a.std() / max(float(b.std()), 1e-3)
    bright: Pixels = np.clip(b * gain + (a.mean() - gain * b.mean()), 0, 255).astype(np.uint8)
    return bright


def _grey(view: Pixels, side: int) -> tuple[Pixels, float]:
    small, factor = shrink(view, side)
    return cv2.cvtColor(np.ascontiguousarray(small), cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False), factor


def _consensus(left: Points, right: Points, tolerance: float = 3.0) -> NDArray[np.bool_]:
    """Which matches agree with the one of many turns of the right view, each fixed by three of them, that misses the
    others least: RANSAC with MSAC's truncated loss, on rows alone, as columns differ by depth."""
    points = np.column_stack([np.ones(len(right)), right])
    chosen = np.random.default_rng(0).integers(0, len(right), (_SAMPLES, 3))
    rows = np.linalg.pinv(points[chosen]) @ left[chosen][..., 1:]
    misses = np.abs(points @ rows[..., 0].T - left[:, 1:])
    return np.asarray(misses[:, np.minimum(misses, tolerance).sum(0).argmin()] < tolerance)
