"""The two JPEG-based stereo formats: MPO (CIPA DC-007) and JPS (cross-eyed side by side)."""

import struct
from dataclasses import replace
from pathlib import Path

from PIL import Image as Pil

from stereosr.io.encode import encode_picture
from stereosr.io.halves import join, split
from stereosr.io.images import Picture, UnreadableImage, decode_picture, open_image

# Of the Multi-Picture Format: the tag of the list of frames, the type of a frame that is one of several views, and the
# rational number for "unknown".
_MPF_ENTRIES = 0xB002
_DISPARITY = 0x020002
_UNKNOWN = b"\xff" * 8


def jps_header(file: Pil.Image) -> tuple[int, int] | None:
    """Layout and flags of a stereoscopic ``_JPSJPS_`` descriptor (JPEG Stereo 1.2), None without one."""
    return next(((body[12], body[11]) for body in _descriptors(file) if body[13] == 1), None)


def is_mono_jps(file: Pil.Image) -> bool:
    """Whether a descriptor says that the picture shows one view."""
    return any(body[13] == 0 for body in _descriptors(file))


def _descriptors(file: Pil.Image) -> list[bytes]:
    found = (body for marker, body in getattr(file, "applist", []) if marker == "APP3")
    return [body for body in found if body.startswith(b"_JPSJPS_") and len(body) >= 14]


def read_jps(data: bytes, path: Path) -> tuple[Picture, Picture]:
    """The left and the right view of a JPS file: cross-eyed, unless its header says otherwise.

    Raises:
        UnreadableImage: as ``read_picture``, or for views that are neither side by side nor over-under.
    """
    layout, flags = jps_header(open_image(data, path)) or (2, 0)
    if layout not in (2, 3):
        raise UnreadableImage(
            f"cannot read {path}: its header says that the views are neither side by side nor over-under"
        )
    axis = 1 if layout == 2 else 0
    first, second = split(decode_picture(data, path), axis, bool(flags & (2 if axis else 1)), path)
    return (first, second) if flags & 4 else (second, first)


def jps_bytes(left: Picture, right: Picture, quality: int | None, path: Path) -> bytes:
    """A cross-eyed JPS file, whose header says so. Raises as ``encode_picture``."""
    jpeg = encode_picture(join(replace(right, metadata=left.metadata), left, 1), "JPEG", quality, path)
    descriptor = struct.pack(">8sHBBBBH", b"_JPSJPS_", 4, 0, 0, 2, 1, 0)  # side by side, the right view first
    return _with_segment(jpeg, 3, descriptor)


def disparity_frames(file: Pil.Image) -> list[int]:
    """The numbers of those frames of an MPO file that are views of one scene; empty for any other file."""
    entries = (getattr(file, "mpinfo", None) or {}).get(_MPF_ENTRIES, [])
    return [i for i, entry in enumerate(entries) if "Disparity" in str(entry["Attribute"]["MPType"])]


def mpo_frames(data: bytes, path: Path) -> tuple[bytes, bytes]:
    """The two JPEG files of the views: those marked as such, else the first two.

    Raises:
        UnreadableImage: if there are no two, or one is missing.
    """
    file = open_image(data, path)
    frames = disparity_frames(file)
    chosen = frames[:2] if len(frames) >= 2 else range(min(2, getattr(file, "n_frames", 1)))
    if len(chosen) < 2:
        raise UnreadableImage(f"cannot read {path}: it holds one picture, not two views")
    starts: list[int] = []
    try:
        for frame in chosen:
            file.seek(frame)
            starts.append(file.offset)  # type: ignore[attr-defined]
    except Exception as error:  # as in decode_picture
        raise UnreadableImage(f"cannot read {path}: its second view is missing or broken ({error})") from error
    return data[starts[0] : starts[1]], data[starts[1] :]


def mpo_bytes(left: Picture, right: Picture, quality: int | None, path: Path) -> bytes:
    """Two JPEG files in a row and the directories that join them (CIPA DC-007, Multi-Picture Format)."""
    first, second = (encode_picture(view, "JPEG", quality, path) for view in (left, right))
    parallaxes = [view.metadata.parallax or _UNKNOWN * 2 for view in (left, right)]
    directory = _view_directory(8, 2, parallaxes[1], version=True)
    second = _with_segment(second, 2, b"MPF\0II*\0" + struct.pack("<L", 8) + directory)
    length = len(first) + 4 + len(_mpf_index(0, 0, 0, parallaxes[0]))
    head = _end_of_exif(first) + 8  # offsets count from behind the marker, the length and the name of the segment
    return _with_segment(first, 2, _mpf_index(length, len(second), length - head, parallaxes[0])) + second


def _mpf_index(first: int, second: int, offset: int, parallax: bytes) -> bytes:
    """The first view's segment: a directory of both, then its own."""
    entries = struct.pack("<LLLHH", _DISPARITY | 1 << 29, first, 0, 0, 0) + struct.pack(
        "<LLLHH", _DISPARITY, second, offset, 0, 0
    )
    return (
        b"MPF\0II*\0"
        + struct.pack("<LH", 8, 3)
        + struct.pack("<HHL4s", 0xB000, 7, 4, b"0100")
        + struct.pack("<HHLL", 0xB001, 4, 1, 2)
        + struct.pack("<HHLL", _MPF_ENTRIES, 7, len(entries), 50)
        + struct.pack("<L", 50 + len(entries))
        + entries
        + _view_directory(50 + len(entries), 1, parallax, version=False)
    )


def _view_directory(at: int, number: int, parallax: bytes, version: bool) -> bytes:
    """Which view this is, counted from the left, the first being the base; angle and distance."""
    rows = [struct.pack("<HHL4s", 0xB000, 7, 4, b"0100")] if version else []
    values = at + 2 + 12 * (len(rows) + 4) + 4
    rows += [
        struct.pack("<HHLL", 0xB101, 4, 1, number),
        struct.pack("<HHLL", 0xB204, 4, 1, 1),
        struct.pack("<HHLL", 0xB205, 10, 1, values),
        struct.pack("<HHLL", 0xB206, 5, 1, values + 8),
    ]
    return struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4) + parallax


def _with_segment(jpeg: bytes, number: int, body: bytes) -> bytes:
    """A JPEG file with an application segment put where cameras put it, behind JFIF, EXIF and XMP."""
    at = _end_of_exif(jpeg)
    return jpeg[:at] + struct.pack(">BBH", 0xFF, 0xE0 + number, len(body) + 2) + body + jpeg[at:]


def _end_of_exif(jpeg: bytes) -> int:
    """Where the segments of JFIF, EXIF and XMP end."""
    at = 2
    while jpeg[at : at + 2] in (b"\xff\xe0", b"\xff\xe1"):
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return at
