"""Pictures from files: PNG, JPEG, WebP, TIFF, BMP and PPM of 8 and 16 bits, with alpha and metadata."""

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, ImageCms, JpegImagePlugin, PngImagePlugin, PpmImagePlugin, TiffImagePlugin
from PIL import Image as Pil

from stereosr.errors import StereosrError, reason
from stereosr.io.jpeg import quality_of_table
from stereosr.io.metadata import NO_METADATA, Metadata, upright_xmp
from stereosr.types import Pixels

SUFFIXES = {
    ".png": "PNG",
    ".pns": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pnm": "PPM",
}
"""The suffixes of pictures, and the format each stands for when writing. Reading goes by content."""

READABLE = {*SUFFIXES, ".heic", ".heif", ".hif"}
"""The suffixes of what may be one view of a pair."""

UNREAD = {
    ".gif",
    ".avif",
    ".jxl",
    ".jp2",
    ".exr",
    ".hdr",
    ".tga",
    ".psd",
    ".dng",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
    ".orf",
    ".rw2",
    ".raf",
}
"""Suffixes of pictures that are not read here."""

MAX_PIXELS = 200_000_000
"""Of 8 bits, half as many of 16: decoding that takes 2 GB, and a header that promises more is a lie or a bomb."""


class UnreadableImage(StereosrError):
    """A file that is no picture, or not a whole one. The message names the file and says why."""


@dataclass(frozen=True, slots=True)
class Coding:
    """A lossy coding: its name, and for JPEG libjpeg's quality whose table is nearest to the file's."""

    name: str
    quality: int | None = None

    def __str__(self) -> str:
        return self.name if self.quality is None else f"{self.name} of quality {self.quality}"


@dataclass(frozen=True, slots=True)
class Picture:
    """One view as it lies in a file.

    Attributes:
        pixels: H x W x 3, RGB, uint8 or uint16; three equal channels for a grey file.
        alpha: H x W of the same type, 0 is transparent; None where the file has none.
        grey: to be written as one channel.
        metadata: an orientation in it is already applied to the pixels and reset to 1.
        notes: what of the file was not read, in words.
        coding: by which the file lost something; None if it is lossless.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    metadata: Metadata = NO_METADATA
    notes: tuple[str, ...] = ()
    coding: Coding | None = None


def read_picture(path: Path) -> Picture:
    """Read one picture, upright.

    Args:
        path: of a file in a format of ``READABLE``.

    Returns:
        The picture: of several frames or pages the first.

    Raises:
        UnreadableImage: if it is missing, a folder, empty, no picture, truncated, or larger than ``MAX_PIXELS``.
        UsageError: for HEIC without the extra that reads it.
    """
    return decode_picture(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises UnreadableImage where there is none."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise UnreadableImage(f"cannot read {path}: {reason(error)}") from error
    if not data:
        raise UnreadableImage(f"cannot read {path}: it is empty")
    return data


def decode_picture(data: bytes, path: Path) -> Picture:
    """The picture encoded in ``data``; ``path`` is for messages. Raises as ``read_picture``."""
    from stereosr.io.heic import is_heic, read_single_heic

    if is_heic(data):
        return read_single_heic(data, path)
    file = open_image(data, path)
    try:
        wide, tiles, coding = _is_wide(file), list(getattr(file, "tile", [])), _coding(file, data)
        file.load()  # strict: fails where data is missing, which OpenCV would fill with grey
        orientation, metadata, unfit = _metadata(file)
        picture = _sixteen_bit(file, data, tiles) if wide else _eight_bit(file, metadata.icc)
        notes = [f"{path.name}: left out, as it fits the old pixels only: {', '.join(unfit)}"] if unfit else []
        if (frames := _frames(file)) > 1:
            notes.append(f"{path.name} holds {frames} pictures, frames or pages: only the first is done")
    except StereosrError:
        raise
    except Exception as error:  # what a broken file makes a decoder raise is anybody's guess
        raise UnreadableImage(f"cannot read {path}: {reason(error)}") from error
    return Picture(
        _upright(picture.pixels, orientation),
        None if picture.alpha is None else _upright(picture.alpha, orientation),
        picture.grey,
        metadata,
        tuple(notes),
        coding,
    )


def open_image(data: bytes, path: Path) -> Pil.Image:
    """The picture in ``data`` as Pillow sees it, its pixels not decoded yet. Raises as ``read_picture``."""
    try:
        file = _opened(data)
    except Exception as error:
        raise UnreadableImage(f"cannot read {path}: {reason(error)}") from error
    if file is None:
        raise UnreadableImage(f"cannot read {path}: it is no picture of a kind that is read here")
    check_pixel_limit(file.width, file.height, _is_wide(file), path)
    return file


def _opened(data: bytes) -> Pil.Image | None:
    """By the first of Pillow's plugins that knows the format, None if none does.

    ``Image.open``, as well as ``Image.crop``, would refuse or warn of large pictures by a limit that is the whole
    process's to set; ours is ``check_pixel_limit``. What remains: Pillow's readers of TIFF, WebP and MPO themselves
    refuse more than twice that limit, 179 megapixels unless the host changed it.
    """
    Pil.init()
    for kind in sorted(set(SUFFIXES.values())):
        factory, accepts = Pil.OPEN[kind]
        if accepts is None or accepts(data[:16]) is True:
            with suppress(SyntaxError, IndexError, TypeError, struct.error):  # Pillow's words for another format
                return factory(io.BytesIO(data), "")
    return None


def check_pixel_limit(width: int, height: int, wide: bool, path: Path) -> None:
    """Raises UnreadableImage for more pixels than are read; ``wide`` ones have 16 bits a sample."""
    limit = MAX_PIXELS // (1 + wide)
    if width * height > limit:
        raise UnreadableImage(
            f"cannot read {path}: {width}x{height} is more than the {limit / 1e6:.0f} megapixels that are read; cut it "
            "into parts"
        )


def _frames(file: Pil.Image) -> int:
    """How many pictures there are to see in a file; a JPEG's further ones are previews and the like."""
    return 1 if isinstance(file, JpegImagePlugin.JpegImageFile) else getattr(file, "n_frames", 1)


def _is_wide(file: Pil.Image) -> bool:
    """Whether the file, rather than what Pillow makes of it, has 16 bits a sample."""
    if isinstance(file, PpmImagePlugin.PpmImageFile):
        return _ppm_maximum(file.tile[0]) > 255
    if isinstance(file, PngImagePlugin.PngImageFile):
        return any(";16" in str(tile[3]) for tile in file.tile)
    return isinstance(file, TiffImagePlugin.TiffImageFile) and 16 in file.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, ())


def _coding(file: Pil.Image, data: bytes) -> Coding | None:
    """What of a file that is read here can be lossy: JPEG, MPO being of its kind, and one of WebP's two codings."""
    if isinstance(file, JpegImagePlugin.JpegImageFile):
        tables = file.quantization
        return Coding("JPEG", quality_of_table(np.array(tables[min(tables)])) if tables else None)
    return Coding("WebP") if file.format == "WEBP" and _is_lossy_webp(data) else None


def _is_lossy_webp(data: bytes) -> bool:
    """Whether the first coded picture is VP8: its chunk may lie in that of a frame, behind 16 bytes of its own."""
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name in (b"VP8 ", b"VP8L"):
            return name == b"VP8 "
        at += 24 if name == b"ANMF" else 8 + size + size % 2
    return False


def _sixteen_bit(file: Pil.Image, data: bytes, tiles: list[Any]) -> Picture:
    """By OpenCV: Pillow has 16 bits for grey only."""
    if isinstance(file, PpmImagePlugin.PpmImageFile):
        return _sixteen_bit_ppm(file, data, tiles[0])
    tags: Any = file.tag_v2 if isinstance(file, TiffImagePlugin.TiffImageFile) else {}
    photometric = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 1)
    planar = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2 and tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) > 1
    if photometric not in (0, 1, 2):
        decoded = None
    elif planar:
        decoded = _planes(tags, data)
    else:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
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
    if alpha is not None and tags.get(TiffImagePlugin.EXTRASAMPLES, (2,))[0] == 1:
        pixels = _divided(pixels[..., :3], alpha)
    if photometric == 0:  # white is zero
        pixels = ~pixels
    if pixels.shape[2] == 1:
        return Picture(np.repeat(pixels, 3, 2), alpha, grey=True)
    return Picture(pixels[..., 2::-1], alpha)


def _planes(old: TiffImagePlugin.ImageFileDirectory_v2, data: bytes) -> NDArray[Any] | None:
    """A TIFF of separate planes, in OpenCV's order of channels: OpenCV takes it for interleaved (opencv#28717), so each
    plane is decoded as a grey picture of its own."""
    tag = TiffImagePlugin
    if tag.STRIPOFFSETS not in old:
        raise ValueError("16-bit tiles in separate planes are not read here; put the planes together: tiffcp -p contig")
    count = old[tag.SAMPLESPERPIXEL]
    parts = len(old[tag.STRIPOFFSETS]) // count
    byteorder: Literal["big", "little"] = "little" if data[:2] == b"II" else "big"
    planes = []
    for plane in range(count):
        ifd = tag.ImageFileDirectory_v2(data[:8])
        kept = (tag.IMAGEWIDTH, tag.IMAGELENGTH, tag.COMPRESSION, tag.FILLORDER, tag.ROWSPERSTRIP, tag.PREDICTOR)
        ifd.update({number: old[number] for number in kept if number in old})
        ifd[tag.BITSPERSAMPLE], ifd[tag.PHOTOMETRIC_INTERPRETATION], ifd[tag.SAMPLESPERPIXEL] = 16, 1, 1
        for number in (tag.STRIPOFFSETS, tag.STRIPBYTECOUNTS):
            ifd[number] = old[number][plane * parts : (plane + 1) * parts]
        # the offsets count from the end of the directory, where a copy of the file begins
        whole = data[:4] + (8).to_bytes(4, byteorder) + ifd.tobytes(8) + data
        decoded = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None or count not in (3, 4):
            return None
        planes.append(decoded)
    return np.dstack([planes[i] for i in (2, 1, 0, 3)[:count]])


def _divided(pixels: NDArray[np.uint16], alpha: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Colour that was multiplied by its opacity, as it was before."""
    opaque = np.maximum(alpha, 1)[..., None]
    whole: NDArray[np.uint32] = np.minimum((pixels.astype(np.uint32) * 65535 + opaque // 2) // opaque, 65535)
    return whole.astype(np.uint16)


def _sixteen_bit_ppm(file: Pil.Image, data: bytes, tile: Any) -> Picture:
    """By hand: what OpenCV does with a maximum below 65535 depends on its version."""
    channels, maximum, start = 3 if file.mode == "RGB" else 1, _ppm_maximum(tile), tile.offset
    stored = np.frombuffer(data, ">u2", file.width * file.height * channels, start)
    levels = (np.arange(65536) * (65535 / maximum) + 0.5).clip(0, 65535).astype(np.uint16)
    pixels = levels[stored].reshape(file.height, file.width, channels)
    return Picture(np.repeat(pixels, 3, 2) if channels == 1 else pixels, grey=channels == 1)


def _ppm_maximum(tile: Any) -> int:
    """What stands for white; at most 255 for 8 bits."""
    if tile.codec_name == "raw":
        return 65535 if tile.args == "I;16B" else 255
    return int(tile.args[1]) if tile.codec_name == "ppm" else 255


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
        rows = min(256, file.height - at)
        cut = file.resize((file.width, rows), Pil.Resampling.NEAREST, (0, at, file.width, at + rows))  # see _opened
        band = np.asarray(cut.convert("RGBA" if with_alpha else "RGB"))
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


def _metadata(file: Pil.Image) -> tuple[int, Metadata, list[str]]:
    """The orientation still to be applied, what else the file says, and what of that is left out."""
    orientation, exif = _exif(file)
    xmp, unfit = _xmp_packet(file)
    info, segments = file.info, dict(_segments(file))
    dpi = info.get("dpi") if info.get("jfif_unit") or file.format in ("PNG", "BMP") else None  # else EXIF has it
    photoshop = segments.get("APP13")
    iptc = photoshop if photoshop and photoshop.startswith(b"Photoshop 3.0\0") else None
    comment = info.get("comment") if isinstance(file, JpegImagePlugin.JpegImageFile) else None
    parallax = _parallax(segments.get("APP2", b""))
    return orientation, Metadata(info.get("icc_profile"), exif, xmp, dpi, comment, iptc, parallax), unfit


def _segments(file: Pil.Image) -> Iterator[tuple[str, bytes]]:
    """The application segments of a JPEG file, the last one first; of APP2, that of MPO only."""
    for name, body in reversed(getattr(file, "applist", [])):
        if name != "APP2" or body.startswith(b"MPF\0"):
            yield name, body


def _parallax(segment: bytes) -> bytes | None:
    """How a view of an MPO file was taken; see ``Metadata``. None without the directory that says it."""
    if not segment.startswith(b"MPF\0"):
        return None
    with suppress(Exception):  # as in _exif
        data = io.BytesIO(segment[4:])
        directory = TiffImagePlugin.ImageFileDirectory_v2(data.read(8))
        for _ in range(2):  # a directory of all views may come before that of this one
            if not directory.next:
                break
            data.seek(directory.next)
            directory.load(data)
            if 0xB205 in directory and 0xB206 in directory:
                angle, distance = directory[0xB205], directory[0xB206]
                found = struct.pack("<llLL", *(n for v in (angle, distance) for n in (v.numerator, v.denominator)))
                return found if found != b"\xff" * 16 else None  # that is how unknown is written
    return None


def _exif(file: Pil.Image) -> tuple[int, bytes | None]:
    """The orientation still to be applied, and the EXIF block without it; as it is in the file where possible."""
    block: bytes | None = file.info.get("exif")
    try:
        exif = file.getexif()
        if isinstance(file, TiffImagePlugin.TiffImageFile):  # Pillow and OpenCV apply a TIFF's orientation
            tags, exif = carried_tags(exif), Pil.Exif()
            exif.update(tags)
            return 1, exif.tobytes() if tags else None
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        if block and orientation != 1:
            exif[ExifTags.Base.Orientation] = 1
            block = exif.tobytes()  # without the thumbnail, which is not upright
        return orientation, b"Exif\0\0" + block.removeprefix(b"Exif\0\0") if block else None
    except Exception:  # a broken block is not worth losing the picture for
        return 1, None


def carried_tags(exif: Pil.Exif) -> dict[int, Any]:
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


def _xmp_packet(file: Pil.Image) -> tuple[bytes | None, list[str]]:
    packet = file.info.get("xmp")
    if packet is None and isinstance(file, TiffImagePlugin.TiffImageFile):
        packet = file.tag_v2.get(TiffImagePlugin.XMP)
    return upright_xmp(packet) if isinstance(packet, bytes) else (None, [])
