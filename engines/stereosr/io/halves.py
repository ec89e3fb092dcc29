"""Two views as halves of one picture: cut apart, squeezed or stretched, joined."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from stereosr.io.images import Picture, UnreadableImage
from stereosr.types import Pixels


def split(picture: Picture, axis: int, half: bool, path: Path, between: int = 0) -> tuple[Picture, Picture]:
    """The first and the second half of a picture.

    Args:
        picture: both views.
        axis: 0 for over-under, 1 for side by side.
        half: whether each view was squeezed to half its size along the axis, and is stretched back.
        path: for messages.
        between: pixels between the halves that belong to neither.

    Returns:
        The first and the second view, each in full size.

    Raises:
        UnreadableImage: if there is no room for two.
    """
    size = (picture.pixels.shape[axis] - between) // 2
    if size <= 0:
        raise UnreadableImage(f"cannot read {path}: there is no room for two views in one pixel")
    first, second = ((slice(None),) * axis + (part,) for part in (slice(size), slice(-size, None)))
    views = tuple(
        replace(picture, pixels=picture.pixels[at], alpha=None if picture.alpha is None else picture.alpha[at])
        for at in (first, second)
    )
    if half:
        views = tuple(stretch(view, axis, 2) for view in views)
    return views[0], views[1]


def stretch(picture: Picture, axis: int, factor: float) -> Picture:
    """Resize along one axis: bicubic where it grows, else by area."""
    height, width = picture.pixels.shape[:2]
    size = (round(width * factor + 0.1), height) if axis else (width, round(height * factor + 0.1))
    how = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA

    def resize(samples: Pixels) -> Pixels:
        return cv2.resize(np.ascontiguousarray(samples), size, interpolation=how).astype(samples.dtype, copy=False)

    alpha = None if picture.alpha is None else resize(picture.alpha)
    return replace(picture, pixels=resize(picture.pixels), alpha=alpha)


def join(first: Picture, second: Picture, axis: int) -> Picture:
    """Two views of one size and type as one picture, with the metadata of the first."""
    views = (first, second)
    alpha = None
    if any(view.alpha is not None for view in views):
        opaque = np.full(first.pixels.shape[:2], np.iinfo(first.pixels.dtype).max, first.pixels.dtype)
        alpha = np.concatenate([opaque if view.alpha is None else view.alpha for view in views], axis)
    pixels = np.concatenate([view.pixels for view in views], axis)
    return Picture(pixels, alpha, first.grey and second.grey, first.metadata)
