"""Training losses beyond the pixel loss: those that a network brings itself, and PASSRnet's on its attention."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stereosr_export.layers.parallax import Parallax, warp

PixelLoss = Callable[[Tensor, Tensor], Tensor]


@runtime_checkable
class OwnObjective(Protocol):
    """A network whose training loss is more than the pixel loss of its output."""

    def objective(self, left: Tensor, right: Tensor, target: Tensor, pixel_loss: PixelLoss) -> Tensor:
        """The scalar to minimise; arguments as those of the function ``objective``."""


def objective(model: nn.Module, left: Tensor, right: Tensor, target: Tensor, pixel_loss: PixelLoss) -> Tensor:
    """The training loss of a zoo network: its own where it has one, else the pixel loss of its output.

    Args:
        model: the network.
        left: N x 3 x H x W in [0, 1].
        right: the same.
        target: 2N x 3 x sH x sW, the left views, then the right ones.
        pixel_loss: of prediction and target, any equal shapes.
    """
    if isinstance(model, OwnObjective):
        return model.objective(left, right, target, pixel_loss)
    return pixel_loss(torch.cat(model(left, right)).float(), target)


def photometric(reference: Tensor, other: Tensor, parallax: Parallax) -> Tensor:
    """The other view, warped, should be the reference wherever both show the same (eq. 7)."""
    return F.l1_loss(warp(parallax.to_reference, other) * parallax.valid, reference * parallax.valid)


def smoothness(_reference: Tensor, _other: Tensor, parallax: Parallax) -> Tensor:
    """Attention should change little from row to row, and along the diagonal from column to column (eq. 8)."""
    m = parallax.to_reference
    return F.l1_loss(m[:, :-1], m[:, 1:]) + F.l1_loss(m[:, :, :-1, :-1], m[:, :, 1:, 1:])


def cycle(_reference: Tensor, _other: Tensor, parallax: Parallax) -> Tensor:
    """There and back again should be the identity for every valid pixel (eq. 9).

    A pixel is a row of the map here, as in the paper; the authors' code masks the columns.
    """
    there_and_back = torch.matmul(parallax.to_reference, parallax.to_other)
    rows = parallax.valid.squeeze(1).unsqueeze(-1)
    identity = torch.eye(there_and_back.shape[-1], device=rows.device)
    return F.l1_loss(there_and_back * rows, identity * rows)


PARALLAX_LOSSES = {f.__name__: f for f in (photometric, smoothness, cycle)}


def parallax_loss(reference: Tensor, other: Tensor, parallax: Parallax, names: tuple[str, ...]) -> Tensor:
    """0.005 times the sum of the losses so named, both ways between the views (eq. 5).

    As in the authors' code every loss is a mean, over masked pixels too, where the paper writes sums.

    Args:
        reference: N x 3 x H x W in [0, 1], low resolution.
        other: the same.
        parallax: what PASSRnet found between the two.
        names: of ``PARALLAX_LOSSES``.
    """
    total, back = torch.zeros((), device=reference.device), parallax.exchanged()
    for name in names:
        loss = PARALLAX_LOSSES[name]
        total = total + loss(reference, other, parallax) + loss(other, reference, back)
    return 0.005 * total
