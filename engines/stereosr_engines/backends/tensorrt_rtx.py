"""TensorRT for RTX, for GeForce and RTX cards from Turing on: engines are built in seconds, on any machine."""

from functools import partial

from stereosr_engines.backend import BackendKind
from stereosr_engines.enginefile import SUFFIX
from stereosr_engines.tensorrt_build import RTX
from stereosr_engines.tensorrt_run import missing, open_engine

KIND = BackendKind(
    name="tensorrt-rtx",
    rank=20,
    distribution="tensorrt-rtx",
    missing=partial(missing, RTX),
    open=partial(open_engine, flavour=RTX),
    on_gpu=True,
    reads=(".onnx", SUFFIX),
)
