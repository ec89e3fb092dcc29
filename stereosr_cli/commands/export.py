"""``stereosr export``: weights become one self-describing ONNX file."""

from pathlib import Path

import click

from stereosr_cli import options


@click.command()
@click.argument("model", default="nafssr-t")
@options.scale
@click.option(
    "--weights", type=click.Path(path_type=Path), help="safetensors or .pth.  [default: our own, where we trained any]"
)
@click.option("--trained-on", default="", help="What the weights were trained on, for the file's specification.")
@click.option("--license", "license_", default="", help="Terms of the weights, for the file's specification.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write.  [default: MODEL_xS.onnx]")
@click.option("--overwrite", is_flag=True, help="Write over an existing file.")
def command(
    model: str,
    scale: int | None,
    weights: Path | None,
    trained_on: str,
    license_: str,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Export MODEL to ONNX, checked against torch before it is written (needs stereosr[export])."""
    from stereosr_cli.extras import need
    from stereosr_engines.errors import UsageError

    need("torch", "onnx", "onnxscript", "onnxruntime", extra="export,cpu")
    from stereosr_export.checkpoints import load_network, own_weights
    from stereosr_export.to_onnx import export, spec_of
    from stereosr_export.zoo import find

    zoo_model = find(model)
    scale = scale or max(zoo_model.scales)
    out = out or Path(f"{model}_x{scale}.onnx")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists: pass --overwrite, or -o for another file")
    network = load_network(zoo_model, scale, weights or own_weights(zoo_model, scale))
    spec = spec_of(zoo_model, network, scale, trained_on, license_)
    error = export(zoo_model, network, spec, out)
    click.echo(
        f"{out}: {spec.title}, {spec.parameters:,} parameters; onnxruntime equals torch to {error:.1e}", err=True
    )
