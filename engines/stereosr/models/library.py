"""The model files at hand: those in the wheel, and any file by its path."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from stereosr.errors import UsageError
from stereosr.models.engine_file import SUFFIX, EngineFile, read_engine
from stereosr.models.spec import ModelSpec, read_spec
from stereosr.system import cache_dir

DEFAULT_MODELS = {4: "gcssr", 2: "nafssr-t"}
"""What is used where no model is named, by scale."""
AUTO = "auto"
"""In the place of a model's name: the default model or its photo engine, as each pair needs."""
BUNDLED = Path(__file__).with_name("bundled")


def default_model(scale: int | None) -> str:
    """What is used at a scale, of no scale at 4, where no model is named.

    Raises:
        UsageError: if that is none of the scales that there are engines of.
    """
    try:
        return DEFAULT_MODELS[4 if scale is None else scale]
    except KeyError:
        some = " and ".join(f"x{s}" for s in sorted(DEFAULT_MODELS))
        raise UsageError(f"no model x{scale}; there are {some}: choose one of these", settings=("scale",)) from None


def photo_name(model: str) -> str:
    """What the photo engine of a model is called: the one that was trained on noise and lossy coding."""
    return f"{model}-photo"


def file_name(model: str, scale: int) -> str:
    """What an exported fp32 file is called: ``nafssr-t_x4.onnx``."""
    return f"{model}_x{scale}.onnx"


def fp16_path(fp32: Path) -> Path:
    """Where the fp16 form of an fp32 file lies: beside it."""
    return fp32.with_stem(f"{fp32.stem}_fp16")


def available_models() -> dict[Path, ModelSpec]:
    """Every model file with what it says about itself: those of the user's cache, then those of the wheel."""
    return {path: spec for path, spec in _model_files().items() if isinstance(spec, ModelSpec)}


def unreadable_models() -> dict[Path, str]:
    """The ``.onnx`` files of the user's cache that are no models of stereosr, with the reason; nothing uses them."""
    return {path: why for path, why in _model_files().items() if isinstance(why, str)}


def _model_files() -> dict[Path, ModelSpec | str]:
    found: dict[Path, ModelSpec | str] = {}
    for path in (*_files(cache_dir(), ".onnx"), *_files(BUNDLED, ".onnx")):
        try:
            found[path] = read_spec(path)
        except UsageError as error:
            found[path] = str(error)
    return found


def _files(folder: Path, suffix: str) -> list[Path]:
    """The regular files, sorted; none where the folder is not there or cannot be read."""
    try:
        return [path for path in sorted(folder.glob(f"*{suffix}")) if path.is_file()]
    except OSError:
        return []


def bundled(model: str, scale: int | None = None) -> dict[int, Path]:
    """The fp32 files of a model that are in the wheel, by scale; of one scale, if it is given."""
    specs = {path: read_spec(path) for path in _files(BUNDLED, ".onnx")}
    return {spec.scale: path for path, spec in specs.items() if spec.name == model and scale in (None, spec.scale)}


def engines() -> dict[Path, EngineFile | str]:
    """Every compiled engine of the user's cache; in place of one that cannot be used, why."""
    found: dict[Path, EngineFile | str] = {}
    for path in _files(cache_dir(), SUFFIX):
        try:
            found[path] = read_engine(path)
        except UsageError as error:
            found[path] = str(error)
    return found


def fp32_source_of(path: Path, spec: ModelSpec) -> Path | None:
    """The fp32 file that an fp16 one, or an engine of it, was made from, known by its content.

    Looked for beside ``path``, in the cache and in the wheel. None where it is nowhere.
    """
    for folder in dict.fromkeys((path.parent, cache_dir(), BUNDLED)):
        for candidate in _files(folder, ".onnx"):
            with suppress(OSError):  # one that may not be read
                if hashlib.sha256(candidate.read_bytes()).hexdigest() == spec.fp32_sha256:
                    return candidate
    return None


def spec_of_file(path: Path) -> ModelSpec:
    """What an ONNX or engine file says about itself. Raises UsageError for any other file."""
    return read_engine(path).spec if path.suffix == SUFFIX else read_spec(path)


def is_path(name: str) -> bool:
    """A name has neither suffix nor separator: a file called like a model is not in its way."""
    return bool(Path(name).suffix) or "/" in name or os.sep in name


def find_model(name: str, scale: int | None = None, precisions: Sequence[str] = ("fp32",)) -> Path:
    """The file of a model given by name (with its scale, 4 if None) or by path; of the first precision there is.

    A path is what has a suffix or a separator: ``./model`` and ``model.onnx`` are paths, ``model`` is a name.

    Raises:
        UsageError: if there is none; the message lists what there is, or says what a given file has.
    """
    path = Path(name)
    if is_path(name):
        spec = spec_of_file(path)
        if scale not in (None, spec.scale):
            raise UsageError(
                f"{path} is an x{spec.scale} model: ask for x{spec.scale}, or pass another file", settings=("scale",)
            )
        return path
    wanted = 4 if scale is None else scale
    have = available_models()
    for precision in precisions:
        for path, spec in have.items():
            if (spec.name, spec.scale, spec.precision) == (name, wanted, precision):
                return path
    scales = sorted({s.scale for s in have.values() if s.name == name and s.precision in precisions})
    if scales:
        some = " and ".join(f"x{s}" for s in scales)
        raise UsageError(f"no {name} x{wanted}; there are {some}: choose one of these", settings=("scale",))
    names = ", ".join(sorted({f"{s.title} {s.precision}" for s in have.values()})) or "none"
    command = "stereosr export --fp16" if precisions == ("fp16",) else "stereosr export"
    raise UsageError(
        f"no {name} x{wanted} in {' or '.join(precisions)} here (there are: {names}): pass a file, or run '{command}'"
    )
