"""Stereo pairs from single photographs: layers at random disparities, each with its own full texture."""

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Layer = TypeVar("Layer", UInt8, Float)


def margin(scale: int) -> int:
    """Columns that ``render_pair`` wants beside a patch of ``size`` so that disparities stay inside the texture."""
    return 12 * scale


def render_pair(
    background: UInt8, foregrounds: list[UInt8], scale: int, rng: np.random.Generator
) -> tuple[UInt8, UInt8]:
    """Two views, H x W x 3, of layers that stand before each other, nearest last.

    ``background`` and ``foregrounds`` are textures of one shape, H x W x 3. Each layer carries a slanted disparity
    plane with a gentle bump; disparities are sub-pixel and positive (x_left - x_right), nearer layers larger. Every
    layer has texture everywhere, so what one view hides the other shows truly. The left view is never resampled; one
    pair in five has its zero plane moved into the scene, as converged cameras have, and one in three a slight
    difference of exposure. At LR size the background lies at 0 to 12 px, the nearest layer up to 14 px before it.
    """
    height, width = background.shape[:2]
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    base = rng.uniform(0, 12) * scale - (rng.uniform(0, 10) * scale if rng.random() < 0.2 else 0)
    left, right = background, _shift(background, _disparity(x, y, base, scale, rng), x, y)
    for texture in foregrounds:
        base += rng.uniform(0.5, 14 / max(len(foregrounds), 1)) * scale
        mask, disparity = _mask(height, width, rng), _disparity(x, y, base, scale, rng)
        left = _over(left, texture, mask)
        right = _over(right, _shift(texture, disparity, x, y), _shift(mask, disparity, x, y))
    if rng.random() < 1 / 3:
        gain = rng.uniform(0.96, 1.04, 3).astype(np.float32)
        right = np.clip(right * gain + 0.5, 0, 255).astype(np.uint8)
    return left, right


def _disparity(x: Float, y: Float, base: float, scale: int, rng: np.random.Generator) -> Float:
    """H x W, of the columns ``x`` (W) and the rows ``y`` (H x 1)."""
    height, width = len(y), len(x)
    slant_x, slant_y = rng.normal(0, 2.5 * scale, 2)
    bump, phase = rng.normal(0, 0.8 * scale), rng.uniform(0, 2 * np.pi, 2)
    wave = np.sin(2 * np.pi * x / width + phase[0]) * np.sin(2 * np.pi * y / height + phase[1])
    plane = base + slant_x * (x / width - 0.5) + slant_y * (y / height - 0.5)
    return np.asarray(plane + bump * wave, dtype=np.float32)


def _shift(image: Layer, disparity: Float, x: Float, y: Float) -> Layer:
    """The right view of a layer: it shows at x what the left view shows at x + disparity."""
    method = cv2.INTER_LANCZOS4 if image.dtype == np.uint8 else cv2.INTER_LINEAR
    rows = np.ascontiguousarray(np.broadcast_to(y, disparity.shape))
    shifted = cv2.remap(image, x + disparity, rows, method, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(shifted, dtype=image.dtype)


def _mask(height: int, width: int, rng: np.random.Generator) -> Float:
    """A random star-shaped blob, H x W in [0, 1], with an edge one pixel soft."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
    radius = rng.uniform(0.3, 1.0, len(angle)) * rng.uniform(0.2, 0.8)
    centre = rng.uniform(0, (width, height))
    points = centre + np.stack([np.cos(angle) * radius, np.sin(angle) * radius], 1) * height * (1.5, 1.0)
    mask = np.zeros((height, width), np.float32)
    cv2.fillPoly(mask, [points.astype(np.int32)], 1.0)
    return np.asarray(cv2.GaussianBlur(mask, (3, 3), 0), dtype=np.float32)


def _over(below: UInt8, above: UInt8, mask: Float) -> UInt8:
    alpha = mask[..., None]
    return np.asarray(below + (above.astype(np.float32) - below) * alpha + 0.5).astype(np.uint8)
