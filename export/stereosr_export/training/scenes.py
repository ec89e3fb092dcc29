"""Pictures to train on and to score: the layouts of folders that are known, and what is kept of them in memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from stereosr.errors import StereosrError, UsageError
from stereosr.evaluation.degrade import modcrop
from stereosr.io.images import SUFFIXES, read_picture
from stereosr.io.pairs import scan_folder

UInt8 = NDArray[np.uint8]
Size = tuple[int, int]

HOLD_BACK_EVERY = 6
"""Every sixth scene, in the order of names and beginning with the first, is kept for validation."""

MANY = 2000
"""More scenes than this are read when they are drawn; of them the last ones are kept, as neighbours may overlap."""

HELD_BACK_OF_MANY = 64


class SceneFiles(NamedTuple):
    """Left and right view; ``lr`` where the layout has them."""

    name: str
    hr: tuple[Path, Path]
    lr: tuple[Path, Path] | None


@dataclass(frozen=True)
class Scene:
    """Two views, RGB uint8, and what they are at low resolution, where that is given and not to be made."""

    name: str
    left: UInt8
    right: UInt8
    lr: tuple[UInt8, UInt8] | None = None


class Scenes(Protocol):
    """A list of scenes, or what reads one when it is asked for it."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Scene: ...


@dataclass(frozen=True)
class OnDisk:
    """Scenes that are read each time: the official patches are too many to hold, 13 GB at x4."""

    files: list[SceneFiles]
    scale: int
    patch: Size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> Scene:
        return read_scene(self.files[index], self.scale, self.patch)


@dataclass(frozen=True)
class Pictures:
    """What a run draws from. Large pictures are there a second time at half size, free of JPEG."""

    stereo: Scenes
    held_back: list[Scene]
    mono: list[UInt8]

    @staticmethod
    def load(folder: Path, scale: int, patch: Size, validation: Path | None = None) -> "Pictures":
        """Read a folder of one of the layouts of ``find_scenes``, and the photographs in its ``mono/``, if any.

        Args:
            folder: of the data.
            scale: of the training.
            patch: LR rows and columns that every scene must have.
            validation: a folder of scenes to score; without it some of ``folder`` are held back.

        Raises:
            UsageError: for a folder of no known layout, a picture that cannot be read, or one that is too small.
        """
        files = find_scenes(folder, scale)
        files, scored = (files, find_scenes(validation, scale)) if validation else hold_back(files)
        stereo: Scenes = OnDisk(files, scale, patch) if len(files) > MANY else _in_memory(files, scale, patch)
        mono = [_read(p) for p in sorted(folder.glob("mono/**/*")) if p.suffix.lower() in SUFFIXES]
        mono += [_halve(p) for p in mono if _is_large(p)]
        return Pictures(stereo, [read_scene(f, scale) for f in scored], mono)


def find_scenes(folder: Path, scale: int) -> list[SceneFiles]:
    """The scenes of a folder, by what lies there.

    - ``patches_x4/000001/{hr0,hr1,lr0,lr1}.png``, the official patches; the inner folder may be given too;
    - ``hr/`` with pairs, and ``lr_x4/`` with pairs of the same names, if it is there;
    - ``stereo/`` with pairs;
    - pairs, wherever they lie.

    What a pair is ``stereosr.io.pairs`` says.

    Raises:
        UsageError: if there is no pair, or one without its LR files.
    """
    patches = folder / f"patches_x{scale}"
    patches = patches if patches.is_dir() else folder
    if scenes := sorted(path.parent for path in patches.glob("*/lr0.png")):
        return [_patch(scene) for scene in scenes]
    large = next((p for p in (folder / "hr", folder / "stereo") if p.is_dir()), folder)
    pairs = scan_folder(large, ignore_suffixes=()).pairs
    if not pairs:
        raise UsageError(
            f"{folder} has no pairs for x{scale}: it should hold stereo/<scene>/left.*, right.*, or one of the other "
            "layouts that docs/training.md names"
        )
    small = folder / f"lr_x{scale}"
    if large.name != "hr" or not small.is_dir():
        return [SceneFiles(p.name, (p.left, p.right), None) for p in pairs]
    lr = {p.name: (p.left, p.right) for p in scan_folder(small, ignore_suffixes=()).pairs}
    if missing := next((p.name for p in pairs if p.name not in lr), None):
        raise UsageError(f"{small} has no pair {missing}, {large} has: add it, or remove {small} to have LR made")
    return [SceneFiles(p.name, (p.left, p.right), lr[p.name]) for p in pairs]


def hold_back(files: list[SceneFiles]) -> tuple[list[SceneFiles], list[SceneFiles]]:
    """Those to train on, and those to score. A single scene is both."""
    if len(files) == 1:
        return files, files
    if len(files) > MANY:
        return files[:-HELD_BACK_OF_MANY], files[-HELD_BACK_OF_MANY:]
    return [f for i, f in enumerate(files) if i % HOLD_BACK_EVERY], files[::HOLD_BACK_EVERY]


def read_scene(files: SceneFiles, scale: int, patch: Size = (1, 1)) -> Scene:
    """Read a scene.

    Raises:
        UsageError: if a picture cannot be read, sizes do not match, or it is smaller than an LR patch of this size.
    """
    left, right = (_read(path) for path in files.hr)
    if left.shape != right.shape:
        raise UsageError(f"scene {files.name}: left is {_size(left)}, right {_size(right)}")
    if left.shape[0] < patch[0] * scale or left.shape[1] < patch[1] * scale:
        wanted = f"{patch[1] * scale}x{patch[0] * scale}"
        raise UsageError(f"scene {files.name} is {_size(left)}, smaller than a patch of {wanted}: remove it")
    if files.lr is None:
        return Scene(files.name, left, right)
    lr = (_read(files.lr[0]), _read(files.lr[1]))
    for view in lr:
        if view.shape[:2] != (left.shape[0] // scale, left.shape[1] // scale):
            raise UsageError(f"scene {files.name}: LR is {_size(view)}, HR {_size(left)}: that is not x{scale}")
    return Scene(files.name, left, right, lr)


def _patch(scene: Path) -> SceneFiles:
    hr0, hr1, lr0, lr1 = (scene / f"{kind}{side}.png" for kind in ("hr", "lr") for side in (0, 1))
    return SceneFiles(scene.name, (hr0, hr1), (lr0, lr1))


def _in_memory(files: list[SceneFiles], scale: int, patch: Size) -> list[Scene]:
    scenes = [read_scene(f, scale, patch) for f in files]
    halves = [Scene(s.name, _halve(s.left), _halve(s.right)) for s in scenes if s.lr is None and _is_large(s.left)]
    rows, columns = patch[0] * scale, patch[1] * scale
    return scenes + [s for s in halves if s.left.shape[0] >= rows and s.left.shape[1] >= columns]


def _is_large(picture: UInt8) -> bool:
    return bool(picture.shape[0] >= 600 and picture.shape[1] >= 760)


def _halve(picture: UInt8) -> UInt8:
    even = modcrop(picture, 2)
    return np.asarray(cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _read(path: Path) -> UInt8:
    """H x W x 3, RGB, upright; 16-bit pictures are rounded to 8 bits, as training works in those."""
    try:
        pixels = read_picture(path).pixels
    except StereosrError as error:
        raise UsageError(str(error)) from error
    return np.asarray(pixels if pixels.dtype == np.uint8 else (pixels.astype(np.uint32) + 128) // 257, dtype=np.uint8)


def _size(picture: UInt8) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
