"""What a pair takes of the memory: what is held beside the work on tiles, and the tiles that fit into the rest."""

from dataclasses import replace
from typing import Any

import numpy as np

from stereosr.errors import OutOfMemory
from stereosr.geometry.pair_check import PairReport
from stereosr.geometry.treatment import Treatment
from stereosr.inference.settings import TileSettings
from stereosr.inference.tiling import TilePlan, clamp_to_max_tile, overlap_columns, overlap_rows, plan_for_memory
from stereosr.models.spec import ModelSpec
from stereosr.system import available_memory, format_bytes
from stereosr.types import Pixels

TAKEN_BY_TILES = 4 / 3
"""What a tile takes of onnxruntime, of what its specification says: 1.19 to 1.33, measured at x2 and x4. Its allocator
keeps blocks of sizes that the next tile has no use for."""


def held_memory(view: Pixels, scale: int, dtype: "np.dtype[Any]", treatment: Treatment) -> int:
    """What a job holds beside the work on a tile.

    Always there are this pair and one like it, read ahead; and either the views as float32 and the results, or, later,
    what encoding the results takes: copies in the order of the encoder, and the files' bytes, twice as they are put
    together, which of photographs as PNG is less than the results once more each.

    Args:
        view: one as it was read, H x W x 3.
        scale: of the model.
        dtype: of the results.
        treatment: what is done with the pair; see ``upscale_treated`` for the passes that it takes.

    Returns:
        Bytes.
    """
    floats, result = 4 * view.size, view.size * scale**2 * dtype.itemsize
    at_work = 2 * floats + 2 * result
    if treatment.light is not None:
        at_work += floats  # the right view as bright as the left one
    if treatment.apart:
        at_work += result  # what the first pass gave, while the second gives two
    elif treatment.alignment is not None:
        at_work += 2 * floats + 2 * result  # views on a higher canvas or as the other eye saw them; a result, moved
    return 4 * view.nbytes + max(at_work, 6 * result)


def plan_tiles(
    size: tuple[int, int], report: PairReport, spec: ModelSpec, settings: TileSettings, held: int
) -> TilePlan:
    """The tiles that the settings ask for, or that fit the memory beside the ``held`` bytes.

    Of free memory the work on tiles takes half at most: other programs want some, and its estimate is one.

    Raises:
        OutOfMemory: if not even the smallest tile fits.
    """
    disparity = report.largest_disparity(size[1]) if settings.max_disparity is None else settings.max_disparity
    if settings.tile is None:
        free = available_memory()
        whole = free if settings.max_memory is None else settings.max_memory
        if whole <= held:
            raise OutOfMemory(
                f"both views, their results and the next pair need {format_bytes(held)} beside the model, "
                f"{format_bytes(whole)} may be used: free memory, allow more of it, or cut the pictures into parts",
                settings=("max_memory",),
            )
        rest = min(whole - held, free // 2) if settings.max_memory is None else whole - held
        # Beside what the model takes by its spec there are, as float32, the results of up to three tiles: the last one,
        # until its overlap with the next is known; the present one; and the band that it becomes a part of.
        model, joined = spec.memory[0] + spec.memory[1] * size[1], 3 * 2 * 3 * 4 * spec.scale**2
        settings = replace(settings, max_memory=int(rest * model / (model * TAKEN_BY_TILES + joined)))
    return make_plan(size, disparity, spec, settings)


def make_plan(size: tuple[int, int], disparity: int, spec: ModelSpec, settings: TileSettings) -> TilePlan:
    """The tiles of a pair that the settings ask for, or that fit the memory.

    Args:
        size: LR rows and columns.
        disparity: the largest one, in LR pixels; decides the overlap where the width is split.
        spec: of the model.
        settings: what the caller said.

    Raises:
        OutOfMemory: if not even the smallest tile fits.
    """
    height, width = size
    if settings.tile is not None:
        down = overlap_rows(spec) if settings.overlap is None else settings.overlap
        rows, columns = (wanted or side for wanted, side in zip(settings.tile, size, strict=True))
        tile = clamp_to_max_tile(spec, rows, columns)
        return TilePlan.of(height, width, tile, (down, overlap_columns(spec, disparity)))
    budget = settings.max_memory or available_memory() // 2
    return plan_for_memory(height, width, spec, budget, disparity, settings.overlap)
