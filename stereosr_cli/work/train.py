"""``stereosr train``, behind its options: a preset or a TOML file, completed by the options, becomes a run."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from stereosr_cli.extras import need

if TYPE_CHECKING:
    from stereosr_export.training.history import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """The options of the command that are settings of a run, by their names; None leaves a setting as it is."""

    model: str | None
    scale: int | None
    data: str | None
    validation: str | None
    out: str | None
    iterations: int | None
    batch: int | None
    lr: float | None
    loss: str | None
    precision: str | None
    init: str | None
    workers: int | None
    seed: int | None


def train(source: str | None, options: TrainOptions, threads: int | None) -> None:
    """Train by the preset or TOML file ``source``; options win over it."""
    need("torch", "safetensors", extra="train")
    import torch

    from stereosr_export.training import loop
    from stereosr_export.training.config import complete, read_settings
    from stereosr_export.training.processes import rank

    if threads:
        torch.set_num_threads(threads)
    chosen = {name: value for name, value in asdict(options).items() if value is not None}
    best = loop.train(complete((read_settings(source) if source else {}) | chosen), _report)
    if rank() == 0:
        click.echo(f"best weights: {best}", err=True)


def _report(row: "Progress") -> None:
    score = "" if row.psnr is None else f" · held-back PSNR {row.psnr:.3f} dB"
    click.echo(
        f"{row.iteration}/{row.iterations} · loss {row.loss:.5f} · lr {row.lr:.2e} · {row.seconds:.0f} s{score}",
        err=True,
    )
