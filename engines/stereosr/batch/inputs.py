"""From what was typed to a list of items: pairs, stereo files and folders, and where each result goes."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from stereosr.atomic import check_writable
from stereosr.batch.item import Item
from stereosr.errors import StereosrError, UsageError
from stereosr.io.images import SUFFIXES
from stereosr.io.layouts import JPEG_LAYOUTS, STEREO_SUFFIXES, Layout, detect_layout, is_named
from stereosr.io.pairs import OUTPUTS, PairFiles, pair_lists, scan_folder, visible
from stereosr.io.video import detect_video_layout, is_video, output_suffix


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """Where results go: ``out`` is a folder (None: beside the input); ``suffix`` is put behind the stem.

    ``format`` is the suffix of the files written, with its dot, None for the input's own; ``layout`` is what is
    written, None for what came in.
    """

    out: Path | None
    suffix: str
    format: str | None = None
    layout: Layout | None = None

    def __post_init__(self) -> None:
        if self.suffix != PurePath(f"a{self.suffix}").name[1:]:
            raise UsageError(f"{self.suffix!r} is no suffix: it stands within a file's name; -o gives the folder")

    @property
    def ignored(self) -> tuple[str, ...]:
        """How the stems of results end, which are no inputs."""
        return (*OUTPUTS, self.suffix) if self.suffix else OUTPUTS


@dataclass(frozen=True, slots=True)
class Inputs:
    """``left_out`` says in a line each what was found but is not done."""

    items: tuple[Item, ...]
    left_out: tuple[str, ...]


def collect(paths: Sequence[Path], naming: Naming, layout: Layout | None = None) -> Inputs:
    """The items behind ``paths``: LEFT RIGHT, or any number of stereo files and folders.

    Args:
        layout: of every file that is no pair, None to detect it.

    Raises:
        UsageError: for nothing at all, a missing path, one picture alone, a folder without ``out``, results that meet.
        StereosrError: where results cannot be written.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist")
    if not paths:
        raise UsageError("nothing to do: give LEFT RIGHT, a stereo file, or a folder with -o OUT")
    if _is_pair(paths, layout):
        return _checked([_two_files(paths[0], paths[1], naming)], ())
    items: list[Item] = []
    left_out: list[str] = []
    for path in paths:
        if path.is_dir():
            if naming.out is None:
                raise UsageError(f"{path} is a folder: say with -o OUT where the results go")
            found, rest = _folder_items(path, naming, layout)
            items += found
            left_out += rest
        else:
            items.append(_file_item(path, PurePath(), naming, layout or _known_layout(path)))
    return _checked(items, left_out)


def collect_lists(left: Path | str, right: Path | str, naming: Naming) -> Inputs:
    """The pairs of two folders or two globs, one for each view. Raises as ``collect``."""
    if naming.out is None:
        raise UsageError("-l and -r need -o OUT: say where the results go")
    scan = pair_lists(left, right, naming.ignored)
    items = []
    for pair in scan.pairs:
        below = PurePath(pair.name).parent
        items.append(_pair_item(pair, below, (_SIDES[0] / below, _SIDES[1] / below), naming))
    return _checked(items, map(_no_partner, scan.unmatched))


_SIDES = PurePath("left"), PurePath("right")
"""Folders for views that have one name."""


def _is_pair(paths: Sequence[Path], layout: Layout | None) -> bool:
    alone = layout not in (None, "pair") or any(p.suffix.lower() in STEREO_SUFFIXES or is_video(p) for p in paths)
    return len(paths) == 2 and not alone and not all(p.is_dir() for p in paths)


def _two_files(left: Path, right: Path, naming: Naming) -> Item:
    for path in (left, right):
        if path.is_dir():
            raise UsageError(f"{path} is a folder: give -l DIR -r DIR for two folders of views")
    if left.samefile(right):
        raise UsageError(f"{left} is given twice: give LEFT and RIGHT")
    folders = _SIDES if left.stem == right.stem else (PurePath(), PurePath())
    return _pair_item(PairFiles(left.stem, left, right), PurePath(), folders, naming)


def _folder_items(folder: Path, naming: Naming, layout: Layout | None) -> tuple[list[Item], list[str]]:
    """With a layout every picture and video is one item. Without, pairs by name; then the files that hold both views,
    as suffix or name say and the content confirms."""
    joined = layout not in (None, "pair")
    pairs = () if joined else scan_folder(folder, naming.ignored).pairs
    items, left_out = [], []
    for pair in pairs:
        left, right = (path.parent.relative_to(folder) for path in (pair.left, pair.right))
        items.append(_pair_item(pair, left, (left, right), naming))
    paired = {path for pair in pairs for path in (pair.left, pair.right)}
    for path in visible(folder):
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                left_out.append(f"cannot look into {path}: permission denied")
        elif path not in paired and _is_picture_or_video(path) and not path.stem.endswith(naming.ignored):
            try:
                found = _shown_layout(path) if layout is None else layout if joined else None
                if found is not None:
                    items.append(_file_item(path, path.parent.relative_to(folder), naming, found))
                else:
                    left_out.append(_no_partner(path))
            except StereosrError as error:
                left_out.append(str(error))
    return items, left_out


def _is_picture_or_video(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES.keys() | STEREO_SUFFIXES.keys() or is_video(path)


def _no_partner(path: Path) -> str:
    return f"no partner for {path}" if path.suffix.lower() in SUFFIXES else f"{path} does not show two views"


def _pair_item(pair: PairFiles, below: PurePath, folders: tuple[PurePath, PurePath], naming: Naming) -> Item:
    """``below`` the output folder goes what holds both views, each view by itself into its own of ``folders``."""
    sources = (pair.left, pair.right)
    if naming.layout in (None, "pair"):
        targets = [_target(path, at, naming, naming.suffix) for path, at in zip(sources, folders, strict=True)]
        return Item(pair.name, sources, tuple(targets))
    ending = f"_{naming.layout}{naming.suffix}"
    return Item(pair.name, sources, (_target(pair.left, below, naming, ending, naming.layout),), "pair", naming.layout)


def _file_item(path: Path, below: PurePath, naming: Naming, layout: Layout) -> Item:
    name, out_layout = str(below / path.stem), naming.layout or ("pair" if layout == "heic" else layout)
    if is_video(path):
        if naming.format:
            raise UsageError(f"{path} is a video: leave out -f {naming.format[1:]}")
        named = path.with_suffix(output_suffix(path))
        return Item(name, (path,), (_target(named, below, naming, naming.suffix),), layout, out_layout)
    if out_layout == "pair":
        targets = tuple(_target(path, below, naming, f"_{side}{naming.suffix}", out_layout) for side in "LR")
    else:
        targets = (_target(path, below, naming, naming.suffix, out_layout),)
    return Item(name, (path,), targets, layout, out_layout)


def _target(source: Path, below: PurePath, naming: Naming, ending: str, layout: Layout = "pair") -> Path:
    """Where a source goes; the suffix is what was asked for, what the layout needs, or the source's own."""
    suffix = naming.format or source.suffix
    if layout in JPEG_LAYOUTS:
        if naming.format not in (None, ".jpg"):
            raise UsageError(f"{source}: {layout} is JPEG inside; leave out -f {suffix[1:]}, or pass --out-layout pair")
        suffix = naming.format or f".{layout}"
    elif suffix.lower() in STEREO_SUFFIXES:
        suffix = ".jpg"
    return (source.parent if naming.out is None else naming.out / below) / f"{source.stem}{ending}{suffix}"


def _shown_layout(path: Path) -> Layout | None:
    """How a file holds both views; None where its content does not show it, or neither suffix nor name says it."""
    if is_video(path):
        return detect_video_layout(path)
    return detect_layout(path) if path.suffix.lower() in STEREO_SUFFIXES or is_named(path.stem) else None


def _known_layout(path: Path) -> Layout:
    layout = detect_video_layout(path) if is_video(path) else detect_layout(path)
    if layout is None:
        raise UsageError(
            f"{path} does not show two views: give LEFT RIGHT alone, a folder of pairs with -o OUT, or say --layout sbs"
        )
    return layout


def _checked(items: Sequence[Item], left_out: Iterable[str]) -> Inputs:
    """Before hours of work, not after them: no result meets another one or its input, and all can be written."""
    seen: dict[Path, str] = {}
    for item in items:
        for target in item.targets:
            if target in seen:
                raise UsageError(
                    f"{seen[target]} and {item.name} would both be written to {target}: rename one, or use -o"
                )
            if target in item.sources:
                raise UsageError(f"{target} would be written over its own input: give --suffix or -o")
            seen[target] = item.name
    for folder in {target.parent for target in seen}:
        check_writable(folder)
    return Inputs(tuple(items), tuple(left_out))
