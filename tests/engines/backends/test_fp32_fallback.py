"""Tiles that fp16 spoils are recomputed in fp32."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes import SPEC, FakeBackend, random_pair
from stereosr.backends.base import BackendInfo, RunOptions, RunReport
from stereosr.backends.fp32_fallback import Fp32Fallback
from stereosr.errors import StereosrError
from stereosr.inference.tiling import TilePlan
from stereosr.inference.upscale import upscale
from stereosr.models.library import fp32_source_of
from stereosr.types import StereoPair

SINGLE = b"the fp32 file"
HALF_SPEC = replace(SPEC, precision="fp16", fp32_sha256=hashlib.sha256(SINGLE).hexdigest())


def overflowing(pair: StereoPair) -> StereoPair:
    """A bright pixel of the left view is too much for it."""
    return StereoPair(np.where(pair.left > 0.99, np.float32(np.inf), pair.left), pair.right)


@pytest.fixture
def opened() -> list[FakeBackend]:
    return []


def with_fallback(folder: Path, opened: list[FakeBackend], fp16: FakeBackend) -> Fp32Fallback:
    def open_single(path: Path, _options: RunOptions) -> FakeBackend:
        assert path.read_bytes() == SINGLE
        opened.append(FakeBackend())
        return opened[-1]

    kind = BackendInfo(name="fake", priority=1, distribution="fake", missing=lambda: None, open=open_single)
    return Fp32Fallback(fp16, folder / "x_fp16.onnx", kind, RunOptions())


def picture() -> StereoPair:
    """40 rows of 10; a bright pixel in rows 15 and 25."""
    pair = random_pair(40, 10)
    pair.left[:] *= 0.9
    pair.left[15, 3] = pair.left[25, 3] = 1
    return pair


def half(operator: Callable[[StereoPair], StereoPair] = overflowing) -> FakeBackend:
    return FakeBackend(operator, precision="fp16", fp32_sha256=HALF_SPEC.fp32_sha256)


def test_bad_tiles_are_recomputed_with_one_warning(
    tmp_path: Path, opened: list[FakeBackend], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "anything.onnx").write_bytes(SINGLE)
    backend = with_fallback(tmp_path, opened, half())
    pair = picture()
    result = upscale(pair, backend, TilePlan.of(40, 10, (10, 10), (0, 0)))
    np.testing.assert_array_equal(result.left, pair.left.repeat(2, 0).repeat(2, 1))
    (single,) = opened
    assert single.tiles == [(10, 10)] * 2
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert "fake x2 in fp16 gave NaN or Inf" in line.getMessage()
    backend.close()
    assert single.closed


def test_good_tiles_open_nothing(tmp_path: Path, opened: list[FakeBackend], caplog: pytest.LogCaptureFixture) -> None:
    backend = with_fallback(tmp_path, opened, half(lambda pair: pair))
    upscale(random_pair(8, 8), backend)
    assert backend.report() == RunReport("fake", "fp16")
    backend.close()
    assert not opened
    assert not caplog.records


def test_the_report_says_what_ran(tmp_path: Path, opened: list[FakeBackend]) -> None:
    """Of four tiles the second and the third are spoilt; then a picture of one tile that is; then a good one."""
    (tmp_path / "anything.onnx").write_bytes(SINGLE)
    backend = with_fallback(tmp_path, opened, half())
    pair, bands = picture(), TilePlan.of(40, 10, (10, 10), (0, 0))
    upscale(pair, backend, bands)
    some = "fake x2 in fp16 gave NaN or Inf: 2 of 4 tiles were recomputed in fp32"
    assert backend.report() == RunReport("fake", "fp16+fp32", (some,))
    upscale(pair, backend)
    every = "fake x2 in fp16 gave NaN or Inf: 1 of 1 tiles were recomputed in fp32"
    assert backend.report() == RunReport("fake", "fp32", (every,))
    upscale(StereoPair(pair.left[:10], pair.right[:10]), backend)
    assert backend.report() == RunReport("fake", "fp16")


def test_both_backends_are_closed_even_where_one_fails(tmp_path: Path, opened: list[FakeBackend]) -> None:
    class Broken(FakeBackend):
        def _close(self) -> None:
            raise StereosrError("the GPU is gone")

    (tmp_path / "anything.onnx").write_bytes(SINGLE)
    backend = with_fallback(tmp_path, opened, Broken(overflowing, precision="fp16", fp32_sha256=HALF_SPEC.fp32_sha256))
    backend.infer(picture())
    with pytest.raises(StereosrError, match="the GPU is gone"):
        backend.close()
    assert opened[0].closed


def test_without_the_fp32_file_it_is_an_error_with_the_fix(tmp_path, opened):
    (tmp_path / "another.onnx").write_bytes(b"another network of the same name")
    backend = with_fallback(tmp_path, opened, half())
    with pytest.raises(StereosrError, match=r"not beside .*x_fp16\.onnx: choose fp32"):
        backend.infer(picture())


def test_the_fp32_file_is_known_by_its_content_wherever_it_lies(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("STEREOSR_HOME", str(home))
    engine = tmp_path / "elsewhere" / "x.engine"
    engine.parent.mkdir()
    assert fp32_source_of(engine, HALF_SPEC) is None
    (home / "named.onnx").write_bytes(SINGLE)
    assert fp32_source_of(engine, HALF_SPEC) == home / "named.onnx"
