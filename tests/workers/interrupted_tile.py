"""Runs a large tile, says when it has begun and whether it was done: interrupted_tile.py BACKEND."""

import signal
import sys
from collections.abc import Callable
from unittest.mock import patch

import numpy as np

from stereosr.backends import openvino, ort_cpu
from stereosr.backends.base import RunOptions
from stereosr.backends.interrupt import interruptible
from stereosr.backends.registry import open_backend
from stereosr.models.library import find_model
from stereosr.types import StereoPair

signal.signal(signal.SIGINT, signal.default_int_handler)  # CI may start with interrupts ignored
SIZE = 256, 512


def watched(work: Callable[[], object], stop: Callable[[], None]) -> object:
    """As ``interruptible``, but says what becomes of the work."""

    def told() -> object:
        print("begun", flush=True)  # noqa: T201
        result = work()
        print("done", flush=True)  # noqa: T201
        return result

    return interruptible(told, stop)


for module in (ort_cpu, openvino):
    patch.object(module, "interruptible", watched).start()
try:
    with open_backend(find_model("nafssr-t", 2), sys.argv[1], RunOptions(threads=1)) as backend:
        backend.infer(StereoPair(*np.zeros((2, *SIZE, 3), np.float32)))
except KeyboardInterrupt:
    print("interrupted", flush=True)  # noqa: T201
