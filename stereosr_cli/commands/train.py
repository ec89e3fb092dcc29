"""``stereosr train``: a model of the zoo from a folder of pictures."""

from typing import Any

import click
import cloup

from stereosr_cli import options


def _complete_preset(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from stereosr_export.training.config import presets

    return sorted(name for name in presets() if name.startswith(incomplete))


@cloup.command()
@click.argument("source", required=False, metavar="[PRESET|CONFIG.toml]", shell_complete=_complete_preset)
@cloup.option_group(
    "What is trained",
    click.option("-n", "--model", help="Name in the zoo, e.g. nafssr-t."),
    options.scale("the preset's, or 4"),
    click.option(
        "--init", help="Weights to start from: a file, or a name of ours, as nafssr-t; what does not fit is left."
    ),
)
@cloup.option_group(
    "Data",
    click.option("--data", help="Folder of pairs; see docs/training.md."),
    click.option("--validation", help="Folder of pairs to score.  [default: some of the data, which are held back]"),
    click.option("--workers", type=click.IntRange(0), help="Processes that prepare patches."),
)
@cloup.option_group(
    "How",
    click.option("--iterations", type=click.IntRange(1), help="Steps of the optimiser."),
    click.option(
        "--hours",
        type=click.FloatRange(0, min_open=True),
        help="End after so much time, instead of --iterations; the rate falls until then.",
    ),
    click.option("--batch", type=click.IntRange(1), help="Patch pairs an iteration."),
    click.option("--lr", type=float, help="Largest learning rate."),
    click.option("--loss", help="l1, mse, charbonnier or psnr."),
    click.option("--precision", help="bf16 or fp32."),
    click.option("--seed", type=int, help="Another one draws other patches."),
    options.threads,
)
@cloup.option_group(
    "Run",
    click.option("-o", "--out", help="Folder of the run; a run that was stopped goes on from there."),
)
def command(source: str | None, threads: int | None, **chosen: Any) -> None:
    """Train a model of the zoo.

    This needs stereosr[train]. A preset is a published recipe, such as nafssr-t-x4 or passrnet-x2; CONFIG.toml may set
    any field of TrainConfig. Options win over both.
    """
    from stereosr_cli.work.train import TrainOptions, train

    train(source, TrainOptions(**chosen), threads)
