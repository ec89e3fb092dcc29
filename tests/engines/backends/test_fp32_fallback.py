"""What half precision spoils is done again in fp32."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes import SPEC, FakeBackend, random_pair
from stereosr.backends.base import BackendInfo, RunOptions
from stereosr.backends.fp32_fallback import Fp32Fallback
from stereosr.errors import StereosrError
from stereosr.inference.tiling import TilePlan
from stereosr.inference.upscale import upscale
from stereosr.models.library import fp32_source_of
from stereosr.types import StereoPair

SINGLE = b"the fp32 file"
HALF_SPEC = replace(SPEC, precision="fp16", single=hashlib.sha256(SINGLE).hexdigest())


def overflowing(pair: StereoPair) -> StereoPair:
    """A bright pixel of the left view is too much for it."""
    return StereoPair(np.where(pair.left > 0.99, np.float32(np.inf), pair.left), pair.right)


@pytest.fixture
def opened() -> list[FakeBackend]:
    return []


def guarded(folder: Path, opened: list[FakeBackend], said: list[str], half: FakeBackend) -> Fp32Fallback:
    def open_single(path: Path, _options: RunOptions) -> FakeBackend:
        assert path.read_bytes() == SINGLE
        opened.append(FakeBackend())
        return opened[-1]

    kind = BackendInfo(name="fake", priority=1, distribution="fake", missing=lambda: None, open=open_single)
    return Fp32Fallback(half, folder / "x_fp16.onnx", kind, RunOptions(say=said.append))


def picture() -> StereoPair:
    """40 rows of 10; a bright pixel in rows 15 and 25."""
    pair = random_pair(40, 10)
    pair.left[:] *= 0.9
    pair.left[15, 3] = pair.left[25, 3] = 1
    return pair


def test_bad_tiles_are_done_again_with_one_warning(tmp_path, opened):
    (tmp_path / "anything.onnx").write_bytes(SINGLE)
    said: list[str] = []
    backend = guarded(
        tmp_path, opened, said, FakeBackend(overflowing, **{"precision": "fp16", "single": HALF_SPEC.single})
    )
    pair = picture()
    result = upscale(pair, backend, TilePlan.of(40, 10, (10, 10), (0, 0)))
    np.testing.assert_array_equal(result.left, pair.left.repeat(2, 0).repeat(2, 1))
    (single,) = opened
    assert single.tiles == [(10, 10)] * 2
    assert len(said) == 1
    assert "warning: fake x2 in fp16 gave values that are not finite" in said[0]
    backend.close()
    assert single.closed


def test_good_tiles_open_nothing(tmp_path, opened):
    said: list[str] = []
    backend = guarded(tmp_path, opened, said, FakeBackend(precision="fp16"))
    upscale(random_pair(8, 8), backend)
    backend.close()
    assert not opened
    assert not said


def test_overlapping_backends_stay_so(tmp_path, opened):
    class Overlapping(FakeBackend):
        def submit(self, pair: StereoPair):
            return lambda: self.infer(pair)

    (tmp_path / "anything.onnx").write_bytes(SINGLE)
    assert not hasattr(guarded(tmp_path, opened, [], FakeBackend()), "submit")
    backend = guarded(tmp_path, opened, [], Overlapping(overflowing, single=HALF_SPEC.single))
    assert np.isfinite(backend.submit(picture())().left).all()
    assert len(opened) == 1


def test_without_the_fp32_file_it_is_an_error_with_the_fix(tmp_path, opened):
    (tmp_path / "another.onnx").write_bytes(b"another network of the same name")
    backend = guarded(tmp_path, opened, [], FakeBackend(overflowing, single=HALF_SPEC.single))
    with pytest.raises(StereosrError, match=r"not beside .*x_fp16\.onnx: use --precision fp32"):
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
