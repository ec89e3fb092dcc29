"""``stereosr build``: an ONNX file becomes a TensorRT engine, without torch."""

from pathlib import Path

import click

from stereosr_cli import options


@click.command()
@click.argument("onnx", type=click.Path(path_type=Path))
@options.target
@options.engine_size
@click.option("--workspace", type=options.Size(), help="Memory that a layer may use.  [default: TensorRT's own limit]")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="File to write.  [default: kept where upscale finds it]"
)
@click.option("--overwrite", is_flag=True, help="Write over an existing file.")
def command(
    onnx: Path,
    target: tuple[str, ...],
    size: tuple[int, int] | None,
    workspace: int | None,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Make a TensorRT engine of an ONNX file.

    The file is one that stereosr export wrote; this needs stereosr[rtx] or stereosr[tensorrt]. With stereosr[rtx]
    engines are built for any RTX GPU on any machine; precision is that of the ONNX file.
    """
    from stereosr_cli.work.build import build_engine

    build_engine(onnx, target, size, workspace, out, overwrite)
