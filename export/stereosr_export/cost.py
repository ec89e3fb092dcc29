"""What a network costs, counted without running it."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

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
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = model.create(scale).eval()
        network(*torch.empty(2, 1, 3, *PAIR))
    return Cost(sum(p.numel() for p in network.parameters()), counter.get_total_flops() / 2e9)
