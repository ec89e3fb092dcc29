"""What a caller may say about tiles; the rest follows from the model and the memory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TileSettings:
    """How a pair is cut into tiles.

    Attributes:
        tile: rows and columns of a tile, None to fit the memory; (0, 0) for the whole picture at once.
        overlap: in LR pixels, None for the model's own.
        max_memory: bytes for one tile's work, None for half of what is free.
        max_disparity: in LR pixels, where the width must be split; None to estimate it from the pair.
    """

    tile: tuple[int, int] | None = None
    overlap: int | None = None
    max_memory: int | None = None
    max_disparity: int | None = None
