"""``stereosr upscale``: pairs, stereo files and folders made larger."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stereosr_cli import options

if TYPE_CHECKING:
    from stereosr.backends.base import Backend, BackendInfo
    from stereosr.batch.inputs import Inputs
    from stereosr.batch.item import Item, Result
    from stereosr.batch.job import Settings


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="LEFT RIGHT | PATH...")
@options.scale()
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder for the results.  [default: beside the input]"
)
@click.option(
    "-n", "--model", multiple=True, help="Name, .onnx or .engine file; several are averaged.  [default: nafssr-t]"
)
@click.option("-l", "--left", help="Folder or glob of the left views; needs -r and -o.")
@click.option("-r", "--right", help="Folder or glob of the right views.")
@options.layout
@click.option(
    "--out-layout",
    type=click.Choice(["same", *options.LAYOUTS, "anaglyph"]),
    default="same",
    show_default=True,
    help="What is written.",
)
@click.option(
    "--swap",
    is_flag=True,
    help="Left is right: exchange the views before anything else. Of two files each keeps its name.",
)
@click.option("--rectify", is_flag=True, help="Undo a small vertical offset or turn of the right view first.")
@click.option(
    "-t",
    "--tile",
    type=options.Tile(),
    default="auto",
    help="auto, none, N rows, or HxW, in LR pixels.  [default: auto]",
)
@click.option("--overlap", type=click.IntRange(0), help="LR rows that tiles share.  [default: the model's own]")
@click.option(
    "--max-memory", type=options.Size(), help="For one tile's work, e.g. 2G.  [default: half of what is free]"
)
@click.option(
    "--max-disparity",
    type=click.IntRange(0),
    help="In LR pixels, if the width is split.  [default: as the pair shows]",
)
@options.backend
@click.option("-g", "--gpu", type=options.Gpu(), default=0, help="Number of the card; cpu to use none.  [default: 0]")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp16", "fp32"]),
    default="auto",
    help="Of the model file.  [default: auto]",
)
@click.option(
    "-x",
    "--ensemble",
    is_flag=True,
    help="Self-ensemble: the mean over four flips; four times the work, a little better.",
)
@options.threads
@click.option(
    "-f",
    "--format",
    "file_format",
    type=click.Choice(["png", "jpg", "webp", "tiff", "bmp"]),
    help="Of the files written.  [default: as read]",
)
@click.option(
    "-q",
    "--quality",
    type=click.IntRange(1, 100),
    help="Of JPEG and WebP files, and videos.",
)
@click.option("--suffix", help="Put behind the file's name.  [default: _x4 or _x2]")
@click.option(
    "--depth",
    type=click.Choice(["auto", "8", "16"]),
    default="auto",
    help="Bits a sample of the files written.  [default: auto, as read]",
)
@click.option("--overwrite", is_flag=True, help="Write over existing files.")
@click.option("--resume", is_flag=True, help="Skip what an earlier run finished; always so for folders.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first pair that fails.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line a pair on stdout.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def command(paths: tuple[Path, ...], **chosen: Any) -> int:
    """Make stereo pairs larger and sharper.

    LEFT RIGHT gives left_x4.png and right_x4.png beside the input. PATH may also be a folder of pairs (with -o), an
    .mpo or .jps photograph, or a side-by-side or over-under picture or video.

    Ends with 0 if all is done, 1 for a failure, 2 for wrong usage, 3 if some failed, 4 if the backend asked for cannot
    be used, 5 if the smallest tile does not fit into memory, 130 if interrupted.
    """
    from stereosr.backends.registry import select
    from stereosr.inference.ensemble import ModelEnsemble, SelfEnsemble
    from stereosr.models.library import spec_of_file

    chosen["backend"] = _backend(chosen)
    files = [_find_model(name, chosen, select(chosen["backend"], suffix)) for name, suffix in _models(chosen)]
    inputs = _collect(paths, chosen, spec_of_file(files[0]).scale)
    for line in inputs.left_out:
        click.echo(line, err=True)
    if chosen["dry_run"]:
        for item in inputs.items:
            click.echo(" + ".join(map(str, item.sources)) + " -> " + " + ".join(map(str, item.targets)))
        return 0
    opened, files = _open_models(chosen)
    backend: Backend = ModelEnsemble(opened) if len(opened) > 1 else opened[0]
    if chosen["ensemble"]:
        backend = SelfEnsemble(backend)
    try:
        return _run(
            inputs, backend, _settings(chosen, files), chosen, resume=chosen["resume"] or _is_folder(paths, chosen)
        )
    finally:
        backend.close()


def _backend(chosen: dict[str, Any]) -> str:
    """What -b and -g ask for together."""
    from stereosr.backends.registry import available_backends
    from stereosr.errors import UsageError

    requested, on_cpu = chosen["backend"], next(kind.name for kind in available_backends() if not kind.on_gpu)
    if chosen["gpu"] is not None:
        return str(requested)
    if requested not in ("auto", on_cpu):
        raise UsageError(f"-g cpu and -b {requested} contradict each other: leave one out")
    return on_cpu


def _models(chosen: dict[str, Any]) -> list[tuple[str, str]]:
    """The models asked for, by name or path, each with the suffix of its file."""
    from stereosr.models.engine_file import SUFFIX
    from stereosr.models.library import DEFAULT_MODEL

    return [(name, SUFFIX if name.endswith(SUFFIX) else ".onnx") for name in chosen["model"] or (DEFAULT_MODEL,)]


def _find_model(name: str, chosen: dict[str, Any], kind: "BackendInfo") -> Path:
    """The file of a model, of the precision that was asked for, or that suits the backend."""
    from stereosr.errors import UsageError
    from stereosr.models.library import find_model, spec_of_file

    asked = chosen["precision"]
    file = find_model(name, chosen["scale"], kind.precisions if asked == "auto" else (asked,))
    precision = spec_of_file(file).precision
    if asked not in ("auto", precision):
        raise UsageError(f"{file} is {precision}: leave --precision out, or pass another file")
    return file


def _open_models(chosen: dict[str, Any]) -> "tuple[list[Backend], list[Path]]":
    """The models, and the files that they are of."""
    from functools import partial

    from stereosr.backends.base import RunOptions
    from stereosr.backends.registry import open_model

    def say(line: str) -> None:
        if not chosen["quiet"]:
            click.echo(line, err=True)

    options = RunOptions(chosen["threads"], chosen["gpu"] or 0)
    opened, files = [], []
    for name, suffix in _models(chosen):
        backend, file, choice = open_model(partial(_find_model, name, chosen), suffix, chosen["backend"], options)
        opened.append(backend)
        files.append(file)
    if choice.stepped_down:
        say(f"{choice.name} is used; not {'; not '.join(choice.stepped_down)}")
    return opened, files


def _collect(paths: tuple[Path, ...], chosen: dict[str, Any], scale: int) -> "Inputs":
    from stereosr.batch.inputs import Naming, collect, collect_lists
    from stereosr.errors import UsageError

    naming = Naming(
        out=chosen["out"],
        suffix=f"_x{scale}" if chosen["suffix"] is None else chosen["suffix"],
        format=f".{chosen['file_format']}" if chosen["file_format"] else None,
        layout=None if chosen["out_layout"] == "same" else chosen["out_layout"],
    )
    if bool(chosen["left"]) != bool(chosen["right"]):
        raise UsageError("-l and -r go together: give both")
    if chosen["left"] and paths:
        raise UsageError(f"{paths[0]} and -l contradict each other: give paths, or -l and -r")
    if chosen["left"]:
        return collect_lists(chosen["left"], chosen["right"], naming)
    return collect(paths, naming, None if chosen["layout"] == "auto" else chosen["layout"])


def _is_folder(paths: tuple[Path, ...], chosen: dict[str, Any]) -> bool:
    return bool(chosen["left"]) or any(p.is_dir() for p in paths)


def _settings(chosen: dict[str, Any], files: list[Path]) -> "Settings":
    import hashlib

    from stereosr.batch.job import Settings
    from stereosr.inference.settings import TileSettings

    return Settings(
        model=" ".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files),
        ensemble=chosen["ensemble"],
        swap=chosen["swap"],
        rectify=chosen["rectify"],
        overwrite=chosen["overwrite"],
        depth=None if chosen["depth"] == "auto" else int(chosen["depth"]),
        quality=chosen["quality"],
        tiles=TileSettings(
            tile=chosen["tile"],
            overlap=chosen["overlap"],
            max_memory=chosen["max_memory"],
            max_disparity=chosen["max_disparity"],
        ),
    )


def _run(inputs: "Inputs", backend: "Backend", settings: "Settings", chosen: dict[str, Any], resume: bool) -> int:
    from stereosr.batch.job import run
    from stereosr.batch.manifest import MANIFEST
    from stereosr.errors import SomeItemsFailed, UsageError
    from stereosr_cli.progress import Progress

    if not inputs.items:
        raise UsageError("no stereo pair found: see 'How pairs are found' in the README, or use -l and -r")
    manifest = None
    if resume:
        manifest = (chosen["out"] or inputs.items[0].targets[0].parent) / MANIFEST
    failed = []
    with Progress(len(inputs.items), shown=not chosen["quiet"] and not chosen["as_json"]) as progress:
        for result in run(inputs.items, backend, settings, manifest, progress.plan, progress.tile):
            progress.item_done()
            _report(result, backend, chosen, alone=len(inputs.items) == 1)
            if result.error is not None:
                failed.append(result)
                if len(inputs.items) == 1 and not inputs.left_out:
                    raise result.error
                if chosen["fail_fast"]:
                    break
    if failed:
        raise SomeItemsFailed(
            f"{len(failed)} of {len(inputs.items)} pairs failed: " + ", ".join(r.item.name for r in failed)
        )
    return 0


def _report(result: "Result", backend: "Backend", chosen: dict[str, Any], alone: bool) -> None:
    """What ran, on stderr for people or on stdout for programs."""
    if chosen["as_json"]:
        click.echo(json.dumps(_json_line(result, backend)))
        if result.error is None:
            return
    if result.error is not None:
        if not alone:
            click.echo(f"failed: {result.item.name}: {result.error}", err=True)
        return
    for warning in result.warnings:
        click.echo(f"warning: {result.item.name}: {warning}", err=True)
    if chosen["quiet"]:
        return
    if result.status == "skipped":
        click.echo(f"{_targets(result.item)}: done before", err=True)
        return
    spec = backend.spec
    tiles = "1 tile" if result.tiles == 1 else f"{result.tiles} tiles"
    if result.frames:
        tiles += f" · {result.frames} frames · {result.frames / result.seconds:.2f} frames/s"
    what = f"{spec.title} · {backend.device} · {spec.precision} · {tiles} · {result.seconds:.1f} s"
    click.echo(f"{_targets(result.item)}: {what}", err=True)


def _targets(item: "Item") -> str:
    return ", ".join(map(str, item.targets))


def _json_line(result: "Result", backend: "Backend") -> dict[str, Any]:
    return {
        "name": result.item.name,
        "status": result.status,
        "error": str(result.error) if result.error else None,
        "input": [str(p) for p in result.item.sources],
        "output": [str(p) for p in result.item.targets],
        "size": list(result.size),
        "model": backend.spec.name,
        "scale": backend.spec.scale,
        "precision": backend.spec.precision,
        "device": backend.device,
        "tiles": result.tiles,
        "frames": result.frames,
        "seconds": round(result.seconds, 3),
        "peak_memory": result.peak_memory,
        "warnings": result.warnings,
    }
