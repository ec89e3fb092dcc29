import numpy as np
import pytest

from fakes import FakeBackend, random_pair
from stereosr.errors import UsageError
from stereosr.inference.cascade import Cascade, steps_to
from stereosr.inference.upscale import upscale


@pytest.mark.parametrize(
    ("scale", "available", "steps"),
    [
        (1.5, {2, 4}, (2,)),
        (2, {2, 4}, (2,)),
        (3, {2, 4}, (4,)),
        (4, {2, 4}, (4,)),
        (5, {2, 4}, (4, 2)),
        (8, {2, 4}, (4, 2)),
        (9, {2, 4}, (4, 4)),
        (4, {2}, (2, 2)),
        (1.5, {4}, (4,)),
    ],
)
def test_the_next_larger_models_are_taken(scale: float, available: set[int], steps: tuple[int, ...]) -> None:
    assert steps_to(scale, available) == steps


def test_what_is_out_of_reach_is_said() -> None:
    with pytest.raises(UsageError, match="16 is the largest"):
        steps_to(17, {2, 4})


def test_the_second_enlarges_what_the_first_gave_and_both_are_closed() -> None:
    first = FakeBackend(scale=4, min_tile=(10, 10), max_tile=(50, 60), halo=3, memory=(100, 2))
    second = FakeBackend(scale=2, min_tile=(60, 20), max_tile=(100, 300), halo=6, multiple_of=2, memory=(10, 1))
    pair = random_pair(20, 30)
    with Cascade(first, second) as both:
        spec = both.spec
        result = upscale(pair, both)
    np.testing.assert_array_equal(result.left, pair.left.repeat(8, 0).repeat(8, 1))
    assert (spec.scale, spec.min_tile, spec.max_tile, spec.halo) == (8, (15, 10), (25, 60), 5)
    assert spec.multiple_of == 2
    assert spec.memory == (100 + 16 * 10, 2 + 64)
    assert second.tiles == [(80, 120)]
    assert first.closed
    assert second.closed
