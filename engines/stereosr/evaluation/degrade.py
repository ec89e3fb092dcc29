"""How benchmarks make their input: MATLAB's ``imresize(uint8, scale, 'bicubic')``, bit for bit; then noise and JPEG."""

import io
import re
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stereosr.errors import UsageError

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float64]

CLEAN = "clean"
"""The recipe that changes nothing."""
LARGEST_AMOUNT = {"noise": 255, "jpeg": 100}
"""Of the steps of a recipe."""


def modcrop(image: UInt8, scale: int) -> UInt8:
    """Crop bottom and right so that height and width (axes 0 and 1) are multiples of ``scale``."""
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


def corrupt(image: UInt8, recipe: str, name: str) -> UInt8:
    """A low-resolution view as a camera would have stored it, the same at each call.

    The noise is that of numpy's ``default_rng(crc32(name))``, ``standard_normal`` in the order of the array (rows, then
    columns, then R, G, B), times the deviation, added in float64, rounded half up and clamped to uint8. JPEG is written
    and read by Pillow: see ``through_jpeg``; its bits are those of the libjpeg-turbo that Pillow was built with.

    Args:
        image: H x W x 3, RGB, uint8.
        recipe: ``clean``, or steps joined by ``+``, done in their order: ``noiseS`` adds white Gaussian noise of
            standard deviation S, 1 to 255, to each value; ``jpegQ`` is JPEG of quality Q, 1 to 100, 4:2:0.
        name: of the view; the CRC-32 of its UTF-8 bytes seeds the noise.

    Raises:
        UsageError: for a recipe that is neither.
    """
    for kind, amount in recipe_steps(recipe):
        if kind == "jpeg":
            image = through_jpeg(image, amount, subsampling=2)
        else:
            noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(image.shape)
            image = _to_uint8(image + amount * noise)
    return image


def corrupt_pair(views: tuple[UInt8, UInt8], recipe: str, scene: str) -> tuple[UInt8, UInt8]:
    """Both views by ``corrupt``; the left one is named ``SCENE/0``, the right one ``SCENE/1``."""
    return corrupt(views[0], recipe, f"{scene}/0"), corrupt(views[1], recipe, f"{scene}/1")


def recipe_steps(recipe: str) -> list[tuple[str, int]]:
    """The steps of a recipe of ``corrupt``, with their amounts: ``[("noise", 5), ("jpeg", 85)]``; none for ``clean``.

    Raises:
        UsageError: for anything else.
    """
    steps = []
    for step in [] if recipe == CLEAN else recipe.split("+"):
        match = re.fullmatch(r"(noise|jpeg)([1-9][0-9]{0,2})", step)
        if match is None or int(match[2]) > LARGEST_AMOUNT[match[1]]:
            raise UsageError(
                f"invalid degradation {recipe!r}: pass clean, noise5 (1 to 255), jpeg85 (quality 1 to 100), or "
                "several steps as in noise5+jpeg85"
            )
        steps.append((match[1], int(match[2])))
    return steps


def through_jpeg(image: UInt8, quality: int, subsampling: int) -> UInt8:
    """A picture written as JPEG and read again by Pillow, with its defaults: baseline, libjpeg's standard tables.

    Args:
        image: H x W x 3, RGB.
        quality: libjpeg's, 1 to 100.
        subsampling: of the colours; 0 is 4:4:4, 1 4:2:2, 2 4:2:0.

    Returns:
        As many pixels, RGB.
    """
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file), dtype=np.uint8)


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
