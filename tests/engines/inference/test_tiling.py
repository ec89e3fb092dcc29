from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import FakeBackend, local_mean, random_pair
from stereosr.errors import OutOfMemory
from stereosr.inference.tiling import (
    TARGET_TILE_GMACS,
    TilePlan,
    crossfade,
    overlap_columns,
    overlap_rows,
    plan_for_memory,
)
from stereosr.inference.upscale import upscale
from stereosr.types import StereoPair

sizes = st.integers(1, 60)


@given(sizes, sizes, sizes, sizes, st.integers(0, 30), st.integers(0, 30))
def test_windows_cover_the_picture_and_stay_inside(height, width, rows, columns, down, across):
    plan = TilePlan.of(height, width, (rows, columns), (down, across))
    seen = np.zeros((height, width), int)
    for top in plan.tops:
        for left in plan.lefts:
            window = plan.window(top, left)
            assert 0 <= window.top <= height - window.height
            assert 0 <= window.left <= width - window.width
            seen[window.slices] += 1
    assert seen.min() >= 1
    assert plan.count == len(plan.tops) * len(plan.lefts)
    for starts, tile, overlap in (
        (plan.tops, plan.tile[0], plan.overlap[0]),
        (plan.lefts, plan.tile[1], plan.overlap[1]),
    ):
        assert all(a + tile - b >= overlap for a, b in pairwise(starts))


@given(sizes, sizes, st.integers(9, 40), st.integers(9, 40), st.integers(0, 2**32))
def test_tiling_a_local_operator_changes_nothing(height, width, rows, columns, seed):
    pair = random_pair(height, width, seed)
    backend = FakeBackend(local_mean)
    whole = upscale(pair, backend)
    # The outer three eighths of an overlap are another tile's: 8 shared rows leave the 2 that the operator reaches.
    tiled = upscale(pair, backend, TilePlan.of(height, width, (max(rows, 16), max(columns, 16)), (8, 8)))
    np.testing.assert_allclose(tiled.left, whole.left, atol=1e-5)
    np.testing.assert_allclose(tiled.right, whole.right, atol=1e-5)


@given(st.integers(1, 30), st.integers(0, 15), st.integers(1, 5), st.integers(0, 1))
def test_crossfade_joins_cuts_of_one_array_to_itself(length, shared, count, axis):
    step = max(1, length - min(shared, length // 2))
    size = (count - 1) * step + length
    whole = np.random.default_rng(0).random((size, size), dtype=np.float32)
    starts = [i * step for i in range(count)]
    pieces = [(s, whole[s : s + length] if axis == 0 else whole[:, s : s + length]) for s in starts]
    before = [p.copy() for _, p in pieces]
    np.testing.assert_allclose(np.concatenate(list(crossfade(pieces, axis)), axis), whole, atol=1e-6)
    for piece, copy in zip(pieces, before, strict=True):
        np.testing.assert_array_equal(piece[1], copy)  # inputs are left alone


def test_crossfade_blends_only_the_middle_of_an_overlap():
    black, white = np.zeros(20, np.float32), np.ones(20, np.float32)
    joined = np.concatenate(list(crossfade([(0, black), (4, white)], axis=0)))
    assert (joined[: 4 + 6] == 0).all()
    assert (joined[20 - 6 :] == 1).all()
    assert (np.diff(joined[9:15]) > 0).all()


@pytest.mark.parametrize("columns", [150, 200, 399])
def test_where_the_width_is_split_every_pixel_keeps_its_match(columns):
    """An operator that looks at the other view, at any distance up to the largest disparity, sees no seam."""
    reach = 30

    def far_away(pair: StereoPair) -> StereoPair:
        left, right = np.zeros_like(pair.left), np.zeros_like(pair.right)
        for distance in (reach // 2, reach):
            left[:, distance:] += pair.right[:, :-distance]
            right[:, :-distance] += pair.left[:, distance:]
        return StereoPair(left, right)

    pair = random_pair(30, 400)
    plan = TilePlan.of(30, 400, (16, columns), (4, overlap_columns(FakeBackend().spec, reach)))
    whole, tiled = upscale(pair, FakeBackend(far_away)), upscale(pair, FakeBackend(far_away), plan)
    assert len(plan.lefts) > 1
    np.testing.assert_allclose(tiled.left, whole.left, atol=1e-6)
    np.testing.assert_allclose(tiled.right, whole.right, atol=1e-6)


def test_bands_keep_the_full_width_while_memory_allows():
    backend = FakeBackend()
    plan = plan_for_memory(400, 300, backend.spec, budget=100 * 300 * (100 + 300), disparity=20)
    assert plan.tile == (85, 300)  # five bands, as of 100 rows, each of the same height
    assert plan.lefts == (0,)
    assert plan.overlap[0] == overlap_rows(backend.spec) >= 2 * backend.spec.halo


def test_bands_hold_seconds_of_work_and_share_little() -> None:
    """As NAFSSR-T: 95 GMACs for 320 x 180, bands that share 22 rows."""
    spec = FakeBackend(gmacs=95.0, memory=(2400, 0), halo=8).spec
    for height, width in ((1080, 1920), (3000, 4000), (375, 1242), (5000, 300)):
        plan = plan_for_memory(height, width, spec, 2**33, disparity=64)
        rows, gmacs = plan.tile[0], 95 * plan.tile[0] * width / (320 * 180)
        assert plan.lefts == (0,)
        assert gmacs <= TARGET_TILE_GMACS or rows <= 8 * overlap_rows(spec)
        assert plan.count * rows <= 1.2 * height


def test_width_is_split_when_no_band_fits_and_matches_stay_in_one_tile():
    backend = FakeBackend(min_tile=(10, 10))
    plan = plan_for_memory(100, 4000, backend.spec, budget=10 * 2500 * (100 + 2500), disparity=50)
    assert plan.tile[1] < 4000
    assert plan.overlap[1] == overlap_columns(backend.spec, 50)
    assert plan.tile[0] * plan.tile[1] * (100 + plan.tile[1]) <= 10 * 2500 * (100 + 2500)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(10**5, 10**9))
def test_a_plan_never_takes_more_than_its_budget(height, width, budget):
    spec = FakeBackend(min_tile=(8, 8)).spec
    try:
        plan = plan_for_memory(height, width, spec, budget, disparity=32)
    except OutOfMemory as error:
        assert "max_memory" in error.settings  # noqa: PT017
        return
    rows, columns = plan.tile
    assert rows * columns * (spec.memory[0] + spec.memory[1] * columns) <= budget


def test_full_width_may_take_all_of_the_budget_but_no_band_more_than_is_comfortable():
    backend = FakeBackend(min_tile=(10, 10), memory=(0, 2**20))  # W x W alone: 1 MiB a pixel and column
    assert plan_for_memory(4000, 32, backend.spec, 2**34, disparity=0).tile == (12, 32)
    assert plan_for_memory(4000, 32, backend.spec, 2**33, disparity=0).tile[1] < 32
    assert plan_for_memory(4000, 8, backend.spec, 2**40, disparity=0).tile == (20, 8)


def test_out_of_memory_says_what_it_needs():
    with pytest.raises(OutOfMemory, match=r"needs .* KiB.*allow more"):
        plan_for_memory(1000, 100_000, FakeBackend().spec, budget=1000, disparity=64)
