"""Training patches: cut from real stereo and from warped photographs, degraded and augmented on the fly.

Every sample is a function of the seed and its index alone, so that a run resumes exactly and any number of workers or
processes sees the same stream.
"""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from stereosr.evaluation.degrade import degrade, modcrop
from stereosr_export.training.camera import record
from stereosr_export.training.config import TrainConfig
from stereosr_export.training.photo import photograph
from stereosr_export.training.scenes import Pictures, Scene, Size, UInt8
from stereosr_export.training.synthetic_stereo import margin, render_pair

BORDER = 4
"""LR pixels degraded around a patch and cut away, so that the patch equals a cut from the degraded whole picture."""

LrHr = tuple[UInt8, UInt8]

Place = tuple[Scene, int, int]
"""A scene, and the LR row and column where a patch begins."""


class Patches(Dataset[tuple[Tensor, Tensor]]):
    """Endless training patches: item ``index`` -> (LR, HR), 6 x rows x columns, uint8, left RGB then right.

    Bytes, because they travel between processes; a quarter of what floats would take.
    """

    def __init__(self, pictures: Pictures, config: TrainConfig, patch: Size) -> None:
        self.pictures, self.patch, self.scale, self.seed = pictures, patch, config.scale, config.seed
        self.camera_share, self.photo_share = config.camera_share, config.photo_share
        self.real_share = config.real_share if pictures.mono else 1.0
        self.shuffle_colours, self.swap_on_flip = config.shuffle_colours, config.swap_on_flip

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        scene, top, left = self._real(rng) if rng.random() < self.real_share else self._synthetic(rng)
        if self.camera_share and scene.lr is None and rng.random() < self.camera_share:
            scene, top, left = around(scene, top, left, self.patch, self.scale)
            scene = Scene(scene.name, *record(scene.left, scene.right, rng))
        if self.photo_share and scene.lr is None and rng.random() < self.photo_share:
            return self._augment(self._photograph(scene, top, left, rng), rng)
        return self._augment(cut(scene, top, left, self.patch, self.scale), rng)

    def _photograph(self, scene: Scene, top: int, left: int, rng: np.random.Generator) -> list[LrHr]:
        rows, columns = self.patch
        wide, above, before = around(scene, top, left, self.patch, self.scale)
        lr = photograph(wide.left, wide.right, self.scale, rng)
        inner = np.s_[above : above + rows, before : before + columns]
        outer = np.s_[
            above * self.scale : (above + rows) * self.scale, before * self.scale : (before + columns) * self.scale
        ]
        return [(small[inner], large[outer]) for small, large in zip(lr, (wide.left, wide.right), strict=True)]

    def _real(self, rng: np.random.Generator) -> Place:
        scene = self.pictures.stereo[int(rng.integers(len(self.pictures.stereo)))]
        top, left = (
            int(rng.integers(side // self.scale - wanted + 1))
            for side, wanted in zip(scene.left.shape, self.patch, strict=False)
        )
        return scene, top, left

    def _synthetic(self, rng: np.random.Generator) -> Place:
        rows, columns = ((n + 2 * BORDER) * self.scale for n in self.patch)
        side = margin(self.scale)
        layers = [self._texture(rng, rows, columns + 2 * side) for _ in range(1 + int(rng.integers(4)))]
        left, right = (v[:, side : side + columns] for v in render_pair(layers[0], layers[1:], self.scale, rng))
        return Scene("", left, right), BORDER, BORDER

    def _texture(self, rng: np.random.Generator, rows: int, columns: int) -> UInt8:
        picture = self.pictures.mono[rng.integers(len(self.pictures.mono))]
        down, across = max(0, rows - picture.shape[0]), max(0, columns - picture.shape[1])
        if down or across:  # a picture smaller than the patch is mirrored on
            picture = np.pad(picture, ((0, down), (0, across), (0, 0)), "reflect")
        top = int(rng.integers(picture.shape[0] - rows + 1))
        left = int(rng.integers(picture.shape[1] - columns + 1))
        return picture[top : top + rows, left : left + columns]

    def _augment(self, views: list[LrHr], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """RGB shuffled alike in both views, and flips; a horizontal one exchanges the views (NAFSSR, section 3.3)."""
        order, down, across = rng.permutation(3), rng.random() < 0.5, rng.random() < 0.5
        order = order if self.shuffle_colours else np.arange(3)
        views = views[::-1] if across and self.swap_on_flip else views
        flip = np.s_[:: -1 if down else 1, :: -1 if across else 1]
        lr, hr = (np.stack([v[flip][..., c] for v in pair for c in order]) for pair in zip(*views, strict=True))
        return torch.from_numpy(lr), torch.from_numpy(hr)


def cut(scene: Scene, top: int, left: int, patch: Size, scale: int) -> list[LrHr]:
    """(LR, HR) of left and right view at LR position (top, left): what degrading the whole views would give there."""
    rows, columns = patch
    hr = np.s_[top * scale : (top + rows) * scale, left * scale : (left + columns) * scale]
    if scene.lr:
        lr = np.s_[top : top + rows, left : left + columns]
        return [(small[lr], large[hr]) for small, large in zip(scene.lr, (scene.left, scene.right), strict=True)]
    wide, above, before = around(scene, top, left, patch, scale)
    inner = np.s_[above : above + rows, before : before + columns]
    views = zip((wide.left, wide.right), (scene.left, scene.right), strict=True)
    return [(degrade(view, scale)[inner], whole[hr]) for view, whole in views]


def around(scene: Scene, top: int, left: int, patch: Size, scale: int) -> Place:
    """The part of a scene that a patch and its BORDER take, where the scene has that much, and the place in it."""
    above, before = min(top, BORDER), min(left, BORDER)
    wide = np.s_[
        (top - above) * scale : (top + patch[0] + BORDER) * scale,
        (left - before) * scale : (left + patch[1] + BORDER) * scale,
    ]
    views = [modcrop(view, scale)[wide] for view in (scene.left, scene.right)]
    return Scene(scene.name, views[0], views[1]), above, before
