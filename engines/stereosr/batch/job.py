"""Many pairs, one after the other: decode, infer and encode side by side, resume, and a record of what was done."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stereosr.backends.base import Backend
from stereosr.batch.item import Item, Result
from stereosr.batch.manifest import read_manifest, record
from stereosr.errors import OutOfMemory, StereosrError, UsageError
from stereosr.geometry.pair_check import PairReport, check_pair_or_unknown
from stereosr.geometry.rectify import apply, correction, match, rectify
from stereosr.inference.settings import TileSettings
from stereosr.inference.tiling import TilePlan
from stereosr.inference.upscale import make_plan, upscale_pixels
from stereosr.io.encode import write_pictures
from stereosr.io.images import Picture, read_picture
from stereosr.io.layouts import check_fits_format, read_stereo, split_halves, write_stereo
from stereosr.io.video import convert, finished_frames, is_video, sample
from stereosr.system import peak_memory
from stereosr.types import Pixels, StereoPair, quantise, to_float


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the items of a job are done.

    Attributes:
        model: sha256 of the model file or files; ``ensemble`` and ``swap`` complete the key of a resumed job.
        swap: exchange the views before anything else.
        rectify: move the right view onto the rows of the left one.
        depth: 8 or 16 bits a sample, None as in the file.
        quality: of lossy formats, 1 to 100; None for the format's own default.
    """

    model: str
    ensemble: int = 0
    swap: bool = False
    rectify: bool = False
    overwrite: bool = False
    depth: int | None = None
    quality: int | None = None
    tiles: TileSettings = field(default_factory=TileSettings)


def run(
    items: Iterable[Item],
    backend: Backend,
    settings: Settings,
    manifest: Path | None,
    on_plan: Callable[[Item, int], None] = lambda _item, _tiles: None,
    on_tile: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """Do the items in order; a bad one gives a failed result and the rest goes on.

    The next pair is read and the last one written while the model works. With a ``manifest`` an item done before with
    the same input, model and settings is skipped. An existing file is never overwritten unless settings say so.
    """
    before = read_manifest(manifest)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        begun = (_begin(item, settings, before, reader) for item in items)
        worked = (_work(task, backend, settings, manifest, writer, on_plan, on_tile) for task in _one_ahead(begun))
        for task in _one_ahead(worked):
            yield _end(task)


@dataclass(frozen=True, slots=True)
class _Views:
    """Both views, ready for the model; what was seen of the pair, and what was done to it, in words."""

    left: Picture
    right: Picture
    seen: PairReport
    done: list[str]

    @property
    def warnings(self) -> list[str]:
        return self.done + self.seen.doubts

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.left.pixels.shape[:2]
        return height, width


@dataclass(slots=True)
class _Task:
    """An item on its way: being read, then worked on, then being written; ``result`` as soon as it is known."""

    item: Item
    key: str
    result: Result | None = None
    reading: "Future[_Views] | None" = None
    writing: "Future[None] | None" = None


def _one_ahead(tasks: Iterable[_Task]) -> Iterator[_Task]:
    """The same tasks, each handed on when the next one has been started."""
    held: _Task | None = None
    for task in tasks:
        if held is not None:
            yield held
        held = task
    if held is not None:
        yield held


def _begin(item: Item, settings: Settings, before: dict[str, str], reader: ThreadPoolExecutor) -> _Task:
    try:
        key = _key(item, settings)
    except OSError:
        key = ""  # reading will say what is wrong
    existing = [t for t in item.targets if t.exists()]
    if existing and not settings.overwrite:
        if before.get(key) == "done" and len(existing) == len(item.targets):
            return _Task(item, key, Result(item, "skipped"))
        if key not in before:  # else a run that was killed left them: they are ours
            error = UsageError(f"{existing[0]} exists: pass --overwrite, or -o for another folder")
            return _Task(item, key, Result(item, "failed", error))
    return _Task(item, key, reading=None if is_video(item.sources[0]) else reader.submit(_read, item, settings))


def _work(
    task: _Task,
    backend: Backend,
    settings: Settings,
    manifest: Path | None,
    writer: ThreadPoolExecutor,
    on_plan: Callable[[Item, int], None],
    on_tile: Callable[[], None],
) -> _Task:
    if task.result is not None:
        return task
    try:
        if task.reading is None:
            task.result = _convert(task, backend, settings, manifest, on_plan, on_tile)
            return task
        views = task.reading.result()
        height, width = (side * backend.spec.scale for side in views.size)
        for target in task.item.targets:
            check_fits_format(target, height, width, task.item.out_layout)
        started = time.perf_counter()
        outputs, tiles = _upscale(views, backend, settings, lambda count: on_plan(task.item, count), on_tile)
    except StereosrError as error:
        task.result = Result(task.item, "failed", error)
        return task
    if settings.swap and len(task.item.sources) == len(task.item.targets) == 2:
        outputs = outputs[::-1]  # what comes of a file goes by that file's name
    task.result = Result(
        task.item,
        "done",
        size=views.size,
        tiles=tiles,
        seconds=time.perf_counter() - started,
        peak_memory=peak_memory(),
        warnings=views.warnings,
    )
    task.reading = None
    task.writing = writer.submit(_write, task, outputs, settings.quality, manifest)
    return task


def _end(task: _Task) -> Result:
    assert task.result is not None
    try:
        if task.writing is not None:
            task.writing.result()
    except StereosrError as error:
        return Result(task.item, "failed", error)
    return task.result


def _read(item: Item, settings: Settings) -> _Views:
    if len(item.sources) == 2:
        left, right = (read_picture(p) for p in item.sources)
    else:
        left, right = read_stereo(item.sources[0], item.layout)
    if left.pixels.shape != right.pixels.shape:
        a, b = (f"{p.pixels.shape[1]}x{p.pixels.shape[0]}" for p in (left, right))
        raise UsageError(
            f"{item.name}: left is {a}, right is {b}: the views of a pair have one size; crop or resize one"
        )
    if settings.swap:
        left, right = right, left
    right, done = rectify(left, right) if settings.rectify else (right, [])
    return _Views(left, right, check_pair_or_unknown(left, right), done)


def _write(task: _Task, outputs: tuple[Picture, Picture], quality: int | None, manifest: Path | None) -> None:
    item = task.item
    _start(task, manifest)
    if len(item.targets) == 2:
        write_pictures(zip(item.targets, outputs, strict=True), quality)
    else:
        write_stereo(item.targets[0], *outputs, item.out_layout, quality)
    record(manifest, task.key, "done", task.item)


def _start(task: _Task, manifest: Path | None) -> None:
    """The folders for what will be written, and a note that it is being written."""
    try:
        for folder in {t.parent for t in task.item.targets}:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StereosrError(f"cannot make {error.filename}: {error.strerror}") from error
    record(manifest, task.key, "started", task.item)


def _upscale(
    views: _Views,
    backend: Backend,
    settings: Settings,
    on_plan: Callable[[int], None],
    on_tile: Callable[[], None],
) -> tuple[tuple[Picture, Picture], int]:
    """Both pictures super-resolved and the number of tiles."""
    tiles = 0

    def count() -> None:
        nonlocal tiles
        tiles += 1
        on_tile()

    def planned(plan: TilePlan) -> None:
        on_plan(plan.count)

    plan, dtype = (
        make_plan(views.size, _disparity(views.size, views.seen, settings), backend.spec, settings.tiles),
        _dtype(views.left, settings),
    )
    try:
        pair = StereoPair(to_float(views.left.pixels), to_float(views.right.pixels))
        left, right = upscale_pixels(pair, backend, plan, dtype, planned, count)
        return (_like(views.left, left), _like(views.right, right)), tiles
    except MemoryError:
        need = (views.left.pixels.size + views.right.pixels.size) * (4 + backend.spec.scale**2 * dtype.itemsize)
        raise OutOfMemory(
            f"both views and their results need {need / 2**30:.1f} GiB beside the model: cut them into parts"
        ) from None


def _disparity(size: tuple[int, int], seen: PairReport, settings: Settings) -> int:
    """In LR pixels: what was said, or what the pair shows."""
    told = settings.tiles.max_disparity
    return seen.largest_disparity(size[1]) if told is None else told


def _dtype(picture: Picture, settings: Settings) -> "np.dtype[Any]":
    return picture.pixels.dtype if settings.depth is None else np.dtype(f"uint{settings.depth}")


def _convert(
    task: _Task,
    backend: Backend,
    settings: Settings,
    manifest: Path | None,
    on_plan: Callable[[Item, int], None],
    on_frame: Callable[[], None],
) -> Result:
    """A video, frame by frame. One frame that shows much decides for all how the right view is moved."""
    item = task.item
    source, target = item.sources[0], item.targets[0]
    samples = sample(source)

    def turned(left: Picture, right: Picture) -> tuple[Picture, Picture]:
        return (right, left) if settings.swap else (left, right)

    views = [turned(*split_halves(Picture(frame), item.layout, source)) for frame in samples.frames]
    left, right = max(views, key=lambda pair: len(match(pair[0].pixels, pair[1].pixels)))
    alignment, warnings = correction(left, right) if settings.rectify else (None, [])
    seen = check_pair_or_unknown(left, right if alignment is None else apply(alignment, right))
    rows, columns = left.pixels.shape[:2]
    plan = make_plan((rows, columns), _disparity((rows, columns), seen, settings), backend.spec, settings.tiles)
    frames = 0

    def work(left: Picture, right: Picture) -> tuple[Picture, Picture]:
        nonlocal frames
        left, right = turned(left, right)
        if alignment is not None:
            right = apply(alignment, right)
        pair = StereoPair(to_float(left.pixels), to_float(right.pixels))
        a, b = upscale_pixels(pair, backend, plan, _dtype(left, settings), planned, lambda: None)
        frames += 1
        on_frame()
        return Picture(a), Picture(b)

    def planned(fitting: TilePlan) -> None:  # what fitted one frame fits the next
        nonlocal plan
        plan = TilePlan.of(rows, columns, fitting.tile, fitting.overlap)

    on_plan(item, max(0, samples.count - finished_frames(target, task.key)))
    _start(task, manifest)
    started = time.perf_counter()
    convert(source, target, (item.layout, item.out_layout), work, task.key, settings.quality, settings.depth)
    record(manifest, task.key, "done", task.item)
    return Result(
        item,
        "done",
        size=(rows, columns),
        tiles=plan.count,
        frames=frames,
        seconds=time.perf_counter() - started,
        peak_memory=peak_memory(),
        warnings=warnings + seen.doubts,
    )


def _like(source: Picture, pixels: Pixels) -> Picture:
    """A picture of these pixels with everything else of ``source``; alpha is enlarged by bicubic."""
    alpha = None
    if source.alpha is not None:
        size = (pixels.shape[1], pixels.shape[0])
        wide = cv2.resize(to_float(source.alpha), size, interpolation=cv2.INTER_CUBIC)
        alpha = quantise(np.asarray(wide, dtype=np.float32), pixels.dtype)
    return Picture(pixels, alpha, source.grey, source.metadata)


def _key(item: Item, settings: Settings) -> str:
    """What decides an output: the sources' contents, the model, the settings."""
    digest = hashlib.sha256()
    for source in item.sources:
        with source.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    decisive = asdict(settings) | {"overwrite": None, "layout": item.layout, "out": item.out_layout}
    decisive["tiles"] |= {"max_memory": None}
    digest.update(json.dumps(decisive, sort_keys=True).encode())
    return digest.hexdigest()
