"""Which files of a folder belong together: by the conventions of cameras, benchmarks and robots, never by guessing."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from stereosr_engines.errors import UsageError
from stereosr_engines.images import SUFFIXES

OUTPUTS = ("_x2", "_x4")
"""How the stems of super-resolved pictures end."""

# One row a convention: what the left and the right side are called. What the group takes in, the two must share.
_ANYWHERE = (
    (r"(.*[_-])l", r"(.*[_-])r"),
    (r"(.*[_. -])left", r"(.*[_. -])right"),
    (r"left(.*)", r"right(.*)"),
)
STEMS = (
    *_ANYWHERE,
    (r"(|.*[_-])lr0", r"(|.*[_-])lr1"),
    (r"(|.*[_-])hr0", r"(|.*[_-])hr1"),
    (r"(|.*[_-])im0", r"(|.*[_-])im1"),
    (r"(|.*[_-])view1", r"(|.*[_-])view5"),
)
"""Conventions for files that lie together."""

FOLDERS = (
    *_ANYWHERE,
    (r"()l", r"()r"),
    (r"()image_2", r"()image_3"),
    (r"()image_02", r"()image_03"),
    (r"()colored_0", r"()colored_1"),
)
"""Conventions for folders, whose files have the same stems, or stems that tell the sides apart once more."""


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Two files of one pair; ``name`` is relative to the folder searched: ``000001`` or ``sub/photo``."""

    name: str
    left: Path
    right: Path


@dataclass(frozen=True, slots=True)
class FolderScan:
    """The pairs in the order of their names, and the pictures that do not have exactly one partner."""

    pairs: tuple[PairFiles, ...]
    unmatched: tuple[Path, ...]


class _Reading(NamedTuple):
    """What a file's name may mean: the left (0) or right (1) side of ``name``, by a convention both sides share."""

    side: int
    name: PurePath
    convention: str


def scan_folder(root: Path, ignore_suffixes: tuple[str, ...] = OUTPUTS) -> FolderScan:
    """Find the pairs under a folder, subfolders included.

    Hidden files, and pictures whose stem ends in an ignored suffix, are passed over.

    Raises:
        UsageError: if there is no such folder.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder")
    found = _pictures(root, "**/*", ignore_suffixes)
    return _match({path: _readings(path.relative_to(root)) for path in found}, root)


def pair_lists(left: Path | str, right: Path | str, ignore_suffixes: tuple[str, ...] = OUTPUTS) -> FolderScan:
    """Pair the pictures of two folders or glob patterns: of the same stem, or the same but for the mark of the side.

    Raises:
        UsageError: if one of them has no pictures, or both have the same.
    """
    readings: dict[Path, list[_Reading | None]] = {}
    for side, where in enumerate((left, right)):
        root, pattern = _root_and_pattern(where)
        found = _pictures(root, pattern, ignore_suffixes)
        if not found:
            raise UsageError(f"no pictures in {where}: give a folder, or a pattern such as 'left/*.png'")
        for path in found:
            if path in readings:
                raise UsageError(f"{path} is in both lists: left and right must be different files")
            name = path.relative_to(root)
            marked = (reading for reading in _readings(name) if reading is None or reading.side == side)
            readings[path] = [_Reading(side, name.with_suffix(""), ""), *marked]
    return _match(readings, _root_and_pattern(left)[0])


def _root_and_pattern(where: Path | str) -> tuple[Path, str]:
    """A folder, file or glob pattern, as a folder and the pattern of the files in it."""
    path = Path(where)
    if path.is_dir():
        return path, "**/*"
    parts = path.parts if not path.exists() else ()
    fixed = next((i for i, part in enumerate(parts) if re.search(r"[*?[]", part)), len(parts) - 1)
    return (path.parent, path.name) if not parts else (Path(*parts[:fixed]), str(PurePath(*parts[fixed:])))


def _pictures(root: Path, pattern: str, ignore_suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(
        path
        for path in root.glob(pattern)
        if path.suffix.lower() in SUFFIXES
        and not path.stem.endswith(ignore_suffixes)
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
    )
