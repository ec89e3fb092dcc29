"""``stereosr bench``: runtime against PSNR."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stereosr_cli import options
from stereosr_cli.extras import need

if TYPE_CHECKING:
    from stereosr.evaluation.bench import Log, Method, Summary
    from stereosr.evaluation.datasets import Dataset, Scene
    from stereosr.models.spec import ModelSpec
    from stereosr_cli.progress import Steps

STARTS = 3
"""Times, at most, that the command is started to see how long the first picture takes."""


@click.command()
@click.argument("dataset", required=False, type=click.Path(path_type=Path))
@options.scale()
@click.option("-n", "--models", multiple=True, help="Name or file; may be repeated.  [default: all that are here]")
@click.option("-b", "--backends", multiple=True, help="May be repeated.  [default: all that work here]")
@click.option("-x", "--ensemble", is_flag=True, help="Each model with its self-ensemble, too.")
@options.threads
@click.option("--only", type=click.Choice(["quality", "speed"]), help="Measure just this.  [default: both]")
@click.option("--rounds", type=click.IntRange(1), default=10, show_default=True, help="Runs that latencies are of.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Keep every measurement in this .jsonl file, and go on from it.",
)
@click.option("--md", "style", flag_value="markdown", help="Print Markdown.")
@click.option("--csv", "style", flag_value="comma_separated", help="Print comma-separated values.")
@click.option("--json", "style", flag_value="json_lines", help="Print one JSON line a row.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Draw PSNR against latency and parameters: png, svg, pdf."
)
@click.option(
    "--html", type=click.Path(path_type=Path), help="Write one page with pictures to compare, for any browser."
)
@click.option("--overwrite", is_flag=True, help="Write over an existing plot or page.")
@click.option("--check", type=click.Path(path_type=Path), help="Compare with such a .jsonl file; end with 1 if worse.")
@click.option(
    "--slowdown",
    type=click.FloatRange(1),
    default=1.5,
    show_default=True,
    help="For --check: how many times as much of bicubic's time a row may take.",
)
def command(dataset: Path | None, **chosen: Any) -> int:
    """Measure quality and speed of models.

    Quality is by the field's protocol; depth that is kept is measured, too. DATASET is a folder such as
    hr/<scene>/hr0.png with lr_x4/<scene>/lr0.png, of a_L.png and a_R.png, or as KITTI and Middlebury are downloaded;
    without it, the bundled example is taken. A run that was stopped goes on where it was.
    """
    from stereosr.errors import SomeItemsFailed
    from stereosr.evaluation.bench import describe, regressions, summarise
    from stereosr.evaluation.datasets import open_dataset
    from stereosr.models.library import BUNDLED

    scale = chosen["scale"] or 4
    if chosen["plot"]:
        need("matplotlib", extra="bench")
    _refuse_existing(chosen)
    data = open_dataset(dataset or BUNDLED / "examples", scale)
    methods, problems = _methods(chosen, scale)
    problems = [*data.problems, *problems]
    for line in problems:
        click.echo(f"left out: {line}", err=True)
    before = _results(chosen["check"], data) if chosen["check"] else []
    log = _log(chosen["out"], data)
    describe(methods, log)
    problems += _measure(methods, data, log, chosen)
    summaries = summarise(log.records, scale, [m.row.key for m in methods])
    _show(summaries, data, chosen)
    _draw(summaries, data, methods, chosen)
    if chosen["out"] is None:
        log.path.unlink(missing_ok=True)
    worse = regressions(summaries, before, chosen["slowdown"])
    for line in worse:
        click.echo(f"worse: {line}", err=True)
    if problems:
        raise SomeItemsFailed(f"{len(problems)} left out: " + "; ".join(problems))
    return 1 if worse else 0


def _methods(chosen: dict[str, Any], scale: int) -> "tuple[list[Method], list[str]]":
    """Bicubic, then every model on every backend; a line for each that cannot be opened."""
    from stereosr.backends.base import RunOptions
    from stereosr.errors import StereosrError
    from stereosr.evaluation.bench import BICUBIC, Bicubic, open_models
    from stereosr.models.library import DEFAULT_MODEL, available_models, find_model
    from stereosr.models.spec import read_spec

    have = {path: spec for path, spec in available_models().items() if spec.scale == scale}
    wanted = chosen["models"] or sorted({spec.name for spec in have.values()}) or [DEFAULT_MODEL]
    files: dict[Path, ModelSpec] = {}
    for name in wanted:
        named = {path: spec for path, spec in have.items() if spec.name == name}
        if not named and name != BICUBIC:  # which is always there
            path = find_model(name, scale)  # says what there is
            named = {path: read_spec(path)}
        files |= named
    methods: list[Method] = [Bicubic(scale)]
    problems = []
    opened = click.get_current_context().with_resource(ExitStack())  # until the command ends
    options = RunOptions(threads=chosen["threads"])
    for model in open_models(files, chosen["backends"], chosen["ensemble"], options, opened):
        if isinstance(model, StereosrError):
            if chosen["backends"]:
                raise model
            problems.append(str(model))
        else:
            methods.append(model)
    return methods, problems


def _log(out: Path | None, data: "Dataset") -> "Log":
    """The file of records; without ``--out`` one in the user's cache that lives until the run is finished."""
    from datetime import UTC, datetime

    from stereosr.evaluation.bench import Log
    from stereosr.system import cache_dir, machine

    log = Log(out or cache_dir() / "bench" / f"{data.digest[:16]}_x{data.scale}.jsonl")
    earlier = log.find("run")
    if earlier:
        _same_pictures(earlier[-1], data, log.path)
        if out is None:
            click.echo("going on with a run that was stopped", err=True)
    log.add(
        "run",
        dataset=data.name,
        benchmark=data.benchmark,
        digest=data.digest,
        about=data.about,
        scenes=len(data.scenes),
        scale=data.scale,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        **machine(),
    )
    return log


def _same_pictures(run: dict[str, Any], data: "Dataset", path: Path) -> None:
    from stereosr.errors import UsageError

    if (run["digest"], run["scale"]) != (data.digest, data.scale):
        raise UsageError(
            f"{path} is of {run['dataset']} x{run['scale']} ({run['scenes']} scenes), "
            f"not of {data.name} x{data.scale} ({len(data.scenes)} scenes): give another file"
        )


def _results(path: Path, data: "Dataset") -> "list[Summary]":
    from stereosr.evaluation.bench import read_log, summarise

    records = read_log(path)
    _same_pictures([r for r in records if r["kind"] == "run"][-1], data, path)
    return summarise(records, data.scale)


def _measure(methods: "Sequence[Method]", data: "Dataset", log: "Log", chosen: dict[str, Any]) -> list[str]:
    """Fill the log; gives a line for what failed."""
    from stereosr_cli.progress import Steps

    failed: list[str] = []
    with Steps() as steps:
        for line in _measurements(methods, data, log, steps, chosen):
            click.echo(f"failed: {line}", err=True)
            failed.append(line)
    return failed


def _measurements(
    methods: "Sequence[Method]", data: "Dataset", log: "Log", steps: "Steps", chosen: dict[str, Any]
) -> Iterator[str]:
    from stereosr.errors import StereosrError
    from stereosr.evaluation.bench import measure_latency, measure_quality

    if chosen["only"] != "speed":
        steps.begin(len(methods) * len(data.scenes))
        yield from measure_quality(methods, data, log, steps.step)
    if chosen["only"] != "quality":
        scene, where = data.scenes[0], _where(chosen)
        steps.begin(len(methods) * (2 + chosen["rounds"]))
        yield from measure_latency(methods, scene, chosen["rounds"], where, log, steps.step)
        for method in methods:
            steps.step(f"first picture · {method.row.title}")
            try:
                _measure_start(method, scene, where, log, chosen)
            except StereosrError as error:
                yield f"first picture: {method.row.label}: {error}"


def _where(chosen: dict[str, Any]) -> str:
    """What a latency depends on besides the row and the size."""
    from stereosr.system import default_threads, machine

    found = machine()
    threads = chosen["threads"] or default_threads()
    return f"{found['cpu']}, {threads} thread{'s' * (threads > 1)}" + (f", {found['gpu']}" if found["gpu"] else "")


def _measure_start(method: "Method", scene: "Scene", where: str, log: "Log", chosen: dict[str, Any]) -> None:
    """Time the whole of ``stereosr upscale``, from the start of the process to the written pictures."""
    import json
    import tempfile

    from stereosr.evaluation.bench import Model
    from stereosr.evaluation.timing import run_command
    from stereosr.io.encode import write_picture
    from stereosr.io.images import Picture

    mark = {"row": method.row.key, "size": list(scene.size), "where": where}
    missing = min(STARTS, chosen["rounds"]) - len(log.find("start", **mark))
    if missing <= 0 or not isinstance(method, Model):
        return
    with tempfile.TemporaryDirectory() as folder:
        pictures = [Path(folder, f"{side}.png") for side in ("left", "right")]
        for path, view in zip(pictures, scene.views()[1], strict=True):
            write_picture(path, Picture(view))
        line = [sys.executable, "-m", "stereosr_cli", "upscale", *map(str, pictures), "-n", str(method.file.absolute())]
        line += ["-b", method.row.backend, "--overwrite", "--json"] + ["-x"] * method.row.ensemble
        line += ["--threads", str(chosen["threads"])] if chosen["threads"] else []
        for _ in range(missing):
            took, said = run_command(line)
            log.add("start", **mark, seconds=took, memory=json.loads(said)["peak_memory"])


def _show(summaries: "Sequence[Summary]", data: "Dataset", chosen: dict[str, Any]) -> None:
    from stereosr_cli.report import tables

    if chosen["style"]:
        click.echo(getattr(tables, chosen["style"])(summaries))
        return
    from rich.console import Console

    console = Console()
    console.width = max(console.width, 100)
    for line in headlines(summaries, data):
        console.print(line, highlight=False)
    for table in tables.rich_tables(summaries):
        console.print()
        console.print(table)


def _refuse_existing(chosen: dict[str, Any]) -> None:
    """Before hours of measuring, not after them."""
    from stereosr.errors import UsageError

    for path in (chosen["plot"], chosen["html"]):
        if path and path.exists() and not chosen["overwrite"]:
            raise UsageError(f"{path} exists: pass --overwrite, or another name")


def _draw(summaries: "Sequence[Summary]", data: "Dataset", methods: "Sequence[Method]", chosen: dict[str, Any]) -> None:
    """The plot and the page, if asked for."""
    title, about = f"{data.name} x{data.scale}", headlines(summaries, data)
    if chosen["plot"]:
        from stereosr_cli.report.plot import write_plot

        write_plot(chosen["plot"], summaries, title, data.benchmark, data.scale)
    if chosen["html"]:
        from stereosr_cli.report.page import write_page

        write_page(chosen["html"], title, about, summaries, methods, data.scenes, lambda _text: None)


def headlines(summaries: "Sequence[Summary]", data: "Dataset") -> list[str]:
    """What the numbers are of."""
    given = sum(scene.lr is not None for scene in data.scenes)
    faithful = sum(scene.faithful for scene in data.scenes)
    lr = (
        "made by MATLAB's imresize"
        if not given
        else f"as given, {faithful} of {given} equal to MATLAB's imresize of HR"
    )
    number = f"{len(data.scenes)} scene{'s' * (len(data.scenes) > 1)}"
    lines = [f"{data.name} x{data.scale}: {number}, {data.about}; sha256 {data.digest[:16]}", f"LR {lr}"]
    lines += _against_published(summaries, data)
    timed = next((s for s in summaries if s.runs), None)
    if timed:
        lines.append(f"latency of {timed.where}; median of {timed.runs} in turn after a warm-up")
    return lines


def _against_published(summaries: "Sequence[Summary]", data: "Dataset") -> list[str]:
    """Bicubic is the proof that pictures and protocol are those of the published tables."""
    from stereosr.evaluation.bench import BICUBIC
    from stereosr_cli.report.published import published

    ours = next((s.psnr_avg for s in summaries if s.row.model == BICUBIC), None)
    theirs = next((r.psnr_avg for r in published(data.benchmark, data.scale) if r.method == BICUBIC), None)
    if ours is None or theirs is None:
        return []
    if round(abs(ours - theirs), 3) <= 0.01:
        return [f"bicubic {ours:.2f} dB avg as published ({theirs:.2f}): these numbers compare with the papers'"]
    return [f"bicubic is {ours:.2f} dB avg where {theirs:.2f} is published: other pictures, or another LR"]
