"""LayerNorm over the channels of channels-last features, together with the 1 x 1 convolutions that read it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stereosr_export.operators import NORM


class Norm(nn.LayerNorm):
    """LayerNorm, Ba et al., 2016, eqs. 2 to 4, of N x H x W x C.

    Outside training its factors and all biases stand in the matrices that follow it: with ones for weight and bias the
    norm's mean over the channels is exactly one, so that a matrix can add a constant. That spares a sum per matrix.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-6)

    def project(self, x: Tensor, *layers: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """The norm of x by each layer, (weight: outputs x C, bias: outputs); each N x H x W x outputs."""
        if self.training:
            y = self(x)
            return tuple(F.linear(y, *layer) for layer in layers)
        y = self._unit_mean(x)
        return tuple(F.linear(y, self._fold(*layer)) for layer in layers)

    def _unit_mean(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            return torch.onnx.ops.symbolic(
                "::".join(NORM),
                (x,),
                {"width": float(len(self.weight)), "epsilon": self.eps},
                dtype=x.dtype,
                shape=x.shape,
                version=1,
            )
        ones = torch.ones_like(self.weight)
        return F.layer_norm(x, self.normalized_shape, ones, ones, self.eps)

    def _fold(self, weight: Tensor, bias: Tensor) -> Tensor:
        scaled, constant = weight * self.weight, bias + weight @ self.bias
        return scaled - scaled.mean(1, keepdim=True) + constant[:, None] / len(self.weight)
