"""What ``stereosr build`` and ``stereosr export --format tensorrt`` share."""

import importlib.util
from pathlib import Path

import click

from stereosr.backends.nvidia import Gpu, driver
from stereosr.backends.tensorrt.build import EXTRAS, RTX, build, identify, profile_of
from stereosr.errors import BackendUnavailable, UsageError, install_hint
from stereosr.models.engine_file import why_unusable
from stereosr.models.spec import read_spec
from stereosr.system import cache_dir
from stereosr_cli.progress import BuildProgress


def build_engine(
    onnx: Path,
    targets: tuple[str, ...],
    size: tuple[int, int] | None,
    workspace: int | None,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Build the engine, with progress on stderr, and print what it is.

    Args:
        onnx: the model.
        targets: compute capabilities, as ``sm89``; empty for the GPU of this machine.
        size: LR rows and columns of a fixed tile, None for any size.
        workspace: bytes that a layer may use, None for TensorRT's own limit.
        out: the file to write, None for where ``upscale`` finds it.
        overwrite: write over an existing file.

    Raises:
        UsageError: if the file exists, or a target is not one.
        BackendUnavailable: if TensorRT is not installed or cannot build here.
    """
    spec = read_spec(onnx)
    wanted = identify(
        onnx,
        variant(targets),
        profile_of(spec, size),
        targets,
        this_gpu(),
        workspace // 2**20 if workspace else 0,
    )
    kept = out is None
    out = out or cache_dir() / wanted.file_name(onnx)
    if out.exists() and not overwrite:
        reason = why_unusable(out, wanted) if kept else None  # what is kept is ours to mend
        if reason is None:
            raise UsageError(f"{out} exists: pass --overwrite, or -o for another file")
        click.echo(f"building {out.name} again: {reason}", err=True)
    with BuildProgress() as progress:
        engine = build(onnx, wanted, progress.step)
    engine.write(out)
    click.echo(
        f"{out}: {spec.title} {spec.precision} for {', '.join(wanted.targets)}, {wanted.profile}, "
        f"{wanted.variant} {wanted.version}; {engine.half_layers} of {engine.layers} layers in fp16, "
        f"{out.stat().st_size / 1e6:.1f} MB",
        err=True,
    )


def this_gpu() -> Gpu | None:
    """The first GPU of this machine."""
    here = driver()
    return here.gpus[0] if here else None


def variant(targets: tuple[str, ...]) -> str:
    """The TensorRT to build with: RTX for GPUs that are named, else the first one installed.

    Raises:
        BackendUnavailable: if none is installed.
    """
    found = [name for name in EXTRAS if importlib.util.find_spec(name)]
    if not found:
        raise BackendUnavailable(
            f"TensorRT is not installed: {install_hint('rtx')} for RTX GPUs, {install_hint('tensorrt')} for others"
        )
    return RTX if targets else found[0]
