"""Pictures made smaller without aliasing."""

import numpy as np
from PIL import Image

from stereosr.types import Pixels


def reduce(samples: Pixels, height: int, width: int) -> Pixels:
    """Shrink a picture by Keys' cubic, stretched over the pixels that become one: the field's way to make LR from HR.

    Args:
        samples: H x W or H x W x 3, uint8, uint16 or float32.
        height: rows of the result, H at most.
        width: columns, W at most.

    Returns:
        height x width (x 3) samples of the same type; integers are rounded and clamped.
    """
    if samples.shape[:2] == (height, width):
        return samples
    if samples.dtype == np.uint8:
        return np.asarray(Image.fromarray(samples).resize((width, height), Image.Resampling.BICUBIC))
    out = np.empty((height, width, *samples.shape[2:]), samples.dtype)
    for i in np.ndindex(samples.shape[2:]):  # Pillow has no picture of three such channels
        channel = Image.fromarray(samples[(..., *i)].astype(np.float32)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        small = np.asarray(channel)
        if out.dtype.kind == "u":
            small = np.clip(small + np.float32(0.5), 0, np.iinfo(out.dtype).max)
        out[(..., *i)] = small
    return out
