"""MATLAB's ``imresize(uint8, scale, 'bicubic')``, bit for bit: the degradation of every stereo SR benchmark."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float64]


def modcrop(image: UInt8, scale: int) -> UInt8:
    """Cut bottom and right so that height and width (axes 0 and 1) are multiples of ``scale``."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]


def imresize(image: UInt8, scale: float) -> UInt8:
    """Resize H x W or H x W x C uint8 by ``scale`` as MATLAB does.

    Keys' cubic (a = -0.5), stretched by 1/scale when shrinking, half-pixel centres, mirrored borders; rows first,
    rounded half away from zero and clamped to uint8 *between* the two passes.

    Raises:
        TypeError: if the image is not uint8 (MATLAB's double path does not round between the passes).
    """
    if image.dtype != np.uint8:
        raise TypeError(f"imresize wants uint8, got {image.dtype}")
    rows = _to_uint8(_resize_rows(image, scale))
    columns = _to_uint8(_resize_rows(rows.swapaxes(0, 1), scale))
    return np.ascontiguousarray(columns.swapaxes(0, 1))


def degrade(image: UInt8, scale: int) -> UInt8:
    """HR to LR as in the field's benchmarks: crop to a multiple of ``scale``, then ``imresize`` by 1/scale."""
    return imresize(modcrop(image, scale), 1 / scale)


def _resize_rows(image: UInt8, scale: float) -> Float:
    weights, taps = _kernel(image.shape[0], scale)
    out = np.zeros((len(weights), *image.shape[1:]))
    for k in range(weights.shape[1]):  # one tap at a time: a gather of all taps would cost 4/scale times the image
        out += weights[:, k].reshape(-1, *[1] * (image.ndim - 1)) * image[taps[:, k]]
    return out


@lru_cache(maxsize=64)
def _kernel(size: int, scale: float) -> tuple[Float, NDArray[np.intp]]:
    """Weights and source indices, both (output size) x (taps)."""
    stretch = min(scale, 1.0)
    out = int(np.ceil(size * scale))
    centre = (np.arange(out) + 0.5) / scale - 0.5
    first = np.floor(centre - 2 / stretch).astype(np.intp) + 1
    taps = first[:, None] + np.arange(int(np.ceil(4 / stretch)) + 1)
    weights = _cubic(stretch * (centre[:, None] - taps))
    weights /= weights.sum(1, keepdims=True)
    mirrored = np.mod(taps, 2 * size)
    return weights, np.where(mirrored < size, mirrored, 2 * size - 1 - mirrored)


def _cubic(x: Float) -> Float:
    """Keys' cubic convolution kernel, a = -0.5."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _to_uint8(x: Float) -> UInt8:
    return np.clip(np.floor(x + 0.5), 0, 255).astype(np.uint8)
