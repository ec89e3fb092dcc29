"""SRCNN: Image Super-Resolution Using Deep Convolutional Networks (Dong et al., TPAMI 2016), its 9-5-5 form."""

from torch import nn

from stereosr_export.layers.luminance import OnLuminance
from stereosr_export.zoo import ZooModel


def _build(scale: int) -> OnLuminance:
    net = nn.Sequential(
        nn.Conv2d(1, 64, 9, padding=4),
        nn.ReLU(),
        nn.Conv2d(64, 32, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(32, 1, 5, padding=2),
    )
    return OnLuminance(scale, net)


MODELS = (
    ZooModel(
        name="srcnn",
        family="srcnn",
        scales=(2, 4),
        build=_build,
        patch=(30, 90),
        mean_window=None,
        halo=6,
        memory=(20_480, 0),
        tolerance=1e-5,
        source="SRCNN, Dong et al., TPAMI 2016",
    ),
)
