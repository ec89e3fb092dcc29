"""Find a model and open it in a backend: what the Python API and the command line have in common."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from stereosr.backends.base import Backend, BackendInfo, RunOptions
from stereosr.backends.registry import available_backends, open_model, select
from stereosr.errors import UsageError
from stereosr.inference.auto import AutoEngine
from stereosr.inference.cascade import Cascade, spec_of_both, steps_to
from stereosr.inference.ensemble import SelfEnsemble
from stereosr.models.blend import blend
from stereosr.models.engine_file import SUFFIX
from stereosr.models.library import (
    AUTO,
    DEFAULT_MODELS,
    available_models,
    default_model,
    find_model,
    is_path,
    photo_name,
    spec_of_file,
)

_log = logging.getLogger("stereosr")


def load(
    name: str,
    scale: int | None = None,
    *,
    backend: str = "auto",
    precision: str = "auto",
    gpu: int | None = 0,
    threads: int | None = None,
    strength: float | None = None,
) -> tuple[Backend, str]:
    """Open a model. Logs a warning where a better backend was expected to work and could not be used.

    Args:
        name: of the model, or the path of an ``.onnx`` or ``.engine`` file.
        scale: None for 4, or for that of the file.
        backend: name, or ``auto`` for the best that works.
        precision: ``fp16``, ``fp32``, or ``auto`` for what suits the backend.
        gpu: number of the GPU; None to use none.
        threads: of the CPU, None for all that this process may use.
        strength: from 0, the model, to 1, its photo engine: the network that far on the way. None for the model.

    Returns:
        The backend, and the sha256 of the file that it runs, in hex.

    Raises:
        UsageError: if there is no such model or backend, or the arguments contradict each other.
        BackendUnavailable: if the backend cannot be used here.
        OutOfMemory: if the model does not fit.
    """
    with ExitStack() as folder:
        find: Callable[[BackendInfo], Path] = partial(find_file, name, scale, precision)
        if strength is not None:
            where = Path(folder.enter_context(TemporaryDirectory(prefix="stereosr-")))
            find = partial(_find_blend, name, scale, precision, strength, where)
        opened, file, choice = open_model(
            find,
            SUFFIX if name.endswith(SUFFIX) else ".onnx",
            backend_without_gpu(backend) if gpu is None else backend,
            RunOptions(threads=threads, gpu=gpu or 0),
        )
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if choice.stepped_down:
        _log.warning("%s is used; not %s", choice.name, "; not ".join(choice.stepped_down))
    return opened, digest


def load_scale(
    name: str, scale: float | None, *, backend: str, precision: str, gpu: int | None, threads: int | None
) -> Backend:
    """Open the model that reaches a scale, or two in a row, which give what is then to be reduced.

    Args:
        name: as for ``load``, or ``auto`` for the default of each scale.
        scale: of the results; None for 4, or for that of the file.
        backend, precision, gpu, threads: as for ``load``.

    Raises:
        UsageError: if no model, and no two in a row, reach the scale, or as ``load``.
        BackendUnavailable, OutOfMemory: as ``load``.
    """
    first, second = steps_of([name], scale)
    run = partial(load, backend=backend, precision=precision, gpu=gpu, threads=threads)
    opened, _ = run(named(name, first), first)
    with ExitStack() as held:
        held.callback(opened.close)
        if scale is not None and first is None and scale > opened.spec.scale:
            raise UsageError(f"{name} is x{opened.spec.scale}, and x{scale:g} is asked for: ask for less")
        whole = opened if second is None else Cascade(opened, run(named(name, second), second)[0])
        held.pop_all()
    return whole


def steps_of(models: Sequence[str], scale: float | None) -> tuple[int | None, int | None]:
    """The scale of the models, and that of those behind them, for results of a scale; None as it is, or for none."""
    scales = [_scales(model) for model in models]
    if scale is None or not all(scales):  # a file has the scale that it has
        return None, None
    first, *second = steps_to(scale, set.intersection(*scales))
    return first, second[0] if second else None


def _scales(model: str) -> set[int]:
    if model == AUTO:
        return set(DEFAULT_MODELS)
    return {spec.scale for spec in available_models().values() if spec.name == model}


def named(model: str, scale: int | None) -> str:
    """The name of a model; of ``auto``, that of the default for a scale."""
    return default_model(scale) if model == AUTO else model


def load_auto(
    scale: int | None,
    *,
    backend: str,
    precision: str,
    gpu: int | None,
    threads: int | None,
    ensemble: bool,
    second: int | None = None,
) -> tuple[AutoEngine, str]:
    """The default model and its photo engine, to choose between for each pair; nothing is opened yet.

    Logs a warning where there is no photo engine, and the clean one will do all.

    Args:
        scale, backend, precision, gpu, threads: as for ``load``.
        ensemble: run each as a self-ensemble.
        second: scale of a clean engine that enlarges what either gives; None for none.

    Returns:
        The backend, and the sha256 of the files in hex.

    Raises:
        UsageError, BackendUnavailable: as ``load``.
    """
    kind = select(backend_without_gpu(backend) if gpu is None else backend, ".onnx")
    clean = default_model(scale)
    files = [find_file(clean, scale, precision, kind)]
    spec = spec_of_file(files[0])
    try:
        files.append(find_file(photo_name(clean), spec.scale, precision, kind))
    except UsageError as error:
        _log.warning("%s is used for all pairs, those with noise and JPEG too: %s", spec.title, error)

    run = partial(load, backend=backend, precision=precision, gpu=gpu, threads=threads)

    def open_engine(name: str) -> Backend:
        opened, _ = run(name, spec.scale)
        if second is not None:
            opened = Cascade(opened, run(default_model(second), second)[0])
        return SelfEnsemble(opened) if ensemble else opened

    names = (clean, photo_name(clean))[: len(files)]
    whole = spec
    if second is not None:
        files.append(find_file(default_model(second), second, precision, kind))
        whole = spec_of_both(spec, spec_of_file(files[-1]))
    digests = (hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return AutoEngine(whole, [partial(open_engine, name) for name in names]), " ".join(digests)


def _find_blend(
    name: str, scale: int | None, precision: str, strength: float, folder: Path, _kind: BackendInfo
) -> Path:
    """The file of a network between a model and its photo engine, made in the folder; of one of the two at its end."""
    if is_path(name) or precision == "fp16":
        raise UsageError("strength is between a model and its photo engine in fp32: pass the model's name, and no fp16")
    ends = [find_model(model, scale) for model in (name, photo_name(name))]
    if strength in (0, 1):
        return ends[int(strength)]
    file = folder / f"{name}.onnx"
    file.write_bytes(blend(ends[0], ends[1], strength))
    return file


def find_file(name: str, scale: int | None, precision: str, kind: BackendInfo) -> Path:
    """The file of a model, of the precision that was asked for, or that suits the backend.

    Raises:
        UsageError: if there is none, or the file given by its path has another precision.
    """
    file = find_model(name, scale, kind.precisions if precision == "auto" else (precision,))
    found = spec_of_file(file).precision
    if precision not in ("auto", found):
        raise UsageError(
            f"{file} is {found}, not {precision}: ask for {found} or for no precision, or pass another file"
        )
    return file


def backend_without_gpu(requested: str) -> str:
    """The backend to use where no GPU may be. Raises UsageError if the one asked for needs a GPU."""
    without = [kind.name for kind in available_backends() if not kind.on_gpu]
    if requested == "auto":
        return without[0]
    if requested not in without:
        raise UsageError(f"backend {requested} needs a GPU, and none may be used: leave one of the two out")
    return requested
