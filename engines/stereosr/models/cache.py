"""The user's own models: put into the cache folder, where they are found by name, and taken out of it."""

from pathlib import Path

from stereosr.atomic import write_bytes
from stereosr.errors import UsageError
from stereosr.models.library import available_models, file_name, fp16_path
from stereosr.models.spec import ModelSpec, read_spec
from stereosr.system import cache_dir


def add_model(path: Path, overwrite: bool = False) -> tuple[Path, ModelSpec]:
    """Copy an ONNX file of stereosr to where it is found by its name; gives the copy and what it says of itself.

    Raises:
        UsageError: if it is none, or a model of that name, scale and precision is there and not to be overwritten.
        StereosrError: if it cannot be written.
    """
    spec = read_spec(path)
    target = cache_dir() / file_name(spec.name, spec.scale)
    target = fp16_path(target) if spec.precision == "fp16" else target
    if target.exists() and not overwrite:
        raise UsageError(
            f"{target} exists: overwrite it, or remove it by 'stereosr models remove {spec.name}'",
            settings=("overwrite",),
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(target, path.read_bytes())
    return target, spec


def remove_models(name: str, scale: int | None = None) -> list[Path]:
    """Delete the files of a model that lie in the cache folder, those of one scale if it is given; gives their paths.

    Raises:
        UsageError: if there is none; those of the wheel stay.
    """
    of_name = {path: spec for path, spec in available_models().items() if spec.name == name}
    own = [p for p, spec in of_name.items() if p.parent == cache_dir() and scale in (None, spec.scale)]
    if not own:
        raise UsageError(
            f"{name} comes with the program and stays" if of_name else f"no {name} in {cache_dir()}: nothing to remove"
        )
    for path in own:
        path.unlink()
    return own
