"""``stereosr export``: weights become one self-describing ONNX file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stereosr_cli import options

if TYPE_CHECKING:
    from stereosr_export.checkpoints import ChannelOrder


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
@click.option("--trained-on", default="", help="What the weights were trained on, for the file's specification.")
@click.option("--license", "license_", default="", help="Terms of the weights, for the file's specification.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["onnx", "tensorrt"]),
    default="onnx",
    show_default=True,
    help="tensorrt: also build an engine, of the fp16 form with --fp16.",
)
@options.target
@options.engine_size
@click.option("--fp16", is_flag=True, help="Also write the half-precision form, _fp16 in its name, for GPUs.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="File to write.  [default: kept by name in the user's cache; see 'stereosr models']",
)
@click.option("--overwrite", is_flag=True, help="Write over existing files.")
def command(
    model: str | None,
    scale: int | None,
    weights: Path | None,
    channel_order: "ChannelOrder",
    trained_on: str,
    license_: str,
    file_format: str,
    target: tuple[str, ...],
    size: tuple[int, int] | None,
    fp16: bool,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Write a model of the zoo as an ONNX file.

    It is compared with torch before it is written; this needs stereosr[export]. Without MODEL, model and scale are
    seen from the weights; without weights too, it is nafssr-t. Our own weights are exported at every scale that
    they are of, unless -s says which; those of the bundled engines were, so that these are taken as they are.
    """
    from stereosr.atomic import check_writable, write_bytes
    from stereosr.backends.tensorrt.build import cards
    from stereosr.errors import UsageError
    from stereosr.models.engine_file import SUFFIX
    from stereosr.models.library import DEFAULT_MODEL, bundled, file_name, fp16_path
    from stereosr.models.spec import read_spec
    from stereosr.system import cache_dir
    from stereosr_cli.engine import build_engine, this_gpu, variant
    from stereosr_cli.extras import need

    ready = bundled(model or DEFAULT_MODEL, scale) if weights is None else {}
    need("onnx", "onnxruntime", *(() if ready else ("torch", "onnxscript")), extra="export,cpu")
    if file_format == "tensorrt":
        cards(variant(target), target, this_gpu())  # said before the minutes that the rest takes
    if ready:
        name, sources = model or DEFAULT_MODEL, ready
    else:
        from stereosr_export.checkpoints import (
            load_network,
            load_weights,
            own_weights,
            provenance,
            trained_scales,
        )
        from stereosr_export.to_onnx import export, spec_of
        from stereosr_export.zoo import find

        if weights is None:
            zoo_model = find(model or DEFAULT_MODEL)
            scales = [scale] if scale else trained_scales(zoo_model) or zoo_model.scales
            sources = {s: own_weights(zoo_model, s) for s in scales}
        else:
            zoo_model, scale, _ = load_weights(weights, channel_order, find(model) if model else None, scale)
            sources = {scale: weights}
        name = zoo_model.name
    if out and len(sources) > 1:
        raise UsageError(f"-o names one file for x{' and x'.join(map(str, sources))}: pass -s too")
    targets = {s: out or cache_dir() / file_name(name, s) for s in sources}
    for file in (f for single in targets.values() for f in (single, fp16_path(single))[: 1 + fp16]):
        if file.exists() and not overwrite:
            raise UsageError(f"{file} exists: pass --overwrite, or -o for another file")
        check_writable(file.parent)
    for s, source in sources.items():
        if ready:
            targets[s].parent.mkdir(parents=True, exist_ok=True)
            write_bytes(targets[s], source.read_bytes())
            spec, how = read_spec(source), "as bundled"
        else:
            network = load_network(zoo_model, s, source, channel_order)
            said = {"trained_on": trained_on, "license": license_}
            if weights is None:
                said = provenance(source) | {key: value for key, value in said.items() if value}
            spec = spec_of(zoo_model, network, s, **said)
            how = f"onnxruntime equals torch to {export(zoo_model, network, spec, targets[s]):.1e}"
        click.echo(f"{targets[s]}: {spec.title}, {spec.parameters:,} parameters; {how}", err=True)
        if fp16:
            from stereosr_export.precision import export_half

            report = export_half(targets[s], fp16_path(targets[s]))
            click.echo(f"{fp16_path(targets[s])}: {report}", err=True)
        if file_format == "tensorrt":
            onnx = fp16_path(targets[s]) if fp16 else targets[s]
            build_engine(onnx, target, size, None, onnx.with_suffix(SUFFIX) if out else None, overwrite)
