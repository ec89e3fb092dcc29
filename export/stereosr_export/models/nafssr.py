"""NAFSSR: Stereo Image Super-Resolution Using NAFNet (Chu, Chen, Yu; CVPRW 2022).

Parameters carry the names of the authors' code, so that their checkpoints load as they are. Features are kept channels
last (N x H x W x C): there the 1 x 1 convolutions are plain matrix products, LayerNorm is the native one, and the
attention along a row needs no transposed copies. On a CPU one training step takes about half the time of the
channels-first form.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stereosr_export.layers.tlsc import LocalMean, pooling_window
from stereosr_export.layers.views import split_views
from stereosr_export.zoo import ZooModel

PATCH = (30, 90)
"""LR rows and columns of a training patch (section 4.1); TLSC's window follows from it."""


MEMORY_PER_CHANNEL, MEMORY_PER_MATCH = 150, 20
"""Bytes that onnxruntime was seen to hold, an LR pixel and channel, and an LR pixel and column (both views)."""


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution of channels-last features; the weight keeps its convolution shape (out x in x 1 x 1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, x: Tensor, factor: Tensor | float = 1.0) -> Tensor:
        """The output times ``factor`` (a number, or one a channel): folded into the weights, which are far smaller."""
        assert self.bias is not None
        factor = torch.as_tensor(factor).reshape(-1)
        return F.linear(x, self.weight.flatten(1) * factor[:, None], self.bias * factor)


def _layer_norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=1e-6)


def _scale(width: int) -> nn.Parameter:
    """A learned factor per channel, zero at first, so that a new network starts as its bilinear shortcut."""
    return nn.Parameter(torch.zeros(1, width, 1, 1))


def _simple_gate(x: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return a * b


def _match(query: Tensor, key: Tensor) -> Tensor:
    """How much each pixel of a row looks at each pixel of the same row in the other view, N x H x W x W."""
    return torch.matmul(query, key.transpose(-1, -2)).softmax(-1)


class NAFBlock(nn.Module):
    """NAFNet's block (Chen et al., ECCV 2022): a gated depthwise convolution, a gated feed-forward. N x H x W x C."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = _layer_norm(width)
        self.conv1 = Pointwise(width, 2 * width)
        self.conv2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.sca = nn.Sequential(LocalMean(pooling_window(PATCH)), Pointwise(width, width))
        self.conv3 = Pointwise(width, width)
        self.norm2 = _layer_norm(width)
        self.conv4 = Pointwise(width, 2 * width)
        self.conv5 = Pointwise(width, width)
        self.beta, self.gamma = _scale(width), _scale(width)

    def forward(self, x: Tensor) -> Tensor:
        gated = self.conv1(self.norm1(x)).permute(0, 3, 1, 2)
        gated = _simple_gate(self.conv2(gated).permute(0, 2, 3, 1))
        x = x + self.conv3(gated * self.sca(gated), self.beta)
        y: Tensor = x + self.conv5(_simple_gate(self.conv4(self.norm2(x))), self.gamma)
        return y


class SCAM(nn.Module):
    """Stereo cross-attention (section 3.2, eqs. 2-6): each row attends to the same row of the other view.

    Takes and gives both views as one batch, 2N x H x W x C, the left ones first. The scores of the second direction are
    those of the first, transposed; computing them anew costs less than transposing an H x W x W map.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = width**-0.5
        self.norm_l, self.norm_r = _layer_norm(width), _layer_norm(width)
        self.l_proj1, self.r_proj1 = Pointwise(width, width), Pointwise(width, width)
        self.l_proj2, self.r_proj2 = Pointwise(width, width), Pointwise(width, width)
        self.beta, self.gamma = _scale(width), _scale(width)

    def forward(self, x: Tensor) -> Tensor:
        left, right = split_views(x)
        query, key = self.l_proj1(self.norm_l(left), self.scale), self.r_proj1(self.norm_r(right))
        # Rows of a softmax sum to one, so a factor on the result may as well stand on the values.
        to_left = torch.matmul(_match(query, key), self.r_proj2(right, self.beta))
        to_right = torch.matmul(_match(key, query), self.l_proj2(left, self.gamma))
        return torch.cat([left + to_left, right + to_right])


class StereoBlock(nn.Module):
    """One NAFBlock, shared by the views, and the SCAM after it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blk = NAFBlock(width)
        self.fusion = SCAM(width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fusion(self.blk(x))
        return y


class StochasticDepth(nn.Module):
    """Skips its module with probability ``rate`` in training (section 3.3): one draw a forward for the whole batch.

    The residual that is kept is divided by 1 - rate. In evaluation the module is always run, unscaled.
    """

    def __init__(self, module: nn.Module, rate: float) -> None:
        super().__init__()
        self.module = module
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.rate and torch.rand(()).item() < self.rate:
            return x
        y: Tensor = self.module(x)
        return x + (y - x) / (1 - self.rate) if self.training and self.rate else y


class NAFSSR(nn.Module):
    """left, right: N x 3 x H x W in [0, 1] -> left_sr, right_sr: N x 3 x sH x sW, not clamped."""

    def __init__(self, scale: int, width: int, blocks: int, drop_path: float) -> None:
        super().__init__()
        self.scale = scale
        self.intro = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(StochasticDepth(StereoBlock(width), drop_path) for _ in range(blocks)))
        self.up = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        views = torch.cat([left, right])
        features = self.body(self.intro(views).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        shortcut = F.interpolate(views, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return split_views(self.up(features) + shortcut)


def _zoo_model(size: str, width: int, blocks: int, drop_path: float) -> ZooModel:
    def build(scale: int) -> NAFSSR:
        return NAFSSR(scale, width, blocks, drop_path)

    return ZooModel(
        name=f"nafssr-{size}",
        family="nafssr",
        scales=(2, 4),
        build=build,
        patch=PATCH,
        mean_window=pooling_window(PATCH),
        halo=8,
        memory=(MEMORY_PER_CHANNEL * width, MEMORY_PER_MATCH),
        tolerance=1e-5,
        source="NAFSSR, Chu, Chen and Yu, CVPRW 2022",
    )


MODELS = (
    _zoo_model("t", width=48, blocks=16, drop_path=0.0),
    _zoo_model("s", width=64, blocks=32, drop_path=0.1),
    _zoo_model("b", width=96, blocks=64, drop_path=0.2),
    _zoo_model("l", width=128, blocks=128, drop_path=0.3),
)
