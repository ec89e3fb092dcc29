"""How strongly JPEG was applied: by the quantisation tables of a file, or by the traces that it left in pixels."""

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stereosr.types import Pixels

Coefficients = NDArray[np.float32]

SIDE = 8
"""Of a block."""

_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""ITU-T T.81, table K.1, which stands for quality 50."""

_SAMPLE = 384
"""Pixels a side of the middle that is looked at."""
_STEPS = 100
"""Coefficients that are not zero, without which nothing is said."""
_ON_GRID = 0.5
"""Mean squared distance of coefficients from multiples of a quality's steps, as a share of what chance gives, below
which they were quantised so. Measured on the left views of 16 scenes shrunk by 4, 80 x 160 pixels: at most 0.50 after
JPEG of quality 98, 0.38 after 95, 0.32 after 90; at least 0.83 without JPEG, with noise or without."""


def quality_of_table(table: NDArray[np.int_]) -> int:
    """libjpeg's quality, 1 to 100, whose table for luminance is nearest to this one of 8 x 8 steps."""
    return min(range(1, 101), key=lambda quality: int(np.abs(table.reshape(SIDE, SIDE) - _table(quality)).sum()))


def quality_of_pixels(pixels: Pixels) -> int | None:
    """The quality by which pixels were once stored as JPEG, wherever they have been kept since.

    The DCT coefficients of 8 x 8 blocks are multiples of the quantisation's steps (Z. Fan and R. de Queiroz,
    "Identification of bitmap compression history", IEEE TIP 2003), if the blocks are those of the file. Anything that
    changes pixels, such as resizing, removes the trace. Of several passes the strongest is seen.

    Args:
        pixels: H x W x 3, RGB.

    Returns:
        libjpeg's quality, 30 to 98, or one beside it; None where there is no trace, or too few pixels to tell.
    """
    luma = _middle(pixels) @ np.array([0.299, 0.587, 0.114], np.float32)
    if pixels.dtype == np.uint16:
        luma /= 257
    if min(luma.shape) < 3 * SIDE:
        return None
    blocks = _blocks(luma, _grid(luma), 1)
    distances = {quality: d for quality in range(30, 99) if (d := _distance(blocks, quality)) is not None}
    quality = min(distances, key=distances.__getitem__, default=None)
    return quality if quality is not None and distances[quality] < _ON_GRID else None


@lru_cache
def _table(quality: int) -> NDArray[np.int_]:
    """libjpeg's steps for luminance."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.asarray(np.clip((_LUMINANCE * percent + 50) // 100, 1, 255))


def _middle(pixels: Pixels) -> NDArray[np.float32]:
    top, left = (max(0, (side - _SAMPLE) // 2) for side in pixels.shape[:2])
    return pixels[top : top + _SAMPLE, left : left + _SAMPLE].astype(np.float32)


def _grid(luma: NDArray[np.float32]) -> tuple[int, int]:
    """Where the first whole block most likely begins: where most of the fine coefficients vanish."""
    places = [(top, left) for top in range(SIDE) for left in range(SIDE)]
    fine = [at for at in range(SIDE**2) if sum(divmod(at, SIDE)) >= 5]
    every = 2 if min(luma.shape) > _SAMPLE // 2 else 1

    def vanishing(place: tuple[int, int]) -> float:
        return float((np.abs(_blocks(luma, place, every)[:, fine]) < 0.5).mean())

    return max(places, key=vanishing)


def _blocks(luma: NDArray[np.float32], begin: tuple[int, int], every: int) -> Coefficients:
    """The DCT of blocks of a grid that begins there, of one in ``every`` rows and columns: N x 64."""
    top, left = begin
    windows = sliding_window_view(luma, (SIDE, SIDE))[top :: SIDE * every, left :: SIDE * every]
    return np.asarray(windows.reshape(-1, SIDE**2) @ _dct().T)


@lru_cache
def _dct() -> Coefficients:
    """The orthonormal DCT of a block, as a matrix for its 64 pixels."""
    n = np.arange(SIDE)
    rows = np.cos((2 * n + 1) * n[:, None] * np.pi / (2 * SIDE)) * np.sqrt(2 / SIDE)
    rows[0] /= np.sqrt(2)
    return np.kron(rows, rows).astype(np.float32)


def _distance(blocks: Coefficients, quality: int) -> float | None:
    """Mean squared distance of coefficients from multiples of a quality's steps, 1 for what chance gives.

    Of those that are not zero, of the frequencies that photographs have: up to the sixth diagonal, and steps that
    stand out of the rounding of pixels. None if these are too few.
    """
    steps = _table(quality).reshape(-1)
    used = [at for at in range(1, SIDE**2) if sum(divmod(at, SIDE)) <= 6 and steps[at] >= 2]
    multiples = blocks[:, used] / steps[used].astype(np.float32)
    nearest = np.rint(multiples)
    off = (multiples - nearest)[nearest != 0]
    return float(np.square(off).mean() * 12) if len(off) >= _STEPS else None
