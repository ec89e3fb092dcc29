"""Which files of a folder belong together: by the conventions of cameras, benchmarks and robots, never by guessing."""

import glob
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from stereosr.errors import UsageError
from stereosr.io.images import SUFFIXES

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
    """The pairs in the order of their names, the pictures that do not have exactly one partner, and those that were
    passed over, as their stems end in an ignored suffix."""

    pairs: tuple[PairFiles, ...]
    unmatched: tuple[Path, ...]
    ignored: tuple[Path, ...] = ()


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
    found, ignored = _pictures(root, "**/*", ignore_suffixes)
    return _match({path: _readings(path.relative_to(root)) for path in found}, root, ignored)


def pair_lists(left: Path | str, right: Path | str, ignore_suffixes: tuple[str, ...] = OUTPUTS) -> FolderScan:
    """Pair the pictures of two folders or glob patterns: of the same stem, or the same but for the mark of the side.

    Raises:
        UsageError: if one of them has no pictures, or both have the same.
    """
    readings: dict[Path, list[_Reading | None]] = {}
    passed_over: list[Path] = []
    for side, where in enumerate((left, right)):
        root, pattern = _root_and_pattern(where)
        found, ignored = _pictures(root, pattern, ignore_suffixes)
        passed_over += ignored
        if not found:
            but = f" but what is taken for results, such as {ignored[0]}" if ignored else ""
            raise UsageError(f"no pictures in {where}{but}: give a folder, or a pattern such as 'left/*.png'")
        for path in found:
            if path in readings:
                raise UsageError(f"{path} is in both lists: left and right must be different files")
            name = path.relative_to(root)
            marked = (reading if reading and reading.side == side else None for reading in _readings(name))
            readings[path] = [_Reading(side, name.with_suffix(""), ""), *marked]
    return _match(readings, _root_and_pattern(left)[0], passed_over)


def is_marked(path: PurePath) -> bool:
    """Does a relative path say by any convention that it is one of two views?"""
    return any(_readings(path))


def _root_and_pattern(where: Path | str) -> tuple[Path, str]:
    """A folder, a file or a glob pattern, as a folder and the pattern of the files in it."""
    path = Path(where)
    if path.is_dir():
        return path, "**/*"
    if path.exists():
        return path.parent, glob.escape(path.name)
    wild = next((i for i, part in enumerate(path.parts) if re.search(r"[*?[]", part)), len(path.parts) - 1)
    pattern = (part if part == "**" else re.sub(r"\*+", "*", part) for part in path.parts[wild:])
    return Path(*path.parts[:wild]), str(PurePath(*pattern))


def visible(root: Path, pattern: str = "**/*") -> list[Path]:
    """Files and folders of this pattern, in order, without the hidden ones."""
    found = root.glob(pattern)
    return sorted(path for path in found if not any(p.startswith(".") for p in path.relative_to(root).parts))


def _pictures(root: Path, pattern: str, ignore_suffixes: tuple[str, ...]) -> tuple[list[Path], list[Path]]:
    """The pictures of this pattern, and those whose stems end in an ignored suffix."""
    found: tuple[list[Path], list[Path]] = [], []
    for path in visible(root, pattern):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            found[path.stem.endswith(ignore_suffixes)].append(path)
    return found


def _readings(path: PurePath) -> list[_Reading | None]:
    """What a relative path may mean, the surest first: by the stem's mark, by a folder's, by both."""
    stem = _mark(path.stem, STEMS)
    by_stem = stem and _Reading(stem.side, path.parent / stem.name, stem.convention)
    by_folder = _read_folder(path.with_suffix(""))
    by_both = _read_folder(by_stem.name) if by_stem and by_stem.name != path.parent else None
    return [by_stem, by_folder, by_both if by_both and by_stem and by_both.side == by_stem.side else None]


def _read_folder(path: PurePath) -> _Reading | None:
    """By the innermost folder that is marked; ``path`` has no suffix."""
    for at in reversed(range(len(path.parts) - 1)):
        if mark := _mark(path.parts[at], FOLDERS):
            return mark._replace(name=PurePath(*path.parts[:at], mark.name, *path.parts[at + 1 :]))
    return None


def _mark(name: str, conventions: Sequence[tuple[str, str]]) -> _Reading | None:
    for patterns in conventions:
        for side, pattern in enumerate(patterns):
            if match := re.fullmatch(pattern, name, re.IGNORECASE):
                return _Reading(side, PurePath(match[1].strip("_-. ")), f"{patterns[0]}: {match[1]}")
    return None


def _match(readings: Mapping[Path, Sequence[_Reading | None]], root: Path, ignored: Sequence[Path]) -> FolderScan:
    """Pair by the surest reading first; two candidates for one side, or for one name, are nobody's partner."""
    pairs: list[PairFiles] = []
    free = set(readings)
    for rank in range(max(map(len, readings.values()), default=0)):
        groups: dict[tuple[PurePath, str], tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
        for path in free:
            if reading := readings[path][rank]:
                groups[reading.name, reading.convention][reading.side].append(path)
        for (name, _), (left, right) in groups.items():
            if left and right:
                free -= {*left, *right}
                if len(left) == len(right) == 1:
                    pairs.append(PairFiles(name.as_posix() if name.parts else root.resolve().name, left[0], right[0]))
    times = Counter(pair.name for pair in pairs)
    pairs = sorted((pair for pair in pairs if times[pair.name] == 1), key=lambda pair: pair.name)
    matched = {path for pair in pairs for path in (pair.left, pair.right)}
    return FolderScan(tuple(pairs), tuple(sorted(readings.keys() - matched)), tuple(ignored))
