"""NAFSSR: Stereo Image Super-Resolution Using NAFNet (Chu, Chen, Yu; CVPRW 2022).

Parameters carry the names of the authors' code, so that their checkpoints load as they are. Features are kept channels
last (N x H x W x C): there the 1 x 1 convolutions are plain matrix products, LayerNorm is the native one, and the
attention along a row needs no transposed copies. On a CPU one training step takes about half the time of the
channels-first form.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stereosr_export.layers.attention import REACH, row_attention
from stereosr_export.layers.norm import Norm
from stereosr_export.layers.tlsc import LocalMean, pooling_window
from stereosr_export.zoo import ZooModel

PATCH = (30, 90)
"""LR rows and columns of a training patch (section 4.1); TLSC's window follows from it."""


MEMORY_PER_CHANNEL = 70
"""Bytes that onnxruntime holds, an LR pixel and channel of both views; as much a third more, see ``TAKEN_BY_TILES``:
3,350 bytes a pixel were measured at 94 x 310, 4,474 at 100 x 1920."""


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution of channels-last features; the weight keeps its convolution shape (out x in x 1 x 1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, x: Tensor, factor: Tensor | float = 1.0) -> Tensor:
        """The output times ``factor`` (a number, or one a channel): folded into the weights, which are far smaller."""
        return F.linear(x, *self.matrix(factor))

    def matrix(self, factor: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """Weight (outputs x inputs) and bias, times ``factor``."""
        assert self.bias is not None
        factor = torch.as_tensor(factor).reshape(-1)
        return self.weight.flatten(1) * factor[:, None], self.bias * factor


def _scale(width: int) -> nn.Parameter:
    """A learned factor per channel, zero at first, so that a new network starts as its bilinear shortcut."""
    return nn.Parameter(torch.zeros(1, width, 1, 1))


class NAFBlock(nn.Module):
    """NAFNet's block (Chen et al., ECCV 2022): a gated depthwise convolution, a gated feed-forward. N x H x W x C.

    SimpleGate multiplies the two halves of a layer's channels. The halves are computed apart, by the halves of its
    weights: that spares a copy of the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = Norm(width)
        self.conv1 = Pointwise(width, 2 * width)
        self.conv2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.sca = nn.Sequential(LocalMean(pooling_window(PATCH)), Pointwise(width, width))
        self.conv3 = Pointwise(width, width)
        self.norm2 = Norm(width)
        self.conv4 = Pointwise(width, 2 * width)
        self.conv5 = Pointwise(width, width)
        self.beta, self.gamma = _scale(width), _scale(width)

    def forward(self, x: Tensor) -> Tensor:
        a, b = (
            F.conv2d(half.permute(0, 3, 1, 2), *depthwise, padding=1, groups=len(depthwise[0]))
            for half, depthwise in zip(self.norm1.project(x, *_halves(self.conv1)), _halves(self.conv2), strict=True)
        )
        gated = a.permute(0, 2, 3, 1) * b.permute(0, 2, 3, 1)
        x = x + self.conv3(gated * self.sca[0](gated, then=self.sca[1]), self.beta)
        a, b = self.norm2.project(x, *_halves(self.conv4))
        out: Tensor = x + self.conv5(a * b, self.gamma)
        return out


def _halves(layer: nn.Conv2d) -> tuple[tuple[Tensor, Tensor], ...]:
    """Weight and bias of the first half of the outputs, then of the second; a 1 x 1 weight as a matrix."""
    assert layer.bias is not None
    weight = layer.weight.flatten(1) if isinstance(layer, Pointwise) else layer.weight
    half = len(weight) // 2
    return (weight[:half], layer.bias[:half]), (weight[half:], layer.bias[half:])


class SCAM(nn.Module):
    """Stereo cross-attention (section 3.2, eqs. 2-6): each row attends to the same row of the other view.

    The scores of the second direction are those of the first, transposed; computing them anew costs less than
    transposing an H x W x W map, and lets a runtime compute either direction without holding one.
    """

    reach: int | None = REACH

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = width**-0.5
        self.norm_l, self.norm_r = Norm(width), Norm(width)
        self.l_proj1, self.r_proj1 = Pointwise(width, width), Pointwise(width, width)
        self.l_proj2, self.r_proj2 = Pointwise(width, width), Pointwise(width, width)
        self.beta, self.gamma = _scale(width), _scale(width)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        (query,) = self.norm_l.project(left, self.l_proj1.matrix(self.scale))
        (key,) = self.norm_r.project(right, self.r_proj1.matrix())
        # Rows of a softmax sum to one, so a factor on the result may as well stand on the values.
        to_left = row_attention(query, key, self.r_proj2(right, self.beta), self.reach)
        to_right = row_attention(key, query, self.l_proj2(left, self.gamma), self.reach)
        return left + to_left, right + to_right


class StereoBlock(nn.Module):
    """One NAFBlock, shared by the views, and the SCAM after it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blk = NAFBlock(width)
        self.fusion = SCAM(width)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        views: tuple[Tensor, Tensor] = self.fusion(self.blk(left), self.blk(right))
        return views


class StochasticDepth(nn.Module):
    """Skips its module with probability ``rate`` in training (section 3.3): one draw a forward for the whole batch.

    The residual that is kept is divided by 1 - rate. In evaluation the module is always run, unscaled.
    """

    def __init__(self, module: StereoBlock, rate: float) -> None:
        super().__init__()
        self.module = module
        self.rate = rate

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        drops = self.training and self.rate > 0
        if drops and torch.rand(()).item() < self.rate:
            return left, right
        a, b = self.module(left, right)
        return (left + (a - left) / (1 - self.rate), right + (b - right) / (1 - self.rate)) if drops else (a, b)


class NAFSSR(nn.Module):
    """left, right: N x 3 x H x W in [0, 1] -> left_sr, right_sr: N x 3 x sH x sW, not clamped."""

    def __init__(self, scale: int, width: int, blocks: int, drop_path: float) -> None:
        super().__init__()
        self.scale = scale
        self.intro = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.ModuleList(StochasticDepth(StereoBlock(width), drop_path) for _ in range(blocks))
        self.up = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        a, b = (self.intro(view).permute(0, 2, 3, 1) for view in (left, right))
        for block in self.body:
            a, b = block(a, b)
        return self._enlarge(a, left), self._enlarge(b, right)

    def _enlarge(self, features: Tensor, view: Tensor) -> Tensor:
        shortcut = F.interpolate(view, scale_factor=self.scale, mode="bilinear", align_corners=False)
        y: Tensor = self.up(features.permute(0, 3, 1, 2)) + shortcut
        return y


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
        memory=(MEMORY_PER_CHANNEL * width, 0),
        tolerance=1e-5,
        source="NAFSSR, Chu, Chen and Yu, CVPRW 2022",
    )


MODELS = (
    _zoo_model("t", width=48, blocks=16, drop_path=0.0),
    _zoo_model("s", width=64, blocks=32, drop_path=0.1),
    _zoo_model("b", width=96, blocks=64, drop_path=0.2),
    _zoo_model("l", width=128, blocks=128, drop_path=0.3),
)
