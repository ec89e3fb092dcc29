import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import FakeBackend, local_mean, random_pair
from stereosr.errors import UsageError
from stereosr.inference.ensemble import FLIPS, ModelEnsemble, SelfEnsemble
from stereosr.types import StereoPair


@given(st.sampled_from(FLIPS), st.integers(1, 9), st.integers(1, 9))
def test_every_flip_is_its_own_inverse(flip, height, width):
    pair = random_pair(height, width)
    back = flip(flip(pair))
    np.testing.assert_array_equal(back.left, pair.left)
    np.testing.assert_array_equal(back.right, pair.right)


def test_a_horizontal_flip_exchanges_the_views_and_keeps_disparity_positive():
    """A point at x in the left view is at x - d in the right one; after the flip that must still hold with d > 0."""
    left, right = np.zeros((1, 20, 3), np.float32), np.zeros((1, 20, 3), np.float32)
    left[0, 12], right[0, 9] = 1, 1
    for flip in FLIPS:
        flipped = flip(StereoPair(left, right))
        assert flipped.left[0, :, 0].argmax() - flipped.right[0, :, 0].argmax() == 3


def test_there_are_four_distinct_flips():
    pair = random_pair(3, 4)
    assert len({flip(pair).left.tobytes() for flip in FLIPS}) == 4


def test_the_ensemble_of_a_symmetric_operator_is_the_operator():
    def symmetric(pair: StereoPair) -> StereoPair:
        return StereoPair(local_mean(pair).left, local_mean(pair).left)

    pair, backend = random_pair(7, 9), FakeBackend(symmetric)
    single, ensemble = backend.infer(pair), SelfEnsemble(backend).infer(pair)
    np.testing.assert_allclose(ensemble.left, single.left, atol=1e-6)
    np.testing.assert_allclose(ensemble.right, single.right, atol=1e-6)


def test_every_member_is_asked_once_and_turned_back():
    """Of an operator that knows left from right nothing is left but its mean."""
    seen = set()

    def partial(pair: StereoPair) -> StereoPair:
        seen.add(pair.left.tobytes())
        return StereoPair(pair.left, 0 * pair.right)

    pair = random_pair(4, 5)
    result = SelfEnsemble(FakeBackend(partial)).infer(pair)
    assert len(seen) == len(FLIPS)
    for name in ("left", "right"):
        expected = (getattr(pair, name) / 2).repeat(2, 0).repeat(2, 1)
        np.testing.assert_allclose(getattr(result, name), expected, atol=1e-6)


def test_the_sums_are_in_the_estimate_of_memory():
    alone = FakeBackend()
    assert SelfEnsemble(alone).spec.memory == (100 + 192, 1)
    assert ModelEnsemble([alone, alone]).spec.memory == (200 + 192, 2)


def test_models_are_averaged():
    pair = random_pair(4, 5)
    dark = FakeBackend(lambda p: StereoPair(0 * p.left, 0 * p.right))
    both = ModelEnsemble([FakeBackend(), dark])
    np.testing.assert_allclose(both.infer(pair).left, FakeBackend().infer(pair).left / 2)
    both.close()
    assert dark.closed


def test_an_ensemble_takes_the_strictest_of_its_models_sizes():
    spec = ModelEnsemble(
        [FakeBackend(min_tile=(45, 8), multiple_of=4), FakeBackend(min_tile=(8, 135), multiple_of=6)]
    ).spec
    assert spec.min_tile == (45, 135)
    assert spec.multiple_of == 12


def test_models_of_two_scales_are_refused():
    with pytest.raises(UsageError, match="x2 and x4"):
        ModelEnsemble([FakeBackend(), FakeBackend(scale=4)])
