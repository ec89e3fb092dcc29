"""What a video file says of its pictures beside their samples: how two views lie in a frame, spherical projection, HDR
light levels, orientation; read from FFmpeg's side data, written as boxes of ISO base media files."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from stereosr.io.layouts import Layout
from stereosr.types import Pixels

Packing = Literal["", "sbs", "ou", "unknown"]
"""How a frame holds two views by what the file says: nothing, side by side, over-under, or in a way of no frame, as
MV-HEVC."""

_PACKINGS: dict[int, Packing] = {1: "sbs", 2: "ou", 3: "unknown", 8: "unknown"}  # AVStereo3DType
_EQUIRECTANGULAR, _CUBEMAP, _EQUIRECTANGULAR_TILE = 0, 1, 2  # AVSphericalProjection

_ENTRY = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"")
"""The way to the description of a track's samples."""

# Matroska's StereoMode: left view first, right view first.
_STEREO_MODES = {"sbs": ("left_right", "right_left"), "ou": ("top_bottom", "bottom_top")}


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a frame is to be shown: rows and columns exchanged, then rows or columns mirrored."""

    transposed: bool = False
    rows: bool = False
    columns: bool = False

    def apply(self, pixels: Pixels) -> Pixels:
        """The picture as it is meant to be seen.

        Args:
            pixels: H x W x C.
        """
        seen = pixels.swapaxes(0, 1) if self.transposed else pixels
        return np.ascontiguousarray(seen[:: -1 if self.rows else 1, :: -1 if self.columns else 1])


@dataclass(frozen=True, slots=True)
class Spherical:
    """A spherical projection.

    Attributes:
        projection: as AVSphericalProjection counts: 0 equirectangular, 1 cube map, 2 a part of an equirectangular one.
        pose: yaw, pitch and roll in degrees, 16.16 fixed point.
        bounds: what of the projection the frame leaves out at the left, top, right and bottom, 0.32 fixed point.
        padding: of the faces of a cube map, in pixels.
    """

    projection: int
    pose: tuple[int, int, int]
    bounds: tuple[int, int, int, int]
    padding: int

    @property
    def is_full_circle(self) -> bool:
        """Whether the left edge of each view goes on at its right edge."""
        return self.projection in (_EQUIRECTANGULAR, _EQUIRECTANGULAR_TILE) and not (self.bounds[0] or self.bounds[2])


@dataclass(frozen=True, slots=True)
class Tags:
    """What a file says of its pictures.

    Attributes:
        packing: how a frame holds two views.
        right_first: whether the right view is the first one.
        spherical: the projection, None for a flat picture.
        mastering: of HDR10: x and y of the red, green, blue primaries and of white, in units of 0.00002, then the
            largest and the smallest luminance, in 0.0001 candela a square metre.
        light: of HDR10: largest content and frame-average light level, in candela a square metre.
        has_mesh: whether there is a projection that is not read, as the mesh of some VR180 cameras.
    """

    packing: Packing = ""
    right_first: bool = False
    spherical: Spherical | None = None
    mastering: tuple[int, ...] | None = None
    light: tuple[int, int] | None = None
    has_mesh: bool = False


def read_tags(side_data: Mapping[str, bytes]) -> Tags:
    """What the side data of a frame says.

    Args:
        side_data: the bytes of each kind, by FFmpeg's names, in the order of this machine's C structures.
    """
    packing: Packing = ""
    right_first = False
    if (data := side_data.get("STEREO3D")) is not None:
        kind, flags = struct.unpack("=ii", data[:8])
        packing, right_first = _PACKINGS.get(kind, ""), bool(flags & 1)
    spherical = None
    if (data := side_data.get("SPHERICAL")) is not None and len(data) >= 36:
        projection, *pose = struct.unpack("=4i", data[:16])
        *bounds, padding = struct.unpack("=5I", data[16:36])
        spherical = Spherical(projection, (pose[0], pose[1], pose[2]), (*bounds,), padding)
    light = None
    if (data := side_data.get("CONTENT_LIGHT_LEVEL")) is not None:
        light = struct.unpack("=II", data[:8])
    return Tags(packing, right_first, spherical, _mastering(side_data.get("MASTERING_DISPLAY_METADATA")), light)


def _mastering(data: bytes | None) -> tuple[int, ...] | None:
    if data is None or len(data) < 88:
        return None
    numbers = struct.unpack("=22i", data[:88])
    if not (numbers[20] and numbers[21]):
        return None
    units = [50000] * 8 + [10000] * 2
    rationals = [
        round(number * unit / divisor) if divisor else 0
        for number, divisor, unit in zip(numbers[:20:2], numbers[1:20:2], units, strict=True)
    ]
    return (*rationals[:8], rationals[9], rationals[8])  # FFmpeg has the smallest first


def read_orientation(matrix: bytes | None) -> Orientation | None:
    """How a display matrix turns a frame.

    Args:
        matrix: nine 32-bit integers, row by row; None for no matrix.

    Returns:
        None if it does not turn by quarters.
    """
    if matrix is None:
        return Orientation()
    a, b, _, c, d = struct.unpack("=5i", matrix[:20])
    if a and d and not (b or c):
        return Orientation(False, d < 0, a < 0)
    if b and c and not (a or d):
        return Orientation(True, b < 0, c < 0)
    return None


def packing_of(layout: Layout) -> Packing:
    """How frames of this layout hold two views."""
    return {"sbs": "sbs", "sbs-half": "sbs", "ou": "ou", "ou-half": "ou"}.get(layout, "")  # type: ignore[return-value]


def stereo_mode(tags: Tags) -> str | None:
    """Matroska's name for how the views lie; None where there is nothing to say."""
    modes = _STEREO_MODES.get(tags.packing)
    return None if modes is None else modes[tags.right_first]


def insert_boxes(movie: bytes, tags: Tags) -> bytes:
    """An ISO base media file with one video track that also says what ``tags`` do; its samples are not to be read.

    Args:
        movie: the file, whose description must not lie before its samples if these are to be read.
        tags: what it is to say. Right-first order has no box.

    Sources: Google's Spherical Video V2 (``st3d``, ``sv3d``); ISO/IEC 23001-8 and 14496-12 (``mdcv``, ``clli``).
    """
    boxes = b""
    if tags.packing in ("sbs", "ou") and not tags.right_first:
        boxes += _box(b"st3d", bytes(4) + bytes([2 if tags.packing == "sbs" else 1]))
    if tags.spherical is not None and (projection := _projection(tags.spherical)):
        head = _box(b"prhd", bytes(4) + struct.pack(">3i", *tags.spherical.pose))
        boxes += _box(b"sv3d", _box(b"svhd", bytes(4) + b"stereosr\0") + _box(b"proj", head + projection))
    if tags.mastering is not None:
        red, green, blue, white = (tags.mastering[at : at + 2] for at in (0, 2, 4, 6))
        boxes += _box(b"mdcv", struct.pack(">8H2I", *green, *blue, *red, *white, *tags.mastering[8:]))
    if tags.light is not None:
        boxes += _box(b"clli", struct.pack(">2H", *(min(level, 65535) for level in tags.light)))
    return _insert(movie, _ENTRY, boxes) if boxes else movie


def find_box(path: Path, name: bytes) -> int | None:
    """Where a box of this name begins in the description of a movie's first track; None if there is none.

    Raises:
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        at, end = 0, file.seek(0, 2)
        for wanted in (*_ENTRY, name):
            while at + 8 <= end:
                file.seek(at)
                size, found = struct.unpack(">I4s", file.read(8))
                if size == 1:
                    size = int.from_bytes(file.read(8))
                if found == wanted or not wanted:
                    break
                at += max(size, 8)
            else:
                return None
            if found == name:
                return at
            inner = {b"stsd": 16}.get(found, 8 if wanted else 86)  # what is fixed of a VisualSampleEntry
            at, end = at + inner, at + size
    return None


def drop_box(path: Path, name: bytes) -> None:
    """Take a box that ``find_box`` finds out, by a name that readers pass over.

    Raises:
        OSError: if the file cannot be read or written.
    """
    at = find_box(path, name)
    if at is not None:
        with path.open("r+b") as file:
            file.seek(at + 4)
            file.write(b"free")


def _projection(spherical: Spherical) -> bytes:
    if spherical.projection in (_EQUIRECTANGULAR, _EQUIRECTANGULAR_TILE):
        left, top, right, bottom = spherical.bounds
        return _box(b"equi", struct.pack(">5I", 0, top, bottom, left, right))
    if spherical.projection == _CUBEMAP:
        return _box(b"cbmp", struct.pack(">3I", 0, 0, spherical.padding))
    return b""


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


def _insert(data: bytes, path: tuple[bytes, ...], boxes: bytes) -> bytes:
    """``boxes`` at the end of the first box at ``path``; an empty name is any."""
    at = 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if name == path[0] or not path[0]:
            body = data[at + 8 : at + size]
            skip = 8 if name == b"stsd" else 0
            inner = body + boxes if len(path) == 1 else body[:skip] + _insert(body[skip:], path[1:], boxes)
            return data[:at] + _box(name, inner) + data[at + size :]
        at += size
    return data
