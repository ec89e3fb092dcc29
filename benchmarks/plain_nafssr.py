"""NAFSSR as plainly as the paper writes it: channels first, one view after the other, TLSC by cumulative sums.

The yardstick of ``speed.py``: what a user of eager PyTorch runs today. It takes the same weights as the zoo's network
and must give the same pictures.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW = (45, 135)


class LayerNorm2d(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        y = (x - mean) / (variance + 1e-6).sqrt()
        return y * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


class LocalMean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        rows, columns = min(height, WINDOW[0]), min(width, WINDOW[1])
        if (rows, columns) == (height, width):
            return x.mean((2, 3), keepdim=True)
        total = F.pad(x.cumsum(3).cumsum(2), (1, 0, 1, 0))
        y = total[:, :, :-rows, :-columns] + total[:, :, rows:, columns:]
        y = (y - total[:, :, :-rows, columns:] - total[:, :, rows:, :-columns]) / (rows * columns)
        down, across = height - y.shape[2], width - y.shape[3]
        return F.pad(y, (across // 2, across - across // 2, down // 2, down - down // 2), mode="replicate")


def gate(x: Tensor) -> Tensor:
    a, b = x.chunk(2, 1)
    return a * b


class Block(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(c, 2 * c, 1), nn.Conv2d(2 * c, 2 * c, 3, padding=1, groups=2 * c)
        self.sca = nn.Sequential(LocalMean(), nn.Conv2d(c, c, 1))
        self.conv3, self.conv4, self.conv5 = nn.Conv2d(c, c, 1), nn.Conv2d(c, 2 * c, 1), nn.Conv2d(c, c, 1)
        self.norm1, self.norm2 = LayerNorm2d(c), LayerNorm2d(c)
        self.beta, self.gamma = nn.Parameter(torch.zeros(1, c, 1, 1)), nn.Parameter(torch.zeros(1, c, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = gate(self.conv2(self.conv1(self.norm1(x))))
        x = x + self.conv3(y * self.sca(y)) * self.beta
        return x + self.conv5(gate(self.conv4(self.norm2(x)))) * self.gamma


class Scam(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.scale = c**-0.5
        self.norm_l, self.norm_r = LayerNorm2d(c), LayerNorm2d(c)
        self.l_proj1, self.r_proj1, self.l_proj2, self.r_proj2 = (nn.Conv2d(c, c, 1) for _ in range(4))
        self.beta, self.gamma = nn.Parameter(torch.zeros(1, c, 1, 1)), nn.Parameter(torch.zeros(1, c, 1, 1))

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        query = self.l_proj1(self.norm_l(left)).permute(0, 2, 3, 1)
        key = self.r_proj1(self.norm_r(right)).permute(0, 2, 1, 3)
        values = [p(x).permute(0, 2, 3, 1) for p, x in ((self.r_proj2, right), (self.l_proj2, left))]
        score = query @ key * self.scale
        to_left = (score.softmax(-1) @ values[0]).permute(0, 3, 1, 2) * self.beta
        to_right = (score.transpose(-1, -2).softmax(-1) @ values[1]).permute(0, 3, 1, 2) * self.gamma
        return left + to_left, right + to_right


class Stage(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.blk, self.fusion = Block(c), Scam(c)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        return self.fusion(self.blk(left), self.blk(right))


class Plain(nn.Module):
    """left, right: N x 3 x H x W -> left_sr, right_sr, as the zoo's NAFSSR."""

    def __init__(self, scale: int, width: int = 48, blocks: int = 16) -> None:
        super().__init__()
        self.scale = scale
        self.intro = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.ModuleList(nn.ModuleDict({"module": Stage(width)}) for _ in range(blocks))
        self.up = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self.intro(left), self.intro(right)
        for stage in self.body:
            x, y = stage["module"](x, y)
        shortcuts = (F.interpolate(v, scale_factor=self.scale, mode="bilinear") for v in (left, right))
        return tuple(self.up(f) + s for f, s in zip((x, y), shortcuts, strict=True))  # type: ignore[return-value]
