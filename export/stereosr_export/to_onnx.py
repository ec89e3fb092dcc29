"""A network becomes one self-describing ONNX file, proven equal to torch before it is written."""

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
import onnxslim
import torch
from onnx_ir.passes.common import DeduplicateInitializersPass
from torch import nn

from stereosr.errors import StereosrError
from stereosr.models.spec import METADATA_KEY, ModelSpec
from stereosr_export.cost import cost
from stereosr_export.layers.attention import reach_of
from stereosr_export.operators import OPSET, add_function_bodies, expand_windows
from stereosr_export.verify import verify
from stereosr_export.zoo import ZooModel

INPUTS, OUTPUTS = ("left", "right"), ("left_sr", "right_sr")


def export(model: ZooModel, network: nn.Module, spec: ModelSpec, out: Path) -> float:
    """Write ``network`` as ONNX with dynamic batch, rows and columns; gives the largest error relative to torch.

    The file is checked by onnx, run by onnxruntime at several sizes against torch, and only then moved to ``out``.

    Raises:
        StereosrError: if the graph cannot be made or differs from torch by more than ``model.tolerance``.
    """
    network = network.eval()
    graph = trace(network, model)
    graph.producer_name = "stereosr"
    graph.producer_version = ""
    del graph.metadata_props[:]
    graph.metadata_props.add(key=METADATA_KEY, value=spec.to_json())
    onnx.checker.check_model(graph, full_check=True)
    partial = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(graph.SerializeToString())
        error = verify(partial, network, model)
        partial.replace(out)
    except OSError as problem:
        raise StereosrError(f"cannot write {out}: {problem.strerror}") from problem
    finally:
        partial.unlink(missing_ok=True)
    return error


def spec_of(model: ZooModel, network: nn.Module, scale: int, trained_on: str, license: str) -> ModelSpec:
    """The specification that travels in the file."""
    return ModelSpec(
        name=model.name,
        family=model.family,
        scale=scale,
        precision="fp32",
        min_tile=model.mean_window or (1, 1),
        multiple_of=1,
        halo=model.halo,
        memory=model.memory,
        mean_window=model.mean_window,
        parameters=sum(p.numel() for p in network.parameters()),
        source=model.source,
        trained_on=trained_on,
        license=license,
        gmacs=round(cost(model, scale).gmacs, 2),
        reach=reach_of(network),
    )


def trace(network: nn.Module, model: ZooModel) -> onnx.ModelProto:
    """The network's graph, simplified; without a specification, and not yet compared with the network."""
    traced = expand_windows(_trace(network, model))
    graph = _share_weights(onnxslim.slim(traced))
    add_function_bodies(graph)
    _take_shapes(graph.graph, traced.graph)
    return graph


def _share_weights(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Weights that were folded for the left view and once more for the right one become one again."""
    result = DeduplicateInitializersPass(size_limit=sys.maxsize)(ir.from_proto(graph))
    return ir.to_proto(result.model)


def _take_shapes(graph: onnx.GraphProto, traced: onnx.GraphProto) -> None:
    """Shapes as torch knows them: onnxslim infers wrong ones for transposed convolutions, and without any onnxruntime
    takes ten times as long to load."""
    values = {name for node in graph.node for name in node.output}
    del graph.value_info[:]
    graph.value_info.extend(known for known in traced.value_info if known.name in values)


def _trace(network: nn.Module, model: ZooModel) -> onnx.ModelProto:
    least = model.mean_window or (8, 8)
    # Two different tensors: the exporter takes one tensor given twice for one input, and drops 'left'. Batch of two and
    # sizes above the least: a traced 1 is taken for a constant.
    examples = tuple(torch.rand(2, 3, least[0] + 9, least[1] + 12) for _ in INPUTS)
    batch, rows, columns = (
        torch.export.Dim("batch"),
        *(torch.export.Dim(name, min=size + 1) for name, size in zip(("rows", "columns"), least, strict=True)),
    )
    shape = {0: batch, 2: rows, 3: columns}
    with _quiet(), torch.no_grad():
        # Exported by hand first: given the module, torch.onnx.export would retry with fixed sizes where this fails.
        program = torch.export.export(network, examples, dynamic_shapes=(shape, shape))
        exported = torch.onnx.export(
            program, input_names=INPUTS, output_names=OUTPUTS, opset_version=OPSET, dynamo=True, verbose=False
        )
    if exported is None:
        raise StereosrError(f"torch.onnx.export gave no graph for {model.name}")
    return exported.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter warns of its own deprecations and of a missing torchvision; neither is the user's business."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
