"""Run a bundled model in OpenVINO, without its telemetry."""

import sys

import numpy as np

from stereosr.backends.base import RunOptions
from stereosr.backends.registry import open_backend
from stereosr.models.library import find_model
from stereosr.types import StereoPair

with open_backend(find_model("nafssr-t", 2), "openvino", RunOptions(threads=1)) as backend:
    backend.infer(StereoPair(*np.zeros((2, *backend.spec.min_tile, 3), np.float32)))
assert "openvino" in sys.modules
assert "openvino_telemetry" not in sys.modules
