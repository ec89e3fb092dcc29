"""What a stereo rig adds to a view: noise, a colour mosaic and its reconstruction, the resampling of rectification.

Photographs made for being looked at are sharp and clean to the pixel, as they have been made smaller. A view of a rig
is neither: two of three colour values of each pixel are interpolated, then all are again.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]

RECONSTRUCTIONS = (cv2.COLOR_BayerRG2RGB, cv2.COLOR_BayerRG2RGB_EA)  # bilinear, and along the edges
RESAMPLINGS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)


def record(left: UInt8, right: UInt8, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
    """Both views, H x W x 3, as one rig would record them: same sensor and software, each view with its own noise.

    Noise is Gaussian, 0 to 2.5 of 255 before the mosaic, none in three of eight pairs. Seven pairs in ten are shifted
    by up to half a pixel each way, both views by the same rows, so that they stay rectified.
    """
    reconstruct, resample = RECONSTRUCTIONS[int(rng.integers(2))], RESAMPLINGS[int(rng.integers(2))]
    noise, down = max(0.0, rng.uniform(-1.5, 2.5)), rng.uniform(-0.5, 0.5)
    rectified = rng.random() < 0.7

    def view(image: UInt8) -> UInt8:
        height, width = image.shape[:2]
        noisy = image + noise * rng.standard_normal(image.shape, dtype=np.float32) + 0.5
        recorded = mosaic(np.clip(noisy, 0, 255).astype(np.uint8))
        colour = np.asarray(cv2.cvtColor(recorded, reconstruct), dtype=np.uint8)
        move = np.array([[1, 0, rng.uniform(-0.5, 0.5)], [0, 1, down]], np.float32)
        moved = cv2.warpAffine(colour, move, (width, height), flags=resample, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(moved, dtype=np.uint8) if rectified else colour

    return view(left), view(right)


def mosaic(image: UInt8) -> UInt8:
    """One colour a pixel, H x W, as OpenCV's BayerRG has them: blue at (0, 0), red at (1, 1), green elsewhere."""
    pattern = image[..., 1].copy()
    pattern[0::2, 0::2] = image[0::2, 0::2, 2]
    pattern[1::2, 1::2] = image[1::2, 1::2, 0]
    return pattern
