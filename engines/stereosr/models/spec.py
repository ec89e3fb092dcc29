"""ModelSpec: what an ONNX file says about itself, and how to read it without any ONNX library."""

import json
import math
import mmap
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stereosr.errors import UsageError
from stereosr.models.protobuf import fields, message

METADATA_KEY = "stereosr"
"""The key of the JSON string in the ONNX file's ``metadata_props``."""

_METADATA_PROPS = 14
"""The number of that field of a ModelProto; each is a StringStringEntryProto."""

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
    "reach": ("a whole number from 1 on, or null", lambda value: value is None or _whole(1, 2**31)(value)),
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
        reach: LR columns to either side in which a pixel finds its matches, at least; None for the whole row.
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
    reach: int | None = None

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
            if (at := _spec_entry(data)) is not None:
                text = dict(fields(data, at.start, at.stop))[2]
                return ModelSpec.from_json(bytes(data[text]).decode() if isinstance(text, slice) else "")
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist") from None
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise UsageError(
            f"{path} is not an ONNX file of stereosr ({error}); make one with 'stereosr export'"
        ) from error
    raise UsageError(f"{path} carries no stereosr specification; make one with 'stereosr export'")


def with_spec(data: bytes, spec: ModelSpec) -> bytes:
    """An ONNX file of ours, with another specification in the place of its own."""
    at = _spec_entry(data)
    assert at is not None, "a file that read_spec has read"
    entry = message(1, METADATA_KEY.encode()) + message(2, spec.to_json().encode())
    return data.replace(message(_METADATA_PROPS, data[at]), message(_METADATA_PROPS, entry))


def _spec_entry(data: Any) -> slice | None:
    """Where the entry with the specification lies among the metadata."""
    for number, at in fields(data, 0, len(data)):
        if number == _METADATA_PROPS and isinstance(at, slice):
            key = dict(fields(data, at.start, at.stop)).get(1)
            if isinstance(key, slice) and data[key] == METADATA_KEY.encode():
                return at
    return None
