import numpy as np
import pytest

from shared_data import ROOT
from stereosr.evaluation.degrade import degrade
from stereosr.geometry.resize import reduce
from stereosr.io.images import read_picture
from stereosr.types import to_float

PICTURE = ROOT / "engines/stereosr/models/bundled/examples/render/hr0.png"


def test_it_shrinks_as_the_field_does() -> None:
    pixels = read_picture(PICTURE).pixels.astype(np.uint8)
    ours, field = reduce(pixels, *(side // 4 for side in pixels.shape[:2])), degrade(pixels, 4)
    differences = np.abs(ours.astype(int) - field)[4:-4, 4:-4]
    assert differences.mean() < 0.5
    assert np.percentile(differences, 99.9) <= 2


@pytest.mark.parametrize("size", [(90, 151), (53, 60)])
def test_every_type_gives_the_same_picture(size: tuple[int, int]) -> None:
    pixels = read_picture(PICTURE).pixels[:100, :160].astype(np.uint8)
    small = reduce(pixels, *size)
    assert small.shape == (*size, 3)
    wide = reduce(pixels.astype(np.uint16) * 257, *size)
    assert wide.dtype == np.uint16
    np.testing.assert_allclose(wide / 257, small, atol=1.5)
    np.testing.assert_allclose(reduce(to_float(pixels), *size).clip(0, 1) * 255, small, atol=1.5)
    np.testing.assert_array_equal(reduce(pixels[..., 0].copy(), *size), small[..., 0])
    assert reduce(pixels, 100, 160) is pixels
