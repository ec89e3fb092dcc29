"""Running ONNX files in onnxruntime: what its backends share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stereosr.backends.base import RunOptions
from stereosr.errors import BackendUnavailable, OutOfMemory, StereosrError, UsageError
from stereosr.system import default_threads
from stereosr.types import Image

if TYPE_CHECKING:
    import onnxruntime

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def load_onnxruntime() -> Any:
    """The library, told to send nothing anywhere: from 1.31 on it has telemetry, which begins with the import."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def open_session(
    path: Path, options: RunOptions, provider: str, settings: dict[str, Any]
) -> "onnxruntime.InferenceSession":
    """A session that runs this provider, with the CPU's for what it lacks.

    Raises:
        UsageError: if onnxruntime cannot load the file.
        OutOfMemory: if it does not fit.
        BackendUnavailable: if it runs something else: onnxruntime starts on another provider without a word.
    """
    ort = load_onnxruntime()
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = options.threads or default_threads()
    session_options.log_severity_level = 3
    # From a shape's second run on, all of its memory would be asked for in one piece beside that of the first run:
    # measured, 1.8 times the memory for no gain in time.
    session_options.enable_mem_pattern = False
    try:
        # Else onnxruntime's Python part goes on with another provider where this one fails, with a message on stdout.
        session: onnxruntime.InferenceSession = ort.InferenceSession(
            str(path), session_options, providers=[(provider, settings)], enable_fallback=0
        )
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        if _of_memory(error):
            raise OutOfMemory(f"{path.name} does not fit into memory: close other programs") from error
        raise UsageError(f"onnxruntime cannot load {path}: {_first_line(error)}; export it again") from error
    running = session.get_providers()
    if running != [provider, *([CPU] if provider != CPU else [])]:
        raise BackendUnavailable(f"onnxruntime runs {', '.join(running)} instead of {provider}: see 'stereosr doctor'")
    return session


def run_error(error: Exception) -> Exception:
    """What an exception of ``run`` means: a MemoryError if a smaller tile may fit, else a StereosrError."""
    line = _first_line(error)
    return MemoryError(line) if _of_memory(error) else StereosrError(f"onnxruntime: {line}")


def _of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return "alloc" in text or "out of memory" in text


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def to_nchw(image: Image) -> NDArray[np.float32]:
    """H x W x 3 -> 1 x 3 x H x W, contiguous."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))[None]


def from_nchw(array: NDArray[np.float32]) -> Image:
    """1 x 3 x H x W -> H x W x 3 (a view)."""
    return np.transpose(array[0], (1, 2, 0))
