"""``stereosr train``, behind its options: a preset or a TOML file, completed by the options, becomes a run."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from stereosr.errors import UsageError
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
    hours: float | None
    batch: int | None
    lr: float | None
    loss: str | None
    precision: str | None
    init: str | None
    workers: int | None
    seed: int | None


def train(source: str | None, options: TrainOptions, threads: int | None) -> None:
    """Train by the preset or TOML file ``source``; options win over it."""
    if options.hours and options.iterations:
        raise UsageError("a run ends after --hours or after --iterations: pass one of them")
    need("torch", "safetensors", extra="train")
    import torch

    from stereosr_export.training import loop
    from stereosr_export.training.config import complete, read_settings
    from stereosr_export.training.processes import rank

    if threads:
        torch.set_num_threads(threads)
    chosen = {name: value for name, value in asdict(options).items() if value is not None}
    config = complete((read_settings(source) if source else {}) | chosen)
    best = loop.train(config, _Report())
    if rank() == 0:
        click.echo(
            f"best weights: {best}\nto use them: stereosr export {config.model} -s {config.scale} --weights {best} -o "
            "mine.onnx, then stereosr upscale LEFT RIGHT -n mine.onnx",
            err=True,
        )


class _Report:
    """Prints each row, with the time that is left by the pace since the one before."""

    def __init__(self) -> None:
        self._last: Progress | None = None

    def __call__(self, row: "Progress") -> None:
        text = f"{row.iteration}/{row.iterations} · loss {row.loss:.5f} · lr {row.lr:.2e} · {row.seconds:.0f} s"
        if self._last:
            pace = (row.seconds - self._last.seconds) / (row.iteration - self._last.iteration)
            text += f" · {pace * (row.iterations - row.iteration) / 3600:.1f} h left"
        if row.psnr is not None:
            text += f" · held-back PSNR {row.psnr:.3f} dB"
        click.echo(text, err=True)
        self._last = row
