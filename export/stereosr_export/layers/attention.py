"""Attention along the rows of a picture: in a rectified pair a match lies on the same epipolar line."""

import torch
from torch import Tensor

from stereosr_export.operators import ATTENTION


def row_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(Q K^T) V within each row. All N x H x W x C; the query is of one view, key and value are of the other.

    An exported graph has one operator for it, which onnxruntime computes block by block: no H x W x W map is ever held,
    so memory grows with the picture's area alone.
    """
    shape = query.shape
    query, key, value = (x.flatten(0, 1) for x in (query, key, value))
    if torch.compiler.is_exporting():
        y = torch.onnx.ops.symbolic(
            "::".join(ATTENTION),
            (query, key, value),
            {"num_heads": 1, "scale": 1.0},
            dtype=query.dtype,
            shape=query.shape,
            version=1,
        )
    else:
        y = torch.matmul(torch.matmul(query, key.transpose(1, 2)).softmax(-1), value)
    return y.view(shape)
