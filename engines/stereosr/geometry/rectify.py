"""What brings the right view of a pair onto the rows of the left one: measured, described and applied."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from stereosr.geometry.matching import Matches, consensus
from stereosr.types import Pixels

MAX_UNCERTAINTY = 0.15
"""Rows; an alignment is known if its standard deviation is less."""

_SMALL = 0.05  # of the height, or radians, or a part of one: larger moves are not what cameras in one hand differ by
_TURN = 0.005  # radians, or a part of one: by how much cameras usually are turned, or differ in scale
_PLACES = 8  # squares along half the longer side
_FULL_WEIGHT = 4  # matches that make a square count in full
_NOISE = 0.03  # rows; the mean of a square is no better on real pictures
_ROUNDS = 5
_BLOCK, _MARGIN = 8192, 8  # pixels that OpenCV is given at once (it takes 32766), and that its kernel sees beyond


@dataclass(frozen=True, slots=True)
class Alignment:
    """A small move of the right view: a similarity, and a keystone where the cameras' axes are not parallel.

    With x and y in pixels from the middle of the picture, and r half its longer side, a point belongs at
    ``(scale * x - rotation * y, rotation * x + scale * y + shift) / (1 + (keystone[0] * x + keystone[1] * y) / r)``.

    Attributes:
        shift: pixels down.
        rotation: radians, clockwise.
        scale: a factor.
        keystone: by which part the picture shrinks towards its right, and towards its lower edge.
    """

    shift: float
    rotation: float = 0.0
    scale: float = 1.0
    keystone: tuple[float, float] = (0.0, 0.0)

    def matrix(self, height: int, width: int) -> NDArray[np.float64]:
        """The homography in pixels, 0 the centre of the first, of a view of this size.

        Returns:
            3 x 3, from where a point lies in the right view to where it belongs.
        """
        x, y = (width - 1) / 2, (height - 1) / 2
        across, down = (part / (max(height, width) / 2) for part in self.keystone)
        about_middle = np.array(
            [[self.scale, -self.rotation, 0], [self.rotation, self.scale, self.shift], [across, down, 1]]
        )
        back, to_middle = (np.array([[1, 0, sign * x], [0, 1, sign * y], [0, 0, 1]]) for sign in (1, -1))
        return np.asarray(back @ about_middle @ to_middle)

    def rows(self, height: int, width: int) -> NDArray[np.float64]:
        """By how many rows it moves points all over a view of this size down."""
        grid = np.stack(np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9)), -1).reshape(-1, 2)
        return _moved_rows(self, grid, height, width) - grid[:, 1]

    def scaled(self, factor: float) -> "Alignment":
        """The same move of a picture ``factor`` times as large."""
        return replace(self, shift=self.shift * factor)

    def is_small(self, height: int) -> bool:
        """Whether cameras that were meant to be parallel may need it."""
        parts = (self.shift / height, self.rotation, self.scale - 1, *self.keystone)
        return max(map(abs, parts)) < _SMALL

    def __str__(self) -> str:
        parts = [f"{abs(self.shift):.1f} px {'down' if self.shift > 0 else 'up'}"]
        if abs(self.rotation) > 1e-4:
            parts.append(f"turned by {np.degrees(self.rotation):+.2f}°")
        if abs(self.scale - 1) > 1e-4:
            parts.append(f"enlarged by {100 * (self.scale - 1):+.2f} %")
        if any(self.keystone):
            parts.append(f"keystone {100 * self.keystone[0]:+.2f} % across, {100 * self.keystone[1]:+.2f} % down")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFit:
    """How the rows of a pair lie, and what brings them together.

    Attributes:
        alignment: of the right view.
        uncertainty: of the rows to which it moves the matches: a standard deviation.
        error: by how many rows a match misses its own; the median.
        error_after: the same behind the alignment.
    """

    alignment: Alignment
    uncertainty: float
    error: float
    error_after: float


def fit_rows(matches: Matches, height: int, width: int) -> RowFit:
    """Measure the alignment of a right view of this size from its matches.

    Of a shift, a shift with rotation and scale, and these with a keystone, that is taken which the matches bear out
    best (G. Schwarz's criterion, Annals of Statistics 1978). Matches count by the places where they are, not by their
    number, because close ones err together.

    Args:
        matches: at least three.
        height: of the views, in pixels.
        width: likewise.

    Returns:
        The fit.
    """
    middle, radius = np.array([(width - 1) / 2, (height - 1) / 2]), max(height, width) / 2
    kept = consensus(matches.left, matches.right, tolerance=max(1.0, width / 1000))
    points, rows, weights = _by_place(matches.right[kept] - middle, matches.left[kept, 1] - middle[1], radius / _PLACES)
    x, y = points.T  # what shift, rotation, scale and keystone each add to a point's row
    terms = np.column_stack([np.ones(len(x)), x, y, -x * rows / radius, -y * rows / radius])
    best, lowest = None, math.inf
    for count in (1, 3, 5):
        if count == 1 or len(rows) >= 3 * count:
            estimate = _least_squares(terms[:, :count], rows - y, weights)
            score = len(rows) * math.log(estimate.variance) + count * math.log(len(rows))
            if best is None or (score < lowest and estimate.uncertainty < MAX_UNCERTAINTY):
                best, lowest = estimate, score
    assert best is not None
    shift, rotation, growth, across, down = np.pad(best.values, (0, 5 - len(best.values))).tolist()
    alignment = Alignment(shift, rotation, 1 + growth, (across, down))
    misses = _moved_rows(alignment, matches.right, height, width) - matches.left[:, 1]
    return RowFit(
        alignment=alignment,
        uncertainty=best.uncertainty,
        error=float(np.median(np.abs(matches.vertical_offset))),
        error_after=float(np.median(np.abs(misses))),
    )


def move(samples: Pixels, alignment: Alignment, *, back: bool = False) -> Pixels:
    """Move samples; what comes in at the edges repeats the last row or column.

    Args:
        samples: H x W or H x W x 3, uint8, uint16 or float32.
        alignment: of a picture of this size.
        back: undo the move instead.

    Returns:
        Samples of the same shape and type.
    """
    height, width = samples.shape[:2]
    matrix = alignment.matrix(height, width)
    source_of = matrix if back else np.linalg.inv(matrix)
    out = np.empty_like(samples)
    for top in range(0, height, _BLOCK):
        for left in range(0, width, _BLOCK):
            block = out[top : top + _BLOCK, left : left + _BLOCK]
            rows, columns = block.shape[:2]
            corners = source_of @ [[left, left + columns, left, left + columns], [top, top, *[top + rows] * 2], [1] * 4]
            x, y = corners[:2] / corners[2]
            x0, x1 = (int(np.clip(at, 0, width)) for at in (x.min() - _MARGIN, x.max() + _MARGIN))
            y0, y1 = (int(np.clip(at, 0, height)) for at in (y.min() - _MARGIN, y.max() + _MARGIN))
            x0, y0 = min(x0, width - 1), min(y0, height - 1)
            seen = samples[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
            to_seen = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]])
            from_block = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]])
            block[:] = cv2.warpPerspective(
                seen,
                to_seen @ source_of @ from_block,
                (columns, rows),
                flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
    return out


# --- the fit ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Estimate:
    """``variance`` is that of a square's mean, in rows squared."""

    values: NDArray[np.float64]
    variance: float
    uncertainty: float


def _by_place(
    points: NDArray[np.float64], rows: NDArray[np.float64], side: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The mean point and row of the matches in each square of the picture, and how much it weighs."""
    squares = np.unique(np.floor(points / side).astype(int), axis=0, return_inverse=True)[1].ravel()
    count = np.bincount(squares)
    x, y, means = (np.bincount(squares, values) / count for values in (*points.T, rows))
    return np.column_stack([x, y]), means, np.sqrt(np.minimum(count, _FULL_WEIGHT))


def _least_squares(terms: NDArray[np.float64], offsets: NDArray[np.float64], weights: NDArray[np.float64]) -> _Estimate:
    """Weighted least squares; what lies far out weighs less (P. Huber, Annals of Mathematical Statistics 1964).

    Where the matches do not tell, the parameters are small, as those of cameras are.
    """
    count = terms.shape[1]
    usual = np.array([0, *[1 / _TURN**2] * 4])[:count]
    relative = weights / np.sqrt((weights**2).mean())
    tuned, variance = relative, 1.0
    for _ in range(_ROUNDS):
        normal = (terms * tuned[:, None] ** 2).T @ terms + np.diag(variance * usual)
        values = np.linalg.solve(normal, terms.T @ (tuned**2 * offsets))
        misses = np.abs(offsets - terms @ values)
        variance = max(float((tuned**2 * misses**2).sum()) / max(len(offsets) - count, 1), _NOISE**2)
        tuned = relative / np.sqrt(np.maximum(misses / max(2 * float(np.median(misses)), _NOISE), 1))
    spread = np.einsum("ij,jk,ik->i", terms, variance * np.linalg.inv(normal), terms)
    return _Estimate(values, variance, float(np.sqrt(spread.mean())))


def _moved_rows(alignment: Alignment, points: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """The rows on which points of a right view of this size belong."""
    moved = np.column_stack([points, np.ones(len(points))]) @ alignment.matrix(height, width)[1:].T
    return np.asarray(moved[:, 0] / moved[:, 1])
