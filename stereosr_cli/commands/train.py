"""``stereosr train``: a model of the zoo from a folder of pictures."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stereosr_cli import options

if TYPE_CHECKING:
    from stereosr_export.training.loop import Progress


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-n", "--model", help="Name in the zoo, e.g. nafssr-t.")
@options.scale
@click.option("--data", help="Folder with stereo/<scene>/{left,right}.* and mono/*; see 'Training' in the README.")
@click.option("-o", "--out", help="Folder of the run; a run that was stopped goes on from there.")
@click.option("--iterations", type=int)
@click.option("--batch", type=int, help="Patch pairs an iteration.")
@click.option("--lr", type=float, help="Largest learning rate.")
@click.option("--loss", help="l1, mse or charbonnier.")
@click.option("--precision", help="bf16 or fp32.")
@click.option("--init", help="safetensors to start from.")
@click.option("--workers", type=int, help="Processes that prepare patches.")
@click.option("--seed", type=int)
@options.threads
def command(config: Path | None, threads: int | None, **chosen: Any) -> None:
    """Train a model (needs stereosr[train]).

    CONFIG is a TOML file with any field of TrainConfig; options win over it.
    """
    from stereosr_cli.extras import need
    from stereosr_engines.errors import UsageError

    need("torch", "safetensors", extra="train")
    import torch

    from stereosr_export.training.loop import TrainConfig, train

    if threads:
        torch.set_num_threads(threads)
    settings: dict[str, Any] = tomllib.loads(config.read_text(encoding="utf-8")) if config else {}
    settings |= {key: value for key, value in chosen.items() if value is not None}
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    try:
        complete = TrainConfig(**settings)
    except TypeError as error:
        raise UsageError(f"the configuration is not complete or has too much: {str(error).split(') ')[-1]}") from error
    best = train(complete, _report)
    click.echo(f"best weights: {best}", err=True)


def _report(row: "Progress") -> None:
    score = "" if row.psnr is None else f" · held-back PSNR {row.psnr:.3f} dB"
    click.echo(
        f"{row.iteration}/{row.iterations} · loss {row.loss:.5f} · lr {row.lr:.2e} · {row.seconds:.0f} s{score}",
        err=True,
    )
