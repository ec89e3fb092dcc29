"""Benchmark folders: which pairs they hold, whether they are the published ones, and LR where it is missing.

Known are the field's layout (``hr/<scene>/hr0.png``, ``lr_x4/<scene>/lr0.png``), flat folders of ``_L`` and ``_R``
pictures (Flickr1024, NTIRE), and what KITTI and Middlebury offer for download.
"""

import contextlib
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from stereosr.errors import StereosrError, UsageError
from stereosr.evaluation.degrade import degrade, modcrop
from stereosr.evaluation.metrics import LEFT_BORDER
from stereosr.io.encode import write_picture
from stereosr.io.images import Picture, UnreadableImage, read_picture
from stereosr.io.pairs import FolderScan, PairFiles, is_marked, scan_folder
from stereosr.system import cache_dir

UInt8 = NDArray[np.uint8]
Views = tuple[UInt8, UInt8]
"""Left and right, H x W x 3, RGB."""

LEAST = (7, LEFT_BORDER + 7)
"""Rows and columns of HR that can be scored: SSIM's window beside the border that the left score drops."""


@dataclass(frozen=True, slots=True)
class Published:
    """A benchmark of the published tables: how many scenes it has, and the hash of their HR pixels where we know it."""

    name: str
    scenes: int
    digest: str | None = None


PUBLISHED = (
    Published("KITTI2012", 20),
    Published("KITTI2015", 20, "8009244d26d0a719860fb6efe9c5b1e4955789224b27a254e8139b934bf0b74b"),
    Published("Middlebury", 5),
    Published("Flickr1024", 112),
)
MIDDLEBURY4 = "6f29704fe6f712c2527d230c88cadfc9c9f62bea56ea8dba1ddd3aed965f0c0f"
"""Four of Middlebury's five; without sword2, which is not in free circulation at that size."""
MIDDLEBURY = {"cloth2": 650, "motorcycle": 741, "piano": 707, "pipes": 735, "sword2": None}
"""The benchmark's scenes and the width of their halved pictures."""
KITTI_FRAME = re.compile(r"\d{6}_(\d\d)")


@dataclass(frozen=True, slots=True)
class Scene:
    """One pair. ``lr`` are the files given, None where LR is made from HR; ``key`` is the hash of all four pictures.

    ``size`` is that of LR, rows and columns; ``faithful`` tells whether LR equals MATLAB's imresize of HR.
    """

    name: str
    hr: PairFiles
    lr: PairFiles | None
    scale: int
    size: tuple[int, int]
    key: str
    faithful: bool

    def views(self) -> tuple[Views, Views]:
        """HR, cropped to multiples of the scale, and LR. Raises UnreadableImage as ``read_picture``."""
        hr = _crop(_read(self.hr), self.scale)
        return hr, _read(self.lr) if self.lr else _make_lr(hr, self.scale)


@dataclass(frozen=True, slots=True)
class Dataset:
    """What was found in a folder.

    Attributes:
        benchmark: name of the published benchmark that the pictures are, None for any other.
        digest: hash of the pixels of all HR pictures, whatever files and folders they lie in.
        about: what the set is, in words.
        problems: one line for each scene that was left out, and why.
    """

    name: str
    scale: int
    scenes: tuple[Scene, ...]
    benchmark: str | None
    digest: str
    about: str
    problems: tuple[str, ...]


def open_dataset(root: Path, scale: int) -> Dataset:
    """Find, read and check all pairs of a folder; LR that is not there is made and kept in the user's cache.

    Raises:
        UsageError: if there is no pair in it that can be scored.
    """
    hr, lr, problems = _find(root, scale)
    scenes: list[Scene] = []
    hashes: list[str] = []
    for pair in hr.pairs:
        try:
            scene, digest = _check(pair, lr, scale)
        except StereosrError as error:
            problems.append(f"{pair.name}: {error}")
        else:
            scenes.append(scene)
            hashes.append(digest)
    if not scenes:
        raise UsageError(f"no scene of {root} can be scored: {problems[0]}")
    digest = _sha256(sorted(hashes))
    name, benchmark, about = _name(root, scenes, digest)
    return Dataset(name, scale, tuple(scenes), benchmark, digest, about, tuple(problems))


def _find(root: Path, scale: int) -> tuple[FolderScan, Mapping[str, PairFiles] | None, list[str]]:
    """The HR pairs, the LR pairs by name where the folder has a tree of them, and what has no partner."""
    if not root.is_dir():
        raise UsageError(
            f"{root} is not a folder: give a benchmark's, with hr/<scene>/hr0.png or pairs a_L.png a_R.png"
        )
    folders = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    trees = [name for name in folders if re.fullmatch(r"lr_x\d", name)]
    if trees and "hr" not in folders:
        raise UsageError(f"{root} has {trees[0]} but no hr folder: HR pictures are needed to score")
    top = folders.get("hr", root)
    hr = scan_folder(top)
    problems = [f"{path.relative_to(root)}: no partner" for path in hr.unmatched if is_marked(path.relative_to(top))]
    below = sorted({part for pair in hr.pairs for part in PurePath(pair.name).parts if re.fullmatch(r"lr_x\d", part)})
    if below:
        names = ", ".join(sorted({PurePath(pair.name).parts[0] for pair in hr.pairs}))
        raise UsageError(f"{root} holds several data sets ({names}): give one of them")
    if not hr.pairs:
        raise UsageError(
            f"no stereo pairs in {root}: give a folder with hr/<scene>/hr0.png, hr1.png, or with pairs such as "
            "a_L.png, a_R.png" + "".join(f"; {problem}" for problem in problems[:1])
        )
    if "hr" in folders and f"lr_x{scale}" in folders:
        scan = scan_folder(folders[f"lr_x{scale}"])
        problems += [f"{path.relative_to(root)}: no partner" for path in scan.unmatched]
        return hr, {pair.name: pair for pair in scan.pairs}, problems
    frames = [KITTI_FRAME.fullmatch(PurePath(pair.name).name) for pair in hr.pairs]
    if all(frames):  # KITTI's download: the benchmark takes the first of each two frames
        first = tuple(pair for pair, frame in zip(hr.pairs, frames, strict=True) if frame and frame[1] == "10")
        hr = FolderScan(first, hr.unmatched)
    return hr, None, problems


def _check(pair: PairFiles, lr: Mapping[str, PairFiles] | None, scale: int) -> tuple[Scene, str]:
    """The scene, and the hash of its HR pixels. Raises StereosrError, with the reason, if it cannot be scored."""
    given = None
    if lr is not None:
        given = lr.get(pair.name)
        if given is None:
            raise UsageError(f"no LR in lr_x{scale}: add it, or rename that folder and LR is made from HR")
    whole = _read(pair)
    hr = _crop(whole, scale)
    rows, columns = hr[0].shape[:2]
    if rows < LEAST[0] or columns < LEAST[1]:
        raise UsageError(f"{columns}x{rows} is too small to score: {LEAST[1]}x{LEAST[0]} is the least")
    made = (degrade(hr[0], scale), degrade(hr[1], scale)) if given else _make_lr(hr, scale)
    found = _read(given) if given else made
    if found[0].shape != made[0].shape:
        (a, b), (c, d) = (x[0].shape[1::-1] for x in (found, made))
        raise UsageError(f"LR is {a}x{b} where x{scale} of HR {columns}x{rows} is {c}x{d}")
    key = _sha256([_hash(view) for view in (*hr, *found)])
    faithful = all(np.array_equal(a, b) for a, b in zip(found, made, strict=True))
    size = (found[0].shape[0], found[0].shape[1])
    return Scene(pair.name, pair, given, scale, size, key, faithful), _sha256([_hash(view) for view in whole])


def _name(root: Path, scenes: Sequence[Scene], digest: str) -> tuple[str, str | None, str]:
    """Name, published benchmark or None, and what there is to say about them."""
    name = root.resolve().name
    for published in PUBLISHED:
        if published.digest == digest:
            return published.name, published.name, f"the {published.scenes} pairs of the published benchmark"
    if digest == MIDDLEBURY4:
        return name, None, "four of the published benchmark's five scenes (no sword2): not the published row"
    large = [s for s in scenes if s.size[1] * s.scale > 1.2 * (MIDDLEBURY.get(_middlebury(s.name)) or np.inf)]
    if large:
        text = "Middlebury at full size: the published benchmark is halved, and its numbers are some 4 dB lower"
        return f"{name} (full size)", None, text
    for published in PUBLISHED:
        if published.name.lower() in name.lower().replace("_", "").replace("-", ""):
            if published.digest:
                return name, None, f"not the published benchmark, whose {published.scenes} pairs have another hash"
            if published.scenes != len(scenes):
                return name, None, f"not the published benchmark, which has {published.scenes} pairs"
            return name, published.name, f"as many pairs as the published benchmark; its hash is {digest[:12]}"
    return name, None, "a set of your own"


def _middlebury(name: str) -> str:
    """``Motorcycle-perfect/`` and ``Cloth2`` as the benchmark calls them."""
    return PurePath(name).parts[-1].lower().split("-")[0]


def _read(pair: PairFiles) -> Views:
    left, right = (read_picture(path).pixels for path in (pair.left, pair.right))
    if left.shape != right.shape:
        a, b = (f"{view.shape[1]}x{view.shape[0]}" for view in (left, right))
        raise UsageError(f"{pair.left.name} is {a}, {pair.right.name} is {b}: the views of a pair have one size")
    for path, view in ((pair.left, left), (pair.right, right)):
        if view.dtype != np.uint8:
            raise UsageError(f"{path.name} has 16 bits a sample: the protocol is for 8")
    return left.astype(np.uint8), right.astype(np.uint8)


def _crop(views: Views, scale: int) -> Views:
    return modcrop(views[0], scale), modcrop(views[1], scale)


def _make_lr(hr: Views, scale: int) -> Views:
    """LR by the field's degradation, from the cache where it was made before."""
    left, right = (_cached_lr(view, scale) for view in hr)
    return left, right


def _cached_lr(view: UInt8, scale: int) -> UInt8:
    path = cache_dir() / "lr" / f"{_hash(view)}_x{scale}.png"
    try:
        kept = read_picture(path).pixels
        if kept.dtype == np.uint8 and kept.shape == (view.shape[0] // scale, view.shape[1] // scale, 3):
            return kept.astype(np.uint8, copy=False)
    except UnreadableImage:
        pass
    made = degrade(view, scale)
    with contextlib.suppress(OSError, StereosrError):  # a cache that cannot be written costs time, nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, Picture(made))
    return made


def _hash(view: UInt8) -> str:
    return hashlib.sha256(repr(view.shape).encode() + np.ascontiguousarray(view).tobytes()).hexdigest()


def _sha256(texts: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(texts).encode()).hexdigest()
