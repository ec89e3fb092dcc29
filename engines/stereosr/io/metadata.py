"""What a file says beside its pixels: kept, made to fit the new size, or left out where it speaks of the old pixels."""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction

# Blocks that no longer fit: they hold pixels of the old size, or places in the old file.
_UNFIT = {
    b"xmpNote": "extended XMP",
    b"hdrgm": "gain map",
    b"HDRGainMap": "gain map",
    b"Container": "gain map or motion picture",
    b"GCamera": "motion picture",
    b"GDepth": "depth map",
    b"GImage": "second picture",
    b"GAudio": "sound",
}
_NAMES = b"|".join(name + (b":M(?:icro|otion)" if name == b"GCamera" else b":") for name in _UNFIT)
_UNFIT_ATTRIBUTE = re.compile(rb"\s(" + _NAMES + rb')\w+\s*=\s*(?:"[^"]*"|\'[^\']*\')')
_UNFIT_ELEMENT = re.compile(rb"<((" + _NAMES + rb")\w+)\b[^>]*?(?:/>|>.*?</\1\s*>)", re.DOTALL)
_ORIENTATION = re.compile(rb'(tiff:Orientation(?:="|>))[0-9]')
_WIDTH = re.compile(rb'((?:exif:PixelXDimension|tiff:ImageWidth)(?:="|>))\d+')
_HEIGHT = re.compile(rb'((?:exif:PixelYDimension|tiff:ImageLength)(?:="|>))\d+')
_PANORAMA = re.compile(rb'(GPano:\w+Pixels(?:="|>))(\d+)')

# Of EXIF: directories, sizes in pixels, and pixels per unit of the sensor.
_EXIF_DIRECTORY, _WIDTHS, _HEIGHTS, _FOCAL_PLANE = 0x8769, (0x0100, 0xA002), (0x0101, 0xA003), (0xA20E, 0xA20F)
_SHORT, _LONG, _RATIONAL, _DOUBLE = 3, 4, 5, 12


@dataclass(frozen=True, slots=True)
class Metadata:
    """What travels with a picture.

    Attributes:
        icc: a colour profile.
        exif: a block that begins with ``Exif``.
        xmp: a packet.
        dpi: pixels an inch, across and down.
        comment: of a JPEG file.
        iptc: the body of Photoshop's segment (APP13) of a JPEG file.
        parallax: of a view in an MPO file, the convergence angle and the distance from the first camera, as the two
            fractions that lie in the file (CIPA DC-007, tags 0xB205 and 0xB206), in its little-endian form.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    comment: bytes | None = None
    iptc: bytes | None = None
    parallax: bytes | None = None

    def scaled(self, factor: float) -> "Metadata":
        """For a picture with ``factor`` times the pixels a side: those of a panorama, and a sensor's pixels an inch."""
        return replace(
            self, exif=self.exif and _scaled(self.exif, factor), xmp=self.xmp and _scaled_xmp(self.xmp, factor)
        )

    def of_size(self, height: int, width: int) -> "Metadata":
        """With these numbers of pixels wherever EXIF and XMP give one; the rest of both stays byte for byte."""
        xmp = self.xmp
        if xmp is not None:
            xmp = _HEIGHT.sub(rb"\g<1>%d" % height, _WIDTH.sub(rb"\g<1>%d" % width, xmp))
        return replace(self, exif=self.exif and _sized(self.exif, height, width), xmp=xmp)


NO_METADATA = Metadata()


def upright_xmp(packet: bytes) -> tuple[bytes, list[str]]:
    """A packet for pixels that were turned upright, and what of it is left out, as it belongs to the old file."""
    found = {match[1] for match in _UNFIT_ATTRIBUTE.finditer(packet)}
    found |= {match[2] for match in _UNFIT_ELEMENT.finditer(packet)}
    kept = _UNFIT_ATTRIBUTE.sub(b"", _UNFIT_ELEMENT.sub(b"", packet))
    words = dict.fromkeys(_UNFIT[name.split(b":")[0]] for name in sorted(found))
    return _ORIENTATION.sub(rb"\g<1>1", kept), list(words)


def _scaled_xmp(packet: bytes, factor: float) -> bytes:
    return _PANORAMA.sub(lambda match: match[1] + b"%d" % round(int(match[2]) * factor), packet)


def _scaled(exif: bytes, factor: float) -> bytes:
    data = bytearray(exif)
    with suppress(struct.error, IndexError):  # a broken block stays as it is
        for order, at, tag, kind in _entries(data):
            if tag not in _FOCAL_PLANE or kind not in (_RATIONAL, _DOUBLE):
                continue
            place = 6 + struct.unpack_from(f"{order}L", data, at + 8)[0]
            if kind == _DOUBLE:  # against the standard, but some programs write it
                (value,) = struct.unpack_from(f"{order}d", data, place)
                struct.pack_into(f"{order}d", data, place, value * factor)
                continue
            above, below = struct.unpack_from(f"{order}LL", data, place)
            exact = Fraction(above, below or 1) * Fraction(factor).limit_denominator(1000)
            below = min(exact.denominator, max(1, int((2**32 - 1) / exact))) if exact > 0 else 1
            struct.pack_into(f"{order}LL", data, place, min(round(exact * below), 2**32 - 1), below)
    return bytes(data)


def _sized(exif: bytes, height: int, width: int) -> bytes:
    data = bytearray(exif)
    with suppress(struct.error, IndexError):
        for order, at, tag, kind in _entries(data):
            if tag in (*_WIDTHS, *_HEIGHTS) and kind in (_SHORT, _LONG):
                struct.pack_into(f"{order}HLL", data, at + 2, _LONG, 1, width if tag in _WIDTHS else height)
    return bytes(data)


def _entries(exif: bytearray) -> Iterator[tuple[str, int, int, int]]:
    """Of the first directory and of EXIF's: byte order, place, tag and type of each entry."""
    if exif[:6] != b"Exif\0\0":
        return
    order = "<" if exif[6:8] == b"II" else ">"
    directories = [struct.unpack_from(f"{order}L", exif, 10)[0]]
    for start in directories:
        (count,) = struct.unpack_from(f"{order}H", exif, 6 + start)
        for at in range(8 + start, 8 + start + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, at)
            yield order, at, tag, kind
            if tag == _EXIF_DIRECTORY and len(directories) == 1:
                directories.append(struct.unpack_from(f"{order}L", exif, at + 8)[0])
