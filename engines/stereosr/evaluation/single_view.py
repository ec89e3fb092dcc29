"""Single-view networks of others as benchmark rows, so that anyone can see what the second view brings."""

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np

from stereosr.backends.base import RunOptions
from stereosr.backends.ort_session import CPU, from_nchw, open_session, run_error, to_nchw
from stereosr.backends.registry import select
from stereosr.errors import StereosrError, UsageError
from stereosr.evaluation.bench import Row
from stereosr.evaluation.datasets import UInt8, Views
from stereosr.types import quantise


class SingleView:
    """An ONNX file that enlarges one picture, run by onnxruntime on each view by itself; a ``Method`` of the bench.

    Its one input is 1 x 3 x H x W, its one output 1 x 3 x sH x sW, both float32 and RGB, from 0 to ``white``. A view is
    one tile.

    Args:
        file: ``.onnx``.
        scale: that it enlarges by.
        white: the largest value of a picture, 1 or 255.
        options: how to open it.

    Raises:
        BackendUnavailable: if onnxruntime is not installed.
        UsageError: if it cannot load the file, or inputs and outputs are others.
    """

    device = f"onnxruntime {CPU}"

    def __init__(self, file: Path, scale: int, white: Literal[1, 255], options: RunOptions) -> None:
        self._file, self._scale, self._white = file, scale, white
        backend = select("ort-cpu", ".onnx")
        self._session = open_session(file, options, CPU, {})
        tensors = [*self._session.get_inputs(), *self._session.get_outputs()]
        found = [f"{t.name} {t.type} {t.shape}" for t in tensors]
        if len(self._session.get_inputs()) != 1 or len(tensors) != 2:
            raise UsageError(f"{file} has {', '.join(found)}: a single-view network has one input and one output")
        for tensor, text in zip(tensors, found, strict=True):
            channels = tensor.shape[1] if len(tensor.shape) == 4 else 0
            if tensor.type != "tensor(float)" or (isinstance(channels, int) and channels != 3):
                raise UsageError(f"{file} has {text}: a single-view network takes and gives float32, 1 x 3 x H x W")
        self._input = tensors[0].name
        self.row = Row(
            model=f"{file.stem} (single view)",
            backend=backend.name,
            precision="fp32",
            ensemble=False,
            parameters=None,
            gmacs=None,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        )

    def __call__(self, lr: Views) -> Views:
        return self._enlarge(lr[0]), self._enlarge(lr[1])

    def close(self) -> None:
        """Give back what the session holds."""
        del self._session

    def _enlarge(self, view: UInt8) -> UInt8:
        pixels = to_nchw(np.divide(view, 255 / self._white, dtype=np.float32))
        try:
            (found,) = self._session.run(None, {self._input: pixels})
        except Exception as error:
            raise run_error(error) from error
        height, width = (self._scale * side for side in view.shape[:2])
        if found.shape != (1, 3, height, width):
            raise UsageError(
                f"{self._file.name} makes {found.shape} of {pixels.shape}, and x{self._scale} is (1, 3, {height}, "
                f"{width}): give the scale of this network",
                settings=("scale",),
            )
        if not np.isfinite(found).all():
            raise StereosrError(f"{self._file.name} gave values that are not finite")
        return quantise(from_nchw(found) / np.float32(self._white), np.uint8).astype(np.uint8, copy=False)
