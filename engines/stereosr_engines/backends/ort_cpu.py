"""onnxruntime on the CPU."""

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stereosr_engines.backend import BackendKind, RunOptions
from stereosr_engines.errors import BackendUnavailable, UsageError
from stereosr_engines.spec import ModelSpec, read_spec
from stereosr_engines.types import Image, StereoPair

if TYPE_CHECKING:
    import onnxruntime

PROVIDER = "CPUExecutionProvider"


class OrtCpu:
    """A session with one provider; both views go through it in one call."""

    def __init__(self, path: Path, options: RunOptions) -> None:
        import onnxruntime

        self.spec: ModelSpec = read_spec(path)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads or len(os.sched_getaffinity(0))
        settings.log_severity_level = 3
        # From a shape's second run on, all of its memory would be asked for in one piece beside that of the first run:
        # measured, 1.8 times the memory for no gain in time.
        settings.enable_mem_pattern = False
        try:
            self._session = onnxruntime.InferenceSession(str(path), settings, providers=[PROVIDER])
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise UsageError(f"onnxruntime cannot load {path}: {_first_line(error)}; export it again") from error
        _check_providers(self._session)
        self.device = f"onnxruntime {PROVIDER}"

    def infer(self, pair: StereoPair) -> StereoPair:
        feeds = {"left": to_nchw(pair.left), "right": to_nchw(pair.right)}
        try:
            left, right = self._session.run(["left_sr", "right_sr"], feeds)
        except Exception as error:
            if "alloc" in str(error).lower():
                raise MemoryError(_first_line(error)) from error
            raise
        return StereoPair(from_nchw(left), from_nchw(right))

    def close(self) -> None:
        del self._session


def to_nchw(image: Image) -> NDArray[np.float32]:
    """H x W x 3 -> 1 x 3 x H x W, contiguous."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))[None]


def from_nchw(array: NDArray[np.float32]) -> Image:
    """1 x 3 x H x W -> H x W x 3 (a view)."""
    return np.transpose(array[0], (1, 2, 0))


def _check_providers(session: "onnxruntime.InferenceSession") -> None:
    """onnxruntime starts on another provider without a word; here that is an error."""
    running = session.get_providers()
    if running != [PROVIDER]:
        raise BackendUnavailable(f"onnxruntime runs {', '.join(running)} instead of {PROVIDER}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _missing() -> str | None:
    if importlib.util.find_spec("onnxruntime") is None:
        return 'onnxruntime is not installed: pip install "stereosr[cpu]"'
    return None


KIND = BackendKind(name="ort-cpu", rank=90, missing=_missing, open=OrtCpu)
