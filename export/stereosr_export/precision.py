"""Half precision, typed in the graph: the one place where precision is decided (TensorRT 11 knows no other).

The rules are those of mixed-precision training. Products, which hold nearly all of the work, are computed from half
precision; a few operators whose range or accuracy needs it stay in fp32; all others take the type of what they are
given. Inputs and outputs stay float32.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from onnx import TensorProto, helper, numpy_helper

from stereosr.atomic import write_bytes
from stereosr.backends.ort_session import load_onnxruntime, to_nchw
from stereosr.errors import StereosrError
from stereosr.evaluation.degrade import degrade
from stereosr.io.images import read_picture
from stereosr.models.library import BUNDLED
from stereosr.models.spec import METADATA_KEY, ModelSpec, read_spec
from stereosr.types import StereoPair, to_float
from stereosr_export.operators import replace_custom_norm

HALF = {"Conv", "ConvTranspose", "Gemm", "MatMul", "LayerNormalization"}
"""Always half. Of LayerNormalization the statistics are fp32 all the same, by its definition (``stash_type`` 1)."""

SINGLE = {"AveragePool", "GlobalAveragePool", "Resize", "Cast"}
"""Always fp32: long sums (the pooled branch), the picture's own shortcut, what was cast to it. Softmax is not
among them: NAFSSR-T keeps 73 dB without, and its maps are the largest tensors of all."""

SUMS = {"ReduceMean", "ReduceSum"}
"""Computed in fp32, but what they give has the type of what they were given: of norms and means of rows nothing else
need be wider, and TensorRT-RTX 1.7 builds no GCSSR in which it is."""

MOVES = {"Concat", "DepthToSpace", "Pad", "Reshape", "Slice", "Split", "Transpose"}
"""These compute nothing, so they round nothing."""

LEAST_PSNR = 50.0
"""dB against the fp32 graph; a graph below is not written."""


@dataclass(frozen=True, slots=True)
class HalfReport:
    """What half precision costs: ``operators`` in fp16 among ``all_operators`` that compute floats, the worst probe.

    ``error`` is the largest difference to fp32, ``psnr`` (dB, peak 1) the lowest of all views.
    """

    operators: int
    all_operators: int
    error: float
    psnr: float

    def __str__(self) -> str:
        share = self.operators / self.all_operators
        return (
            f"{self.operators} of {self.all_operators} operators in fp16 ({share:.0%}); "
            f"at worst {self.psnr:.1f} dB to fp32, largest error {self.error:.1e}"
        )


def export_half(single: Path, out: Path, pictures: Sequence[StereoPair] = ()) -> HalfReport:
    """Write the fp16 form of an exported fp32 file, after onnxruntime has run both on ``probes`` and ``pictures``.

    Raises:
        StereosrError: if a value is not finite or a view is under ``LEAST_PSNR``; nothing is written then.
    """
    source = single.read_bytes()
    spec = replace(read_spec(single), precision="fp16", fp32_sha256=hashlib.sha256(source).hexdigest())
    graph = to_half(onnx.load_from_string(source))
    del graph.metadata_props[:]
    graph.metadata_props.add(key=METADATA_KEY, value=spec.to_json())
    onnx.checker.check_model(graph, full_check=True)
    error, psnr = compare(source, graph, [*probes(spec), *pictures])
    if not psnr >= LEAST_PSNR:  # also true for nan
        raise StereosrError(
            f"{spec.title} in fp16 is at {psnr:.1f} dB to fp32, and at least {LEAST_PSNR:.0f} dB are asked for; "
            "it was not written: use the fp32 file"
        )
    write_bytes(out, graph.SerializeToString())
    return HalfReport(*operators(graph), error, psnr)


def to_half(single: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with half-precision weights and activations, casts where two types meet; ``single`` is kept."""
    model = onnx.ModelProto()
    model.CopyFrom(single)
    replace_custom_norm(model)
    graph = model.graph
    floats = _values_of(model, TensorProto.FLOAT)
    weights = {w.name: w for w in graph.initializer}
    half: set[str] = set()
    other: dict[str, str] = {}  # a value's name in the type that it was not computed in
    nodes: list[onnx.NodeProto] = []

    def is_half(node: onnx.NodeProto) -> bool:
        if node.op_type in HALF or node.op_type in SINGLE:
            return node.op_type in HALF
        given = [name in half for name in node.input if name in floats and name not in weights]
        # What is concatenated is read by a product next: nothing is gained by widening all of it.
        return any(given) if node.op_type == "Concat" else bool(given) and all(given)

    def converted(name: str, to: int) -> str:
        if name not in other:
            other[name] = f"{name}_{'fp16' if to == TensorProto.FLOAT16 else 'fp32'}"
            if name in weights:
                values = numpy_helper.to_array(weights[name]).astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(values, other[name]))
            else:
                nodes.append(helper.make_node("Cast", [name], [other[name]], to=to))
        return other[name]

    for node in graph.node:
        in_half = is_half(node)
        if in_half and node.op_type in SUMS:
            result, exact = node.output[0], f"{node.output[0]}_exact"
            node.input[0], node.output[0] = converted(node.input[0], TensorProto.FLOAT), exact
            nodes += [node, helper.make_node("Cast", [exact], [result], to=TensorProto.FLOAT16)]
            half.add(result)
            continue
        for i, name in enumerate(node.input):
            if name in floats and (name in half) != in_half:
                node.input[i] = converted(name, TensorProto.FLOAT16 if in_half else TensorProto.FLOAT)
        if in_half:
            half |= floats.intersection(node.output)
        nodes.append(node)
    for result in half.intersection(o.name for o in graph.output):
        for node in nodes:
            for names in (node.input, node.output):
                names[:] = [f"{result}_fp16" if name == result else name for name in names]
        nodes.append(helper.make_node("Cast", [f"{result}_fp16"], [result], to=TensorProto.FLOAT))
    used = {name for node in nodes for name in node.input}
    kept = [w for w in graph.initializer if w.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    for value in graph.value_info:
        if value.name in half:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


def operators(model: onnx.ModelProto) -> tuple[int, int]:
    """How many operators give fp16, and how many give floats at all; casts do not count."""
    half, single = (_values_of(model, t) for t in (TensorProto.FLOAT16, TensorProto.FLOAT))
    given = [node.output[0] for node in model.graph.node if node.op_type != "Cast"]
    in_half = sum(name in half for name in given)
    return in_half, in_half + sum(name in single for name in given)


def probes(spec: ModelSpec) -> list[StereoPair]:
    """LR pairs that a graph must bear: a part of the example scene as it is, nearly black, and blown out."""
    folder = BUNDLED / "examples" / "render"
    views = (np.asarray(read_picture(folder / f"hr{v}.png").pixels, np.uint8) for v in (0, 1))
    pair = StereoPair(*(to_float(degrade(view, spec.scale))[:48, :144] for view in views))
    return [StereoPair(*(np.clip(v * np.float32(g), 0, 1) for v in (pair.left, pair.right))) for g in (1, 1 / 32, 32)]


def compare(single: bytes, half: onnx.ModelProto, pictures: Sequence[StereoPair]) -> tuple[float, float]:
    """The largest difference that half precision makes, and the lowest PSNR (dB, peak 1) of a view.

    The half graph is run by onnxruntime on the CPU, which has few half kernels: it computes in fp32 and leaves out the
    roundings in between, even those that the graph asks for. So the graph is run as ``rounded`` too, and the worse
    counts. Both numbers are nan if a value is not finite.
    """
    quiet = load_onnxruntime().SessionOptions()
    quiet.log_severity_level = 3
    quiet.add_session_config_entry("session.intra_op.allow_spinning", "0")
    reference, *others = (
        load_onnxruntime().InferenceSession(model, quiet, providers=["CPUExecutionProvider"])
        for model in (single, half.SerializeToString(), rounded(half).SerializeToString())
    )
    largest, worst = 0.0, 0.0
    for pair in pictures:
        feeds = {"left": to_nchw(pair.left), "right": to_nchw(pair.right)}
        expected = reference.run(["left_sr", "right_sr"], feeds)
        for other in others:
            for a, b in zip(expected, other.run(["left_sr", "right_sr"], feeds), strict=True):
                difference = np.abs(a - b)
                largest = np.maximum(largest, difference.max())  # keeps nan, which Python's max may drop
                worst = np.maximum(worst, np.mean(difference**2, dtype=np.float64))
    return float(largest), float(-10 * np.log10(worst)) if worst else float("inf")


def rounded(half: onnx.ModelProto) -> onnx.ModelProto:
    """The half graph as a GPU with fp32 sums computes it, in float32: what an operator gives is rounded to half.

    To 11 bits by Veltkamp's splitting (Dekker 1971), scaled so that what half cannot hold becomes nan. Numbers under
    half's smallest normal, 6e-5, keep their 11 bits.
    """
    model = onnx.inliner.inline_local_functions(half)  # so that what is inside them is rounded too
    values = _values_of(model, TensorProto.FLOAT16)
    factors = {"up": 2.0**99, "split": 2.0**13 + 1, "down": 2.0**-99}
    weights = [
        numpy_helper.from_array(np.array(value, np.float32), f"rounding/{name}") for name, value in factors.items()
    ]
    for weight in weights:  # as inputs with a default they are no constants, which onnxruntime would move into products
        model.graph.input.append(helper.make_tensor_value_info(weight.name, TensorProto.FLOAT, []))
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT16:
            weight = numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float32), weight.name)
        weights.append(weight)
    nodes: list[onnx.NodeProto] = []

    def round_to_half(exact: str, name: str) -> None:
        steps = [
            ("Mul", exact, "rounding/up", f"{name}/up"),
            ("Mul", f"{name}/up", "rounding/split", f"{name}/split"),
            ("Sub", f"{name}/split", f"{name}/up", f"{name}/rest"),
            ("Sub", f"{name}/split", f"{name}/rest", f"{name}/high"),
            ("Mul", f"{name}/high", "rounding/down", name),
        ]
        nodes.extend(helper.make_node(op, [a, b], [result]) for op, a, b, result in steps)

    for node in model.graph.node:
        if node.op_type == "Cast" and node.output[0] in values:
            round_to_half(node.input[0], node.output[0])
            continue
        nodes.append(node)
        for i, name in enumerate(node.output):
            if name in values and node.op_type not in MOVES:
                node.output[i] = f"{name}/exact"
                round_to_half(f"{name}/exact", name)
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights)
    return model


def _values_of(model: onnx.ModelProto, elem_type: int) -> set[str]:
    """The names of all values and weights of this type."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = {
        v.name for v in (*graph.value_info, *graph.input, *graph.output) if v.type.tensor_type.elem_type == elem_type
    }
    return values | {w.name for w in graph.initializer if w.data_type == elem_type}
