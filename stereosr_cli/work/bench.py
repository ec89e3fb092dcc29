"""``stereosr bench``, behind its options: open the models, measure what is missing, show it, compare it."""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click
from PIL import features
from rich.console import Console

from stereosr.backends.base import RunOptions
from stereosr.errors import SomeItemsFailed, StereosrError, UsageError
from stereosr.evaluation.bench import (
    BICUBIC,
    Bicubic,
    Log,
    Method,
    Model,
    Summary,
    describe,
    measure_latency,
    measure_quality,
    open_models,
    read_log,
    regressions,
    summarise,
)
from stereosr.evaluation.datasets import Dataset, Scene, open_dataset
from stereosr.evaluation.degrade import CLEAN, recipe_steps
from stereosr.evaluation.single_view import SingleView
from stereosr.evaluation.timing import run_command
from stereosr.io.encode import write_picture
from stereosr.io.images import Picture
from stereosr.models.library import BUNDLED, available_models, default_model, find_model
from stereosr.models.spec import ModelSpec, read_spec
from stereosr.system import cache_dir, default_threads, machine
from stereosr_cli.extras import need
from stereosr_cli.flags import with_flags
from stereosr_cli.progress import Steps
from stereosr_cli.report import tables
from stereosr_cli.report.page import write_page
from stereosr_cli.report.plot import write_plot
from stereosr_cli.report.published import published

STARTS = 3
"""How many times, at most, the command is started to see how long the first picture takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """The options of the command, by their names.

    Attributes:
        models: names or files; empty for all that are here.
        backends: empty for all that ``auto`` may take here.
        single_view: ONNX files of single-view networks.
        white: in what those take and give.
        degrade: recipes of ``stereosr.evaluation.degrade.corrupt`` for LR.
        only: None for both.
        style: what is printed: the name of a function of ``tables``, None for tables in the terminal.
    """

    dataset: Path | None
    scale: int | None
    models: tuple[str, ...]
    backends: tuple[str, ...]
    ensemble: bool
    single_view: tuple[Path, ...]
    white: Literal[1, 255]
    degrade: tuple[str, ...]
    threads: int | None
    only: Literal["quality", "speed"] | None
    rounds: int
    out: Path | None
    style: Literal["markdown", "comma_separated", "json_lines"] | None
    plot: Path | None
    html: Path | None
    overwrite: bool
    check: Path | None
    slowdown: float


def bench(options: BenchOptions) -> int:
    """Do what the options ask for; gives the exit code."""
    recipes = tuple(dict.fromkeys(options.degrade))
    for recipe in recipes:
        recipe_steps(recipe)
    if options.plot:
        need("matplotlib", extra="bench")
    _refuse_existing(options)
    scale = 4 if options.scale is None else options.scale
    data = open_dataset(options.dataset or BUNDLED / "examples", scale)
    with ExitStack() as opened:
        methods, problems = _methods(options, scale, opened)
        problems = [*data.problems, *problems]
        for line in problems:
            click.echo(f"left out: {line}", err=True)
        before = _results(options.check, data) if options.check else []
        log = _log(options.out, data)
        describe(methods, log)
        problems += _measure(methods, data, log, recipes, options)
        summaries = summarise(log.records, scale, [m.row.key for m in methods], recipes)
        _show(summaries, data, options)
        _draw(summaries, data, methods, recipes, options)
    if options.out is None:
        log.path.unlink(missing_ok=True)
    worse = regressions(summaries, before, options.slowdown)
    for line in worse:
        click.echo(f"worse: {line}", err=True)
    if problems:
        raise SomeItemsFailed(f"{len(problems)} left out: " + "; ".join(problems))
    return 1 if worse else 0


def _methods(options: BenchOptions, scale: int, opened: ExitStack) -> tuple[list[Method], list[str]]:
    """Bicubic, every model on every backend, single-view networks; a line for each model that cannot be opened."""
    have = {path: spec for path, spec in available_models().items() if spec.scale == scale}
    wanted = options.models or sorted({spec.name for spec in have.values()}) or [default_model(scale)]
    files: dict[Path, ModelSpec] = {}
    for name in wanted:
        named = {path: spec for path, spec in have.items() if spec.name == name}
        if not named and name != BICUBIC:  # which is always there
            path = find_model(name, scale)  # its error lists the models there are
            named = {path: read_spec(path)}
        files |= named
    methods: list[Method] = [Bicubic(scale)]
    problems = []
    run_options = RunOptions(threads=options.threads)
    for model in open_models(files, options.backends, options.ensemble, run_options, opened):
        if isinstance(model, StereosrError):
            if options.backends:
                raise model
            problems.append(str(model))
        else:
            methods.append(model)
    for file in options.single_view:
        methods.append(opened.enter_context(closing(SingleView(file, scale, options.white, run_options))))
    return methods, problems


def _log(out: Path | None, data: Dataset) -> Log:
    """The file of records; without ``--out`` one in the user's cache that lives until the run is finished."""
    log = Log(out or cache_dir() / "bench" / f"{data.digest[:16]}_x{data.scale}.jsonl")
    earlier = log.find("run")
    if earlier:
        _check_same_pictures(earlier[-1], data, log.path)
        if out is None:
            click.echo("resuming a run that was stopped", err=True)
    log.add(
        "run",
        dataset=data.name,
        benchmark=data.benchmark,
        digest=data.digest,
        about=data.about,
        scenes=len(data.scenes),
        scale=data.scale,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        jpeg=_jpeg_library(),
        **machine(),
    )
    return log


def _jpeg_library() -> str:
    """What JPEG's bits depend on: ``libjpeg-turbo 3.1.2``."""
    turbo = features.version("libjpeg_turbo")
    return f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}"


def _check_same_pictures(run: dict[str, Any], data: Dataset, path: Path) -> None:
    if (run["digest"], run["scale"]) != (data.digest, data.scale):
        raise UsageError(
            f"{path} is of {run['dataset']} x{run['scale']} ({run['scenes']} scenes), "
            f"not of {data.name} x{data.scale} ({len(data.scenes)} scenes): give another file"
        )


def _results(path: Path, data: Dataset) -> list[Summary]:
    records = read_log(path)
    _check_same_pictures([r for r in records if r["kind"] == "run"][-1], data, path)
    return summarise(records, data.scale)


def _measure(
    methods: Sequence[Method], data: Dataset, log: Log, recipes: Sequence[str], options: BenchOptions
) -> list[str]:
    """Fill the log; gives a line for each measurement that failed."""
    failed: list[str] = []
    with Steps() as steps:
        for error in _measurements(methods, data, log, recipes, steps, options):
            line = with_flags(error)
            click.echo(f"failed: {line}", err=True)
            failed.append(line)
    return failed


def _measurements(
    methods: Sequence[Method], data: Dataset, log: Log, recipes: Sequence[str], steps: Steps, options: BenchOptions
) -> Iterator[StereosrError]:
    if options.only != "speed":
        steps.begin(len(methods) * len(data.scenes) * len(recipes))
        yield from measure_quality(methods, data, log, recipes, steps.step)
    if options.only != "quality":
        scene, where = data.scenes[0], _where(options)
        steps.begin(len(methods) * (2 + options.rounds))
        yield from measure_latency(methods, scene, options.rounds, where, log, steps.step)
        for method in methods:
            steps.step(f"first picture · {method.row.title}")
            try:
                _measure_start(method, scene, where, log, options)
            except StereosrError as error:
                yield StereosrError(f"first picture: {method.row.label}: {error}", settings=error.settings)


def _where(options: BenchOptions) -> str:
    """What a latency depends on besides the row and the size."""
    found = machine()
    threads = options.threads or default_threads()
    return f"{found['cpu']}, {threads} thread{'s' * (threads > 1)}" + (f", {found['gpu']}" if found["gpu"] else "")


def _measure_start(method: Method, scene: Scene, where: str, log: Log, options: BenchOptions) -> None:
    """Time the whole of ``stereosr upscale``, from the start of the process to the written pictures."""
    mark = {"row": method.row.key, "size": list(scene.size), "where": where}
    missing = min(STARTS, options.rounds) - len(log.find("start", **mark))
    if missing <= 0 or not isinstance(method, Model):
        return
    with tempfile.TemporaryDirectory() as folder:
        pictures = [Path(folder, f"{side}.png") for side in ("left", "right")]
        for path, view in zip(pictures, scene.views()[1], strict=True):
            write_picture(path, Picture(view))
        line = [sys.executable, "-m", "stereosr_cli", "upscale", *map(str, pictures), "-n", str(method.file.absolute())]
        line += ["-b", method.row.backend, "--overwrite", "--json"] + ["-x"] * method.row.ensemble
        line += ["--threads", str(options.threads)] if options.threads else []
        for _ in range(missing):
            took, said = run_command(line)
            log.add("start", **mark, seconds=took, memory=json.loads(said)["peak_memory"])


def _show(summaries: Sequence[Summary], data: Dataset, options: BenchOptions) -> None:
    if options.style:
        click.echo(getattr(tables, options.style)(summaries))
        return
    console = Console()
    console.width = max(console.width, 100)
    for line in headlines(summaries, data):
        console.print(line, highlight=False)
    for table in tables.rich_tables(summaries):
        console.print()
        console.print(table)


def _refuse_existing(options: BenchOptions) -> None:
    """Before hours of measuring, not after them."""
    for path in (options.plot, options.html):
        if path and path.exists() and not options.overwrite:
            raise UsageError(f"{path} exists: pass --overwrite, or another name")


def _draw(
    summaries: Sequence[Summary],
    data: Dataset,
    methods: Sequence[Method],
    recipes: Sequence[str],
    options: BenchOptions,
) -> None:
    """The plot and the page, if asked for."""
    title = f"{data.name} x{data.scale}"
    if options.plot:
        write_plot(options.plot, summaries, title, data.benchmark, data.scale)
    if options.html:
        write_page(options.html, title, headlines(summaries, data), summaries, methods, data.scenes, recipes)


def headlines(summaries: Sequence[Summary], data: Dataset) -> list[str]:
    """What the numbers are of, a line each."""
    given = sum(scene.lr is not None for scene in data.scenes)
    faithful = sum(scene.faithful for scene in data.scenes)
    lr = (
        "made by MATLAB's imresize"
        if not given
        else f"as given, {faithful} of {given} equal to MATLAB's imresize of HR"
    )
    number = f"{len(data.scenes)} scene{'s' * (len(data.scenes) > 1)}"
    lines = [f"{data.name} x{data.scale}: {number}, {data.about}; sha256 {data.digest[:16]}", f"LR {lr}"]
    if any(s.recipe != CLEAN for s in summaries):
        lines.append(f"then degraded as the table says, JPEG by {_jpeg_library()}; latency is of clean LR")
    lines += _against_published(summaries, data)
    timed = next((s for s in summaries if s.runs), None)
    if timed:
        lines.append(f"latency of {timed.where}; median of {timed.runs} in turn after a warm-up")
    return lines


def _against_published(summaries: Sequence[Summary], data: Dataset) -> list[str]:
    """Bicubic is the proof that pictures and protocol are those of the published tables."""
    ours = next((s.psnr_avg for s in summaries if s.row.model == BICUBIC and s.recipe == CLEAN), None)
    theirs = next((r.psnr_avg for r in published(data.benchmark, data.scale) if r.method == BICUBIC), None)
    if ours is None or theirs is None:
        return []
    if round(abs(ours - theirs), 3) <= 0.01:
        return [f"bicubic {ours:.2f} dB avg as published ({theirs:.2f}): these numbers compare with the papers'"]
    return [f"bicubic is {ours:.2f} dB avg where {theirs:.2f} is published: other pictures, or another LR"]
