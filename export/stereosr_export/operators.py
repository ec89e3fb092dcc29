"""Operators of the exported graphs that ONNX itself does not have, and what they mean in those that it has.

A file carries these meanings as functions. A runtime with a kernel of its own for an operator runs that; any other runs
the function.
"""

import onnx
import onnx.inliner
import onnx.parser
from onnx import FunctionProto, ModelProto, NodeProto, helper

ATTENTION = "com.microsoft", "MultiHeadAttention"
"""softmax(Q K^T) V, N x L x C. onnxruntime computes it block by block (FlashAttention, Dao et al., NeurIPS 2022)."""

NORM = "stereosr", "UnitMeanNorm"
"""LayerNormalization over the last axis with ones for its scale and its bias.

No runtime has a kernel for it, so all run the function; only half precision takes LayerNormalization back
(``in_onnx_terms``). Of that, onnxruntime's kernel on the CPU gains nothing from a second thread: at every row its
threads count one reference to the same allocator.
"""

WINDOWED_ATTENTION = "stereosr", "WindowedAttention"
"""ATTENTION of blocks of columns on windows around them; ``layers.attention.Windows`` says which. N x W x C each."""

WINDOW_CENTRE = "stereosr", "WindowCentre"
"""Two views, N x W x C each, without the mean of both over the window of each column's block."""

OPSET = 18

_CUT = """
    shape = Shape (x)
    batch, width, channels = Split <num_outputs = 3> (shape)
    reach = Constant <value_ints: ints = @reach> ()
    zero = Constant <value_ints = [0]> ()
    one = Constant <value_ints = [1]> ()
    two = Constant <value_ints = [2]> ()
    free = Constant <value_ints = [-1]> ()
    none = Constant <value_int = 0> ()
    step = Constant <value_int = 1> ()
    both_sides = Mul (reach, two)
    last = Sub (width, one)
    whole_blocks = Div (last, both_sides)
    count = Max (whole_blocks, one)
    others = Sub (count, one)
    all_but_one = Add (width, others)
    block = Div (all_but_one, count)
    is_whole = Equal (count, one)
    more = Where (is_whole, zero, both_sides)
    size = Add (block, more)
    count_number = Squeeze (count)
    block_number = Squeeze (block)
    size_number = Squeeze (size)
    numbers = Range (none, count_number, step)
    firsts = Mul (numbers, block)
    first = Unsqueeze (firsts, one)
    in_block = Range (none, block_number, step)
    block_columns = Add (first, in_block)
    inside_columns = Min (block_columns, last)
    inside = Reshape (inside_columns, free)
    before = Sub (first, reach)
    most = Sub (width, size)
    not_beyond = Min (before, most)
    start = Max (not_beyond, zero)
    in_window = Range (none, size_number, step)
    window_columns = Add (start, in_window)
    around = Reshape (window_columns, free)
    of_blocks = Concat <axis = 0> (free, block, channels)
    of_windows = Concat <axis = 0> (free, size, channels)
    padded_width = Mul (count, block)
    padded = Concat <axis = 0> (batch, padded_width, channels)
"""

_WINDOWED_ATTENTION = f"""
<opset_import: ["": {OPSET}, "com.microsoft": 1], domain: "stereosr">
WindowedAttention <reach> (x, key, value) => (output) {{ {_CUT}
    x_taken = Gather <axis = 1> (x, inside)
    key_taken = Gather <axis = 1> (key, around)
    value_taken = Gather <axis = 1> (value, around)
    x_blocks = Reshape (x_taken, of_blocks)
    key_windows = Reshape (key_taken, of_windows)
    value_windows = Reshape (value_taken, of_windows)
    found = com.microsoft.MultiHeadAttention <num_heads = 1, scale = 1.0> (x_blocks, key_windows, value_windows)
    joined = Reshape (found, padded)
    output = Slice (joined, zero, width, one)
}}
"""

_WINDOW_CENTRE = f"""
<opset_import: ["": {OPSET}], domain: "stereosr">
WindowCentre <reach> (x, y) => (x_centred, y_centred) {{ {_CUT}
    x_seen = Gather <axis = 1> (x, around)
    y_seen = Gather <axis = 1> (y, around)
    x_windows = Reshape (x_seen, of_windows)
    y_windows = Reshape (y_seen, of_windows)
    x_mean = ReduceMean (x_windows, one)
    y_mean = ReduceMean (y_windows, one)
    mean = Mean (x_mean, y_mean)
    x_taken = Gather <axis = 1> (x, inside)
    y_taken = Gather <axis = 1> (y, inside)
    x_blocks = Reshape (x_taken, of_blocks)
    y_blocks = Reshape (y_taken, of_blocks)
    x_rest = Sub (x_blocks, mean)
    y_rest = Sub (y_blocks, mean)
    x_joined = Reshape (x_rest, padded)
    y_joined = Reshape (y_rest, padded)
    x_centred = Slice (x_joined, zero, width, one)
    y_centred = Slice (y_joined, zero, width, one)
}}
"""


def expand_windows(model: ModelProto) -> ModelProto:
    """The model with what the operators on windows mean in the place of each."""
    operators = WINDOWED_ATTENTION, WINDOW_CENTRE
    if ATTENTION[0] not in {opset.domain for opset in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(ATTENTION[0], 1))
    model.functions.extend(map(onnx.parser.parse_function, (_WINDOWED_ATTENTION, _WINDOW_CENTRE)))
    return onnx.inliner.inline_selected_functions(model, list(operators))


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
