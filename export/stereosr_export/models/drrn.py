"""DRRN: Image Super-Resolution via Deep Recursive Residual Network (Tai et al., CVPR 2017), its B1U25 form.

Without the paper's batch normalisation, of which the published parameter count knows nothing either: each of the 25
passes through the shared convolutions would need statistics of its own.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from stereosr_export.layers.luminance import OnLuminance, conv3x3, residual3x3
from stereosr_export.zoo import ZooModel

UNITS = 25


class DRRN(nn.Module):
    """One residual unit, passed 25 times, on the interpolated luminance, N x 1 x H x W."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv3x3(1, 128), residual3x3(128)
        self.unit = nn.Sequential(nn.ReLU(), conv3x3(128, 128), nn.ReLU(), conv3x3(128, 128))

    def forward(self, x: Tensor) -> Tensor:
        y = start = self.first(x)
        for _ in range(UNITS):
            y = start + self.unit(y)
        residual: Tensor = self.last(F.relu(y))
        return x + residual


def _build(scale: int) -> OnLuminance:
    return OnLuminance(scale, DRRN())


MODELS = (
    ZooModel(
        name="drrn",
        family="drrn",
        scales=(2, 4),
        build=_build,
        patch=(30, 90),
        mean_window=None,
        halo=28,
        memory=(151_552, 0),
        tolerance=1e-5,
        source="DRRN, Tai, Yang and Liu, CVPR 2017",
    ),
)
