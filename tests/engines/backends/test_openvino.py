"""OpenVINO as we run it."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fakes import random_pair
from shared_data import ROOT
from stereosr.backends import openvino
from stereosr.backends.base import RunOptions
from stereosr.backends.registry import open_backend
from stereosr.errors import BackendUnavailable, StereosrError, UsageError
from stereosr.models.library import find_model

needed = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
ONE = RunOptions(threads=1)


@needed
def test_fp32_equals_onnxruntime_at_every_size_also_where_code_for_others_was_thrown_away() -> None:
    file = find_model("nafssr-t", 2)
    with open_backend(file, "ort-cpu", ONE) as known, open_backend(file, "openvino", ONE) as backend:
        for size in ((45, 135), (46, 140), (50, 137), (45, 135)):
            pair = random_pair(*size)
            expected, found = known.infer(pair), backend.infer(pair)
            assert np.abs(found.left - expected.left).max() < 2e-5
            assert np.abs(found.right - expected.right).max() < 2e-5
        assert backend.report().precision == "fp32"


@needed
def test_bf16_is_near_fp32_and_says_that_it_is_bf16() -> None:
    file = find_model("nafssr-t", 2)
    if (reason := openvino.BACKENDS[1].missing()) is not None:
        pytest.skip(reason)
    pair = random_pair(45, 135)
    with open_backend(file, "ort-cpu", ONE) as known, open_backend(file, "openvino-bf16", ONE) as backend:
        error = backend.infer(pair).left - known.infer(pair).left
        assert 0 < np.square(error).mean() < 1e-4  # 40 dB on noise, of which photographs have little
        assert backend.report().precision == "bf16"


@needed
def test_a_tile_that_does_not_fit_is_a_memory_error_and_other_failures_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(said: str) -> Callable[[object, int, int], None]:
        def compiled(_self: object, _height: int, _width: int) -> None:
            raise RuntimeError(f"Exception from src/x.cpp:1:\n{said}\n\n")

        return compiled

    for said, kind in (("std::bad_alloc", MemoryError), ("no such layout", StereosrError)):
        monkeypatch.setattr(openvino.OpenVino, "_compile", failing(said))
        with open_backend(find_model("nafssr-t", 2), "openvino") as backend, pytest.raises(kind, match=f"{said}$"):
            backend.infer(random_pair(45, 135))


@needed
def test_its_telemetry_is_never_loaded(tmp_path: Path) -> None:
    """It would send a message with the import, and leave its state in the home folder."""
    environment = os.environ | dict.fromkeys(("HOME", "USERPROFILE"), str(tmp_path))
    worker = ROOT / "tests/workers/run_openvino.py"
    subprocess.run([sys.executable, worker], env=environment, check=True, timeout=120)
    assert list(tmp_path.iterdir()) == []


@needed
def test_a_processor_without_bf16_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "_load_openvino", lambda: _Library(("FP32", "INT8")))
    assert openvino.BACKENDS[0].missing() is None
    with pytest.raises(BackendUnavailable, match=r"backend openvino-bf16 cannot be used: .* choose openvino$"):
        open_backend(find_model("nafssr-t", 2), "openvino-bf16")


@needed
def test_a_graph_that_it_does_not_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "cut.onnx"
    content = find_model("nafssr-t", 2).read_bytes()
    file.write_bytes(content.replace(b"MultiHeadAttention", b"MultiFootAttention"))
    with pytest.raises(UsageError, match=r"OpenVINO cannot load .*MultiFootAttention.*: choose ort-cpu"):
        open_backend(file, "openvino")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for name in ("openvino", "openvino-bf16"):
        with pytest.raises(BackendUnavailable, match=rf"backend {name} cannot be used: .*\[openvino\]"):
            open_backend(find_model("nafssr-t", 2), name)


class _Library:
    """OpenVINO on a processor with these capabilities."""

    def __init__(self, capabilities: tuple[str, ...]) -> None:
        self._capabilities = capabilities

    def Core(self) -> "_Library":  # noqa: N802
        return self

    def get_property(self, _device: str, _name: str) -> tuple[str, ...]:
        return self._capabilities
