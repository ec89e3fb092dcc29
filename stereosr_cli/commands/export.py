"""``stereosr export``: weights become one self-describing ONNX file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stereosr_cli import options

if TYPE_CHECKING:
    from stereosr_export.checkpoints import ChannelOrder


@click.command()
@click.argument("model", required=False)
@options.scale
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
@click.option("--trained-on", default="", help="What the weights were trained on, for the file's specification.")
@click.option("--license", "license_", default="", help="Terms of the weights, for the file's specification.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write.  [default: MODEL_xS.onnx]")
@click.option("--overwrite", is_flag=True, help="Write over an existing file.")
def command(
    model: str | None,
    scale: int | None,
    weights: Path | None,
    channel_order: "ChannelOrder",
    trained_on: str,
    license_: str,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Export MODEL to ONNX, checked against torch before it is written (needs stereosr[export]).

    Without MODEL, model and scale are seen from the weights; without weights, it is nafssr-t.
    """
    from stereosr_cli.extras import need
    from stereosr_engines.errors import UsageError
    from stereosr_engines.library import DEFAULT_MODEL

    need("torch", "onnx", "onnxscript", "onnxruntime", extra="export,cpu")
    from stereosr_export.checkpoints import load_network, load_weights, own_weights
    from stereosr_export.to_onnx import export, spec_of
    from stereosr_export.zoo import find

    if weights is None:
        zoo_model = find(model or DEFAULT_MODEL)
        scale = scale or max(zoo_model.scales)
        weights = own_weights(zoo_model, scale)
    else:
        zoo_model, scale, _ = load_weights(weights, channel_order, find(model) if model else None, scale)
    out = out or Path(f"{zoo_model.name}_x{scale}.onnx")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists: pass --overwrite, or -o for another file")
    network = load_network(zoo_model, scale, weights, channel_order)
    spec = spec_of(zoo_model, network, scale, trained_on, license_)
    error = export(zoo_model, network, spec, out)
    click.echo(
        f"{out}: {spec.title}, {spec.parameters:,} parameters; onnxruntime equals torch to {error:.1e}", err=True
    )
