from pathlib import Path

import numpy as np
import pytest

from stereosr.backends.registry import open_backend
from stereosr.errors import UsageError
from stereosr.evaluation.degrade import corrupt
from stereosr.models.blend import blend
from stereosr.models.library import bundled
from stereosr.models.spec import read_spec
from stereosr.types import StereoPair, to_float

CLEAN, PHOTO = (bundled(name, 4)[4] for name in ("nafssr-t", "nafssr-t-photo"))


@pytest.fixture(scope="module")
def noisy() -> StereoPair:
    rows, columns = np.mgrid[:45, :135]
    view = (128 + 60 * np.sin(columns / 5) * np.cos(rows / 7)).astype(np.uint8)[..., None].repeat(3, 2)
    return StereoPair(*(to_float(corrupt(np.roll(view, -k, 1), "noise5", str(k))) for k in (0, 2)))


def result(file: Path, pair: StereoPair) -> np.ndarray:
    with open_backend(file, "ort-cpu") as backend:
        return np.asarray(backend.infer(pair).left)


def blended(tmp_path: Path, strength: float) -> Path:
    path = tmp_path / f"{strength}.onnx"
    path.write_bytes(blend(CLEAN, PHOTO, strength))
    return path


@pytest.mark.parametrize(("strength", "same"), [(0, CLEAN), (1, PHOTO)])
def test_the_ends_are_the_two_networks(tmp_path, noisy, strength, same) -> None:
    np.testing.assert_allclose(result(blended(tmp_path, strength), noisy), result(same, noisy), atol=2e-6)


def test_noise_falls_steadily_on_the_way(tmp_path, noisy) -> None:
    def noise(file: Path) -> float:
        return float(np.abs(np.diff(result(file, noisy), axis=1)).mean())

    levels = [noise(CLEAN), *(noise(blended(tmp_path, s)) for s in (0.25, 0.5, 0.75)), noise(PHOTO)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > 1.1 * levels[-1]


def test_it_says_what_it_is_and_is_a_sound_onnx_file(tmp_path) -> None:
    path = blended(tmp_path, 0.3)
    assert read_spec(path).title == "nafssr-t-photo@0.3 x4"
    onnx = pytest.importorskip("onnx")
    model, photo = onnx.load(str(path)), onnx.load(str(PHOTO))
    assert [p.key for p in model.metadata_props] == [p.key for p in photo.metadata_props]
    assert model.graph.node == photo.graph.node


def test_other_networks_have_nothing_between_them(tmp_path) -> None:
    with pytest.raises(UsageError, match="not of one fp32 network"):
        blend(CLEAN, bundled("nafssr-t-photo", 2)[2], 0.5)
    constant = tmp_path / "other.onnx"
    data = PHOTO.read_bytes()
    assert b"AveragePool" in data
    constant.write_bytes(data.replace(b"AveragePool", b"AveragePoo1", 1))
    with pytest.raises(UsageError, match="not of one fp32 network"):
        blend(CLEAN, constant, 0.5)
