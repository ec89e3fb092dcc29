"""VDSR: Accurate Image Super-Resolution Using Very Deep Convolutional Networks (Kim et al., CVPR 2016)."""

from itertools import chain

from torch import Tensor, nn

from stereosr_export.layers.luminance import OnLuminance, conv3x3, residual3x3
from stereosr_export.zoo import ZooModel


class VDSR(nn.Module):
    """Twenty convolutions find what the interpolated luminance, N x 1 x H x W, lacks."""

    def __init__(self) -> None:
        super().__init__()
        inner = chain.from_iterable((conv3x3(64, 64), nn.ReLU()) for _ in range(18))
        self.body = nn.Sequential(conv3x3(1, 64), nn.ReLU(), *inner, residual3x3(64))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


def _build(scale: int) -> OnLuminance:
    return OnLuminance(scale, VDSR())


MODELS = (
    ZooModel(
        name="vdsr",
        family="vdsr",
        scales=(2, 4),
        build=_build,
        patch=(30, 90),
        mean_window=None,
        halo=12,
        memory=(20_480, 0),
        tolerance=1e-5,
        source="VDSR, Kim, Lee and Lee, CVPR 2016",
    ),
)
