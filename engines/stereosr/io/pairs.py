"""Which files of a folder belong together: by the conventions of cameras, benchmarks and robots, never by guessing."""

import glob
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from stereosr.errors import UsageError
from stereosr.io.images import READABLE

OUTPUTS = ("_x2", "_x4")
"""How the stems of super-resolved pictures end."""

_APART = r"[-_. ()\[\]]"
_LOWER = "(?-i:[a-z])"


def _apart(*marks: str) -> tuple[tuple[str, ...], ...]:
    """Rows for marks set apart from the rest of a name: at its end, at its beginning, within it."""
    around = ((rf"(|.*{_APART})", "()"), ("()", rf"({_APART}.*)"), (rf"(.*{_APART})", rf"({_APART}.*)"))
    return tuple(tuple(before + mark + after for mark in marks) for before, after in around)


# One row a convention: what the left and the right side are called. What the two groups take in, both must share. Where
# there is a third pattern and something is called so as well, the row is a count of pictures, not two sides.
_ANYWHERE: tuple[tuple[str, ...], ...] = (
    *_apart("left(?:eye|img8bit)?", "right(?:eye|img8bit)?"),
    (rf"(|.*{_APART})left(.*)", rf"(|.*{_APART})right(.*)"),
    (r"(.*\d)left(.*)", r"(.*\d)right(.*)"),
    (rf"(.*{_LOWER})(?-i:Left)(.*)", rf"(.*{_LOWER})(?-i:Right)(.*)"),
    *_apart("infra(?:red)?[-_ ]?1", "infra(?:red)?[-_ ]?2"),
    *_apart(*(f"cam(?:era)?[-_ ]?{number}" for number in range(3))),
    *_apart("l", "r"),
    (rf"(|.*{_APART})l(\d.*)", rf"(|.*{_APART})r(\d.*)"),
    (rf"(.*\d)l(|{_APART}.*)", rf"(.*\d)r(|{_APART}.*)"),
    (rf"(.*{_LOWER})(?-i:L)(|(?:\d|{_APART}).*)", rf"(.*{_LOWER})(?-i:R)(|(?:\d|{_APART}).*)"),
    (rf"(.*{_APART})le()", rf"(.*{_APART})re()"),
)
STEMS = (
    *_ANYWHERE,
    (r"(|.*[_-])lr0()", r"(|.*[_-])lr1()"),
    (r"(|.*[_-])hr0()", r"(|.*[_-])hr1()"),
    (r"(|.*[_-])im0()", r"(|.*[_-])im1()", r"(|.*[_-])im2()"),
    (r"(|.*[_-])im2()", r"(|.*[_-])im6()", r"(|.*[_-])im3()"),
    (r"(|.*[_-])view1()", r"(|.*[_-])view5()"),
)
"""Conventions for files that lie together."""

FOLDERS = (
    *_ANYWHERE,
    *((f"()image_{left}()", f"()image_{right}()", r"()image_0?4()") for left, right in ("01", "23")),
    *((f"()image_0{left}()", f"()image_0{right}()", r"()image_0?4()") for left, right in ("01", "23")),
    ("()colored_0()", "()colored_1()", "()colored_2()"),
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
    """What was found in a folder.

    Attributes:
        pairs: in the order of their names.
        unmatched: pictures that do not have exactly one partner.
        ignored: those passed over, as their stems end in an ignored suffix.
        contested: groups of unmatched pictures of which several could be the same view of one pair.
    """

    pairs: tuple[PairFiles, ...]
    unmatched: tuple[Path, ...]
    ignored: tuple[Path, ...] = ()
    contested: tuple[tuple[Path, ...], ...] = ()


class _Reading(NamedTuple):
    """What a file's name may mean: the left (0) or right (1) side of ``name``, by a convention both sides share.

    Attributes:
        rank: how sure the kind of reading is, the smallest first.
        convention: the row of the table; a side of 2 says that it does not apply.
        shared: what the row's groups took in.
    """

    side: int
    rank: tuple[int, int]
    convention: int
    name: PurePath
    shared: tuple[str, ...] = ()


def scan_folder(
    root: Path,
    ignore_suffixes: tuple[str, ...] = OUTPUTS,
    kinds: Collection[str] = READABLE,
    but: Path | None = None,
) -> FolderScan:
    """Find the pairs under a folder, subfolders included; hidden files are passed over.

    Args:
        root: the folder.
        ignore_suffixes: how the stems of files end that are passed over.
        kinds: suffixes of what is taken for a picture.
        but: a folder whose files are passed over.

    Returns:
        The pairs, and what is in none.

    Raises:
        UsageError: if there is no such folder.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder")
    found, ignored = _pictures(visible(root, but=but), ignore_suffixes, kinds)
    return _match({path: _readings(path.relative_to(root)) for path in found}, root, ignored)


def pair_lists(
    left: Path | str,
    right: Path | str,
    ignore_suffixes: tuple[str, ...] = OUTPUTS,
    kinds: Collection[str] = READABLE,
) -> FolderScan:
    """Pair the pictures of two folders, glob patterns or files.

    Partners are files for which the wildcards took in the same, with the same stem, or with stems that differ in the
    mark of the side; and two files that were given by their names.

    Args:
        left: of the left views.
        right: of the right ones.
        ignore_suffixes: as in ``scan_folder``.
        kinds: as in ``scan_folder``.

    Returns:
        The pairs, named after the left view's place, and what is in none.

    Raises:
        UsageError: if one of them has no pictures, or both have the same.
    """
    readings: dict[Path, list[_Reading]] = {}
    passed_over: list[Path] = []
    for side, where in enumerate((left, right)):
        root, pattern = _root_and_pattern(where)
        found, ignored = _pictures(visible(root, pattern), ignore_suffixes, kinds)
        passed_over += ignored
        if not found:
            but = f" but what is taken for results, such as {ignored[0]}" if ignored else ""
            raise UsageError(f"no pictures in {where}{but}: give a folder, or a pattern such as 'left/*.png'")
        for path in found:
            if path in readings:
                raise UsageError(f"{path} is in both lists: left and right must be different files")
            name = path.relative_to(root)
            same = _Reading(side, (-1, 0), 0, name.with_suffix(""))
            marked = (reading for reading in _readings(name) if reading.side == side)
            readings[path] = [*_taken_in(side, name, pattern), same, *marked]
    return _match(readings, _root_and_pattern(left)[0], passed_over)


def pair_name(left: PurePath, right: PurePath) -> str:
    """What two files of one pair have in common: ``a`` for ``a_L.png`` and ``a_R.png``, else both stems."""
    names = [{(r.convention, r.shared): r.name for r in _readings(PurePath(path.name))} for path in (left, right)]
    common = next((name for key, name in names[0].items() if key in names[1]), None)
    if common is not None:
        return str(common) if common.parts else Path(left).resolve().parent.name or "pair"
    return left.stem if left.stem == right.stem else f"{left.stem}-{right.stem}"


def is_marked(path: PurePath) -> bool:
    """Whether a relative path says by any convention that it is one of two views."""
    return any(reading.side < 2 for reading in _readings(path))


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


def visible(root: Path, pattern: str = "**/*", but: Path | None = None) -> list[Path]:
    """Files and folders of this pattern, in order, without hidden ones and those in the folder ``but`` below root."""
    found = (path for path in root.glob(pattern) if not any(p.startswith(".") for p in path.relative_to(root).parts))
    apart = but.resolve() if but is not None else None
    if apart is None or not apart.is_relative_to(root.resolve()) or apart == root.resolve():
        return sorted(found)
    within = root / apart.relative_to(root.resolve())
    return sorted(path for path in found if not path.is_relative_to(within))


def _pictures(
    paths: Iterable[Path], ignore_suffixes: tuple[str, ...], kinds: Collection[str] = READABLE
) -> tuple[list[Path], list[Path]]:
    """The pictures among these paths, and those whose stems end in an ignored suffix."""
    found: tuple[list[Path], list[Path]] = [], []
    for path in paths:
        if path.suffix.lower() in kinds and path.is_file():
            found[path.stem.endswith(ignore_suffixes)].append(path)
    return found


def _readings(path: PurePath) -> list[_Reading]:
    """What a relative path may mean: by the stem's mark, by a folder's, by both."""
    stems = [mark._replace(name=path.parent / mark.name) for mark in _marks(path.stem, _STEMS)]
    folders = _read_folders(path.with_suffix(""), 1)
    both = [by for stem in stems for by in _read_folders(stem.name, 2) if by.side == stem.side]
    return [*stems, *folders, *both]


def _read_folders(path: PurePath, rank: int) -> list[_Reading]:
    """By each folder that is marked, the innermost first; ``path`` has no suffix."""
    parts = path.parts
    return [
        mark._replace(rank=(rank, len(parts) - at), name=PurePath(*parts[:at], mark.name, *parts[at + 1 :]))
        for at in reversed(range(len(parts) - 1))
        for mark in _marks(parts[at], _FOLDERS)
    ]


def _marks(name: str, conventions: Sequence[Sequence[re.Pattern[str]]]) -> Iterator[_Reading]:
    for row, patterns in enumerate(conventions):
        for side, pattern in enumerate(patterns):
            if match := pattern.fullmatch(name):
                before, after = match[1].rstrip("_-. (["), match[2].lstrip("_-. )]")
                rest = "_".join(filter(None, (before.strip("_-. "), after.strip("_-. "))))
                yield _Reading(side, (0, 0), row, PurePath(rest), match.groups())


def _compiled(conventions: Sequence[Sequence[str]]) -> list[list[re.Pattern[str]]]:
    return [[re.compile(pattern, re.IGNORECASE) for pattern in row] for row in conventions]


_STEMS, _FOLDERS = _compiled(STEMS), _compiled(FOLDERS)


def _taken_in(side: int, path: PurePath, pattern: str) -> Iterator[_Reading]:
    """By what the wildcards of a pattern took in, suffixes aside; a file given by its name is surely meant."""
    if pattern == glob.escape(path.name):
        yield _Reading(side, (3, 0), 0, PurePath())
        return
    text = path.with_suffix("").as_posix()
    groups = {"**/": "(?:(.*)/)?", "*": "([^/]*)"}
    expression = _GLOB.sub(
        lambda token: groups.get(token[0], re.escape(token[0]) if token[1] else "(.)"),
        PurePath(pattern).with_suffix("").as_posix(),
    )
    if match := re.fullmatch(expression, text):
        name, end = "", 0
        for group in filter(match.group, range(1, 1 + len(match.groups()))):
            name += ("/" if "/" in text[end : match.start(group)] else "_" if name else "") + match[group]
            end = match.end(group)
        yield _Reading(side, (-2, 0), 0, PurePath(name.lstrip("/")), match.groups(""))


_GLOB = re.compile(r"\*\*/|\*|\?|\[!?.[^]]*\]|(.)")


def _match(readings: Mapping[Path, Iterable[_Reading]], root: Path, ignored: Sequence[Path]) -> FolderScan:
    """Pair by the surest reading first; if a side or a name has two candidates, neither is paired."""
    groups: dict[tuple[Any, ...], tuple[set[Path], set[Path], set[Path]]] = defaultdict(lambda: (set(), set(), set()))
    for path, possible in readings.items():
        for reading in possible:
            groups[reading[1:]][reading.side].add(path)
    pairs: dict[str, list[PairFiles]] = defaultdict(list)
    contested: list[tuple[Path, ...]] = []
    free = set(readings)
    for key in sorted(groups):
        left, right = (sorted(side & free) for side in groups[key][:2])
        if left and right and not groups[key][2]:
            free -= {*left, *right}
            if len(left) == len(right) == 1:
                name: PurePath = key[2]
                known_by = name.as_posix() if name.parts else root.resolve().name
                pairs[known_by].append(PairFiles(known_by, left[0], right[0]))
            else:
                contested.append((*left, *right))
    contested += [
        tuple(path for pair in same for path in (pair.left, pair.right)) for same in pairs.values() if same[1:]
    ]
    found = sorted((same[0] for same in pairs.values() if not same[1:]), key=lambda pair: pair.name)
    matched = {path for pair in found for path in (pair.left, pair.right)}
    return FolderScan(tuple(found), tuple(sorted(readings.keys() - matched)), tuple(ignored), tuple(contested))


def is_pair_of_names(left: Path, right: Path) -> bool:
    """Whether the names of two files say by any convention that they are the left and the right view."""
    root = Path(os.path.commonpath([left.absolute().parent, right.absolute().parent]))
    files = {path: _readings(path.absolute().relative_to(root)) for path in (left, right)}
    return [(pair.left, pair.right) for pair in _match(files, root, ()).pairs] == [(left, right)]
