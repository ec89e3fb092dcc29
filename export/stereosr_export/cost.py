"""What a network costs, counted without running it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from stereosr_export.zoo import ZooModel

PAIR = (180, 320)
"""Rows and columns of each view, at low resolution, that costs are counted for (NTIRE 2024's counting size)."""


@dataclass(frozen=True, slots=True)
class Cost:
    """``gmacs``: 10^9 multiply-accumulates of convolutions and matrix products, attention's too, for both views."""

    parameters: int
    gmacs: float


def cost(model: ZooModel, scale: int) -> Cost:
    """The cost of what runs here in inference.

    For NAFSSR that is more than the convolutions of the authors' code and three products an attention (T x4: 81 GMACs):
    TLSC makes a channel attention for many windows, and the scores of the second direction are computed anew (97).
    """
    with torch.device("meta"):
        network = model.create(scale).eval()
        with torch.no_grad(), _Counter() as counter:
            network(*torch.empty(2, 1, 3, *PAIR))
    return Cost(sum(p.numel() for p in network.parameters()), counter.flops / 2e9)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Torch's FlopCounterMode on tensors without content, where what was seen once need not be computed again."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self._seen: dict[tuple[Any, ...], tuple[Any, int]] = {}

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = ((x.shape, x.stride(), x.dtype) if isinstance(x, Tensor) else x for x in tree_leaves((args, kwargs)))
        key = (func, *leaves)
        if key not in self._seen:
            out, count = func(*args, **kwargs), flop_registry.get(func._overloadpacket)
            self._seen[key] = out, count(*args, **kwargs, out_val=out) if count else 0
        out, flops = self._seen[key]
        self.flops += flops
        return tree_map_only(
            Tensor, lambda x: torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device), out
        )
