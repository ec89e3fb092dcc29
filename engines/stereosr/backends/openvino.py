"""OpenVINO on the CPU, in fp32 and in bfloat16."""

import importlib.util
import sys
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stereosr.backends.base import BackendBase, BackendInfo, RunOptions, RunReport
from stereosr.backends.interrupt import interruptible
from stereosr.backends.ort_session import from_nchw, to_nchw
from stereosr.errors import BackendUnavailable, StereosrError, UsageError, install_hint
from stereosr.models.spec import INPUTS, OUTPUTS, read_spec
from stereosr.system import default_threads
from stereosr.types import StereoPair

Precision = Literal["fp32", "bf16"]

_TYPES: dict[str, Precision] = {"f32": "fp32", "bf16": "bf16"}
"""How OpenVINO calls the precisions that it computes in."""

_SIZES = 2
"""Sizes of tiles whose code is kept: compiling takes as long as some tiles, and a job may alternate between two."""


class OpenVino(BackendBase):
    """A model compiled for each size of tile that comes: for sizes known beforehand OpenVINO makes far faster code.

    Args:
        precision: what is computed in, whatever the file's is.

    Raises:
        BackendUnavailable: if the processor has no such arithmetic.
        UsageError: if OpenVINO cannot load the file.
    """

    def __init__(self, path: Path, options: RunOptions, precision: Precision) -> None:
        if (reason := _lacks(precision)) is not None:
            raise BackendUnavailable(reason)
        spec = read_spec(path)
        self.spec = replace(spec, memory=(_SIZES * spec.memory[0], _SIZES * spec.memory[1]))  # each keeps what it took
        self._core = _core()
        try:
            self._model = self._core.read_model(str(path))
        except RuntimeError as error:  # all that OpenVINO raises
            raise UsageError(
                f"OpenVINO cannot load {path}: {_last_line(error)}: choose ort-cpu", settings=("backend",)
            ) from error
        self.device = "OpenVINO CPU"
        self._precision = precision
        self._threads = options.threads or default_threads()
        self._request_for = lru_cache(_SIZES)(self._compile)

    def report(self) -> RunReport:
        return RunReport(self.device, self._precision)

    def _infer(self, pair: StereoPair) -> StereoPair:
        feeds = dict(zip(INPUTS, (to_nchw(pair.left), to_nchw(pair.right)), strict=True))
        try:
            request = self._request_for(pair.height, pair.width)
            left, right = interruptible(partial(_run, request, feeds), request.cancel)
        except RuntimeError as error:
            if "alloc" not in str(error):
                raise StereosrError(f"OpenVINO: {_last_line(error)}") from error
            self._request_for.cache_clear()  # what other sizes hold may be what a smaller tile lacks
            raise MemoryError(_last_line(error)) from error
        return StereoPair(from_nchw(left), from_nchw(right))

    def _compile(self, height: int, width: int) -> Any:
        """What runs tiles of this size."""
        self._model.reshape({name: [1, 3, height, width] for name in INPUTS})
        wanted = next(name for name, precision in _TYPES.items() if precision == self._precision)
        settings = {"INFERENCE_PRECISION_HINT": wanted, "INFERENCE_NUM_THREADS": self._threads, "NUM_STREAMS": 1}
        compiled = self._core.compile_model(self._model, "CPU", settings)
        found = compiled.get_property("INFERENCE_PRECISION_HINT").type_name  # a hint is not always taken
        if found != wanted:
            raise StereosrError(
                f"OpenVINO computes in {found} instead of {wanted}: choose ort-cpu", settings=("backend",)
            )
        return compiled.create_infer_request()

    def _close(self) -> None:
        del self._request_for, self._model, self._core


def _run(request: Any, feeds: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """The outputs. Begun and waited for, as what ``infer`` does in one call cannot be cancelled."""
    request.start_async(feeds)
    request.wait()
    return [request.get_tensor(name).data.copy() for name in OUTPUTS]


def _load_openvino() -> Any:
    """The library without its telemetry, which would send a message with the import and leave a file at home."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # "is not installed", to an import
    try:
        import openvino
    finally:
        if sys.modules["openvino_telemetry"] is None:
            del sys.modules["openvino_telemetry"]
    return openvino


def _core() -> Any:
    """OpenVINO, taught our norm: it does not read the functions that an ONNX file gives its own operators."""
    openvino = _load_openvino()
    from openvino import opset13 as operators
    from openvino.frontend.onnx import ConversionExtension

    def unit_mean_norm(node: Any) -> Any:
        axes, one = operators.constant(np.array([-1])), operators.constant(np.float32(1))
        normed = operators.mvn(node.get_input(0), axes, True, node.get_attribute("epsilon"), "inside_sqrt")
        return operators.add(normed, one).outputs()

    core = openvino.Core()
    core.add_extension(ConversionExtension("UnitMeanNorm", "stereosr", unit_mean_norm))
    return core


def _lacks(precision: Precision) -> str | None:
    """What is missing for a precision, with the remedy; None if nothing is."""
    if importlib.util.find_spec("openvino") is None:
        return f"openvino is not installed: {install_hint('openvino')}"
    if precision == "bf16" and "BF16" not in _load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return "this processor has no bfloat16 arithmetic: choose openvino"
    return None


def _last_line(error: Exception) -> str:
    """Of an error of OpenVINO, whose first lines say where in its sources it was found."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _info(name: str, priority: int, precision: Precision) -> BackendInfo:
    return BackendInfo(
        name=name,
        priority=priority,
        distribution="openvino",
        missing=partial(_lacks, precision),
        open=partial(OpenVino, precision=precision),
        automatic=False,
    )


BACKENDS = (_info("openvino", 92, "fp32"), _info("openvino-bf16", 94, "bf16"))
