"""Which files of a folder belong together: by the conventions of cameras, benchmarks and robots, never by guessing."""

import glob
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from stereosr_engines.errors import UsageError
from stereosr_engines.images import SUFFIXES

# One row a convention: the folder's or the file's name as a pattern for each side. What the patterns leave over (the
# groups) must agree, and is the pair's name.
FOLDERS = (
    ("left", "right"),
    ("l", "r"),
    ("image_2", "image_3"),
    ("image_02", "image_03"),
    ("image_0", "image_1"),
    ("image_00", "image_01"),
    ("colored_0", "colored_1"),
)
"""Sibling folders that hold files of the same stem."""

STEMS = (
    (r"(.*)[_-]l", r"(.*)[_-]r"),
    (r"(.*)[_. -]left", r"(.*)[_. -]right"),
    (r"left(.*)", r"right(.*)"),
    (r"l[_-](.*)", r"r[_-](.*)"),
    (r"(|.*[_-])lr0", r"(|.*[_-])lr1"),
    (r"(|.*[_-])hr0", r"(|.*[_-])hr1"),
    (r"(|.*[_-])im0", r"(|.*[_-])im1"),
    (r"(|.*[_-])view1", r"(|.*[_-])view5"),
)
"""Stems of files in one folder."""


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Two files of one pair; ``name`` is relative to the folder searched: ``000001`` or ``sub/photo``."""

    name: str
    left: Path
    right: Path


@dataclass(frozen=True, slots=True)
class FolderScan:
    """The pairs of a folder in the order of their names, and the pictures that have no one partner."""

    pairs: tuple[PairFiles, ...]
    unmatched: tuple[Path, ...]


def scan_folder(root: Path, ignore_suffixes: tuple[str, ...] = ("_x2", "_x4")) -> FolderScan:
    """Find the pairs under a folder, subfolders included; stems that end in an ignored suffix are passed over.

    Raises:
        UsageError: if the folder does not exist.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder")
    sides: dict[tuple[str, ...], tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    unmatched = []
    for path in _pictures(root.rglob("*"), ignore_suffixes):
        found = _by_stem(path.relative_to(root)) or _by_folder(path.relative_to(root))
        if found is None:
            unmatched.append(path)
        else:
            side, name, convention = found
            sides[name, convention][side].append(path)
    return _scan(((name, left, right) for (name, _), (left, right) in sides.items()), unmatched)


def pair_lists(left: Path | str, right: Path | str) -> FolderScan:
    """Pair the files of two folders or glob patterns: of the same stem, or the same but for the side's marker.

    Raises:
        UsageError: if either finds no pictures.
    """
    sides: dict[str, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for side, where in enumerate((left, right)):
        pictures = _pictures(
            Path(where).rglob("*") if Path(where).is_dir() else map(Path, glob.glob(str(where), recursive=True)), ()
        )
        if not pictures:
            raise UsageError(f"no pictures in {where}: give a folder or a pattern like 'left/*.png'")
        base = Path(where) if Path(where).is_dir() else None
        for path in pictures:
            relative = path.relative_to(base) if base else PurePath(path.name)
            found = _by_stem(relative)
            name = found[1] if found and found[0] == side else relative.with_suffix("").as_posix()
            sides[name][side].append(path)
    return _scan(((name, *both) for name, both in sides.items()), [])


def _pictures(paths: Iterable[Path], ignore_suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and not (ignore_suffixes and path.stem.endswith(ignore_suffixes))
        and path.is_file()
    )


def _by_stem(path: PurePath) -> tuple[int, str, str] | None:
    """Side, name and convention of a file whose stem says them."""
    for patterns in STEMS:
        for side, pattern in enumerate(patterns):
            if match := re.fullmatch(pattern, path.stem, re.IGNORECASE):
                rest = match[1].strip("_-. ")
                return side, (path.parent / rest).as_posix() if rest else path.parent.as_posix(), patterns[0]
    return None


def _by_folder(path: PurePath) -> tuple[int, str, str] | None:
    """Side, name and convention of a file that lies in a folder of one side."""
    parts = path.parts[:-1]
    for at in reversed(range(len(parts))):
        for names in FOLDERS:
            if parts[at].lower() in names:
                name = PurePath(*parts[:at], *parts[at + 1 :], path.stem)
                return names.index(parts[at].lower()), name.as_posix(), names[0]
    return None


def _scan(found: Iterable[tuple[str, list[Path], list[Path]]], unmatched: list[Path]) -> FolderScan:
    pairs = []
    for name, left, right in found:
        if len(left) == len(right) == 1:
            pairs.append(PairFiles(name, left[0], right[0]))
        else:
            unmatched += left + right
    return FolderScan(tuple(sorted(pairs, key=lambda pair: pair.name)), tuple(sorted(unmatched)))
