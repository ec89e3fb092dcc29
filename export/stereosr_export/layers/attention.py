"""Attention along the rows of a picture: in a rectified pair a match lies on the same epipolar line."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from onnx import FunctionProto

DOMAIN, OPERATOR = "com.microsoft", "MultiHeadAttention"
HEADS, SCALE = "num_heads", "scale"


def row_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(Q K^T) V within each row. All N x H x W x C; the query is of one view, key and value are of the other.

    An exported graph has one operator for it, which onnxruntime computes block by block (FlashAttention, Dao et al.,
    NeurIPS 2022): no H x W x W map is ever held, so memory grows with the picture's area alone.
    """
    shape = query.shape
    query, key, value = (x.flatten(0, 1) for x in (query, key, value))
    if torch.compiler.is_exporting():
        y = torch.onnx.ops.symbolic(
            f"{DOMAIN}::{OPERATOR}",
            (query, key, value),
            {HEADS: 1, SCALE: 1.0},
            dtype=query.dtype,
            shape=query.shape,
            version=1,
        )
    else:
        y = torch.matmul(torch.matmul(query, key.transpose(1, 2)).softmax(-1), value)
    return y.view(shape)


def in_plain_operators() -> "FunctionProto":
    """The same as an ONNX function, by which a runtime that lacks the operator expands it."""
    from onnx import helper

    body = [
        helper.make_node("Transpose", ["key"], ["transposed"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["query", "transposed"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["matches"], axis=-1),
        helper.make_node("MatMul", ["matches", "value"], ["output"]),
    ]
    opsets = [helper.make_opsetid("", 18)]
    inputs, outputs = ["query", "key", "value"], ["output"]
    return helper.make_function(DOMAIN, OPERATOR, inputs, outputs, body, opsets, attributes=[HEADS, SCALE])
