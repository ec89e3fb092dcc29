"""From what was typed to a list of items: pairs, stereo files and folders, and where each result goes."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from stereosr.atomic import check_writable
from stereosr.batch.item import Item
from stereosr.errors import StereosrError, UsageError
from stereosr.io.detect import detect, detect_by_name
from stereosr.io.images import READABLE
from stereosr.io.layouts import JPEG_LAYOUTS, STEREO_SUFFIXES, Layout
from stereosr.io.marks import with_mark
from stereosr.io.pairs import (
    OUTPUTS,
    FolderScan,
    PairFiles,
    is_pair_of_names,
    pair_lists,
    scan_folder,
    visible,
)
from stereosr.io.video import SUFFIXES as VIDEO_SUFFIXES
from stereosr.io.video import check_layouts, output_suffix


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """Where results go.

    Attributes:
        out: a folder, None for that of the input.
        suffix: put behind the stem, e.g. ``_x4``.
        format: suffix of the files written, with its dot; None for the input's own.
        layout: of what is written, None for that of the input.
        codec: of videos, as in ``VideoOptions``.

    Raises:
        UsageError: for a suffix that cannot stand within a file's name.
    """

    out: Path | None
    suffix: str
    format: str | None = None
    layout: Layout | None = None
    codec: str | None = None

    def __post_init__(self) -> None:
        if self.suffix != PurePath(f"a{self.suffix}").name[1:]:
            raise UsageError(f"invalid suffix {self.suffix!r}: it stands within a file's name; -o gives the folder")

    @property
    def ignored(self) -> tuple[str, ...]:
        """How stems end that are taken for results, not for inputs."""
        return (*OUTPUTS, self.suffix) if self.suffix else OUTPUTS


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is to be done; ``left_out`` names whatever else was found that could have been an input, and says why it is
    left out, a line each."""

    items: tuple[Item, ...]
    left_out: tuple[str, ...]


def collect(paths: Sequence[Path], naming: Naming, layout: Layout | None = None) -> Inputs:
    """The items behind ``paths``: LEFT RIGHT, or any number of stereo files and folders.

    Args:
        layout: of every file that is not one of two, None to detect it.

    Raises:
        UsageError: for nothing at all, a missing path, one picture alone, a folder without ``out``, two results of one
            name, or a result in the place of an input.
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
    scan = pair_lists(left, right, naming.ignored, {*READABLE, *VIDEO_SUFFIXES})
    items: list[Item] = []
    for pair in scan.pairs:
        below = PurePath(pair.name).parent
        items.append(_pair_item(pair, below, (_SIDES[0] / below, _SIDES[1] / below), naming))
    return _checked(
        items, [*_contested(scan), *map(_no_partner, _alone(scan)), *_taken_for_results(scan.ignored, items)]
    )


_SIDES = PurePath("left"), PurePath("right")
"""Folders for views that have one name."""


def _is_pair(paths: Sequence[Path], layout: Layout | None) -> bool:
    kinds = {detect_by_name(p).kind for p in paths}
    alone = layout not in (None, "pair") or "stereo" in kinds or ("video" in kinds and not _are_views(paths, layout))
    return len(paths) == 2 and not alone and not all(p.is_dir() for p in paths)


def _are_views(paths: Sequence[Path], layout: Layout | None) -> bool:
    """Whether two videos are the views of one: as was said, or as their names show."""
    if len(paths) != 2 or {detect_by_name(p).kind for p in paths} != {"video"}:
        return False
    return layout == "pair" or is_pair_of_names(*paths)


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
    scans = () if joined else (scan_folder(folder, naming.ignored), scan_folder(folder, naming.ignored, VIDEO_SUFFIXES))
    items, left_out, ignored = [], [], []
    paired: set[Path] = set()
    for scan in scans:
        left_out += _contested(scan)
        for pair in scan.pairs:
            left, right = (path.parent.relative_to(folder) for path in (pair.left, pair.right))
            items.append(_pair_item(pair, left, (left, right), naming))
        paired.update(*((pair.left, pair.right) for pair in scan.pairs), *scan.contested)
    for path in visible(folder):
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                left_out.append(f"cannot look into {path}: permission denied")
        elif path in paired or detect_by_name(path).kind == "other":
            continue
        elif path.stem.endswith(naming.ignored):
            ignored.append(path)
        else:
            try:
                found = _shown_layout(path) if layout is None else layout if joined else None
                if found is not None:
                    items.append(_file_item(path, path.parent.relative_to(folder), naming, found))
                else:
                    left_out.append(_no_partner(path))
            except StereosrError as error:
                left_out.append(str(error))
    return items, [*left_out, *_taken_for_results(ignored, items)]


def _taken_for_results(paths: Iterable[Path], items: Iterable[Item]) -> list[str]:
    """A line for each, except for the results of these very items."""
    ours = {target.resolve() for item in items for target in item.targets}
    return [
        f"{path} is left out, as its name ends like that of a result: rename it, or give the file itself"
        for path in paths
        if path.resolve() not in ours
    ]


def _contested(scan: FolderScan) -> list[str]:
    return [
        f"{', '.join(map(str, group))} are left out, as several could be the same view: rename or move all but one pair"
        for group in scan.contested
    ]


def _alone(scan: FolderScan) -> list[Path]:
    """What has no partner, and no rival either."""
    return sorted(set(scan.unmatched).difference(*scan.contested))


def _no_partner(path: Path) -> str:
    return f"no partner for {path}" if detect_by_name(path).kind == "picture" else f"{path} does not show two views"


def _pair_item(pair: PairFiles, below: PurePath, folders: tuple[PurePath, PurePath], naming: Naming) -> Item:
    """``below`` the output folder goes what holds both views, each view by itself into its own of ``folders``."""
    sources = (pair.left, pair.right)
    if detect_by_name(pair.left).kind == "video":
        check_layouts(pair.left, "pair", naming.layout or "pair")
        pair = replace(pair, left=_as_video(pair.left, naming), right=_as_video(pair.right, naming))
    named = (pair.left, pair.right)
    if naming.layout in (None, "pair"):
        targets = [_target(path, at, naming, naming.suffix) for path, at in zip(named, folders, strict=True)]
        return Item(pair.name, sources, tuple(targets))
    ending = f"_{naming.layout}{naming.suffix}"
    return Item(pair.name, sources, (_target(pair.left, below, naming, ending, naming.layout),), "pair", naming.layout)


def _file_item(path: Path, below: PurePath, naming: Naming, layout: Layout) -> Item:
    source, name, out_layout = path, str(below / path.stem), naming.layout or ("pair" if layout == "heic" else layout)
    if detect_by_name(path).kind == "video":
        check_layouts(path, layout, out_layout)
        if out_layout == "pair" and naming.layout is None:
            out_layout = "sbs"  # two streams of one file
        path = _as_video(path, naming)
        if layout != out_layout:
            path = path.with_stem(with_mark(path.stem, out_layout))
    if out_layout == "pair":
        targets = tuple(_target(path, below, naming, f"_{side}{naming.suffix}", out_layout) for side in "LR")
    else:
        targets = (_target(path, below, naming, naming.suffix, out_layout),)
    return Item(name, (source,), targets, layout, out_layout)


def _as_video(path: Path, naming: Naming) -> Path:
    """The name of a video, with the suffix of what is made of it."""
    if naming.format:
        raise UsageError(f"{path} is a video: leave out -f {naming.format[1:]}; --codec chooses the codec")
    return path.with_suffix(output_suffix(path, naming.codec))


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
    return detect(path).layout if detect_by_name(path).claims_both else None


def _known_layout(path: Path) -> Layout:
    layout = detect(path).layout
    if layout is None:
        raise UsageError(
            f"{path} does not show two views: give LEFT RIGHT alone, a folder of pairs with -o OUT, or say --layout sbs"
        )
    return layout


def _checked(items: Sequence[Item], left_out: Iterable[str]) -> Inputs:
    """Before hours of work, not after them: no two results have one name, none that of an input; all can be written."""
    seen: dict[Path, str] = {}
    sources = {source.resolve() for item in items for source in item.sources}
    for item in items:
        for target in item.targets:
            place = target.resolve()
            if place in seen:
                raise UsageError(
                    f"{seen[place]} and {item.name} would both be written to {target}: rename one, or use -o"
                )
            if place in sources:
                raise UsageError(f"the result of {item.name} would replace the input {target}: give --suffix or -o")
            seen[place] = item.name
    for folder in {target.parent for item in items for target in item.targets}:
        check_writable(folder)
    return Inputs(tuple(items), tuple(left_out))
