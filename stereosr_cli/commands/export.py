"""``stereosr export``: weights become one self-describing ONNX file."""

from pathlib import Path
from typing import Any

import click

from stereosr_cli import options


def _reach(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | str | None:
    """A number of columns, or ``full``."""
    if value in (None, "full"):
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a whole number from 1 on nor 'full'")
    return int(value)


@click.command()
@click.argument("model", required=False)
@options.scale("as the weights are")
@click.option(
    "--weights", type=click.Path(path_type=Path), help="safetensors or .pth.  [default: our own, where we trained any]"
)
@click.option(
    "--channel-order",
    type=click.Choice(["auto", "rgb", "bgr"]),
    default="auto",
    show_default=True,
    help="Of the pictures that the weights were trained on; auto: NAFNet's files are BGR.",
)
@click.option("--name", help="Of the engine, by which -n finds it.  [default: the model's]")
@click.option(
    "--reach",
    callback=_reach,
    metavar="N|full",
    help="LR columns to either side in which each pixel looks for its match, or full for whole rows.  [default: 128]",
)
@click.option("--trained-on", default="", help="What the weights were trained on, for the file's specification.")
@click.option("--license", default="", help="Terms of the weights, for the file's specification.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["onnx", "tensorrt", "triton"]),
    default="onnx",
    show_default=True,
    help="tensorrt: also build an engine, of the fp16 form with --fp16. triton: a model repository in the folder -o.",
)
@options.target
@options.engine_size
@click.option("--fp16", is_flag=True, help="Also write the half-precision form, _fp16 in its name, for GPUs.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="File to write, or folder for triton.  [default: kept by name in the user's cache; see 'stereosr models']",
)
@click.option("--overwrite", is_flag=True, help="Write over existing files.")
def command(**chosen: Any) -> None:
    """Write a model of the zoo as an ONNX file.

    It is compared with torch before it is written; this needs stereosr[export]. Without MODEL, model and scale are
    seen from the weights; without weights too, it is nafssr-t. Our own weights are exported at every scale that
    they are of, unless -s says which; those of the bundled engines were, so that these are taken as they are.
    """
    from stereosr_cli.work.export import ExportOptions, export

    export(ExportOptions(**chosen))
