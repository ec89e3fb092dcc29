"""Find a model and open it in a backend: what the Python API and the command line have in common."""

import logging
from functools import partial
from pathlib import Path

from stereosr.backends.base import Backend, BackendInfo, RunOptions
from stereosr.backends.registry import available_backends, open_model
from stereosr.errors import UsageError
from stereosr.models.engine_file import SUFFIX
from stereosr.models.library import find_model, spec_of_file

_log = logging.getLogger("stereosr")


def load(
    name: str,
    scale: int | None = None,
    *,
    backend: str = "auto",
    precision: str = "auto",
    gpu: int | None = 0,
    threads: int | None = None,
) -> tuple[Backend, Path]:
    """Open a model. Logs a warning where a better backend was expected to work and could not be used.

    Args:
        name: of the model, or the path of an ``.onnx`` or ``.engine`` file.
        scale: None for 4, or for that of the file.
        backend: name, or ``auto`` for the best that works.
        precision: ``fp16``, ``fp32``, or ``auto`` for what suits the backend.
        gpu: number of the GPU; None to use none.
        threads: of the CPU, None for all that this process may use.

    Returns:
        The backend, and the file that it runs.

    Raises:
        UsageError: if there is no such model or backend, or the arguments contradict each other.
        BackendUnavailable: if the backend cannot be used here.
        OutOfMemory: if the model does not fit.
    """
    opened, file, choice = open_model(
        partial(find_file, name, scale, precision),
        SUFFIX if name.endswith(SUFFIX) else ".onnx",
        backend_without_gpu(backend) if gpu is None else backend,
        RunOptions(threads=threads, gpu=gpu or 0),
    )
    if choice.stepped_down:
        _log.warning("%s is used; not %s", choice.name, "; not ".join(choice.stepped_down))
    return opened, file


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
