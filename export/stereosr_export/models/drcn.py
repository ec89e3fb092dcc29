"""DRCN: Deeply-Recursive Convolutional Network for Image Super-Resolution (Kim et al., CVPR 2016)."""

import torch
from torch import Tensor, nn

from stereosr_export.layers.luminance import OnLuminance, conv3x3, luminance, residual3x3
from stereosr_export.training.losses import PixelLoss
from stereosr_export.zoo import ZooModel

RECURSIONS = 16
WIDTH = 256


class Recursive(nn.Module):
    """One convolution, passed 16 times; every pass is reconstructed, and the output is a learned mean of them all."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(conv3x3(1, WIDTH), nn.ReLU(), conv3x3(WIDTH, WIDTH), nn.ReLU())
        recur = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
        nn.init.dirac_(recur.weight)  # section 4.1: a pass starts by changing nothing
        self.recur = nn.Sequential(recur, nn.ReLU())
        self.reconstruct = nn.Sequential(conv3x3(WIDTH, WIDTH), nn.ReLU(), residual3x3(WIDTH))
        self.mean = nn.Parameter(torch.full((RECURSIONS,), 1 / RECURSIONS))

    def forward(self, x: Tensor) -> Tensor:
        """N x 1 x H x W, interpolated luminance -> the same shape."""
        return self.weigh(self.passes(x))

    def passes(self, x: Tensor) -> list[Tensor]:
        """What each pass alone makes of ``x``."""
        features, found = self.embed(x), []
        for _ in range(RECURSIONS):
            features = self.recur(features)
            found.append(x + self.reconstruct(features))
        return found

    def weigh(self, passes: list[Tensor]) -> Tensor:
        return (torch.cat(passes, 1) * self.mean.view(-1, 1, 1)).sum(1, keepdim=True)


class DRCN(OnLuminance):
    net: Recursive

    def __init__(self, scale: int) -> None:
        super().__init__(scale, Recursive())

    def objective(self, left: Tensor, right: Tensor, target: Tensor, pixel_loss: PixelLoss) -> Tensor:
        """Recursive supervision (section 3.2): half the loss is of the output, half the mean over all passes.

        The paper moves the weight from the passes to the output in the course of training.
        """
        views = self.interpolate(torch.cat([left, right]))
        y = luminance(views)
        passes = self.net.passes(y)
        each = torch.stack([pixel_loss((views + (p - y)).float(), target) for p in passes]).mean()
        return 0.5 * each + 0.5 * pixel_loss((views + (self.net.weigh(passes) - y)).float(), target)


MODELS = (
    ZooModel(
        name="drcn",
        family="drcn",
        scales=(2, 4),
        build=DRCN,
        patch=(30, 90),
        mean_window=None,
        halo=12,
        memory=(573_440, 0),
        tolerance=1e-5,
        source="DRCN, Kim, Lee and Lee, CVPR 2016",
    ),
)
