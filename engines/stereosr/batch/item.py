"""One unit of a job, what is asked of all of them, and what became of one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stereosr.errors import StereosrError
from stereosr.geometry.treatment import Rectify
from stereosr.inference.settings import TileSettings
from stereosr.inference.size import OutputSize
from stereosr.io.images import Picture
from stereosr.io.layouts import Layout


@dataclass(frozen=True, slots=True)
class Item:
    """One pair to do.

    Attributes:
        name: what people know it by.
        sources: two files, or one file that holds both views in ``layout``.
        targets: two files, or one file that is to hold both results in ``out_layout``.
        decoded: the whole picture, if it had to be decoded to find the layout and is the only item of its job.
    """

    name: str
    sources: tuple[Path, ...]
    targets: tuple[Path, ...]
    layout: Layout = "pair"
    out_layout: Layout = "pair"
    decoded: Picture | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the items of a job are done.

    Attributes:
        model: sha256 of the model file or files, which tells a resumed job whether its results are of this model.
        ensemble: the backend is a self-ensemble; for the same purpose.
        auto: look at each pair, to choose its engine.
        swap: exchange the views before anything else.
        rectify: whether the right view is brought onto the rows of the left one; see ``choose_treatment``.
        keep_geometry: the right result is as the right view was, even where that was aligned for the model.
        overwrite: do again what was done, and replace whatever lies where results go.
        depth: 8 or 16 bits a sample, None as in the file.
        quality: of lossy formats, 1 to 100; None for the format's own default.
        size: of the results; what the model gives is reduced to it.
        tiles: how a pair is cut. ``max_memory`` is meant for all that the job holds at once: the pictures, their
            results and the work on one tile.
        codec, preset, trim: of videos, as in ``VideoOptions``.
        preview: of a video, do this many frames, as pictures, instead of all.
    """

    model: str
    ensemble: bool = False
    auto: bool = False
    swap: bool = False
    rectify: Rectify = "auto"
    keep_geometry: bool = False
    overwrite: bool = False
    depth: int | None = None
    quality: int | None = None
    size: OutputSize = field(default_factory=OutputSize)
    tiles: TileSettings = field(default_factory=TileSettings)
    codec: str | None = None
    preset: str | None = None
    trim: tuple[float, float | None] | None = None
    preview: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an item.

    Attributes:
        status: ``skipped`` if an earlier run did it.
        error: why it failed, else None.
        size: LR rows and columns.
        output_size: rows and columns of one view of the result.
        tiles: how many were inferred; of a video, in each frame.
        frames: of a video, those done by this run.
        missing: of a video, frames that could not be read.
        seconds: that the inference took; of a video, the whole conversion.
        peak_memory: bytes, of the process so far.
        model: the name of what ran.
        choice: why that engine was chosen; empty where it was not.
        device: what ran, as the backend reports it; empty if nothing did.
        precision: what ran, e.g. ``fp16``; says so if some tiles were done in another one.
        alignment: of the right view, as ``described`` tells it; None where there was none.
        apart: each view was upscaled without the other, as they cannot be aligned.
        shots: of a video with a misaligned one, where each begins, in seconds, and its ``alignment`` and ``apart``.
        warnings: what people should know about this item, a line each.
    """

    item: Item
    status: Literal["done", "skipped", "failed"]
    error: StereosrError | None = None
    size: tuple[int, int] = (0, 0)
    output_size: tuple[int, int] = (0, 0)
    tiles: int = 0
    frames: int = 0
    missing: int = 0
    seconds: float = 0.0
    peak_memory: int = 0
    model: str = ""
    choice: str = ""
    device: str = ""
    precision: str = ""
    alignment: dict[str, Any] | None = None
    apart: bool = False
    shots: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
