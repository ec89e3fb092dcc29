"""``stereosr bench``: quality and speed of models."""

from pathlib import Path
from typing import Any

import click
import cloup

from stereosr_cli import options


@cloup.command()
@click.argument("dataset", required=False, type=click.Path(path_type=Path))
@cloup.option_group(
    "What is measured",
    options.scale(),
    click.option("-n", "--models", multiple=True, help="Name or file; may be repeated.  [default: all that are here]"),
    click.option("-b", "--backends", multiple=True, help="May be repeated.  [default: those of auto that work here]"),
    click.option("-x", "--ensemble", is_flag=True, help="Each model with its self-ensemble, too."),
    click.option(
        "--single-view",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Also this ONNX file of a single-view network, on each view by itself; may be repeated.",
    ),
    click.option(
        "--single-view-white",
        type=click.Choice(["1", "255"]),
        default="1",
        show_default=True,
        help="White in what --single-view files take and give.",
    ),
    click.option(
        "--degrade",
        default="clean",
        show_default=True,
        metavar="LIST",
        help="Degrade LR before the models see it: of clean, jpeg85, noise5, noise5+jpeg85 (any numbers), with commas.",
    ),
    click.option("--only", type=click.Choice(["quality", "speed"]), help="Measure just this.  [default: both]"),
    click.option(
        "--rounds", type=click.IntRange(1), default=10, show_default=True, help="Runs to take latencies from."
    ),
)
@cloup.option_group(
    "Machine",
    options.threads,
)
@cloup.option_group(
    "What is written",
    click.option(
        "-o", "--out", type=click.Path(path_type=Path), help="Keep all measurements in this .jsonl file, and resume it."
    ),
    click.option("--overwrite", is_flag=True, help="Write over an existing plot or page."),
    click.option("--json", "style", flag_value="json_lines", help="Print one JSON line a row."),
    click.option("--csv", "style", flag_value="comma_separated", help="Print comma-separated values."),
    click.option("--md", "style", flag_value="markdown", help="Print Markdown."),
    click.option(
        "--plot", type=click.Path(path_type=Path), help="Draw PSNR against latency and parameters: png, svg, pdf."
    ),
    click.option(
        "--html", type=click.Path(path_type=Path), help="Write one page with pictures to compare, for any browser."
    ),
    click.option(
        "--check", type=click.Path(path_type=Path), help="Compare with such a .jsonl file; end with 1 if worse."
    ),
    click.option(
        "--slowdown",
        type=click.FloatRange(1),
        default=1.5,
        show_default=True,
        help="For --check: how many times as much of bicubic's time a row may take.",
    ),
)
def command(degrade: str, single_view_white: str, **chosen: Any) -> int:
    """Measure quality and speed of models.

    Quality is by the field's protocol; how much depth is kept is measured, too. DATASET is a folder such as
    hr/<scene>/hr0.png with lr_x4/<scene>/lr0.png, of a_L.png and a_R.png, or as KITTI and Middlebury are downloaded;
    without it, the bundled example is taken. A run that was stopped resumes when it is started again.
    """
    from stereosr_cli.work.bench import BenchOptions, bench

    return bench(
        BenchOptions(**chosen, degrade=tuple(degrade.split(",")), white=255 if single_view_white == "255" else 1)
    )
