"""What of protobuf's wire format ONNX files need: enough to find things in one without any ONNX library."""

from collections.abc import Iterator
from typing import Any


def fields(data: Any, at: int, end: int) -> Iterator[tuple[int, int | slice]]:
    """The fields of a message: number, and a whole number or where the bytes lie; fixed-size ones are passed over.

    Raises:
        ValueError, IndexError: if this is no message.
    """
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > end:
                raise ValueError("truncated")
            yield number, slice(at, at + size)
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")


def message(number: int, content: bytes) -> bytes:
    """A field that holds these bytes."""
    return _as_varint(number << 3 | 2) + _as_varint(len(content)) + content


def _varint(data: Any, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("number too long")


def _as_varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
