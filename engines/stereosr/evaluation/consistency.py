"""How much of the depth a super-resolved pair keeps, measured by OpenCV's semi-global block matching.

SGBM (Hirschmueller, PAMI 2008) runs with the same settings on HR and on every SR. Pixels that it cannot match in HR, by
its uniqueness and left-right checks, are left out.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
Disparity = NDArray[np.float32]
"""H x W in pixels, positive: a point of the left view at x lies at x - d in the right one. NaN where unknown."""

WRONG = 1.0
"""HR pixels that a disparity may be off before it counts as lost."""


@dataclass(frozen=True, slots=True)
class Consistency:
    """How a pair compares with HR's depth.

    Attributes:
        disparity: mean absolute difference of SR's to HR's disparity, in HR pixels, where both are known.
        lost: share of HR's known pixels, in [0, 1], where SR's is unknown or more than ``WRONG`` off.
        warp: mean absolute difference (0-255) between the left view and the right view warped to it by HR's
            disparity. HR's own is above zero, because light differs between the views. Blur lowers it.
    """

    disparity: float
    lost: float
    warp: float


def disparity(left: UInt8, right: UInt8) -> Disparity:
    """The left view's disparity of a rectified H x W x 3 pair. Up to a sixth of the width is searched."""
    most = 16 * -(-left.shape[1] // 96)
    block = 5
    matcher = cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=most,
        blockSize=block,
        P1=8 * 3 * block**2,
        P2=32 * 3 * block**2,
        disp12MaxDiff=1,
        uniquenessRatio=10,
        speckleWindowSize=100,
        speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )
    # OpenCV skips columns whose search range leaves the picture: a mirrored border lets it match the left ones too.
    wide = [cv2.copyMakeBorder(np.ascontiguousarray(v), 0, 0, most, 0, cv2.BORDER_REFLECT) for v in (left, right)]
    sixteenths = np.asarray(matcher.compute(*wide))[:, most:]
    found = sixteenths.astype(np.float32) / np.float32(16)
    columns = np.arange(left.shape[1], dtype=np.float32)
    found[(sixteenths < 0) | (found > columns)] = np.nan  # unmatched, or matched in the border
    return found


def consistency(left: UInt8, right: UInt8, truth: Disparity) -> Consistency:
    """Judge an SR pair against HR's disparity ``truth``; NaN for any metric with no valid pixels."""
    known = np.isfinite(truth)
    error = np.abs(disparity(left, right) - truth)[known]
    both = np.isfinite(error)
    grid = np.indices(truth.shape).astype(np.float32)
    source = np.where(known, grid[1] - truth, 0).astype(np.float32)
    view: cv2.typing.MatLike = np.ascontiguousarray(right)
    warped = cv2.remap(view, source, grid[0], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    difference = np.abs(np.asarray(warped, dtype=np.float32) - left)[known]
    return Consistency(
        disparity=_mean(error[both]),
        lost=_mean(~(error <= WRONG)),
        warp=_mean(difference),
    )


def _mean(values: NDArray[np.float32] | NDArray[np.bool_]) -> float:
    return float(np.mean(values, dtype=np.float64)) if values.size else float("nan")
