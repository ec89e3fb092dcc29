"""StereoSR: Enhancing the Spatial Resolution of Stereo Images Using a Parallax Prior (Jeon et al., CVPR 2018).

Written from a description of the network, not from the authors' code.
"""

from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stereosr_export.layers.luminance import Bicubic, luminance
from stereosr_export.layers.views import as_references, from_references
from stereosr_export.zoo import ZooModel

SHIFTS = 64
"""Disparities from 0 to 63, in pixels of the output."""


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.xavier_normal_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def _sixteen(inputs: int, outputs: int) -> nn.Sequential:
    """Sixteen convolutions, ReLU between them."""
    inner = chain.from_iterable((_conv(64, 64), nn.ReLU()) for _ in range(14))
    return nn.Sequential(_conv(inputs, 64), nn.ReLU(), *inner, _conv(64, outputs))


class StereoSR(nn.Module):
    """left, right: N x 3 x H x W in [0, 1] -> left_sr, right_sr: N x 3 x sH x sW, not clamped.

    The first stage finds luminance from one view and 64 shifted copies of the other, the second colour. Where a shifted
    copy has nothing its edge is repeated; the authors' comes in again from the other side.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.interpolate = Bicubic(scale)
        self.luminance = _sixteen(1 + SHIFTS, 1)
        self.colour = nn.Sequential(_sixteen(3, 3), nn.ReLU())
        self.merge = _conv(6, 3)
        # Its ReLU would cut off for good a channel that starts below zero: it starts by passing its input on.
        nn.init.zeros_(self.merge.weight)
        with torch.no_grad():
            self.merge.weight[:, 3:, 1, 1] = torch.eye(3)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        left, right = self.interpolate(left), self.interpolate(right)
        return from_references(self.super_resolve(as_references(left, right), as_references(right, left)))

    def super_resolve(self, reference: Tensor, other: Tensor) -> Tensor:
        """The authors' network: the reference view, N x 3 x H x W, from the interpolated pair."""
        y = luminance(reference)
        shifted = F.pad(luminance(other), (SHIFTS - 1, 0, 0, 0), mode="replicate")
        width = reference.shape[-1]
        copies = [shifted[..., SHIFTS - 1 - d : SHIFTS - 1 - d + width] for d in range(SHIFTS)]
        sharp = y + self.luminance(torch.cat([y, *copies], 1))
        ycc = torch.cat([sharp, 0.713 * (reference[:, 0:1] - y) + 0.5, 0.564 * (reference[:, 2:3] - y) + 0.5], 1)
        y, cr, cb = F.relu(self.merge(torch.cat([self.colour(ycc), ycc], 1))).chunk(3, 1)
        red, blue = y + (cr - 0.5) / 0.713, y + (cb - 0.5) / 0.564
        return torch.cat([red, y - 0.299 / 0.587 * (red - y) - 0.114 / 0.587 * (blue - y), blue], 1)


MODELS = (
    ZooModel(
        name="stereosr-net",
        family="stereosr-net",
        scales=(2, 4),
        build=StereoSR,
        patch=(30, 90),
        mean_window=None,
        halo=20,
        memory=(102_400, 0),
        tolerance=1e-5,
        source="StereoSR, Jeon et al., CVPR 2018",
    ),
)
