"""Pictures on disk: PNG, JPEG, WebP, TIFF and BMP of 8 and 16 bits, with alpha and metadata, in and out."""

import io
import re
import secrets
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import ImageCms, PngImagePlugin, TiffImagePlugin

from stereosr_engines.errors import StereosrError
from stereosr_engines.types import Image

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""The suffixes of pictures, and the format each stands for."""

MAX_PIXELS = 2**28
"""Of 8 bits, half as many of 16: beyond this, decoding alone takes 2 GB, and a header that says so is mostly a lie."""

_MAX_SIDE = {"JPEG": 65500, "WEBP": 16383}
_ORIENTATION = 0x0112


class UnreadableImage(StereosrError):
    """A file that is no picture, or not a whole one. The message names the file and says why."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What travels with a picture: the blocks as they lie in a file, the EXIF one beginning with ``Exif``."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """One view as it lies in a file.

    Attributes:
        pixels: H x W x 3, RGB, uint8 or uint16; three equal channels for a grey file.
        alpha: H x W of the same type, 0 is transparent; None where the file has none.
        grey: to be written as one channel.
        metadata: the orientation in it is already applied to the pixels and reset to 1.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    metadata: Metadata = Metadata()


def to_float(pixels: Pixels) -> Image:
    """uint8 or uint16 to float32 in [0, 1], of any shape."""
    return np.divide(pixels, np.iinfo(pixels.dtype).max, dtype=np.float32)


def quantise(image: Image, dtype: Any) -> Pixels:
    """Float in [0, 1] to uint8 or uint16: clamped, then rounded once, halves up. Band by band, for large canvases."""
    top = np.float32(np.iinfo(dtype).max)
    out: Pixels = np.empty(image.shape, dtype)
    for at in range(0, len(image), 256):
        band = np.clip(image[at : at + 256], 0, 1)
        band *= top
        band += np.float32(0.5)
        out[at : at + 256] = band  # the cast cuts off the fraction
    return out


def read_picture(path: Path) -> Picture:
    """Read one picture, upright.

    Raises:
        UnreadableImage: if it is missing, a folder, empty, no picture, truncated, or too large to be one.
    """
    return decode_picture(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """A file's content. Raises UnreadableImage where there is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"cannot read {path}: {_reason(error)}") from error
    if not data:
        raise UnreadableImage(f"cannot read {path}: it is empty")
    return data


def decode_picture(data: bytes, path: Path) -> Picture:
    """The picture encoded in ``data``; ``path`` is for messages. Raises as ``read_picture``."""
    try:
        with _pillow():
            file = Pil.open(io.BytesIO(data), formats=sorted(set(SUFFIXES.values())))
            wide = _depth(file, data) == 16
            if file.width * file.height * (1 + wide) > MAX_PIXELS:
                raise UnreadableImage(
                    f"cannot read {path}: it is {file.width}x{file.height} pixels; "
                    f"at most {MAX_PIXELS // (1 + wide) // 10**6} megapixels are read"
                )
        file.load()  # strict: fails where data is missing, which OpenCV would fill with grey
        with _pillow():
            orientation = file.getexif().get(_ORIENTATION, 1)
            metadata = _metadata(file)
        if wide:
            picture = _sixteen_bit(data)
        else:
            picture = _eight_bit(file, metadata.icc)
            if file.mode == "CMYK":
                metadata = replace(metadata, icc=None)
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        KeyError,
        TypeError,
        struct.error,
        zlib.error,
        cv2.error,
    ) as error:
        raise UnreadableImage(f"cannot read {path}: {_why(error)}") from error
    return replace(
        picture,
        pixels=_upright(picture.pixels, orientation),
        alpha=None if picture.alpha is None else _upright(picture.alpha, orientation),
        metadata=metadata,
    )


_PILLOW = threading.Lock()


@contextmanager
def _pillow() -> Iterator[None]:
    """Where Pillow looks at headers and metadata: its warnings and its limit on pixels are global, hence the lock."""
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Pil.MAX_IMAGE_PIXELS = Pil.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Pil.MAX_IMAGE_PIXELS = limit


def _depth(file: Pil.Image, data: bytes) -> int:
    """Bits a sample, of the file rather than of what Pillow makes of it."""
    if isinstance(file, PngImagePlugin.PngImageFile):
        return data[24]  # of the header chunk, which comes first
    if isinstance(file, TiffImagePlugin.TiffImageFile):
        return max(file.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    return 8


def _sixteen_bit(data: bytes) -> Picture:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError("this kind of 16-bit picture is not supported; convert it to PNG")
    if decoded.ndim == 2:
        return Picture(np.repeat(decoded[..., None], 3, 2), grey=True)
    alpha = np.ascontiguousarray(decoded[..., 3]) if decoded.shape[2] == 4 else None
    return Picture(np.ascontiguousarray(decoded[..., 2::-1]), alpha)


def _eight_bit(file: Pil.Image, icc: bytes | None) -> Picture:
    if file.mode in ("I", "F") or file.mode.startswith("I;"):
        raise ValueError("samples of more than 16 bits or of odd depth are not supported; convert it to 8 or 16 bits")
    grey = file.mode in ("1", "L", "LA")
    if file.mode == "CMYK" and icc is not None:
        file = _through_profile(file, icc)
    if file.has_transparency_data:
        rgba = np.asarray(file.convert("RGBA"))
        return Picture(np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3]), grey)
    return Picture(np.asarray(file.convert("RGB")), grey=grey)


def _through_profile(file: Pil.Image, icc: bytes) -> Pil.Image:
    """CMYK to sRGB by the profile in the file; a broken profile leaves the picture as it is."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return ImageCms.profileToProfile(file, profile, ImageCms.createProfile("sRGB"), outputMode="RGB") or file
    except (ImageCms.PyCMSError, OSError):
        return file


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation: from 5 on rows and columns are exchanged, then the two flips."""
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(orientation, (1, 1))
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _metadata(file: Pil.Image) -> Metadata:
    exif = file.getexif()
    exif[_ORIENTATION] = 1
    xmp = file.info.get("xmp")
    if isinstance(xmp, bytes):
        xmp = re.sub(rb'(tiff:Orientation(?:="|>))[0-9]', rb"\g<1>1", xmp)
    return Metadata(file.info.get("icc_profile"), exif.tobytes() if file.info.get("exif") else None, xmp)


def write_picture(path: Path, picture: Picture, quality: int | None = None) -> None:
    """Write a picture in the format of the path's suffix, whole or not at all.

    ``quality``: 1 to 100 for JPEG (95 if None, never subsampled) and WebP (lossless if None). 16 bits become 8 where
    the format has no more. JPEG and BMP have no alpha: the picture is laid on white.

    Raises:
        StereosrError: if the format is unknown or too small for the picture, or the file cannot be written.
    """
    write_bytes(path, encode_picture(picture, SUFFIXES.get(path.suffix.lower(), path.suffix), quality, path))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file by way of a temporary one beside it. Raises StereosrError, and leaves nothing, where that fails."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        try:
            with part.open("xb") as file:
                file.write(data)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StereosrError(f"cannot write {path}: {_reason(error)}") from error


def encode_picture(picture: Picture, kind: str, quality: int | None, path: Path) -> bytes:
    """The bytes of a file of format ``kind``; ``path`` is for messages. Raises as ``write_picture``."""
    if kind not in SUFFIXES.values():
        raise StereosrError(f"cannot write {path}: no format {kind!r}; there are {', '.join(SUFFIXES)}")
    height, width = picture.pixels.shape[:2]
    if max(height, width) > _MAX_SIDE.get(kind, 2**31):
        raise StereosrError(
            f"cannot write {path}: {width}x{height} is more than {_MAX_SIDE[kind]} a side, {kind}'s limit; use -f png"
        )
    pixels, alpha, meta = picture.pixels, picture.alpha, picture.metadata
    if kind not in ("PNG", "TIFF"):
        pixels, alpha = _eight(pixels), None if alpha is None else _eight(alpha)
    if kind in ("JPEG", "BMP") and alpha is not None:
        opaque = to_float(alpha)[..., None]
        pixels, alpha = quantise(to_float(pixels) * opaque + (1 - opaque), np.uint8), None
    samples = [pixels[..., :1] if picture.grey else pixels] + ([] if alpha is None else [alpha[..., None]])
    array = np.concatenate(samples, 2) if len(samples) > 1 else samples[0]
    if array.dtype == np.uint16 and array.shape[2] > 1:
        order = {2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[array.shape[2]]
        return cv2.imencode(f".{kind.lower()}", array[..., order])[1].tobytes()
    options: dict[str, Any] = {"icc_profile": meta.icc, "exif": meta.exif, "xmp": meta.xmp}
    if kind == "JPEG":
        options |= {"quality": quality or 95, "subsampling": 0}
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True} if quality is None else {"quality": quality}
    elif kind == "TIFF":
        options |= {"compression": "tiff_adobe_deflate"}
    buffer = io.BytesIO()
    Pil.fromarray(array.squeeze(2) if array.shape[2] == 1 else array).save(
        buffer, kind, **{key: value for key, value in options.items() if value is not None}
    )
    return buffer.getvalue()


def _eight(pixels: Pixels) -> Pixels:
    """16 bits to 8, to the nearest."""
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _why(error: Exception) -> str:
    if isinstance(error, Pil.UnidentifiedImageError):
        return "it is not a picture"
    return str(error) or type(error).__name__
