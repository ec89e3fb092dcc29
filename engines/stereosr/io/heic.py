"""Spatial photographs of iPhone and Vision Pro: HEIC with both views."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from stereosr.errors import UsageError, install_hint
from stereosr.io.images import Coding, Picture, UnreadableImage, check_pixel_limit
from stereosr.io.metadata import Metadata
from stereosr.types import Pixels

_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def is_heic(data: bytes) -> bool:
    """Whether a file's first bytes are those of HEIC."""
    return data[4:8] == b"ftyp" and data[8:12] in _BRANDS


def heic_views(data: bytes, path: Path) -> list[Any]:
    """The left and the right picture of a spatial photograph, not decoded yet; nothing if the file has no such pair.

    In a group of type ``ster`` the left view comes first (ISO/IEC 23008-12). Raises as ``read_heic``.
    """
    file = _opened(data, path)
    try:
        pairs = [group["images"] for group in file.info.get("entity_groups", ()) if group["type"] == "ster"]
        return [file[number] for number in pairs[0] if number is not None] if pairs else []
    except Exception as error:  # as in decode_picture
        raise UnreadableImage(f"cannot read {path}: {error}") from error


def read_single_heic(data: bytes, path: Path) -> Picture:
    """The picture that a HEIC file shows first, upright. Raises as ``read_heic``."""
    file = _opened(data, path)
    return _heic_picture(file[file.primary_index], path)


def _opened(data: bytes, path: Path) -> Any:
    try:
        import pillow_heif
    except ImportError:
        raise UsageError(f"{path}: to read HEIC, {install_hint('heic')}") from None
    try:
        return pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    except Exception as error:  # as in decode_picture
        raise UnreadableImage(f"cannot read {path}: {error}") from error


def read_heic(data: bytes, path: Path) -> tuple[Picture, Picture]:
    """The left and the right view of a spatial photograph, upright.

    Raises:
        UnreadableImage: if it cannot be read, or holds one picture.
        UsageError: without the extra that reads HEIC.
    """
    views = heic_views(data, path)
    if len(views) != 2:
        raise UnreadableImage(f"cannot read {path}: it holds one picture, not two views")
    left, right = (_heic_picture(view, path) for view in views)
    return left, right


def _heic_picture(view: Any, path: Path) -> Picture:
    """One view; the decoder turns it upright."""
    import pillow_heif

    width, height = view.size
    check_pixel_limit(width, height, view.info["bit_depth"] > 8, path)
    try:
        samples: Pixels = np.atleast_3d(np.asarray(view))
        pillow_heif.set_orientation(view.info)  # to 1, in the metadata
    except Exception as error:  # as in decode_picture
        raise UnreadableImage(f"cannot read {path}: {error}") from error
    grey, alpha = samples.shape[2] < 3, samples.shape[2] in (2, 4)
    metadata = Metadata(*(view.info.get(name) for name in ("icc_profile", "exif", "xmp")))
    pixels = samples[..., :1].repeat(3, 2) if grey else np.ascontiguousarray(samples[..., :3])
    return Picture(pixels, samples[..., -1].copy() if alpha else None, grey, metadata, coding=Coding("HEIC"))
