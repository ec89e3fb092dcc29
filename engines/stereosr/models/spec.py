"""ModelSpec: what an ONNX file says about itself, and how to read it without any ONNX library."""

import json
import math
import mmap
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stereosr.errors import UsageError

METADATA_KEY = "stereosr"
"""The key of the JSON string in the ONNX file's ``metadata_props``."""

INPUTS, OUTPUTS = ("left", "right"), ("left_sr", "right_sr")
"""The names of a graph's tensors."""


def _whole(smallest: int, largest: int = 2**53) -> Callable[[object], bool]:
    return lambda value: type(value) is int and smallest <= value <= largest


def _two(smallest: int) -> Callable[[object], bool]:
    good = _whole(smallest, 2**31)
    return lambda value: isinstance(value, tuple) and len(value) == 2 and all(map(good, value))


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _text(value: object) -> bool:
    return isinstance(value, str)


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("a text", lambda value: _text(value) and value != ""),
    "family": ("a text", _text),
    "scale": ("a whole number from 1 to 16", _whole(1, 16)),
    "precision": ("fp32 or fp16", lambda value: value in ("fp32", "fp16")),
    "min_tile": ("two whole numbers from 1 on", _two(1)),
    "multiple_of": ("a whole number from 1 on", _whole(1, 2**31)),
    "halo": ("a whole number from 0 on", _whole(0, 2**31)),
    "memory": ("two whole numbers from 0 on", _two(0)),
    "mean_window": ("two whole numbers from 1 on, or null", lambda value: value is None or _two(1)(value)),
    "parameters": ("a whole number from 0 on", _whole(0)),
    "source": ("a text", _text),
    "trained_on": ("a text", _text),
    "license": ("a text", _text),
    "gmacs": ("a number from 0 on, or null", lambda value: value is None or (_number(value) and value >= 0)),
    "scores": (
        "an object of numbers",
        lambda value: isinstance(value, dict) and all(map(_text, value)) and all(map(_number, value.values())),
    ),
    "fp32_sha256": (
        "a sha256 in hex, or empty",
        lambda value: _text(value) and bool(re.fullmatch("([0-9a-f]{64})?", value)),
    ),
    "max_tile": ("two whole numbers from 1 on, or null", lambda value: value is None or _two(1)(value)),
}
"""Of each field of a ModelSpec: what it must be, in words and as a test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The contract of one exported graph.

    Inputs ``left`` and ``right`` are N x 3 x H x W float32 RGB in [0, 1]; outputs ``left_sr`` and ``right_sr`` are
    N x 3 x sH x sW float32, not clamped.

    Attributes:
        precision: of weights and activations inside the graph, ``fp32`` or ``fp16``.
        min_tile: smallest rows and columns the graph takes; smaller pictures are mirrored on and cropped back.
        max_tile: largest rows and columns, of a compiled engine; None where there is no limit.
        multiple_of: rows and columns must be multiples of this.
        halo: LR rows and columns that a tile needs beside itself, to agree with the whole picture.
        memory: working memory in bytes an LR pixel of both views, and in bytes a pixel and column (attention maps).
        mean_window: TLSC's window in LR pixels, None for a model without it.
        gmacs: 10^9 multiply-accumulates for both views of 320 x 180 (NTIRE 2024's counting size), attention included.
        scores: PSNR in dB by benchmark, as measured for the model card.
        fp32_sha256: of an fp16 file, the sha256 of the fp32 file that it was made from; else empty.

    Raises:
        ValueError: for a value that its field cannot have; the message names the field.
    """

    name: str
    family: str
    scale: int
    precision: str
    min_tile: tuple[int, int]
    multiple_of: int
    halo: int
    memory: tuple[int, int]
    mean_window: tuple[int, int] | None
    parameters: int
    source: str
    trained_on: str
    license: str
    gmacs: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    fp32_sha256: str = ""
    max_tile: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, (wanted, good) in _RULES.items():
            value = getattr(self, name)
            if not good(value):
                raise ValueError(f"{name} is {value!r:.60}, not {wanted}")

    @property
    def title(self) -> str:
        """``nafssr-t x4``."""
        return f"{self.name} x{self.scale}"

    def to_json(self) -> str:
        """The string that travels in the file."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "ModelSpec":
        """Raises ValueError where the text is no ModelSpec; fields of later versions are passed over."""
        try:
            values: dict[str, Any] = json.loads(text)
            known: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in _RULES
            }
            return ModelSpec(**known)
        except (AttributeError, TypeError, RecursionError) as error:
            raise ValueError(f"not a ModelSpec: {error}") from error


def read_spec(path: Path) -> ModelSpec:
    """The ModelSpec inside an ONNX file; reads the metadata only, needs neither onnx nor onnxruntime.

    Raises:
        UsageError: if the file is missing, is no ONNX file, or carries no ModelSpec.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for number, value in _fields(data, 0, len(data)):
                if number == 14:  # ModelProto.metadata_props, a StringStringEntryProto
                    entry = dict(_fields(value, 0, len(value)))
                    if entry.get(1) == METADATA_KEY.encode():
                        return ModelSpec.from_json(entry[2].decode())
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist") from None
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise UsageError(
            f"{path} is not an ONNX file of stereosr ({error}); make one with 'stereosr export'"
        ) from error
    raise UsageError(f"{path} carries no stereosr specification; make one with 'stereosr export'")


def _fields(data: Any, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a protobuf message, (number, bytes); the graph (number 7) is passed over."""
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            _, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > end:
                raise ValueError("truncated")
            if number != 7:
                yield number, bytes(data[at : at + size])
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")


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
