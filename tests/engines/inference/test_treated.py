import numpy as np
import pytest

from fakes import FakeBackend, random_pair
from shared_data import ROOT
from stereosr.evaluation.metrics import psnr
from stereosr.geometry.light import Light
from stereosr.geometry.rectify import Alignment, move
from stereosr.geometry.treatment import Treatment
from stereosr.inference.tiling import TilePlan
from stereosr.inference.treated import upscale_treated
from stereosr.inference.upscale import upscale_pixels
from stereosr.io.images import read_picture
from stereosr.types import Pixels, StereoPair, to_float

HR = ROOT / "engines/stereosr/models/bundled/examples/render"


def treated(
    pair: StereoPair, treatment: Treatment, backend: FakeBackend, dtype: type = np.uint8
) -> tuple[Pixels, Pixels]:
    plan = TilePlan.of(pair.height, pair.width, (16, pair.width), (4, 0))
    return upscale_treated(pair, backend, plan, np.dtype(dtype), treatment)


def test_nothing_to_do_is_nothing_done() -> None:
    pair, backend = random_pair(40, 50), FakeBackend()
    plain = upscale_pixels(pair, backend, TilePlan.of(40, 50, (16, 50), (4, 0)), np.dtype(np.uint8))
    tiles = len(backend.tiles)
    for one, other in zip(treated(pair, Treatment(), backend), plain, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(backend.tiles) == 2 * tiles


def test_apart_each_view_is_paired_with_itself() -> None:
    def helped(pair: StereoPair) -> StereoPair:
        return StereoPair((pair.left + pair.right) / 2, (pair.left + pair.right) / 2)

    pair = random_pair(20, 30)
    result = treated(pair, Treatment(apart=True), FakeBackend(helped), np.float32)
    for view, given in zip(result, (pair.left, pair.right), strict=True):
        np.testing.assert_allclose(view, given.repeat(2, 0).repeat(2, 1), atol=1e-6)


@pytest.mark.parametrize("shift", [3.0, -2.0, 3.1])
def test_whole_rows_take_one_pass_on_common_rows_and_lose_none(shift: float) -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def watched(pair: StereoPair) -> StereoPair:
        seen.append((pair.left, pair.right))
        return pair

    pair = random_pair(40, 50)
    apart = StereoPair(pair.left, np.roll(pair.left, -round(shift), 0))
    plan, backend = TilePlan.of(40, 50, (100, 50), (4, 0)), FakeBackend(watched)
    treatment = Treatment(alignment=Alignment(shift), keep_geometry=True)
    left, right = upscale_treated(apart, backend, plan, np.dtype(np.float32), treatment)
    assert len(seen) == 1
    common = slice(4, 36)
    np.testing.assert_array_equal(seen[0][0][common], seen[0][1][common])
    for view, given in zip((left, right), (apart.left, apart.right), strict=True):
        np.testing.assert_array_equal(view, given.repeat(2, 0).repeat(2, 1))
    moved = upscale_treated(apart, backend, plan, np.dtype(np.float32), Treatment(alignment=Alignment(shift)))[1]
    np.testing.assert_array_equal(moved, move(right, Alignment(shift).scaled(2)))


@pytest.mark.parametrize("alignment", [Alignment(2.5), Alignment(-1.5, 0.01, 1.01, (0.01, 0.0))])
def test_a_view_is_never_moved_before_the_network_that_its_result_is_made_of(alignment: Alignment) -> None:
    """The network sees it as it came, beside the other one on its rows."""
    left = read_picture(HR / "hr0.png").pixels[:160, :240]
    pair, passes = StereoPair(to_float(left), to_float(move(left, alignment, back=True))), []

    def watched(pair: StereoPair) -> StereoPair:
        passes.append(pair)
        return pair

    plan = TilePlan.of(160, 240, (400, 240), (4, 0))
    kept = Treatment(alignment=alignment, keep_geometry=True)
    first, second = upscale_treated(pair, FakeBackend(watched), plan, np.dtype(np.uint8), kept)
    assert len(passes) == 3
    np.testing.assert_array_equal(
        second, upscale_treated(pair, FakeBackend(), plan, np.dtype(np.uint8), Treatment())[1]
    )
    np.testing.assert_array_equal(first, upscale_treated(pair, FakeBackend(), plan, np.dtype(np.uint8), Treatment())[0])
    np.testing.assert_array_equal(passes[1].right, pair.right)
    np.testing.assert_array_equal(passes[2].left, pair.left)
    for seen in passes[1:]:  # this fake network blurs
        one, other = (np.rint(255 * view[12:-12, 12:-12]).astype(np.uint8) for view in (seen.left, seen.right))
        assert psnr(one, other) > 27
    aligned = upscale_treated(pair, FakeBackend(), plan, np.dtype(np.uint8), Treatment(alignment=alignment))[1]
    np.testing.assert_array_equal(aligned, move(second, alignment.scaled(2)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_light_is_matched_for_the_network_alone(dtype: type) -> None:
    seen: list[StereoPair] = []

    def watched(pair: StereoPair) -> StereoPair:
        seen.append(pair)
        return pair

    pair = random_pair(12, 20)
    light = Light((2.0, 1.5, 1.2), (1.0, 1.1, 0.9), (0.5, 0.6, 0.8))
    plan = TilePlan.of(12, 20, (12, 20), (0, 0))
    result = upscale_treated(pair, FakeBackend(watched), plan, np.dtype(dtype), Treatment(light=light))
    plain = upscale_treated(pair, FakeBackend(), plan, np.dtype(dtype), Treatment())
    np.testing.assert_array_equal(seen[0].right, light.match(pair.right))
    np.testing.assert_array_equal(seen[0].left, pair.left)
    for one, other in zip(result, plain, strict=True):
        np.testing.assert_allclose(one.astype(float), other.astype(float), atol=1e-5 if dtype == np.float32 else 1)
