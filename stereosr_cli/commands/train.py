"""``stereosr train``: a model of the zoo from a folder of pictures."""

from typing import TYPE_CHECKING, Any

import click

from stereosr_cli import options

if TYPE_CHECKING:
    from stereosr_export.training.history import Progress


@click.command()
@click.argument("config", required=False, metavar="[PRESET|CONFIG.toml]")
@click.option("-n", "--model", help="Name in the zoo, e.g. nafssr-t.")
@options.scale("the preset's, or 4")
@click.option("--data", help="Folder of pairs; see 'Training' in the README.")
@click.option("--validation", help="Folder of pairs to score.  [default: some of the data, which are held back]")
@click.option("-o", "--out", help="Folder of the run; a run that was stopped goes on from there.")
@click.option("--iterations", type=click.IntRange(1), help="Steps of the optimiser.")
@click.option("--batch", type=click.IntRange(1), help="Patch pairs an iteration.")
@click.option("--lr", type=float, help="Largest learning rate.")
@click.option("--loss", help="l1, mse, charbonnier or psnr.")
@click.option("--precision", help="bf16 or fp32.")
@click.option("--init", help="Checkpoint to start from; what does not fit is left out.")
@click.option("--workers", type=click.IntRange(0), help="Processes that prepare patches.")
@click.option("--seed", type=int, help="Another one draws other patches.")
@options.threads
def command(config: str | None, threads: int | None, **chosen: Any) -> None:
    """Train a model of the zoo.

    This needs stereosr[train]. A preset is a published recipe, such as nafssr-t-x4 or passrnet-x2; CONFIG.toml may set
    any field of TrainConfig. Options win over both.
    """
    from stereosr_cli.extras import need

    need("torch", "safetensors", extra="train")
    import torch

    from stereosr_export.training.config import complete, read_settings
    from stereosr_export.training.loop import train
    from stereosr_export.training.processes import rank

    if threads:
        torch.set_num_threads(threads)
    settings = read_settings(config) if config else {}
    best = train(complete(settings | {key: value for key, value in chosen.items() if value is not None}), _report)
    if rank() == 0:
        click.echo(f"best weights: {best}", err=True)


def _report(row: "Progress") -> None:
    score = "" if row.psnr is None else f" · held-back PSNR {row.psnr:.3f} dB"
    click.echo(
        f"{row.iteration}/{row.iterations} · loss {row.loss:.5f} · lr {row.lr:.2e} · {row.seconds:.0f} s{score}",
        err=True,
    )
