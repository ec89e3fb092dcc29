"""Attention along the rows of a picture: in a rectified pair a match lies on the same epipolar line.

A disparity is a small part of a wide row, so each pixel is compared with the columns near its own. This is to attention
what TLSC is to pooling: networks are trained on patches narrower than such a window, and time grows with the width, not
with its square.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stereosr_export.operators import ATTENTION, WINDOW_CENTRE, WINDOWED_ATTENTION

REACH = 128
"""LR columns that each pixel sees to either side, at least. Rows of up to four times as many are seen whole."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Rows of ``width`` columns in ``count`` blocks of ``block``; each sees the ``size`` columns of its window.

    A window reaches equally far to either side of its block; at the ends of a row it is moved inside, so that all are
    equally wide. One block is a whole row, which is its own window. Features are N x W x C.
    """

    width: int
    count: int
    block: int
    size: int

    @staticmethod
    def of(width: int, reach: int | None) -> "Windows":
        """Of rows of this width.

        Args:
            width: columns.
            reach: columns to either side of a block; a block has at least twice as many. None for whole rows.
        """
        count = 1 if reach is None else max(1, (width - 1) // (2 * reach))
        block = -(-width // count)
        return Windows(width, count, block, block if reach is None or count == 1 else block + 2 * reach)

    def blocks(self, features: Tensor) -> Tensor:
        """N x W x C -> N count x block x C; the last column is repeated where the last block is not full."""
        columns = self._first[:, None] + torch.arange(self.block)
        return self._taken(features, columns.clamp(max=self.width - 1))

    def around(self, features: Tensor) -> Tensor:
        """N x W x C -> N count x size x C: the window of each block."""
        starts = (self._first - (self.size - self.block) // 2).clamp(0, self.width - self.size)
        return self._taken(features, starts[:, None] + torch.arange(self.size))

    def joined(self, blocks: Tensor) -> Tensor:
        """The reverse of ``blocks``."""
        return blocks.reshape(-1, self.count * self.block, blocks.shape[-1])[:, : self.width]

    @property
    def _first(self) -> Tensor:
        return torch.arange(self.count) * self.block

    def _taken(self, features: Tensor, columns: Tensor) -> Tensor:
        if self.count == 1:
            return features
        taken = features.index_select(1, columns.flatten().to(features.device))
        return taken.reshape(-1, columns.shape[1], features.shape[-1])


def row_attention(query: Tensor, key: Tensor, value: Tensor, reach: int | None) -> Tensor:
    """softmax(Q K^T) V within each row. All N x H x W x C; the query is of one view, key and value are of the other.

    An exported graph has one operator for it, which onnxruntime computes block by block: no H x W x W map is ever held,
    so memory grows with the picture's area alone.

    Args:
        reach: LR columns that each pixel sees to either side, at least; None for whole rows.
    """
    shape = query.shape
    query, key, value = (x.flatten(0, 1) for x in (query, key, value))
    if torch.compiler.is_exporting():
        operator = ATTENTION
        attributes: dict[str, Any] = {"num_heads": 1, "scale": 1.0}
        if reach is not None:
            operator, attributes = WINDOWED_ATTENTION, {"reach": [reach]}
        y = torch.onnx.ops.symbolic(
            "::".join(operator), (query, key, value), attributes, dtype=query.dtype, shape=query.shape, version=1
        )
        return y.view(shape)
    windows = Windows.of(shape[2], reach)
    query, key, value = windows.blocks(query), windows.around(key), windows.around(value)
    y = torch.matmul(torch.matmul(query, key.transpose(1, 2)).softmax(-1), value)
    return windows.joined(y).reshape(shape)


def centred(left: Tensor, right: Tensor, reach: int | None) -> tuple[Tensor, Tensor]:
    """Both without the mean of both over the row, or over the window that ``row_attention`` takes. N x H x W x C."""
    shape = left.shape
    if torch.compiler.is_exporting() and reach is not None:
        rows = left.flatten(0, 1), right.flatten(0, 1)
        a, b = torch.onnx.ops.symbolic_multi_out(
            "::".join(WINDOW_CENTRE),
            rows,
            {"reach": [reach]},
            dtypes=[x.dtype for x in rows],
            shapes=[x.shape for x in rows],
            version=1,
        )
        return a.view(shape), b.view(shape)
    windows = Windows.of(shape[2], reach)
    rows = left.flatten(0, 1), right.flatten(0, 1)
    a, b = (windows.around(x).mean(1, keepdim=True) for x in rows)
    a, b = (windows.joined(windows.blocks(x) - (a + b) / 2).reshape(shape) for x in rows)
    return a, b


def reach_of(network: nn.Module) -> int | None:
    """How far the attentions of a network reach; None for whole rows, and where there are none."""
    return next((module.reach for module in network.modules() if hasattr(module, "reach")), None)  # type: ignore[return-value]


def set_reach(network: nn.Module, reach: int | None) -> bool:
    """Have all attentions of a network reach so many LR columns; gives whether it has any that can."""
    found = [module for module in network.modules() if hasattr(module, "reach")]
    for module in found:
        module.reach = reach  # type: ignore[assignment]
    return bool(found)
