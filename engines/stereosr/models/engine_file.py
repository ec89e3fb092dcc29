"""The engine file: a network compiled for one kind of GPU, with what it was compiled from in readable text.

Four parts: the line ``stereosr engine 1``; the sha256, in hex, of all that follows; one line of JSON with the identity,
the ModelSpec and the builder's report; the plan, in the bytes of the library that compiled it. So ``head -3`` shows
what a file is, and one flipped byte is found before that library, which may abort the process over it, sees any.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stereosr.atomic import named, write_bytes
from stereosr.errors import UsageError
from stereosr.models.spec import ModelSpec

MAGIC = b"stereosr engine 1\n"
SUFFIX = ".engine"

Size = tuple[int, int]
"""LR rows and columns."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The LR sizes that an engine takes, and the one it is made fast for. All three are equal for a fixed tile."""

    min: Size
    opt: Size
    max: Size

    @property
    def fixed(self) -> bool:
        return self.min == self.max

    def __str__(self) -> str:
        smallest, largest = (f"{rows}x{columns}" for rows, columns in (self.min, self.max))
        return smallest if self.fixed else f"{smallest} to {largest}"


@dataclass(frozen=True, slots=True)
class Identity:
    """What decides whether an engine may be used.

    Attributes:
        onnx: sha256 of the ONNX file that it was built from.
        profile: the sizes it takes.
        variant: the library that built it, by the name of its module.
        version: of that library.
        targets: compute capabilities, ``sm89``.
        gpu: name of the GPU that it was tuned on; empty for one that runs on every GPU of its targets.
        workspace: MiB that a layer may use; 0 for no limit, which an attention map needs.
    """

    onnx: str
    profile: Profile
    variant: str
    version: str
    targets: tuple[str, ...]
    gpu: str
    workspace: int

    def file_name(self, onnx: Path) -> str:
        """How this engine of that ONNX file is called where it is kept: ``nafssr-t_x4_fp16_1a2b3c4d_sm89.engine``."""
        size = [str(self.profile)] if self.profile.fixed else []
        return "_".join([onnx.stem, self.onnx[:8], *self.targets, *size]) + SUFFIX

    def why_stale(self, wanted: "Identity") -> str | None:
        """Why this engine is not the one that is wanted, in a few words; None if it is."""
        if self.onnx != wanted.onnx:
            return "it was built from another ONNX file"
        if self.profile != wanted.profile:
            return f"it takes pictures of {self.profile}, not {wanted.profile}"
        if self.workspace != wanted.workspace:
            limits = [f"{size} MiB" if size else "any size" for size in (self.workspace, wanted.workspace)]
            return f"it was built with a workspace of {limits[0]}, not {limits[1]}"
        return self.incompatibility(wanted.variant, wanted.version, wanted.targets[0], wanted.gpu)

    def incompatibility(self, variant: str, version: str, capability: str, gpu: str) -> str | None:
        """Why this engine cannot run on a machine of this kind, in a few words; None if it can."""
        if (self.variant, self.version) != (variant, version):
            return f"it was built by {self.variant} {self.version}, here is {variant} {version}"
        if capability not in self.targets:
            return f"it was built for {', '.join(self.targets)}, the GPU here is {capability}"
        if self.gpu not in ("", gpu):
            return f"it was built on {self.gpu}, the GPU here is {gpu}"
        return None


@dataclass(frozen=True, slots=True)
class EngineFile:
    """An engine and what it is.

    Attributes:
        layers: how many there are in the plan.
        half_layers: how many of them compute in fp16.
        plan: what the library that built it runs.
    """

    identity: Identity
    spec: ModelSpec
    layers: int
    half_layers: int
    plan: bytes

    def write(self, path: Path) -> None:
        """Write it whole, making the folder. Raises StereosrError where that fails."""
        header = {
            "identity": asdict(self.identity),
            "spec": asdict(self.spec),
            "layers": self.layers,
            "half_layers": self.half_layers,
        }
        body = json.dumps(header).encode() + b"\n" + self.plan
        with named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def read_engine(path: Path) -> EngineFile:
    """An engine file, its checksum proven.

    Raises:
        UsageError: if it is missing, no engine file of ours, or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if not data.startswith(MAGIC):
        raise UsageError(f"{path} is no engine file of stereosr (version 1); make one with 'stereosr build'")
    checksum, _, body = data[len(MAGIC) :].partition(b"\n")
    if checksum != hashlib.sha256(body).hexdigest().encode():
        raise UsageError(f"{path} is damaged (its checksum is wrong); make it again with 'stereosr build'")
    text, _, plan = body.partition(b"\n")
    try:
        header = json.loads(text)
        spec = ModelSpec.from_json(json.dumps(header["spec"]))
        layers, half_layers = _whole(header["layers"]), _whole(header["half_layers"])
        return EngineFile(_identity(header["identity"]), spec, layers, half_layers, plan)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path} was made by another version of stereosr ({error}); make it again with 'stereosr build'"
        ) from error


def cached_engine(path: Path, wanted: Identity) -> EngineFile | str:
    """The engine that lies there if it is the one wanted, else why not, in a few words."""
    if not os.access(path, os.F_OK):
        return "there is none yet"
    try:
        engine = read_engine(path)
    except UsageError as error:
        return str(error)
    return engine.identity.why_stale(wanted) or engine


def why_unusable(path: Path, wanted: Identity) -> str | None:
    """Why the engine that lies there is not the one that is wanted; None if it is."""
    found = cached_engine(path, wanted)
    return found if isinstance(found, str) else None


def _identity(values: dict[str, Any]) -> Identity:
    """Raises ValueError, KeyError, TypeError or AttributeError for what is none."""
    sizes = {name: (_whole(rows), _whole(columns)) for name, (rows, columns) in values["profile"].items()}
    targets = tuple(map(_text, values["targets"]))
    texts = {name: _text(values[name]) for name in ("onnx", "variant", "version", "gpu")}
    workspace = _whole(values["workspace"])
    return Identity(**values | texts | {"profile": Profile(**sizes), "targets": targets, "workspace": workspace})


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.60} is no whole number from 0 on")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60} is no text")
    return value
