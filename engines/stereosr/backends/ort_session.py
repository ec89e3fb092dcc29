"""Running ONNX files in onnxruntime: what its backends share."""

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


def open_session(
    path: Path, options: RunOptions, provider: str, settings: dict[str, Any]
) -> "onnxruntime.InferenceSession":
    """A session that runs this provider, with the CPU's for what it lacks.

    Raises:
        UsageError: if onnxruntime cannot load the file.
        OutOfMemory: if it does not fit.
        BackendUnavailable: if it runs something else: onnxruntime starts on another provider without a word.
    """
    import onnxruntime

    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads = options.threads or default_threads()
    how.log_severity_level = 3
    # From a shape's second run on, all of its memory would be asked for in one piece beside that of the first run:
    # measured, 1.8 times the memory for no gain in time.
    how.enable_mem_pattern = False
    try:
        # Else onnxruntime's Python part goes on with another provider where this one fails, with words on stdout.
        session = onnxruntime.InferenceSession(str(path), how, providers=[(provider, settings)], enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        if _of_memory(error):
            raise OutOfMemory(f"{path.name} does not fit into memory: close other programs") from error
        raise UsageError(f"onnxruntime cannot load {path}: {first_line(error)}; export it again") from error
    running = session.get_providers()
    if running != [provider, *([CPU] if provider != CPU else [])]:
        raise BackendUnavailable(f"onnxruntime runs {', '.join(running)} instead of {provider}: see 'stereosr doctor'")
    return session


def run_error(error: Exception) -> Exception:
    """What onnxruntime means: a MemoryError if a smaller tile may do, else a StereosrError."""
    return MemoryError(first_line(error)) if _of_memory(error) else StereosrError(f"onnxruntime: {first_line(error)}")


def _of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return "alloc" in text or "out of memory" in text


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def to_nchw(image: Image) -> NDArray[np.float32]:
    """H x W x 3 -> 1 x 3 x H x W, contiguous."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))[None]


def from_nchw(array: NDArray[np.float32]) -> Image:
    """1 x 3 x H x W -> H x W x 3 (a view)."""
    return np.transpose(array[0], (1, 2, 0))
