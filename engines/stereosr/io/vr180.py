"""VR180 photographs: a JPEG file of the left eye, whose extended XMP holds the right eye as another one."""

import base64
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from stereosr.io.images import UnreadableImage

_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_RIGHT_EYE = re.compile(rb'GImage:Data(?:\s*=\s*"|>)([A-Za-z0-9+/=\s]+)')


def has_right_eye(data: bytes) -> bool:
    """Is this a VR180 photograph? One with a depth map is another kind: there, the second picture is the sharp one."""
    return b"GImage:Data" in data and b"GDepth:" not in data and any(True for _ in _parts(data))


def right_eye(data: bytes, path: Path) -> bytes:
    """The JPEG file of the right eye; ``path`` is for messages.

    Raises:
        UnreadableImage: if there is none, or not a whole one.
    """
    packet = b"".join(part for _, part in sorted(_parts(data)))
    match = _RIGHT_EYE.search(packet)
    if match is None:
        raise UnreadableImage(f"cannot read {path}: its right eye is missing or cut short")
    text = b"".join(match[1].split())
    return base64.b64decode(text + b"=" * (-len(text) % 4))


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The pieces of extended XMP and their places in it (XMP Specification, part 3, section 1.1.3.1)."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1] != 0xDA and at + 4 < len(data):
        size = int.from_bytes(data[at + 2 : at + 4])
        if data[at + 1] == 0xE1 and data.startswith(_EXTENSION, at + 4):
            start = at + 4 + len(_EXTENSION) + 32  # behind the packet's name
            _, place = struct.unpack_from(">LL", data, start)
            yield place, data[start + 8 : at + 2 + size]
        at += 2 + size
