"""PASSRnet: Learning Parallax Attention for Stereo Image Super-Resolution (Wang et al., CVPR 2019).

Parameters carry the names of the authors' code, so that their checkpoints load as they are. Where code and paper differ
the code counts: a last 3 x 3 convolution more than Table 1, and biases only in the 1 x 1 convolutions of the attention.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stereosr_export.layers.parallax import Parallax, attention, valid_mask, warp
from stereosr_export.layers.views import as_references, from_references
from stereosr_export.training.losses import PARALLAX_LOSSES, PixelLoss, parallax_loss
from stereosr_export.zoo import ZooModel

WIDTH = 64


def _conv3x3(inputs: int, outputs: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)


def _conv1x1(inputs: int, outputs: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=bias)


class ResB(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv3x3(WIDTH, WIDTH), nn.LeakyReLU(0.1), _conv3x3(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


class ResASPPB(nn.Module):
    """Residual atrous spatial pyramid pooling: three cascaded groups of three dilated convolutions (section 3.1)."""

    def __init__(self, residual: bool, atrous: bool) -> None:
        super().__init__()
        self.residual = residual
        for group in (1, 2, 3):
            for branch, dilation in enumerate((1, 4, 8), start=1):
                conv = _conv3x3(WIDTH, WIDTH, dilation if atrous else 1)
                self.add_module(f"conv{branch}_{group}", nn.Sequential(conv, nn.LeakyReLU(0.1)))
            self.add_module(f"b_{group}", _conv1x1(3 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        total = y = x
        for group in (1, 2, 3):
            branches = [self.get_submodule(f"conv{branch}_{group}")(y) for branch in (1, 2, 3)]
            y = self.get_submodule(f"b_{group}")(torch.cat(branches, 1))
            total = total + y
        return total if self.residual else y


class PAM(nn.Module):
    """Parallax attention (section 3.2): reference and other features, N x 64 x H x W -> fused features and the maps."""

    def __init__(self, transition: bool) -> None:
        super().__init__()
        self.rb = ResB() if transition else nn.Identity()
        self.b1, self.b2, self.b3 = (_conv1x1(WIDTH, WIDTH, bias=True) for _ in range(3))
        self.fusion = _conv1x1(2 * WIDTH + 1, WIDTH, bias=True)

    def forward(self, reference: Tensor, other: Tensor) -> tuple[Tensor, Parallax]:
        a, b = self.rb(reference), self.rb(other)
        to_reference, to_other = attention(self.b1(a), self.b2(b)), attention(self.b1(b), self.b2(a))
        valid = valid_mask(to_other)
        fused = self.fusion(torch.cat([warp(to_reference, self.b3(other)), reference, valid], 1))
        return fused, Parallax(to_reference, to_other, valid)


class Upscale(nn.Sequential):
    """Four residual blocks, then sub-pixel convolution: 1 x 1 to 64 s^2 channels, shuffled to HR, 3 x 3 to colours.

    Nothing non-linear stands between the two, so they are one 3 x 3 convolution of LR features to 3 s^2 channels, which
    is shuffled. Its kernel is what the two make of an impulse, mirrored. Features of 64 channels at HR, the largest of
    the network, are never there.
    """

    def __init__(self, scale: int) -> None:
        super().__init__(
            *(ResB() for _ in range(4)),
            _conv1x1(WIDTH, WIDTH * scale**2),
            nn.PixelShuffle(scale),
            _conv3x3(WIDTH, 3),
            _conv3x3(3, 3),
        )
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        *blocks, widen, shuffle, narrow, last = self
        for block in blocks:
            x = block(x)
        (weight,) = widen.parameters()
        impulses = F.pad(weight.transpose(0, 1), (1, 1, 1, 1))
        responses = F.pixel_unshuffle(narrow(shuffle(impulses)), self.scale)
        y: Tensor = last(shuffle(F.conv2d(x, responses.flip(2, 3).transpose(0, 1), padding=1)))
        return y


class PASSRnet(nn.Module):
    """left, right: N x 3 x H x W in [0, 1] -> left_sr, right_sr: N x 3 x sH x sW, not clamped.

    The authors' network serves its reference, the left view; the right one is the reference of the mirrored pair. The
    options are the ablations of Tables 2 and 4.

    Args:
        scale: 2 or 4.
        fusion: how the other view comes in: by parallax attention, by a 1 x 1 convolution of both views' features
            stacked, or not at all.
        replicated: the reference is given as the other view too.
        residual: the groups of a ResASPPB are summed, not only cascaded.
        atrous: ResASPPB has dilated convolutions, not plain ones.
        transition: a residual block precedes the attention's query and key.
        losses: on the attention, in training.
    """

    def __init__(
        self,
        scale: int,
        *,
        fusion: Literal["attention", "stack", "none"] = "attention",
        replicated: bool = False,
        residual: bool = True,
        atrous: bool = True,
        transition: bool = True,
        losses: tuple[str, ...] = tuple(PARALLAX_LOSSES),
    ) -> None:
        super().__init__()
        self.replicated, self.losses = replicated, losses
        self.init_feature = nn.Sequential(
            _conv3x3(3, WIDTH),
            nn.LeakyReLU(0.1),
            ResB(),
            ResASPPB(residual, atrous),
            ResB(),
            ResASPPB(residual, atrous),
            ResB(),
        )
        self.pam = PAM(transition) if fusion == "attention" else None
        self.stack = _conv1x1(2 * WIDTH, WIDTH, bias=True) if fusion == "stack" else None
        self.upscale = Upscale(scale)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        sr, _ = self.super_resolve(*self._pairs(left, right))
        return from_references(sr)

    def super_resolve(self, reference: Tensor, other: Tensor) -> tuple[Tensor, Parallax | None]:
        """The authors' network: the reference view, N x 3 x sH x sW, and what the attention found, if there is one."""
        features = self.init_feature(reference)
        parallax = None
        if self.pam is not None:
            features, parallax = self.pam(features, self.init_feature(other))
        elif self.stack is not None:
            features = self.stack(torch.cat([features, self.init_feature(other)], 1))
        return self.upscale(features), parallax

    def objective(self, left: Tensor, right: Tensor, target: Tensor, pixel_loss: PixelLoss) -> Tensor:
        """The pixel loss of both views and the losses on the attention (section 3.3)."""
        reference, other = self._pairs(left, right)
        sr, parallax = self.super_resolve(reference, other)
        loss = pixel_loss(sr.float(), as_references(*target.chunk(2)))
        return loss if parallax is None else loss + parallax_loss(reference, other, parallax, self.losses)

    def _pairs(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        reference = as_references(left, right)
        return reference, reference if self.replicated else as_references(right, left)


def _zoo_model(name: str, build: Callable[[int], PASSRnet]) -> ZooModel:
    return ZooModel(
        name=name,
        family="passrnet",
        scales=(2, 4),
        build=build,
        patch=(30, 90),
        mean_window=None,
        halo=32,
        memory=(6_400, 10),
        tolerance=1e-5,
        source="PASSRnet, Wang et al., CVPR 2019",
    )


MODELS = (
    _zoo_model("passrnet", PASSRnet),
    _zoo_model("passrnet-single-input", partial(PASSRnet, fusion="none")),
    _zoo_model("passrnet-replicated-inputs", partial(PASSRnet, replicated=True)),
    _zoo_model("passrnet-no-residual", partial(PASSRnet, residual=False)),
    _zoo_model("passrnet-no-atrous", partial(PASSRnet, atrous=False)),
    _zoo_model("passrnet-no-attention", partial(PASSRnet, fusion="stack")),
    _zoo_model("passrnet-no-transition", partial(PASSRnet, transition=False)),
    _zoo_model("passrnet-sr-loss", partial(PASSRnet, losses=())),
    _zoo_model("passrnet-photometric", partial(PASSRnet, losses=("photometric",))),
    _zoo_model("passrnet-photometric-smoothness", partial(PASSRnet, losses=("photometric", "smoothness"))),
)
