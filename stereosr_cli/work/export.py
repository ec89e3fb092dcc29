"""``stereosr export``, behind its options: weights or bundled engines become ONNX files, fp16 forms, engines."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from stereosr.atomic import check_writable, write_bytes
from stereosr.backends.tensorrt.build import build_targets
from stereosr.errors import UsageError
from stereosr.models.engine_file import SUFFIX
from stereosr.models.library import DEFAULT_MODELS, bundled, default_model, file_name, fp16_path
from stereosr.models.spec import ModelSpec, read_spec
from stereosr.system import cache_dir
from stereosr_cli.extras import need
from stereosr_cli.work.build import build_engine, this_gpu, variant

if TYPE_CHECKING:
    from stereosr_export.zoo import ZooModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The options of the command, by their names.

    Attributes:
        name: of the engine, None for the model's.
        reach: of the attention, in LR columns; None for the model's.
        target: compute capabilities to build engines for.
        size: of a fixed tile, None for any.
        out: a file; for triton, a folder.
    """

    model: str | None
    scale: int | None
    weights: Path | None
    channel_order: Literal["auto", "rgb", "bgr"]
    name: str | None
    reach: int | Literal["full"] | None
    trained_on: str
    license: str
    file_format: Literal["onnx", "tensorrt", "triton"]
    target: tuple[str, ...]
    size: tuple[int, int] | None
    fp16: bool
    out: Path | None
    overwrite: bool


def export(options: ExportOptions) -> None:
    """Do what the options ask for, scale by scale."""
    if options.file_format == "triton" and options.out is None:
        raise UsageError("a Triton model repository is a folder: say with -o which one")
    as_it_is = options.weights is None and options.name is None and options.reach is None
    ready = _bundled(options) if as_it_is else {}
    need("onnx", "onnxruntime", *(() if ready else ("torch", "onnxscript")), extra="export,cpu")
    if options.file_format == "tensorrt":
        build_targets(
            variant(options.target), options.target, this_gpu()
        )  # said before the minutes that the rest takes
    model, sources = (None, ready) if ready else _weights(options)
    names = {scale: options.name or (model.name if model else read_spec(file).name) for scale, file in sources.items()}
    for scale, (source, target, half) in _with_targets(sources, names, options).items():
        if model is None:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, source.read_bytes())
            spec, how = read_spec(source), "as bundled"
        else:
            spec, error = _export_weights(model, scale, source, names[scale], target, options)
            how = f"onnxruntime equals torch to {error:.1e}"
        click.echo(f"{target}: {spec.title}, {spec.parameters:,} parameters; {how}", err=True)
        _export_more(target, half, options)


def _bundled(options: ExportOptions) -> dict[int, Path]:
    """The files of the wheel that were asked for, by scale; none where the wheel has no such model."""
    if options.model:
        return bundled(options.model, options.scale)
    scales = [options.scale] if options.scale else sorted(DEFAULT_MODELS)
    return {scale: file for scale in scales for file in bundled(default_model(scale), scale).values()}


def _weights(options: ExportOptions) -> "tuple[ZooModel, dict[int, Path]]":
    """The model, and a file of weights for each scale."""
    from stereosr_export.checkpoints import load_weights, own_weights, trained_scales
    from stereosr_export.zoo import find

    if options.weights is None:
        model = find(options.model or default_model(options.scale))
        scales = [options.scale] if options.scale else trained_scales(model) or model.scales
        return model, {scale: own_weights(model.name, scale) for scale in scales}
    asked = find(options.model) if options.model else None
    model, scale, _ = load_weights(options.weights, options.channel_order, asked, options.scale)
    return model, {scale: options.weights}


def _with_targets(
    sources: dict[int, Path], names: dict[int, str], options: ExportOptions
) -> dict[int, tuple[Path, Path, Path]]:
    """Where each source goes, and its fp16 form. Raises UsageError where a file is in the way."""
    if options.out and options.file_format != "triton" and len(sources) > 1:
        raise UsageError(f"-o names one file for x{' and x'.join(map(str, sources))}: pass -s too")
    from stereosr_export.triton import config_file

    targets = {scale: _targets(file_name(names[scale], scale), options) for scale in sources}
    for both in targets.values():
        for file in both[: 1 + options.fp16]:
            others = (file, config_file(file)) if options.file_format == "triton" else (file,)
            if not options.overwrite and (there := [path for path in others if path.exists()]):
                raise UsageError(f"{there[0]} exists: pass --overwrite, or -o for another place")
            check_writable(file.parent)
    return {scale: (source, *targets[scale]) for scale, source in sources.items()}


def _targets(name: str, options: ExportOptions) -> tuple[Path, Path]:
    """Where the file of this name goes, and its fp16 form."""
    if options.file_format == "triton":
        from stereosr_export.triton import model_file

        assert options.out is not None
        return model_file(options.out, Path(name).stem), model_file(options.out, fp16_path(Path(name)).stem)
    target = options.out or cache_dir() / name
    return target, fp16_path(target)


def _export_weights(
    model: "ZooModel", scale: int, source: Path, name: str, target: Path, options: ExportOptions
) -> tuple[ModelSpec, float]:
    """Write one ONNX file; gives what it says of itself, and how far it is from torch."""
    from stereosr_export.checkpoints import load_network, provenance
    from stereosr_export.layers.attention import set_reach
    from stereosr_export.to_onnx import export, spec_of

    network = load_network(model, scale, source, options.channel_order)
    if options.reach is not None and not set_reach(network, None if options.reach == "full" else options.reach):
        raise UsageError(f"the attention of {model.name} has no reach that could be set", settings=("reach",))
    said = {"trained_on": options.trained_on, "license": options.license}
    if options.weights is None:
        said = provenance(source) | {key: value for key, value in said.items() if value}
    spec = replace(spec_of(model, network, scale, **said), name=name)
    return spec, export(model, network, spec, target)


def _export_more(onnx: Path, half: Path, options: ExportOptions) -> None:
    """The half-precision form, and the engine or the model repository, where they were asked for."""
    written = [onnx]
    if options.fp16:
        from stereosr_export.precision import export_half

        half.parent.mkdir(parents=True, exist_ok=True)
        click.echo(f"{half}: {export_half(onnx, half)}", err=True)
        written.append(half)
    if options.file_format == "tensorrt":
        engine = written[-1].with_suffix(SUFFIX) if options.out else None
        build_engine(written[-1], options.target, options.size, None, engine, options.overwrite)
    if options.file_format == "triton":
        from stereosr_export.triton import describe

        for file in written:
            describe(file)
