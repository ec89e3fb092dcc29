import tracemalloc
from typing import Any

import numpy as np
import pytest

from fakes import FakeBackend
from stereosr.geometry.light import Light
from stereosr.geometry.rectify import Alignment
from stereosr.geometry.treatment import Treatment
from stereosr.inference.memory import held_memory
from stereosr.inference.tiling import TilePlan
from stereosr.inference.treated import upscale_treated
from stereosr.types import StereoPair, to_float

LIGHT = Light((1.1, 1.1, 1.1), (1.0, 1.0, 1.0), (0.9, 0.9, 0.9))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize(
    "treatment",
    [
        Treatment(),
        Treatment(apart=True),
        Treatment(alignment=Alignment(3), light=LIGHT),
        Treatment(alignment=Alignment(2.4, rotation=0.002), light=LIGHT),
        Treatment(alignment=Alignment(2.4), keep_geometry=True),
    ],
    ids=["as it is", "apart", "whole rows", "three passes", "for the model only"],
)
def test_what_all_passes_hold_is_counted(treatment: Treatment, scale: int, dtype: Any) -> None:
    view = np.random.default_rng(0).integers(0, 256, (700, 300, 3), np.uint8)
    tile = 8, 300
    tracemalloc.start()
    try:
        pair = StereoPair(to_float(view), to_float(view))
        plan = TilePlan.of(*view.shape[:2], tile, (2, 0))
        upscale_treated(pair, FakeBackend(scale=scale), plan, np.dtype(dtype), treatment)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    work = 8 * 2 * 3 * 4 * tile[0] * tile[1] * scale**2  # on tiles, in the fake's way
    assert peak < held_memory(view, scale, np.dtype(dtype), treatment) - 4 * view.nbytes + work


def test_a_pair_that_takes_more_passes_holds_more() -> None:
    view = np.zeros((10, 10, 3), np.uint8)
    aligned, plain = (held_memory(view, 2, view.dtype, t) for t in (Treatment(alignment=Alignment(0.5)), Treatment()))
    assert (plain, aligned) == (4 * 300 + 6 * 1200, 4 * 300 + 4 * 1200 + 4 * 1200)
