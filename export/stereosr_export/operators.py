"""Operators of the exported graphs that ONNX itself does not have, and what they mean in those that it has.

A file carries these meanings as functions. A runtime with a kernel of its own for an operator runs that; any other runs
the function.
"""

import onnx
from onnx import FunctionProto, ModelProto, NodeProto, helper

ATTENTION = "com.microsoft", "MultiHeadAttention"
"""softmax(Q K^T) V, N x L x C. onnxruntime computes it block by block (FlashAttention, Dao et al., NeurIPS 2022)."""

NORM = "stereosr", "UnitMeanNorm"
"""LayerNormalization over the last axis with ones for its scale and its bias.

No runtime has a kernel for it, so all run the function; only half precision takes LayerNormalization back
(``in_onnx_terms``). Of that, onnxruntime's kernel on the CPU gains nothing from a second thread: at every row its
threads count one reference to the same allocator.
"""

OPSET = 18


def add_function_bodies(model: ModelProto) -> None:
    """Give the model the functions of those operators that it has."""
    used = {(node.domain, node.op_type) for node in model.graph.node}
    for operator, meaning in ((ATTENTION, _attention), (NORM, _norm)):
        if operator in used:
            model.functions.append(meaning())


def replace_custom_norm(model: ModelProto) -> None:
    """Put LayerNormalization in place of NORM: one kernel on every GPU, with statistics in fp32 by its definition."""
    widths = {}
    for node in model.graph.node:
        if (node.domain, node.op_type) != NORM:
            continue
        attributes = {a.name: a.f for a in node.attribute}
        width = int(attributes["width"])
        widths[width] = f"ones_{width}"
        node.CopyFrom(
            helper.make_node(
                "LayerNormalization",
                [node.input[0], widths[width], widths[width]],
                list(node.output),
                node.name,
                axis=-1,
                epsilon=attributes["epsilon"],
            )
        )
    for width, name in widths.items():
        model.graph.initializer.append(helper.make_tensor(name, onnx.TensorProto.FLOAT, [width], [1.0] * width))
    kept = [f for f in model.functions if (f.domain, f.name) != NORM]
    del model.functions[:]
    model.functions.extend(kept)


def _attention() -> FunctionProto:
    nodes = [
        helper.make_node("Transpose", ["key"], ["transposed"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["query", "transposed"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["matches"], axis=-1),
        helper.make_node("MatMul", ["matches", "value"], ["output"]),
    ]
    return _function(ATTENTION, ["query", "key", "value"], nodes, ["num_heads", "scale"])


def _norm() -> FunctionProto:
    """(x - mean + deviation) / deviation, in passes over x that every runtime spreads over its threads.

    The statistics are N x H x W until the end: onnxruntime takes a number and a tensor whose last axis is one value by
    value.
    """
    nodes = [
        helper.make_node("Constant", [], ["last"], value_ints=[-1]),
        _attribute("width"),
        _attribute("epsilon"),
        helper.make_node("ReduceMean", ["x", "last"], ["mean"], keepdims=0),
        helper.make_node("ReduceSumSquare", ["x", "last"], ["power"], keepdims=0),
        helper.make_node("Div", ["power", "width"], ["square"]),
        helper.make_node("Mul", ["mean", "mean"], ["offset"]),
        helper.make_node("Sub", ["square", "offset"], ["variance"]),
        helper.make_node("Add", ["variance", "epsilon"], ["positive"]),
        helper.make_node("Sqrt", ["positive"], ["deviation"]),
        helper.make_node("Sub", ["mean", "deviation"], ["origin"]),
        helper.make_node("Unsqueeze", ["origin", "last"], ["origins"]),
        helper.make_node("Unsqueeze", ["deviation", "last"], ["deviations"]),
        helper.make_node("Sub", ["x", "origins"], ["centred"]),
        helper.make_node("Div", ["centred", "deviations"], ["output"]),
    ]
    return _function(NORM, ["x"], nodes, ["width", "epsilon"])


def _attribute(name: str) -> NodeProto:
    """A constant that the function's attribute of this name gives."""
    node = helper.make_node("Constant", [], [name])
    node.attribute.add(name="value_float", ref_attr_name=name, type=onnx.AttributeProto.FLOAT)
    return node


def _function(operator: tuple[str, str], inputs: list[str], nodes: list[NodeProto], names: list[str]) -> FunctionProto:
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_function(*operator, inputs, ["output"], nodes, opsets, attributes=names)
