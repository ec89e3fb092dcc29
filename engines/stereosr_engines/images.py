"""Pictures on disk: PNG, JPEG, WebP, TIFF and BMP of 8 and 16 bits, with alpha and metadata, in and out."""

import hashlib
import io
import os
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import ExifTags, ImageCms, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError
from PIL import Image as Pil

from stereosr_engines.errors import StereosrError, UsageError
from stereosr_engines.types import Image

Pixels = NDArray[np.uint8 | np.uint16]

SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""The suffixes of pictures, and the format each stands for when writing. Reading goes by content."""

MAX_PIXELS = 200_000_000
"""Of 8 bits, half as many of 16: decoding that takes 2 GB, and a header that promises more is a lie or a bomb."""

_MAX_SIDE = {"JPEG": 65500, "WEBP": 16383}
_JPEG_BLOCK = 65000  # a metadata block of a JPEG file lies in one segment of 64 KB
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:="|>))[0-9]')


class UnreadableImage(StereosrError):
    """A file that is no picture, or not a whole one. The message names the file and says why."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What travels with a picture: an ICC profile, an EXIF block that begins with ``Exif``, an XMP packet."""

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
        metadata: an orientation in it is already applied to the pixels and reset to 1.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    metadata: Metadata = Metadata()


def to_float(pixels: Pixels) -> Image:
    """uint8 or uint16 of any shape to float32 in [0, 1]."""
    return np.divide(pixels, np.iinfo(pixels.dtype).max, dtype=np.float32)


def quantise(image: Image, dtype: DTypeLike) -> Pixels:
    """Float in [0, 1] to uint8 or uint16: clamped, then rounded once, halves up. By bands, for large canvases."""
    out: Pixels = np.empty(image.shape, dtype)
    for at in range(0, len(image), 256):
        band = np.clip(image[at : at + 256], 0, 1)
        band *= np.float32(np.iinfo(out.dtype).max)
        band += np.float32(0.5)
        out[at : at + 256] = band  # the cast cuts off the fraction
    return out


# --- reading ---------------------------------------------------------------------------------------------------------


def read_picture(path: Path) -> Picture:
    """Read one picture, upright.

    Raises:
        UnreadableImage: if it is missing, a folder, empty, no picture, truncated, or larger than ``MAX_PIXELS``.
    """
    return decode_picture(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises UnreadableImage where there is none."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise UnreadableImage(f"cannot read {path}: {_reason(error)}") from error
    if not data:
        raise UnreadableImage(f"cannot read {path}: it is empty")
    return data


def decode_picture(data: bytes, path: Path) -> Picture:
    """The picture encoded in ``data``; ``path`` is for messages. Raises as ``read_picture``."""
    file = open_image(data, path)
    try:
        wide = _is_wide(file)
        with quiet_pillow():
            file.load()  # strict: fails where data is missing, which OpenCV would fill with grey
            orientation, exif = _exif(file)
            metadata = Metadata(file.info.get("icc_profile"), exif, _xmp_packet(file))
        picture = _sixteen_bit(file, data) if wide else _eight_bit(file, metadata.icc)
    except Exception as error:  # what a broken file makes a decoder raise is anybody's guess
        raise UnreadableImage(f"cannot read {path}: {_reason(error)}") from error
    return Picture(
        _upright(picture.pixels, orientation),
        None if picture.alpha is None else _upright(picture.alpha, orientation),
        picture.grey,
        metadata,
    )


def open_image(data: bytes, path: Path) -> Pil.Image:
    """The picture in ``data`` as Pillow sees it, its pixels not decoded yet. Raises as ``read_picture``."""
    try:
        with quiet_pillow():
            file = Pil.open(io.BytesIO(data), formats=sorted(set(SUFFIXES.values())))
            if isinstance(file, TiffImagePlugin.TiffImageFile):
                _carried_tags(file.getexif())  # here, where its warnings are silenced: load() does it again
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"cannot read {path}: it is no picture of a kind that is read here") from error
    except Exception as error:
        raise UnreadableImage(f"cannot read {path}: {_reason(error)}") from error
    refuse_too_large(file.width, file.height, _is_wide(file), path)
    return file


def refuse_too_large(width: int, height: int, wide: bool, path: Path) -> None:
    """Raises UnreadableImage for more pixels than are read; ``wide`` ones have 16 bits a sample."""
    limit = MAX_PIXELS // (1 + wide)
    if width * height > limit:
        raise UnreadableImage(
            f"cannot read {path}: {width}x{height} is more than the {limit / 1e6:.0f} megapixels that are read; cut it "
            "into parts"
        )


_PILLOW = threading.Lock()


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Where Pillow reads, pixels too: its warnings and its limit on pixels are global, hence the lock."""
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Pil.MAX_IMAGE_PIXELS = Pil.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Pil.MAX_IMAGE_PIXELS = limit


def _is_wide(file: Pil.Image) -> bool:
    """Whether the file, rather than what Pillow makes of it, has 16 bits a sample."""
    if isinstance(file, PngImagePlugin.PngImageFile):
        return any(";16" in str(tile[3]) for tile in file.tile)
    return isinstance(file, TiffImagePlugin.TiffImageFile) and 16 in file.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, ())


def _sixteen_bit(file: Pil.Image, data: bytes) -> Picture:
    """By OpenCV: Pillow has 16 bits for grey only."""
    photometric = 1
    if isinstance(file, TiffImagePlugin.TiffImageFile):
        photometric = file.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 1)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if photometric in (0, 1, 2) else None
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError("16-bit pictures of this kind are not read here; convert it to PNG")
    pixels: NDArray[np.uint16] = decoded.reshape(*decoded.shape[:2], -1).astype(np.uint16, copy=False)
    key = file.info.get("transparency")
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3]
    elif key is not None:  # one shade of grey that is transparent
        alpha = np.where(pixels[..., 0] == key, 0, 65535).astype(np.uint16)
    else:
        alpha = None
    if photometric == 0:  # white is zero
        pixels = ~pixels
    if pixels.shape[2] == 1:
        return Picture(np.repeat(pixels, 3, 2), alpha, grey=True)
    return Picture(pixels[..., 2::-1], alpha)


def _eight_bit(file: Pil.Image, icc: bytes | None) -> Picture:
    if file.mode == "F" or file.mode.startswith("I"):
        raise ValueError("samples that are neither 8 nor 16 bit integers are not read here; convert it")
    grey = file.mode in ("1", "L", "LA")
    if file.mode == "CMYK" and icc:
        file = _through_profile(file, icc)
    with_alpha = file.has_transparency_data
    pixels = np.empty((file.height, file.width, 3), np.uint8)
    alpha = np.empty(pixels.shape[:2], np.uint8) if with_alpha else None
    for at in range(0, file.height, 256):  # at once would take twice the memory
        box = (0, at, file.width, min(at + 256, file.height))
        band = np.asarray(file.crop(box).convert("RGBA" if with_alpha else "RGB"))
        pixels[at : at + 256] = band[..., :3]
        if alpha is not None:
            alpha[at : at + 256] = band[..., 3]
    return Picture(pixels, alpha, grey)


def _through_profile(file: Pil.Image, icc: bytes) -> Pil.Image:
    """CMYK to sRGB by the file's own profile, unless that is broken."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return ImageCms.profileToProfile(file, profile, ImageCms.createProfile("sRGB"), outputMode="RGB") or file
    except (ImageCms.PyCMSError, OSError):
        return file


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation: from 5 on rows and columns are exchanged, then come the flips."""
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(orientation, (1, 1))
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _exif(file: Pil.Image) -> tuple[int, bytes | None]:
    """The orientation still to be applied, and the EXIF block without it; as it is in the file where possible."""
    block: bytes | None = file.info.get("exif")
    try:
        exif = file.getexif()
        if isinstance(file, TiffImagePlugin.TiffImageFile):  # Pillow and OpenCV apply a TIFF's orientation
            tags, exif = _carried_tags(exif), Pil.Exif()
            exif.update(tags)
            return 1, exif.tobytes() if tags else None
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        if block and orientation != 1:
            exif[ExifTags.Base.Orientation] = 1
            block = exif.tobytes()  # without the thumbnail, which is not upright
        return orientation, b"Exif\0\0" + block.removeprefix(b"Exif\0\0") if block else None
    except Exception:  # a broken block is not worth losing the picture for
        return 1, None


def _carried_tags(exif: Pil.Exif) -> dict[int, Any]:
    """The tags that say something of a photograph rather than of how its pixels are stored."""
    base, tags = ExifTags.Base, {}
    for tag in (
        *(base.ImageDescription, base.Make, base.Model, base.Software, base.DateTime, base.Artist, base.Copyright),
        *(base.XResolution, base.YResolution, base.ResolutionUnit, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo),
    ):
        if tag in exif:
            value = exif.get_ifd(tag) if isinstance(tag, ExifTags.IFD) else exif[tag]
            if isinstance(value, dict):
                value = {k: v for k, v in value.items() if k != ExifTags.IFD.Interop}  # an offset into the old file
            tags[int(tag)] = value
    return tags


def _xmp_packet(file: Pil.Image) -> bytes | None:
    packet = file.info.get("xmp")
    if packet is None and isinstance(file, TiffImagePlugin.TiffImageFile):
        packet = file.tag_v2.get(TiffImagePlugin.XMP)
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet) if isinstance(packet, bytes) else None


# --- writing ---------------------------------------------------------------------------------------------------------


def write_picture(path: Path, picture: Picture, quality: int | None = None) -> None:
    """Write a picture in the format of the path's suffix, whole or not at all; the rest as ``write_pictures``."""
    write_pictures([(path, picture)], quality)


def write_pictures(pictures: Iterable[tuple[Path, Picture]], quality: int | None = None) -> None:
    """Write pictures in the formats of their paths' suffixes, all of them whole or none.

    16 bits become 8 where the format has no more. JPEG and BMP have no alpha: the picture is laid on white.

    Args:
        quality: 1 to 100 for JPEG (None: 95; colour is never subsampled) and WebP (None: lossless).

    Raises:
        StereosrError: if the format is unknown or cannot hold the picture, or the file cannot be written.
    """
    _write_all(
        (path, encode_picture(picture, SUFFIXES.get(path.suffix.lower(), ""), quality, path))
        for path, picture in pictures
    )


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a file by way of a temporary one beside it. Raises StereosrError, and leaves nothing, where that fails."""
    _write_all([(path, data)])


def check_writable(folder: Path) -> None:
    """Before long work, whether files can be put into a folder, or into a new one of this path.

    Raises:
        UsageError: if a file is in the way.
        StereosrError: if it may not be written to.
    """
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir():
        raise UsageError(f"cannot write into {folder}: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StereosrError(f"cannot write into {there}: permission denied; give another folder with -o")


def _write_all(files: Iterable[tuple[Path, bytes | memoryview]]) -> None:
    """Write files by way of temporary ones beside them; none appears before all are there.

    A file has one temporary name, so that what a killed process left goes when the file is written at last.
    """
    parts: dict[Path, Path] = {}
    try:
        for path, data in files:
            name = hashlib.sha256(path.name.encode(errors="surrogateescape")).hexdigest()[:16]
            with _named(path):
                parts[path] = path.with_name(f".{name}.part")
                parts[path].write_bytes(data)
        for path, part in parts.items():
            with _named(path):
                part.replace(path)
    finally:
        for part in parts.values():
            with suppress(OSError, ValueError):
                part.unlink()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What keeps a file from being written, as an error that names it."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise StereosrError(f"cannot write {path}: {_reason(error)}") from error


def encode_picture(picture: Picture, kind: str, quality: int | None, path: Path) -> bytes:
    """The bytes of a file of format ``kind``; ``path`` is for messages. Raises as ``write_picture``."""
    if kind not in SUFFIXES.values():
        raise StereosrError(f"cannot write {path}: its suffix must be one of {', '.join(SUFFIXES)}")
    height, width = picture.pixels.shape[:2]
    refuse_too_long(height, width, kind, path)
    samples = _samples(picture, kind)
    meta = picture.metadata
    if meta.icc and meta.icc[16:20] != (b"GRAY" if samples.shape[2] < 3 else b"RGB "):
        meta = replace(meta, icc=None)  # a profile of another colour space would be wrong
    try:
        if kind == "PNG":
            return _png(samples, meta)
        if kind == "TIFF":
            return _tiff(samples, meta)
        options: dict[str, Any] = {}
        if kind == "JPEG":
            options = {"quality": 95 if quality is None else quality, "subsampling": 0}
        elif kind == "WEBP":
            lossless = {
                "lossless": True,
                "exact": True,
                "quality": 20,
            }  # the effort: more takes longer and saves nothing
            options = lossless if quality is None else {"quality": quality}
        blocks = {"icc_profile": meta.icc, "exif": meta.exif, "xmp": meta.xmp}
        for name, block in blocks.items():
            if block and (kind != "JPEG" or name == "icc_profile" or len(block) < _JPEG_BLOCK):
                options[name] = block
        return _by_pillow(samples, kind, **options)
    except (OSError, ValueError, OverflowError, struct.error, cv2.error) as error:
        raise StereosrError(f"cannot write {path}: {_reason(error)}") from error


def refuse_too_long(height: int, width: int, kind: str, path: Path) -> None:
    """Raises StereosrError where a format has no pictures of this size."""
    if max(height, width) > _MAX_SIDE.get(kind, 2**31):
        raise StereosrError(
            f"cannot write {path}: {width}x{height} is more than {kind}'s limit of {_MAX_SIDE[kind]} a side; use PNG"
        )


def _samples(picture: Picture, kind: str) -> Pixels:
    """H x W x 1 to 4: what the format can hold of the pixels and the alpha."""
    pixels, alpha = picture.pixels, picture.alpha
    if kind not in ("PNG", "TIFF"):
        pixels, alpha = _to_eight(pixels), None if alpha is None else _to_eight(alpha)
    if kind in ("JPEG", "BMP") and alpha is not None:
        opaque = to_float(alpha)[..., None]
        pixels, alpha = quantise(to_float(pixels) * opaque + (1 - opaque), np.uint8), None
    if (
        picture.grey and kind != "WEBP" and (alpha is None or alpha.dtype == np.uint8)
    ):  # 16-bit grey + alpha: none reads
        pixels = pixels[..., :1]
    return pixels if alpha is None else np.dstack([pixels, alpha])


def _to_eight(pixels: Pixels) -> Pixels:
    """16 bits to 8, to the nearest."""
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _by_pillow(samples: Pixels, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Pil.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples).save(buffer, kind, **options)
    return buffer.getvalue()


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
    if meta.icc:
        ifd[tag.ICCPROFILE] = meta.icc
    if meta.xmp:
        ifd[tag.XMP] = meta.xmp
    return header + ifd.tobytes(8) + b"".join(strips)


def _directory(header: bytes, exif: bytes | None) -> TiffImagePlugin.ImageFileDirectory_v2:
    """A TIFF directory with what an EXIF block says, empty where that is broken."""
    try:
        ifd, block = TiffImagePlugin.ImageFileDirectory_v2(header), Pil.Exif()
        with quiet_pillow():
            block.load(exif or b"")
            ifd.update(_carried_tags(block))
        ifd.tobytes(len(header))
    except Exception:  # as in _exif
        return TiffImagePlugin.ImageFileDirectory_v2(header)
    return ifd


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
