"""TensorRT, for data-centre GPUs and for RTX GPUs. One builder, one runner; two libraries of the same API."""

from functools import partial

from stereosr.backends.base import BackendInfo
from stereosr.backends.tensorrt.build import RTX, TENSORRT
from stereosr.backends.tensorrt.run import missing, open_engine
from stereosr.models.engine_file import SUFFIX

BACKENDS = (
    BackendInfo(  # engines are tuned on the GPU at hand, which takes minutes, once
        name="tensorrt",
        priority=10,
        distribution="tensorrt",
        missing=partial(missing, TENSORRT),
        open=partial(open_engine, variant=TENSORRT),
        on_gpu=True,
        reads=(".onnx", SUFFIX),
    ),
    BackendInfo(  # GeForce and RTX GPUs from Turing on: engines are built in seconds, on any machine
        name="tensorrt-rtx",
        priority=20,
        distribution="tensorrt-rtx",
        missing=partial(missing, RTX),
        open=partial(open_engine, variant=RTX),
        on_gpu=True,
        reads=(".onnx", SUFFIX),
    ),
)
