"""PSNR and SSIM by the protocol of the stereo SR papers (iPASSR's evaluation, rounded to uint8 first)."""

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]

LEFT_BORDER = 64
"""Columns that the 'left' score drops from the left view: they may have no match in the right one (StereoSR)."""


def psnr(a: UInt8, b: UInt8) -> float:
    """PSNR in dB over all samples of two uint8 images of one shape; infinite where they are equal."""
    mse = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return float("inf") if mse == 0 else float(10 * np.log10(255.0**2 / mse))


def ssim(a: UInt8, b: UInt8) -> float:
    """SSIM of two H x W x C uint8 images: 7 x 7 uniform window, valid region, population variance, mean over C."""
    if min(a.shape[:2]) < 7:
        raise ValueError(f"SSIM needs at least 7 x 7 pixels, got {a.shape[0]} x {a.shape[1]}")
    x, y = a.astype(np.float64) / 255, b.astype(np.float64) / 255
    c1, c2 = 0.01**2, 0.03**2
    mean_x, mean_y = _mean7(x), _mean7(y)
    var_x, var_y = _mean7(x * x) - mean_x**2, _mean7(y * y) - mean_y**2
    covariance = _mean7(x * y) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(numerator / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def _mean7(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cv2.boxFilter(x, cv2.CV_64F, (7, 7))[3:-3, 3:-3], dtype=np.float64)
