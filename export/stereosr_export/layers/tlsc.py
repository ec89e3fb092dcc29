"""TLSC: test-time local statistics (Chu et al., ECCV 2022), as NAFSSR pools its channel attention."""

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F


class LocalMean(nn.Module):
    """Mean over a window around each pixel of a channels-last map, N x H x W x C.

    The window slides with stride 1 over the valid region and is clipped to the map in each dimension; the result is
    replicate-padded back to H x W, the odd pixel going right and bottom. A window that covers the map in both
    dimensions gives the plain global mean, N x 1 x 1 x C. Separable averages equal the authors' integral image to
    7e-7, hold in half precision, and export as {AveragePool, Conv, Pad}.
    """

    def __init__(self, window: tuple[int, int]) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor, then: Callable[[Tensor], Tensor] = lambda means: means) -> Tensor:
        """The means after ``then``, which treats each pixel by itself: it is run before the padding, on fewer."""
        height, width = x.shape[1:3]
        rows, columns = self.window
        # Asked first because an export with H >= rows and W >= columns decides it without a guard.
        if not (height >= rows and width >= columns):
            if height <= rows and width <= columns:
                return then(x.mean((1, 2), keepdim=True))
            rows, columns = min(height, rows), min(width, columns)
        y = _mean_along(_mean_along(x.permute(0, 3, 1, 2), 2, rows), 3, columns)
        y = then(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        top, left = (rows - 1) // 2, (columns - 1) // 2
        y = F.pad(y, (left, columns - 1 - left, top, rows - 1 - top), mode="replicate")
        return y.permute(0, 2, 3, 1)


def _mean_along(x: Tensor, dim: int, length: int) -> Tensor:
    """Running mean along one dimension of N x C x H x W, valid region: means of ``near`` neighbours, then of every
    ``near``-th of those. 15 and 9 taps do the work of 135."""
    near = next(n for n in range(math.isqrt(length - 1) + 1, length + 1) if length % n == 0)
    far, channels = length // near, x.shape[1]
    y = F.avg_pool2d(x, (near, 1) if dim == 2 else (1, near), stride=1)
    if far == 1:
        return y
    taps = y.new_full((channels, 1, far, 1) if dim == 2 else (channels, 1, 1, far), 1 / far)
    return F.conv2d(y, taps, dilation=near, groups=channels)


def pooling_window(training_patch: tuple[int, int]) -> tuple[int, int]:
    """The window TLSC uses for a network trained on patches of this LR size: 1.5 times as large (30 x 90: 45 x 135)."""
    return int(1.5 * training_patch[0]), int(1.5 * training_patch[1])
