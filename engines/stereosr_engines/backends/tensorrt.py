"""TensorRT, for data-centre cards: engines are tuned on the card at hand, which takes minutes, once."""

from functools import partial

from stereosr_engines.backend import BackendKind
from stereosr_engines.enginefile import SUFFIX
from stereosr_engines.tensorrt_build import TENSORRT
from stereosr_engines.tensorrt_run import missing, open_engine

KIND = BackendKind(
    name="tensorrt",
    rank=10,
    distribution="tensorrt",
    missing=partial(missing, TENSORRT),
    open=partial(open_engine, flavour=TENSORRT),
    on_gpu=True,
    reads=(".onnx", SUFFIX),
)
