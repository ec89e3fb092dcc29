"""Training pairs: real stereo and warped photographs, cut and degraded on the fly.

A data folder holds ``stereo/<scene>/{left,right}.*`` (rectified pairs) and ``mono/**`` (single photographs). Every
sample is a function of the seed and its index alone, so that a run resumes exactly and any number of workers or
processes sees the same stream.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from stereosr_engines.degrade import degrade, modcrop
from stereosr_engines.errors import UsageError
from stereosr_export.training.config import TrainConfig
from stereosr_export.training.synthetic_stereo import margin, render_pair

UInt8 = NDArray[np.uint8]
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
HOLD_BACK_EVERY = 6
"""Every sixth stereo scene, in the order of names and beginning with the first, is kept for validation."""

BORDER = 4
"""LR pixels degraded around a patch and cut away, so that the patch equals a cut from the degraded whole picture."""


@dataclass(frozen=True)
class Scene:
    name: str
    left: UInt8
    right: UInt8


@dataclass(frozen=True)
class Pictures:
    """All of a data folder in memory, RGB uint8. Large pictures are there a second time at half size, free of JPEG."""

    stereo: list[Scene]
    held_back: list[Scene]
    mono: list[UInt8]

    @staticmethod
    def load(folder: Path) -> "Pictures":
        """Read a data folder.

        Raises:
            UsageError: if it holds no stereo pair at all.
        """
        scenes = [_read_scene(p) for p in sorted(folder.glob("stereo/*")) if p.is_dir()]
        if not scenes:
            raise UsageError(f"{folder} has no stereo/<scene>/left.*, right.*: see 'Training' in the README")
        held_back = scenes[::HOLD_BACK_EVERY] if len(scenes) > 1 else scenes
        stereo = [s for i, s in enumerate(scenes) if i % HOLD_BACK_EVERY or len(scenes) == 1]
        stereo += [Scene(s.name, _halve(s.left), _halve(s.right)) for s in stereo if _is_large(s.left)]
        mono = [_read(p) for p in sorted(folder.glob("mono/**/*")) if p.suffix.lower() in SUFFIXES]
        mono += [_halve(p) for p in mono if _is_large(p)]
        return Pictures(stereo, held_back, mono)


class Patches(Dataset[tuple[Tensor, Tensor]]):
    """Endless training patches: item ``index`` -> (LR, HR), 6 x rows x columns, uint8, left RGB then right.

    Bytes, because they travel between processes; a quarter of what floats would take.
    """

    def __init__(self, pictures: Pictures, config: TrainConfig, patch: tuple[int, int]) -> None:
        self.pictures, self.config, self.patch = pictures, config, patch
        self.real_share = config.real_share if pictures.mono else 1.0
        rows, columns = patch[0] * config.scale, patch[1] * config.scale
        for scene in pictures.stereo:
            if scene.left.shape[0] < rows or scene.left.shape[1] < columns:
                size = f"{scene.left.shape[1]}x{scene.left.shape[0]}"
                raise UsageError(f"scene {scene.name} is {size}, smaller than a patch of {columns}x{rows}: remove it")

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.config.seed, index))
        views = self._real(rng) if rng.random() < self.real_share else self._synthetic(rng)
        return self._augment(views, rng)

    def _real(self, rng: np.random.Generator) -> list[tuple[UInt8, UInt8]]:
        scene = self.pictures.stereo[rng.integers(len(self.pictures.stereo))]
        left, right = modcrop(scene.left, self.config.scale), modcrop(scene.right, self.config.scale)
        rows, columns = self.patch
        top = int(rng.integers(left.shape[0] // self.config.scale - rows + 1))
        start = int(rng.integers(left.shape[1] // self.config.scale - columns + 1))
        return [_cut(view, top, start, self.patch, self.config.scale) for view in (left, right)]

    def _synthetic(self, rng: np.random.Generator) -> list[tuple[UInt8, UInt8]]:
        rows, columns = ((n + 2 * BORDER) * self.config.scale for n in self.patch)
        side = margin(self.config.scale)
        layers = [self._texture(rng, rows, columns + 2 * side) for _ in range(1 + int(rng.integers(4)))]
        views = render_pair(layers[0], layers[1:], self.config.scale, rng)
        return [_cut(view[:, side : side + columns], BORDER, BORDER, self.patch, self.config.scale) for view in views]

    def _augment(self, views: list[tuple[UInt8, UInt8]], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """RGB shuffled alike in both views, and flips; a horizontal one exchanges the views (NAFSSR, section 3.3)."""
        order, down, across = rng.permutation(3), rng.random() < 0.5, rng.random() < 0.5
        order = order if self.config.shuffle_colours else np.arange(3)
        views = views[::-1] if across and self.config.swap_on_flip else views
        flip = np.s_[:: -1 if down else 1, :: -1 if across else 1]
        lr, hr = (np.stack([v[flip][..., c] for v in pair for c in order]) for pair in zip(*views, strict=True))
        return torch.from_numpy(lr), torch.from_numpy(hr)

    def _texture(self, rng: np.random.Generator, rows: int, columns: int) -> UInt8:
        picture = self.pictures.mono[rng.integers(len(self.pictures.mono))]
        down, across = max(0, rows - picture.shape[0]), max(0, columns - picture.shape[1])
        if down or across:  # a picture smaller than the patch is mirrored on
            picture = np.pad(picture, ((0, down), (0, across), (0, 0)), "reflect")
        top = int(rng.integers(picture.shape[0] - rows + 1))
        left = int(rng.integers(picture.shape[1] - columns + 1))
        return picture[top : top + rows, left : left + columns]


def _cut(view: UInt8, top: int, left: int, patch: tuple[int, int], scale: int) -> tuple[UInt8, UInt8]:
    """(LR, HR) of the patch at LR position (top, left): the samples that degrading the whole view would give."""
    rows, columns = patch
    hr = view[top * scale : (top + rows) * scale, left * scale : (left + columns) * scale]
    above, before = min(top, BORDER), min(left, BORDER)
    wide = view[
        (top - above) * scale : (top + rows + BORDER) * scale,
        (left - before) * scale : (left + columns + BORDER) * scale,
    ]
    return degrade(wide, scale)[above : above + rows, before : before + columns], hr


def _is_large(picture: UInt8) -> bool:
    return bool(picture.shape[0] >= 600 and picture.shape[1] >= 760)


def _halve(picture: UInt8) -> UInt8:
    even = modcrop(picture, 2)
    return np.asarray(cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _read(path: Path) -> UInt8:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise UsageError(f"{path} is not an image that can be read")
    return np.asarray(image[..., ::-1], dtype=np.uint8)


def _read_scene(folder: Path) -> Scene:
    files = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES}
    if not {"left", "right"} <= files.keys():
        raise UsageError(f"{folder} needs left.* and right.*")
    left, right = _read(files["left"]), _read(files["right"])
    if left.shape != right.shape:
        raise UsageError(f"{folder}: left is {left.shape[1]}x{left.shape[0]}, right {right.shape[1]}x{right.shape[0]}")
    return Scene(folder.name, left, right)
