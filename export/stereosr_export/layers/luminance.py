"""What networks of 2014 to 2018 have in common: bicubic interpolation first, and the work done on the luminance."""

from functools import reduce

import torch
from torch import Tensor, nn

from stereosr_export.layers.views import split_views

LUMA = (0.299, 0.587, 0.114)
"""Y of full range, after BT.601. A change of Y alone changes red, green and blue by as much."""


def luminance(rgb: Tensor) -> Tensor:
    """N x 3 x H x W -> N x 1 x H x W, of the same range."""
    red, green, blue = rgb[:, 0:1], rgb[:, 1:2], rgb[:, 2:3]
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


class Bicubic(nn.Module):
    """N x C x H x W -> N x C x sH x sW as MATLAB's ``imresize`` enlarges, without its rounding.

    Keys' cubic with a = -0.5, where ``F.interpolate`` has -0.75, and mirrored borders. Sums of slices, because autocast
    would round a convolution's picture to half precision.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        phases = [(i + 0.5) / scale - 0.5 for i in range(scale)]
        self.weights = [[_cubic(abs(phase - tap)) for tap in range(-2, 3)] for phase in phases]

    def forward(self, x: Tensor) -> Tensor:
        return self._enlarge(self._enlarge(x, -2), -1)

    def _enlarge(self, x: Tensor, dim: int) -> Tensor:
        size = x.shape[dim]
        x = _mirror(x, dim)
        taps = [x.narrow(dim, k, size) for k in range(5)]
        phases = [_weighted(taps, row) for row in self.weights]
        return torch.stack(phases, dim).flatten(dim - 1, dim)


def _weighted(taps: list[Tensor], weights: list[float]) -> Tensor:
    return reduce(torch.add, (w * tap for tap, w in zip(taps, weights, strict=True) if w))


def _cubic(x: float) -> float:
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def _mirror(x: Tensor, dim: int) -> Tensor:
    """Two pixels more at both ends: the edge repeated, then its neighbour. A picture of one pixel has only the edge."""
    size = x.shape[dim]
    x = torch.cat([x.narrow(dim, 0, 1), x, x.narrow(dim, size - 1, 1)], dim)
    return torch.cat([x.narrow(dim, 2, 1), x, x.narrow(dim, size - 1, 1)], dim)


class OnLuminance(nn.Module):
    """Both views, super-resolved in their luminance by ``net``; the colours are interpolated.

    left, right: N x 3 x H x W in [0, 1] -> left_sr, right_sr: N x 3 x sH x sW, not clamped. ``net`` maps the
    interpolated luminance, N x 1 x sH x sW, to one of the same shape.
    """

    def __init__(self, scale: int, net: nn.Module) -> None:
        super().__init__()
        self.interpolate = Bicubic(scale)
        self.net = net

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        views = self.interpolate(torch.cat([left, right]))
        y = luminance(views)
        return split_views(views + (self.net(y) - y))


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    """Without bias, He's initialisation."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight)
    return conv


def residual3x3(inputs: int) -> nn.Conv2d:
    """To one channel, without bias, zero at first: a new network starts as its interpolation."""
    conv = conv3x3(inputs, 1)
    nn.init.zeros_(conv.weight)
    return conv
