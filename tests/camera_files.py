"""Files in the byte structure of real cameras and players, made of two views: they stand in for photographs that may
not be handed on.

What cameras do and our own writer does not: an EXIF block with a thumbnail, a JPEG file within the JPEG file; either
byte order; previews listed between the views; padding behind each frame that its size leaves out.
"""

import io
import struct

import numpy as np
from PIL import Image as Pil

from stereosr.types import Pixels

DISPARITY, PREVIEW = 0x020002, 0x010001
"""Kinds of frame in an MPO file (CIPA DC-007): one of several viewpoints, a large thumbnail of VGA size."""


def jpeg(pixels: Pixels, *segments: tuple[int, bytes], jfif: bool = False) -> bytes:
    """A JPEG file with these application segments, as (number, body), at its head; cameras write no JFIF."""
    buffer = io.BytesIO()
    Pil.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=1, restart_marker_rows=1)
    data = buffer.getvalue()
    length = 2 + int.from_bytes(data[4:6])  # of the JFIF segment that Pillow writes
    head = data[2 : 2 + length] if jfif else b""
    ours = b"".join(struct.pack(">BBH", 0xFF, 0xE0 + number, 2 + len(body)) + body for number, body in segments)
    return data[:2] + ours + head + data[2 + length :]


def exif(make: str, pixels: Pixels) -> bytes:
    """An EXIF block with the maker's name, and a thumbnail of the picture."""
    thumbnail = jpeg(pixels[::4, ::4].copy())
    name = make.encode() + b"\0"
    at = 8 + 2 + 12 + 4  # behind the first directory of one entry
    second = at + len(name)
    body = struct.pack("<2sHLH", b"II", 42, 8, 1) + struct.pack("<HHLL", 0x010F, 2, len(name), at)
    body += struct.pack("<L", second) + name
    rows = ((0x0103, 3, 6), (0x0201, 4, second + 2 + 3 * 12 + 4), (0x0202, 4, len(thumbnail)))
    body += struct.pack("<H", 3) + b"".join(struct.pack("<HHLL", tag, kind, 1, value) for tag, kind, value in rows)
    return b"Exif\0\0" + body + bytes(4) + thumbnail


def mpo(frames: list[tuple[int, Pixels]], make: str = "Twin Lens Co.", order: str = "<", padding: int = 414) -> bytes:
    """An MPO file of frames of these kinds, the first one being what other programs show.

    Args:
        order: of the bytes in its index: ``<`` as Panasonic writes it, ``>`` as many others do.
        padding: zeros behind each frame.
    """
    size = len(_index(order, [(kind, 0, 0) for kind, _ in frames]))
    blocks = [exif(make, pixels) for _, pixels in frames]
    first = jpeg(frames[0][1], (1, blocks[0]), (2, bytes(size)))
    rest = [jpeg(pixels, (1, block)) for (_, pixels), block in zip(frames[1:], blocks[1:], strict=True)]
    base = first.index(bytes(size)) + 4  # offsets count from the byte order's mark
    at, entries = 0, []
    for (kind, _), data in zip(frames, [first, *rest], strict=True):
        entries.append((kind, len(data), at - base if at else 0))
        at += len(data) + padding
    first = jpeg(frames[0][1], (1, blocks[0]), (2, _index(order, entries)))
    return b"".join(data + bytes(padding) for data in (first, *rest))


def _index(order: str, entries: list[tuple[int, int, int]]) -> bytes:
    """The body of the MPF segment: kind, size and offset of each frame."""
    table = b"".join(struct.pack(f"{order}LLLHH", kind, size, at, 0, 0) for kind, size, at in entries)
    head = b"MPF\0" + (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}LH", 8, 3)
    rows = struct.pack(f"{order}HHL4s", 0xB000, 7, 4, b"0100") + struct.pack(f"{order}HHLL", 0xB001, 4, 1, len(entries))
    return head + rows + struct.pack(f"{order}HHLLL", 0xB002, 7, len(table), 50, 0) + table


def jps(left: Pixels, right: Pixels, header: bool = True, comment: bytes = b"") -> bytes:
    """Cross-eyed, the right view at the left; with a stereoscopic descriptor, or without one and with JFIF behind
    EXIF, as NVIDIA's drivers saved it."""
    joined = np.hstack([right, left])
    block = (1, exif("a game", joined))
    if not header:
        return jpeg(joined, block, jfif=True)
    descriptor = b"_JPSJPS_" + struct.pack(">HBBBBH", 4, 0, 0, 2, 1, len(comment)) + comment
    return jpeg(joined, block, (3, descriptor))


def side_by_side(left: Pixels, right: Pixels) -> bytes:
    """A JPEG file with the left view at the left, as two-lens phones save it."""
    joined = np.hstack([left, right])
    return jpeg(joined, (1, exif("a phone", joined)), jfif=True)
