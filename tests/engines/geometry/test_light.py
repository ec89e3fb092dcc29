import numpy as np
import pytest

from shared_data import ROOT
from stereosr.geometry.light import Light, measure_light
from stereosr.geometry.matching import match
from stereosr.io.images import read_picture
from stereosr.types import quantise, to_float

HR = ROOT / "engines/stereosr/models/bundled/examples/render"


@pytest.mark.parametrize(("gain", "gamma"), [((0.8, 0.8, 0.8), 1.0), ((1.0, 1.0, 0.8), 1.0), ((1.0, 1.0, 1.0), 1.2)])
def test_what_was_darkened_is_matched(gain: tuple[float, float, float], gamma: float) -> None:
    left, right = (read_picture(HR / f"hr{i}.png").pixels for i in (0, 1))
    given = to_float(right)
    other = quantise(np.array(gain, np.float32) * given ** np.float32(gamma), np.uint8)
    light = measure_light(left, other, match(left, other), 1.0)
    assert light is not None
    usual = (given > 0.1) & (given < 0.9)
    assert (
        np.abs(light.match(to_float(other)) - given)[usual].mean()
        < (0.01 if gamma == 1 else 0.02)
        < np.abs(to_float(other) - given)[usual].mean()
    )
    assert light.exposure < -0.03
    assert light.colour[2] < -0.05 or gain[2] == gain[0]


def test_restoring_undoes_matching_also_of_what_overshoots() -> None:
    light = Light((1.2, 1.0, 0.9), (1.1, 1.0, 0.8), (0.8, 1.0, 1.1))
    values = np.linspace(0, 1, 30, dtype=np.float32).reshape(2, 5, 3)
    np.testing.assert_allclose(light.restore(light.match(values)), values, atol=1e-6)
    assert np.isfinite(light.restore(values - 0.1)).all()


def test_in_the_dark_there_is_no_telling() -> None:
    left, right = (read_picture(HR / f"hr{i}.png").pixels for i in (0, 1))
    assert measure_light(left // 32, right // 32, match(left, right), 1.0) is None
