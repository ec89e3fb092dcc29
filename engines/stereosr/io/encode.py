"""Pictures to files: PNG, JPEG, WebP, TIFF, BMP and PPM of 8 and 16 bits, with alpha and metadata."""

import io
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pil
from PIL import PngImagePlugin, TiffImagePlugin

from stereosr.atomic import write_all
from stereosr.errors import StereosrError, reason
from stereosr.io.images import SUFFIXES, Picture, carried_tags
from stereosr.io.metadata import Metadata
from stereosr.types import Pixels, in_depth, quantise, to_float

ANIMATED = {".webp": "WEBP", ".gif": "GIF"}
"""Of the suffixes of animations: Pillow's name for the format."""

_SHOWN = 200
"""Milliseconds for which each picture of an animation is shown."""

_MAX_SIDE = {"JPEG": 65500, "WEBP": 16383, "GIF": 65535}
_JPEG_BLOCK = 65000  # a metadata block of a JPEG file lies in one segment of 64 KB


def write_picture(path: Path, picture: Picture, quality: int | None = None) -> None:
    """Write one picture; arguments and errors as for ``write_pictures``."""
    write_pictures([(path, picture)], quality)


def write_pictures(pictures: Iterable[tuple[Path, Picture]], quality: int | None = None) -> None:
    """Write pictures in the formats of their paths' suffixes, all of them whole or none.

    16 bits become 8 where the format has no more. JPEG, BMP and PPM have no alpha: the picture is laid on white.

    Args:
        pictures: paths and what is written there.
        quality: 1 to 100 for JPEG (None: 95; colour is never subsampled) and WebP (None: lossless).

    Raises:
        StereosrError: if the format is unknown or cannot hold the picture, or the file cannot be written.
    """
    write_all(
        (path, encode_picture(picture, SUFFIXES.get(path.suffix.lower(), ""), quality, path))
        for path, picture in pictures
    )


def encode_picture(picture: Picture, kind: str, quality: int | None, path: Path) -> bytes:
    """Encode a picture.

    Args:
        picture: 8 or 16 bits a sample.
        kind: the format, a value of ``SUFFIXES``.
        quality: as for ``write_pictures``.
        path: for messages.

    Returns:
        The bytes of the file.

    Raises:
        StereosrError: if the format is unknown or cannot hold the picture.
    """
    if kind not in SUFFIXES.values():
        raise StereosrError(f"cannot write {path}: its suffix must be one of {', '.join(SUFFIXES)}")
    height, width = picture.pixels.shape[:2]
    check_side_limit(height, width, kind, path)
    samples = _samples(picture, kind)
    meta = picture.metadata.of_size(height, width)
    if meta.icc and meta.icc[16:20] != (b"GRAY" if samples.shape[2] < 3 else b"RGB "):
        meta = replace(meta, icc=None)  # a profile of another colour space would be wrong
    try:
        if kind == "PNG":
            return _png(samples, meta)
        if kind == "TIFF":
            return _tiff(samples, meta)
        if kind == "PPM":
            return _ppm(samples)
        options: dict[str, Any] = {}
        if kind == "JPEG":
            options = {"quality": 95 if quality is None else quality, "subsampling": 0, "comment": meta.comment}
            if meta.iptc:
                options["extra"] = b"\xff\xed" + struct.pack(">H", len(meta.iptc) + 2) + meta.iptc
        elif kind == "WEBP":
            options = _webp_options(quality)
        if meta.dpi and kind in ("JPEG", "BMP"):
            options["dpi"] = meta.dpi
        blocks = {"icc_profile": meta.icc, "exif": meta.exif, "xmp": meta.xmp}
        for name, block in blocks.items():
            if block and (kind != "JPEG" or name == "icc_profile" or len(block) < _JPEG_BLOCK):
                options[name] = block
        return _by_pillow(samples, kind, **options)
    except StereosrError:
        raise
    except (OSError, ValueError, OverflowError, struct.error, cv2.error) as error:
        raise StereosrError(f"cannot write {path}: {reason(error)}") from error


def encode_animation(pictures: Sequence[Picture], quality: int | None, path: Path) -> bytes:
    """The bytes of a file that shows pictures of one size in turn, for ever; with the first one's metadata.

    Args:
        pictures: of 8 bits in the file.
        quality: as in ``write_pictures``; GIF has none, and 256 colours for each picture.
        path: its suffix is one of ``ANIMATED``.

    Raises:
        StereosrError: if the format cannot hold the pictures.
    """
    kind = ANIMATED[path.suffix.lower()]
    height, width = pictures[0].pixels.shape[:2]
    check_side_limit(height, width, kind, path)
    first, *others = (_pillow(_samples(picture, kind)) for picture in pictures)
    meta = pictures[0].metadata.of_size(height, width)
    options = _webp_options(quality) if kind == "WEBP" else {}
    if kind == "WEBP":
        options |= {name: block for name, block in (("icc_profile", meta.icc), ("exif", meta.exif)) if block}
    buffer = io.BytesIO()
    try:
        first.save(buffer, kind, save_all=True, append_images=others, duration=_SHOWN, loop=0, **options)
    except (OSError, ValueError, struct.error) as error:
        raise StereosrError(f"cannot write {path}: {reason(error)}") from error
    return buffer.getvalue()


def check_side_limit(height: int, width: int, kind: str, path: Path) -> None:
    """Raises StereosrError where a format has no pictures of this size."""
    if max(height, width) > _MAX_SIDE.get(kind, 2**31):
        raise StereosrError(
            f"cannot write {path}: {width}x{height} is more than {kind}'s limit of {_MAX_SIDE[kind]} a side; use PNG"
        )


def _samples(picture: Picture, kind: str) -> Pixels:
    """H x W x 1 to 4: what the format can hold of the pixels and the alpha."""
    pixels, alpha = picture.pixels, picture.alpha
    if kind not in ("PNG", "TIFF", "PPM"):
        pixels, alpha = in_depth(pixels, np.uint8), None if alpha is None else in_depth(alpha, np.uint8)
    if kind in ("JPEG", "BMP", "PPM", "GIF") and alpha is not None:
        opaque = to_float(alpha)[..., None]
        pixels, alpha = quantise(to_float(pixels) * opaque + (1 - opaque), pixels.dtype), None
    readable = alpha is None or alpha.dtype == np.uint8  # no program reads grey of 16 bits with alpha
    if picture.grey and kind != "WEBP" and readable:
        pixels = pixels[..., :1]
    return pixels if alpha is None else np.dstack([pixels, alpha])


def _by_pillow(samples: Pixels, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    _pillow(samples).save(buffer, kind, **options)
    return buffer.getvalue()


def _pillow(samples: Pixels) -> Pil.Image:
    return Pil.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)


def _webp_options(quality: int | None) -> dict[str, Any]:
    """Lossless without a quality; there, Pillow's is the effort: more takes longer and saves nothing."""
    return {"lossless": True, "exact": True, "quality": 20} if quality is None else {"quality": quality}


def _ppm(samples: Pixels) -> bytes:
    height, width, channels = samples.shape
    head = f"P{5 if channels == 1 else 6}\n{width} {height}\n{np.iinfo(samples.dtype).max}\n"
    return head.encode() + samples.astype(samples.dtype.newbyteorder(">")).tobytes()


def _png(samples: Pixels, meta: Metadata) -> bytes:
    """By OpenCV, for its 16 bits and for ten times Pillow's speed; it has no grey with alpha and no metadata."""
    if samples.shape[2] == 2:
        data = _by_pillow(samples, "PNG")
    else:
        to_bgr = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(samples.shape[2])
        ordered = np.ascontiguousarray(samples) if to_bgr is None else cv2.cvtColor(samples, to_bgr)
        data = cv2.imencode(".png", ordered)[1].tobytes()
    chunks = io.BytesIO()
    if meta.icc:
        PngImagePlugin.putchunk(chunks, b"iCCP", b"ICC Profile\0\0", zlib.compress(meta.icc))
    if meta.dpi:
        across, down = (round(value / 0.0254) for value in meta.dpi)
        PngImagePlugin.putchunk(chunks, b"pHYs", struct.pack(">LLB", across, down, 1))  # pixels a metre
    if meta.exif:
        PngImagePlugin.putchunk(chunks, b"eXIf", meta.exif.removeprefix(b"Exif\0\0"))
    if meta.xmp:
        PngImagePlugin.putchunk(chunks, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0", meta.xmp)
    header = 33  # signature and IHDR
    return data[:header] + chunks.getvalue() + data[header:]


def _tiff(samples: Pixels, meta: Metadata) -> bytes:
    """Deflated strips under Pillow's directory: Pillow writes no 16-bit colour, OpenCV no metadata."""
    height, width, channels = samples.shape
    rows = max(1, 2**20 // (width * channels * samples.itemsize))
    strips = []
    for at in range(0, height, rows):
        band = samples[at : at + rows].astype(samples.dtype.newbyteorder("<"))
        band[:, 1:] -= band[:, :-1].copy()
        strips.append(zlib.compress(band.tobytes(), 1))
    tag, header = TiffImagePlugin, struct.pack("<2sHL", b"II", 42, 8)
    ifd = _directory(header, meta.exif)
    ifd[tag.IMAGEWIDTH], ifd[tag.IMAGELENGTH], ifd[tag.SAMPLESPERPIXEL] = width, height, channels
    ifd[tag.BITSPERSAMPLE] = (samples.itemsize * 8,) * channels
    ifd[tag.PHOTOMETRIC_INTERPRETATION] = 1 if channels < 3 else 2
    ifd[tag.COMPRESSION], ifd[tag.PREDICTOR], ifd[tag.PLANAR_CONFIGURATION] = 8, 2, 1
    ifd[tag.ROWSPERSTRIP] = rows
    ifd[tag.STRIPBYTECOUNTS] = tuple(map(len, strips))
    ifd[tag.STRIPOFFSETS] = tuple(np.cumsum([0, *map(len, strips[:-1])]).tolist())  # from the end of the directory
    if channels in (2, 4):
        ifd[tag.EXTRASAMPLES] = 2  # alpha, not premultiplied
    if meta.dpi and tag.X_RESOLUTION not in ifd:
        ifd[tag.X_RESOLUTION], ifd[tag.Y_RESOLUTION], ifd[tag.RESOLUTION_UNIT] = *meta.dpi, 2
    if meta.icc:
        ifd[tag.ICCPROFILE] = meta.icc
    if meta.xmp:
        ifd[tag.XMP] = meta.xmp
    return header + ifd.tobytes(8) + b"".join(strips)


def _directory(header: bytes, exif: bytes | None) -> TiffImagePlugin.ImageFileDirectory_v2:
    """A TIFF directory with what an EXIF block says, empty where that is broken."""
    try:
        ifd, block = TiffImagePlugin.ImageFileDirectory_v2(header), Pil.Exif()
        block.load(exif or b"")
        ifd.update(carried_tags(block))
        ifd.tobytes(len(header))
    except Exception:  # as in _exif
        return TiffImagePlugin.ImageFileDirectory_v2(header)
    return ifd
