"""``stereosr upscale``, behind its options: find the inputs, open the model, do the items, say what ran."""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from stereosr.atomic import check_writable
from stereosr.backends.base import Backend
from stereosr.backends.registry import available_backends
from stereosr.batch import cluster
from stereosr.batch.inputs import Inputs, Naming, collect, collect_lists, is_file_name
from stereosr.batch.item import Item, Result, Settings
from stereosr.batch.job import run
from stereosr.batch.manifest import manifest_name
from stereosr.errors import SomeItemsFailed, UsageError
from stereosr.geometry.treatment import Rectify
from stereosr.inference.cascade import Cascade
from stereosr.inference.ensemble import ModelEnsemble, SelfEnsemble
from stereosr.inference.load import load, load_auto, named, steps_of
from stereosr.inference.settings import TileSettings
from stereosr.inference.size import OutputSize
from stereosr.io.detect import detect_by_name
from stereosr.io.layouts import Layout, read_pair
from stereosr.models.library import AUTO
from stereosr_cli.extras import need
from stereosr_cli.flags import with_flags
from stereosr_cli.progress import Progress
from stereosr_cli.report.page import Results
from stereosr_cli.work.dry_run import dry_run


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscaleOptions:
    """The options of the command, by their names; None where one was not given and has no value of its own.

    Attributes:
        gpu: number of the GPU; None for ``cpu``.
        tile: as in ``TileSettings``.
        depth: bits a sample, None for those of the input.
        strength: as in ``load``.
        codec, preset, trim, preview: of videos, as in ``Settings``.
    """

    paths: tuple[Path, ...]
    scale: float | None
    width: int | None
    height: int | None
    max_size: int | None
    out: tuple[Path, ...]
    model: tuple[str, ...]
    strength: float | None
    left: str | None
    right: str | None
    layout: Layout | Literal["auto"]
    out_layout: Layout | Literal["same"]
    swap: bool
    rectify: Rectify
    keep_geometry: bool
    tile: tuple[int, int] | None
    overlap: int | None
    max_memory: int | None
    max_disparity: int | None
    backend: str
    gpu: int | None
    precision: str
    ensemble: bool
    threads: int | None
    file_format: str | None
    quality: int | None
    suffix: str | None
    depth: int | None
    codec: str | None
    preset: str | None
    trim: tuple[float, float | None] | None
    preview: int | None
    overwrite: bool
    resume: bool
    shard: tuple[int, int] | None
    cluster: str | None
    fail_fast: bool
    dry_run: bool
    as_json: bool
    quiet: bool
    html: Path | None


def upscale(options: UpscaleOptions) -> int:
    """Do what the options ask for; gives the exit code."""
    if options.quiet:
        logging.getLogger("stereosr").setLevel(logging.ERROR)
    size = OutputSize(scale=options.scale, width=options.width, height=options.height, largest=options.max_size)
    if options.cluster is not None:
        need("ray", extra="ray")
        if options.shard:
            raise UsageError("--cluster and --shard are two ways to share a folder: pass one")
    scale = _largest_scale(options, size)
    backend, digest = _opened(options, scale)
    with backend:
        inputs = _collect(options, _suffix(options, backend.spec.scale))
        if not options.quiet:
            for line in inputs.left_out:
                click.echo(line, err=True)
        if not inputs.items:
            raise UsageError("no stereo pair found: see 'How pairs are found' in docs/folders.md, or use -l and -r")
        if options.shard:
            part, parts = options.shard
            inputs = replace(inputs, items=tuple(item for item in inputs.items if _shard_of(item, parts) == part))
        if not inputs.items:
            return 0  # of a shard
        if size.scale == backend.spec.scale:
            size = replace(size, scale=None)
        settings = replace(_settings(options, digest), size=size)
        if options.dry_run:
            dry_run(inputs.items, backend, settings, as_json=options.as_json, quiet=options.quiet)
            return 0
        _check_page(options)
        _run(inputs, backend, settings, options, scale)
    return 0


def _largest_scale(options: UpscaleOptions, size: OutputSize) -> float | None:
    """The scale that is needed at least; where a width or a height is asked for, the first pair decides."""
    if options.width is None and options.height is None:
        return options.scale
    for item in _collect(options, _suffix(options, 0)).items:
        if detect_by_name(item.sources[0]).kind != "video":
            left, _ = read_pair(item.sources, item.layout, item.decoded)
            height, width = left.pixels.shape[:2]
            return size.factor(height, width, 1)
    return None


def _opened(options: UpscaleOptions, scale: float | None) -> tuple[Backend, str]:
    """What runs the model or models, and the sha256 of their files; for a scale, or the next larger one there is."""
    run = partial(load, backend=options.backend, precision=options.precision, gpu=options.gpu, threads=options.threads)
    models = options.model or (AUTO,)
    first, second = steps_of(models, scale)
    if options.strength is not None:
        if len(models) > 1:
            raise UsageError("--strength is of one model: pass one -n, or leave it out")
        opened = [run(named(models[0], first), first, strength=options.strength)]
    elif AUTO in models:
        if len(models) > 1:
            raise UsageError("-n auto is one of two engines for each pair: pass it alone, or two names to average")
        return load_auto(
            first,
            backend=options.backend,
            precision=options.precision,
            gpu=options.gpu,
            threads=options.threads,
            ensemble=options.ensemble,
            second=second,
        )
    else:
        opened = [run(model, first) for model in models]
    backend = _mean([b for b, _ in opened])
    if second is not None:
        behind = [run(named(model, second), second) for model in models]
        backend = Cascade(backend, _mean([b for b, _ in behind]))
        opened += behind
    return SelfEnsemble(backend) if options.ensemble else backend, " ".join(digest for _, digest in opened)


def _opened_on_node(options: UpscaleOptions, scale: float | None, threads: int) -> tuple[Backend, str]:
    """As ``_opened``, by a worker of a cluster, which has its GPU to itself."""
    return _opened(replace(options, threads=threads, gpu=None if options.gpu is None else 0), scale)


def _mean(backends: list[Backend]) -> Backend:
    return ModelEnsemble(backends) if len(backends) > 1 else backends[0]


def _title(options: UpscaleOptions, backend: Backend) -> str:
    """What the results are of, all of them."""
    return f"{AUTO} x{backend.spec.scale}" if _is_auto(options) else backend.spec.title


def _is_auto(options: UpscaleOptions) -> bool:
    return options.strength is None and options.model in ((), (AUTO,))


def _suffix(options: UpscaleOptions, scale: int) -> str:
    """What is put behind names: that which was asked for, or the size."""
    if options.suffix is not None:
        return options.suffix
    if options.width or options.height:
        return "".join(f"_{letter}{side}" for letter, side in (("w", options.width), ("h", options.height)) if side)
    return f"_x{options.scale or scale:g}"


def _collect(options: UpscaleOptions, suffix: str) -> Inputs:
    files = tuple(path for path in options.out if is_file_name(path))
    if options.out and len(options.out) != (len(files) or 1):
        raise UsageError("give -o once for a folder, or -o left.png -o right.png for two files")
    naming = Naming(
        out=None if files or not options.out else options.out[0],
        files=files,
        suffix=suffix,
        format=f".{options.file_format}" if options.file_format else None,
        layout=None if options.out_layout == "same" else options.out_layout,
        codec=options.codec,
    )
    if (options.left is None) != (options.right is None):
        raise UsageError("-l and -r go together: give both")
    if options.left is None or options.right is None:
        return collect(options.paths, naming, None if options.layout == "auto" else options.layout)
    if options.paths:
        raise UsageError(f"{options.paths[0]} and -l contradict each other: give paths, or -l and -r")
    return collect_lists(options.left, options.right, naming)


def _settings(options: UpscaleOptions, digest: str) -> Settings:
    return Settings(
        model=digest,
        ensemble=options.ensemble,
        auto=_is_auto(options),
        swap=options.swap,
        rectify=options.rectify,
        keep_geometry=options.keep_geometry,
        overwrite=options.overwrite,
        depth=options.depth,
        quality=options.quality,
        codec=options.codec,
        preset=options.preset,
        trim=options.trim,
        preview=options.preview,
        tiles=TileSettings(
            tile=options.tile,
            overlap=options.overlap,
            max_memory=options.max_memory,
            max_disparity=options.max_disparity,
        ),
    )


def _shard_of(item: Item, count: int) -> int:
    """Which part an item belongs to, from 1; by its name alone, so that a folder that grows moves none."""
    return int.from_bytes(hashlib.sha256(item.name.encode(errors="surrogateescape")).digest()[:8]) % count + 1


def _check_page(options: UpscaleOptions) -> None:
    """Before the work, not after it."""
    if options.html:
        if options.out_layout in ("anaglyph", "wiggle"):
            kind = "red-cyan" if options.out_layout == "anaglyph" else "animated"
            raise UsageError(f"--html shows both views, which {kind} files no longer hold: leave one of the two out")
        if options.html.exists() and not options.overwrite:
            raise UsageError(f"{options.html} exists: pass --overwrite, or another name")
        check_writable(options.html.absolute().parent)


def _show(page: Results, result: Result, swap: bool) -> None:
    """Put a pair of pictures onto the page, as it was and as it is written; videos are not shown."""
    item = result.item
    if result.status != "failed" and not result.frames:
        lr = read_pair(item.sources, item.layout if len(item.sources) == 1 else "auto")
        sr = read_pair(item.targets, item.out_layout if len(item.targets) == 1 else "auto")
        if swap and len(item.targets) == 1:
            lr = lr[::-1]
        page.add(item.name, (lr[0].pixels, lr[1].pixels), (sr[0].pixels, sr[1].pixels))


def _results(
    items: tuple[Item, ...],
    backend: Backend,
    settings: Settings,
    options: UpscaleOptions,
    scale: float | None,
    progress: Progress,
) -> Iterator[Result]:
    """What becomes of the items, here or on a cluster, as it happens."""
    manifest = None if options.preview else _manifest(options, items)
    if options.cluster is None:
        return run(items, backend, settings, manifest, progress.plan, progress.tile)
    backend.close()  # workers open their own
    kinds = [kind for kind in available_backends() if options.backend in ("auto", kind.name)]
    where = cluster.Cluster(
        address=options.cluster,
        gpu=options.gpu is not None and any(kind.on_gpu for kind in kinds),
        threads=options.threads,
    )
    opener = partial(cluster.open_job, partial(_opened_on_node, options, scale), settings)
    return cluster.run(items, opener, manifest, where)


def _run(inputs: Inputs, backend: Backend, settings: Settings, options: UpscaleOptions, scale: float | None) -> None:
    items, failed, cut, page = inputs.items, [], [], Results(_title(options, backend))
    with Progress(len(items), shown=not options.quiet and not options.as_json) as progress:
        for result in _results(items, backend, settings, options, scale, progress):
            progress.item_done()
            if options.as_json:
                click.echo(json.dumps(_json_line(result, backend)))
            if result.missing:
                cut.append(f"{result.item.name} lacks {result.missing} frames that could not be read")
            if result.error is None:
                if options.html and not page.full:
                    try:
                        _show(page, result, options.swap)
                    except Exception as error:  # the pair itself is done
                        progress.say(f"warning: {result.item.name} is not on the page: {error}")
                if not (options.quiet or options.as_json):
                    _report(result, backend, progress)
                continue
            failed.append(result)
            if len(items) == 1 and not inputs.left_out:
                raise result.error
            progress.say(f"failed: {result.item.name}: {with_flags(result.error)}")
            if options.fail_fast:
                break
    if options.html:
        page.write(options.html)
    if failed:
        names = ", ".join(result.item.name for result in failed)
        raise SomeItemsFailed("; ".join([f"{len(failed)} of {len(items)} pairs failed: {names}", *cut]))
    if cut:
        raise SomeItemsFailed("; ".join(cut))


def _manifest(options: UpscaleOptions, items: tuple[Item, ...]) -> Path | None:
    """Where a job of folders, or one that is to be resumed, remembers what it did."""
    if options.resume or options.left is not None or any(path.is_dir() for path in options.paths):
        out = options.out[0] if options.out and not is_file_name(options.out[0]) else None
        return (out or items[0].targets[0].parent) / manifest_name(options.shard)
    return None


def _report(result: Result, backend: Backend, progress: Progress) -> None:
    """What ran, for people, on stderr. JSON lines have all of this too."""
    for warning in result.warnings:
        progress.say(f"warning: {result.item.name}: {warning}")
    targets = ", ".join(map(str, result.item.targets))
    if result.status == "skipped":
        progress.say(f"{targets}: done before")
        return
    tiles = "1 tile" if result.tiles == 1 else f"{result.tiles} tiles"
    if result.frames:
        tiles += f" · {result.frames} frames · {result.frames / result.seconds:.2f} frames/s"
    why = f" ({result.choice})" if result.choice else ""
    title = f"{result.model} x{backend.spec.scale}{why}"
    seconds = f"{result.seconds:.1f} s"
    progress.say(f"{targets}: {' · '.join([title, result.device, result.precision, tiles, seconds])}")


def _json_line(result: Result, backend: Backend) -> dict[str, Any]:
    return {
        "name": result.item.name,
        "status": result.status,
        "error": with_flags(result.error) if result.error else None,
        "input": [str(p) for p in result.item.sources],
        "output": [str(p) for p in result.item.targets],
        "size": list(result.size),
        "output_size": list(result.output_size),
        "model": result.model,
        "choice": result.choice or None,
        "scale": backend.spec.scale,
        "precision": result.precision,
        "device": result.device,
        "tiles": result.tiles,
        "frames": result.frames,
        "missing_frames": result.missing,
        "seconds": round(result.seconds, 3),
        "peak_memory": result.peak_memory,
        "alignment": result.alignment,
        "apart": result.apart,
        "shots": result.shots,
        "warnings": result.warnings,
    }
