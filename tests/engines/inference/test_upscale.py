from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import FakeBackend, local_mean, random_pair
from stereosr.errors import OutOfMemory, StereosrError, UsageError
from stereosr.inference.tiling import TilePlan
from stereosr.inference.upscale import halve, iter_bands, upscale
from stereosr.types import StereoPair


@given(st.integers(1, 40), st.integers(1, 40))
def test_tiles_that_are_too_small_are_mirrored_on_and_cropped_back(height: int, width: int) -> None:
    pair, backend = random_pair(height, width), FakeBackend(min_tile=(12, 20), multiple_of=4)
    result = upscale(pair, backend)
    np.testing.assert_array_equal(result.left, pair.left.repeat(2, 0).repeat(2, 1))
    rows, columns = backend.tiles[0]
    assert rows % 4 == columns % 4 == 0
    assert rows >= 12
    assert columns >= 20


def test_values_that_are_not_finite_are_never_passed_on():
    def broken(pair: StereoPair) -> StereoPair:
        return StereoPair(pair.left * np.float32(np.nan), pair.right)

    with pytest.raises(StereosrError, match="finite"):
        upscale(random_pair(4, 4), FakeBackend(broken))


def test_views_of_unequal_size_are_refused_with_both_sizes():
    with pytest.raises(UsageError, match=r"5x4.*6x4"):
        StereoPair(np.zeros((4, 5, 3), np.float32), np.zeros((4, 6, 3), np.float32))


@given(st.integers(9, 60), st.integers(9, 60), st.integers(20, 3000), st.integers(0, 40))
def test_out_of_memory_halves_the_tile_and_goes_on(height, width, capacity, fails_from):
    """Tiles above a capacity fail, at once or only from some tile on; the picture is the same, no row done twice."""
    calls = 0

    def scarce(pair: StereoPair) -> StereoPair:
        nonlocal calls
        calls += 1
        if calls > fails_from and pair.height * pair.width > max(capacity, 17 * 17):
            raise MemoryError
        return local_mean(pair)

    pair, plans = random_pair(height, width), []
    plan = TilePlan.of(height, width, (40, width), (8, 8))
    bands = list(iter_bands(pair, FakeBackend(scarce), plan, plans.append))
    whole = upscale(pair, FakeBackend(local_mean))
    for view in ("left", "right"):
        found = np.concatenate([getattr(band, view) for band in bands])
        np.testing.assert_allclose(found, getattr(whole, view), atol=1e-5)
    assert all(b.tile < a.tile for a, b in pairwise(plans))


def test_what_is_done_is_not_done_again():
    fail_at = 5

    class OnceTooLarge(FakeBackend):
        def _infer(self, pair: StereoPair) -> StereoPair:
            if len(self.tiles) == fail_at and pair.height == 20:
                raise MemoryError
            return super()._infer(pair)

    backend = OnceTooLarge()
    list(iter_bands(random_pair(132, 10), backend, TilePlan.of(132, 10, (20, 10), (4, 4))))
    assert [rows for rows, _ in backend.tiles[:fail_at]] == [20] * fail_at
    assert {rows for rows, _ in backend.tiles[fail_at:]} == {10}
    assert sum(rows for rows, _ in backend.tiles[fail_at:]) < 132  # the top half is kept


def test_halving_ends_with_out_of_memory():
    spec = FakeBackend(min_tile=(8, 16)).spec
    plan, sizes = TilePlan.of(500, 700, (500, 700), (4, 4)), []

    def halve_for_ever():
        nonlocal plan
        while True:
            plan = halve(plan, spec)
            sizes.append(plan.tile)

    with pytest.raises(OutOfMemory):
        halve_for_ever()
    assert all(sum(b) < sum(a) for a, b in pairwise(sizes))
    assert len(sizes) > 5


def test_out_of_memory_is_final_and_not_a_reason_for_smaller_tiles() -> None:
    backend = FakeBackend(raising(OutOfMemory("not even the smallest tile")))
    plans: list[TilePlan] = []
    with pytest.raises(OutOfMemory, match="not even the smallest tile"):
        list(iter_bands(random_pair(40, 40), backend, TilePlan.of(40, 40, (40, 40), (0, 0)), plans.append))
    assert len(plans) == 1


def raising(error: Exception) -> Callable[[StereoPair], StereoPair]:
    def operator(_pair: StereoPair) -> StereoPair:
        raise error

    return operator
