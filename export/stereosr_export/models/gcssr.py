"""GCSSR, gated convolutions for stereo super-resolution: this project's own network, made for processors.

NAFSSR spends most of its time on depthwise convolutions, norms and sixteen attentions, which run at a fraction of a
processor's arithmetic rate. Here the trunk is dense 3 x 3 convolutions, which every runtime has tuned kernels for,
around NAFNet's gate; two attentions remain. Nothing is pooled over rows, so that a band of rows depends on nothing
beyond ``HALO`` rows. Features are N x C x H x W, left views then right ones in one batch.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stereosr_export.layers.attention import REACH, centred, row_attention
from stereosr_export.layers.views import split_views
from stereosr_export.models.nafssr import Pointwise
from stereosr_export.zoo import ZooModel

WIDTH = 48
BLOCKS = 8
FUSED = (1, 3)
"""The blocks that a match follows: features of few convolutions match best, and the rest of the trunk uses them."""

SHARPNESS = 20.0
"""The score of a perfect match at first: with it, warping right to left by new matches leaves the least error."""

TAKEN = 0.3
"""The share of the other view's features at first: from zero it would grow too slowly for its use to be learned."""

HALO = 2 * BLOCKS + 2
"""Rows that a pixel depends on, up and down: one a convolution."""

MEMORY_PER_CHANNEL = 97
"""Bytes that onnxruntime holds, an LR pixel and channel, as NAFSSR's: 5,928 a pixel were measured at 94 x 310, 6,182
at 100 x 1920."""


class GatedConvolutions(nn.Module):
    """x + scale * conv(gate(conv(norm(x)))), N x C x H x W.

    The gate multiplies two halves (SimpleGate; Chen et al., ECCV 2022). They are convolutions of their own, which
    spares a copy of the features. The norm has no factors: those of the convolutions behind it serve.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value, self.gate, self.out = (nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
        self.scale = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self._norm(x)
        y = self.value(y) * self.gate(y)
        assert self.out.bias is not None
        scaled = self.out.weight * self.scale[:, None, None, None]  # folded into the weights, which are far smaller
        return x + F.conv2d(y, scaled, self.out.bias * self.scale, padding=1)

    def _norm(self, x: Tensor) -> Tensor:
        """LayerNorm over the channels, Ba et al., 2016, without factors; in a form that keeps N x C x H x W."""
        if self.training:
            return F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), eps=1e-6).permute(0, 3, 1, 2)
        centred = x - x.mean(1, keepdim=True)
        return centred / torch.sqrt((centred * centred).mean(1, keepdim=True) + 1e-6)


class StereoMatch(nn.Module):
    """Each row takes from the same row of the other view what resembles it. N x H x W x C each.

    As NAFSSR's SCAM (section 3.2), but a match from the first iteration on: both views are described by one matrix,
    the mean of the row over both views is removed, and scores are cosines times the square of a learned ``sharpness``.
    Different random matrices match nothing, and what most pixels of a row share hides what tells them apart.
    Exchanging the views exchanges the outputs.
    """

    reach: int | None = REACH

    def __init__(self, width: int) -> None:
        super().__init__()
        self.describe, self.take = Pointwise(width, width), Pointwise(width, width)
        nn.init.orthogonal_(self.describe.weight)
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS**0.5))
        self.scale = nn.Parameter(torch.full((width,), TAKEN))

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self._descriptions(left, right)
        to_left = row_attention(a, b, self.take(right, self.scale), self.reach)
        to_right = row_attention(b, a, self.take(left, self.scale), self.reach)
        return left + to_left, right + to_right

    def _descriptions(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors times ``sharpness``, so that their products are the scores."""
        # In single precision: the mean may be far larger than what is left without it.
        a, b = centred(self.describe(left).float(), self.describe(right).float(), self.reach)
        return self._to_length(a), self._to_length(b)

    def _to_length(self, x: Tensor) -> Tensor:
        return x * (self.sharpness / torch.sqrt((x * x).sum(-1, keepdim=True) + 1e-6))


class GCSSR(nn.Module):
    """left, right: N x 3 x H x W in [0, 1] -> left_sr, right_sr: N x 3 x sH x sW, not clamped."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.intro = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.body = nn.ModuleList(GatedConvolutions(WIDTH) for _ in range(BLOCKS))
        self.fusion = nn.ModuleDict({str(block): StereoMatch(WIDTH) for block in FUSED})
        self.up = nn.Sequential(nn.Conv2d(WIDTH, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        views = torch.cat([left, right])
        x = self.intro(views)
        for number, block in enumerate(self.body):
            x = block(x)
            if str(number) in self.fusion:
                x = torch.cat(self.fusion[str(number)](*split_views(x.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)
        shortcut = F.interpolate(views, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return split_views(self.up(x) + shortcut)


MODELS = (
    ZooModel(
        name="gcssr",
        family="gcssr",
        scales=(2, 4),
        build=GCSSR,
        patch=(30, 96),
        mean_window=None,
        halo=HALO,
        memory=(MEMORY_PER_CHANNEL * WIDTH, 0),
        tolerance=1e-5,
        source="this project",
    ),
)
