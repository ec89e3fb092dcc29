"""Run a bundled model in onnxruntime."""

import numpy as np

from stereosr.backends.base import RunOptions
from stereosr.backends.ort_cpu import OrtCpu
from stereosr.models.library import find_model
from stereosr.types import StereoPair

with OrtCpu(find_model("nafssr-t", 2), RunOptions(threads=1)) as backend:
    backend.infer(StereoPair(*np.zeros((2, *backend.spec.min_tile, 3), np.float32)))
