"""The types everything speaks: views as float arrays, windows into them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stereosr.errors import UsageError

Image = NDArray[np.float32]
"""H x W x 3, RGB, nominally [0, 1]."""


@dataclass(frozen=True, slots=True)
class StereoPair:
    """A rectified pair: two views of one size, H x W x 3 float32 RGB in [0, 1] (super-resolved ones may overshoot).

    Raises:
        UsageError: if a view has another shape or type, or the views differ in size.
    """

    left: Image
    right: Image

    def __post_init__(self) -> None:
        for name, view in (("left", self.left), ("right", self.right)):
            if view.dtype != np.float32 or view.ndim != 3 or view.shape[2] != 3:
                raise UsageError(
                    f"{name} is {view.dtype} of shape {view.shape}, and a view is float32, H x W x 3, in [0, 1]: "
                    "see stereosr.types.to_float, or use stereosr.load_model, which takes other types"
                )
        if self.left.shape != self.right.shape:
            left, right = (f"{v.shape[1]}x{v.shape[0]}" for v in (self.left, self.right))
            raise UsageError(
                f"left is {left}, right is {right}: the views of a stereo pair have one size; crop or resize"
            )

    @property
    def height(self) -> int:
        return int(self.left.shape[0])

    @property
    def width(self) -> int:
        return int(self.left.shape[1])

    def crop(self, window: "Window") -> "StereoPair":
        """The part of both views inside ``window`` (a view, not a copy)."""
        return StereoPair(self.left[window.slices], self.right[window.slices])


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def scaled(self, scale: int) -> "Window":
        """The same rectangle in the super-resolved picture."""
        return Window(self.top * scale, self.left * scale, self.height * scale, self.width * scale)


Pixels = NDArray[np.uint8 | np.uint16]


def to_float(pixels: Pixels) -> Image:
    """uint8 or uint16 of any shape to float32 in [0, 1]."""
    return np.divide(pixels, np.iinfo(pixels.dtype).max, dtype=np.float32)


def as_float(samples: NDArray[Any]) -> Image:
    """uint8 or uint16 as ``to_float`` gives it; float32 as it is."""
    return samples if samples.dtype == np.float32 else to_float(samples)


def quantise(image: Image, dtype: DTypeLike) -> Pixels:
    """Float in [0, 1] to uint8 or uint16: clamped, then rounded once, halves up; to float32: clamped only.

    By bands, for large canvases.
    """
    out: Pixels = np.empty(image.shape, dtype)
    for at in range(0, len(image), 256):
        band = np.clip(image[at : at + 256], 0, 1)
        if out.dtype.kind == "u":
            band *= np.float32(np.iinfo(out.dtype).max)
            band += np.float32(0.5)
        out[at : at + 256] = band  # the cast cuts off the fraction
    return out


def in_depth(pixels: Pixels, dtype: DTypeLike) -> Pixels:
    """8 or 16 bits as the other of the two, to the nearest; the very array where nothing changes."""
    if pixels.dtype == dtype:
        return pixels
    wide = pixels.astype(np.uint32)
    return ((wide + 128) // 257 if pixels.dtype == np.uint16 else wide * 257).astype(dtype)
