"""Both views as one batch."""

import torch
from torch import Tensor


def split_views(x: Tensor) -> tuple[Tensor, Tensor]:
    """2N x ... -> left N x ..., right N x ...; by size, because ``chunk`` would fix N in an exported graph."""
    left, right = torch.split(x, [x.shape[0] // 2] * 2)
    return left, right


def as_references(left: Tensor, right: Tensor) -> Tensor:
    """N left and N right views -> 2N: the left ones, then the right ones mirrored.

    In a mirrored pair the right view has the left one's part: its partner's pixels lie to the same side. So a network
    that knows the left view as its reference serves both.
    """
    return torch.cat([left, right.flip(-1)])


def from_references(x: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse: 2N x ... -> left N x ..., right N x ..., not mirrored any more."""
    left, right = split_views(x)
    return left, right.flip(-1)
