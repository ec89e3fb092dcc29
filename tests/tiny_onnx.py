"""A single-view network of one operator, for tests that need a foreign one."""

from pathlib import Path

import numpy as np


def network(
    path: Path, bias: float = 0.0, inputs: tuple[str, ...] = ("x",), channels: int = 3, kind: int | None = None
) -> Path:
    """Repeats each pixel 2 x 2, plus ``bias``."""
    import onnx

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT if kind is None else kind
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    shape: list[int | str | None] = [1, channels, "h", "w"]
    constants = [
        onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"),
        onnx.numpy_helper.from_array(np.array(bias, dtype), "bias"),
    ]
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("Add", ["large", "bias"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "repeat",
        [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
        [helper.make_tensor_value_info("y", kind, [1, channels, "H", "W"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))
    return path
