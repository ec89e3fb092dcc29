"""One unit of a job, and what became of it."""

from dataclasses import dataclass, field
from pathlib import Path

from stereosr.errors import StereosrError
from stereosr.io.layouts import Layout


@dataclass(frozen=True, slots=True)
class Item:
    """One pair to do: two files, or one file that holds both views in ``layout``; likewise what is written."""

    name: str
    sources: tuple[Path, ...]
    targets: tuple[Path, ...]
    layout: Layout = "pair"
    out_layout: Layout = "pair"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an item: ``status`` is done, skipped (was done before) or failed, with the reason in ``error``."""

    item: Item
    status: str
    error: StereosrError | None = None
    size: tuple[int, int] = (0, 0)  # LR rows, columns
    tiles: int = 0
    frames: int = 0  # of a video, done by this run
    seconds: float = 0.0
    peak_memory: int = 0  # bytes, of the process so far
    warnings: list[str] = field(default_factory=list)
