"""Which engine a pair needs: the clean one, or the photo one, which removes noise and what lossy coding left.

The thresholds are those of the bundled engines, measured by ``benchmarks/choice.py``; see its results.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stereosr.io.images import Picture
from stereosr.io.jpeg import quality_of_pixels
from stereosr.io.layouts import Layout
from stereosr.types import Pixels

LOSSY_QUALITY = 95
"""JPEG of this quality or less is for the photo engine: at 98 most scenes gain by the clean one, at 90 by the other."""
NOISY = 3.0
"""Standard deviation of 255 from which on noise is for the photo engine: 2 is for the clean one in most scenes, 5 for
the other."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether the photo engine is needed, and why, in words."""

    photo: bool
    why: str


VIDEO = Choice(True, "video")
"""Its frames were coded with loss; they look like JPEG, and are not looked at."""


def choose_engine(left: Picture, right: Picture, layout: Layout) -> Choice:
    """By how the views were stored, then by what their pixels show.

    Args:
        left: as read; warping removes the traces of JPEG, and noise.
        right: likewise; its pixels are not looked at.
        layout: of the file that they come from: those of 3D cameras hold photographs.
    """
    codings = [view.coding for view in (left, right) if view.coding is not None]
    worst = min(codings, key=lambda coding: coding.quality or 0, default=None)
    if layout in ("mpo", "jps"):
        return Choice(True, f"{layout.upper()}, {worst}" if worst else layout.upper())
    if worst is not None and (worst.quality is None or worst.quality <= LOSSY_QUALITY):
        return Choice(True, str(worst))
    quality = quality_of_pixels(left.pixels)
    if quality is not None and quality <= LOSSY_QUALITY:
        return Choice(True, f"traces of JPEG of quality {quality}")
    noise = noise_level(left.pixels)
    if noise >= NOISY:
        return Choice(True, f"noise of {noise:.1f} of 255")
    return Choice(False, f"{worst or 'lossless'}, noise of {noise:.1f} of 255")


_SIDE, _BLOCK = 512, 8
"""Pixels a side of the middle that is looked at; of a block in it."""
_SECOND_DIFFERENCES = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
"""Of white noise it leaves the deviation as it is (J. Immerkær, "Fast noise variance estimation", CVIU 1996)."""
_FLATTEST = 0.82
"""What it is in the block that a tenth of the blocks fall below, as a share of that of all, measured on 16 scenes."""


def noise_level(pixels: Pixels) -> float:
    """The standard deviation of noise, of 255, in each of three colours.

    Of differences between colours: texture is much alike in all three, the noise of a sensor is not. Noise that is
    alike in all three, as in a grey picture, cannot be told from texture, and counts as none.

    Args:
        pixels: H x W x 3, RGB.
    """
    top, left = (max(0, (side - _SIDE) // 2) for side in pixels.shape[:2])
    view = pixels[top : top + _SIDE, left : left + _SIDE].astype(np.float32)
    if pixels.dtype == np.uint16:
        view /= 257
    if min(view.shape[:2]) < _BLOCK + 2:
        return 0.0
    differences = ((view[..., colour] - view[..., 1]) / np.float32(np.sqrt(2)) for colour in (0, 2))
    unclipped = np.asarray(_blocks((view > 4) & (view < 251)).all(axis=(1, 2)))
    if unclipped.sum() < _BLOCK:
        unclipped[:] = True
    return min(_deviation(difference, unclipped) for difference in differences) / _FLATTEST


def _deviation(difference: NDArray[np.float32], used: NDArray[np.bool_]) -> float:
    """Of what is finer than texture, in the block that a tenth of those used fall below."""
    fine = cv2.filter2D(difference, -1, _SECOND_DIFFERENCES)
    squares = np.square(_blocks(fine[..., None])[used]).mean(axis=(1, 2))
    return float(np.sqrt(np.quantile(squares, 0.1)))


def _blocks(values: NDArray[Any]) -> NDArray[Any]:
    """H x W x C, without its outermost pixels, as N x 64 x C."""
    rows, columns = ((side - 2) // _BLOCK for side in values.shape[:2])
    inner = values[1 : 1 + rows * _BLOCK, 1 : 1 + columns * _BLOCK]
    return inner.reshape(rows, _BLOCK, columns, _BLOCK, -1).swapaxes(1, 2).reshape(rows * columns, _BLOCK**2, -1)
