"""From what was typed to a list of items: pairs, stereo files and folders, and where each result goes."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from stereosr.atomic import check_writable
from stereosr.batch.item import Item
from stereosr.errors import StereosrError, UsageError
from stereosr.io.detect import detect, detect_by_name
from stereosr.io.encode import ANIMATED
from stereosr.io.images import READABLE, SUFFIXES, Picture
from stereosr.io.layouts import JPEG_LAYOUTS, STEREO_SUFFIXES, Layout
from stereosr.io.marks import with_mark
from stereosr.io.pairs import (
    OUTPUTS,
    FolderScan,
    PairFiles,
    is_pair_of_names,
    pair_lists,
    pair_name,
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
        files: the very results of a single item; ``out`` is None then.
        suffix: put behind the stem, e.g. ``_x4``.
        format: suffix of the files written, with its dot; None for the input's own.
        layout: of what is written, None for that of the input.
        codec: of videos, as in ``VideoOptions``.

    Raises:
        UsageError: for a suffix that cannot stand within a file's name.
    """

    out: Path | None
    suffix: str
    files: tuple[Path, ...] = ()
    format: str | None = None
    layout: Layout | None = None
    codec: str | None = None

    def __post_init__(self) -> None:
        if self.suffix != PurePath(f"a{self.suffix}").name[1:]:
            raise UsageError(
                f"invalid suffix {self.suffix!r}: it stands within a file's name; the folder is given apart",
                settings=("out",),
            )

    @property
    def ignored(self) -> tuple[str, ...]:
        """How stems end that are taken for results, not for inputs."""
        return (*OUTPUTS, self.suffix) if self.suffix else OUTPUTS


def is_file_name(path: Path) -> bool:
    """Whether a path for results means a file: by its suffix, unless there is a folder of that name."""
    return path.suffix.lower() in {*SUFFIXES, *ANIMATED, *STEREO_SUFFIXES, *VIDEO_SUFFIXES} and not path.is_dir()


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is to be done.

    Attributes:
        items: in the order of the inputs.
        left_out: a line for each file that could have been an input and is none, with the reason.
    """

    items: tuple[Item, ...]
    left_out: tuple[str, ...]


def collect(paths: Sequence[Path], naming: Naming, layout: Layout | None = None) -> Inputs:
    """The items behind ``paths``: LEFT RIGHT, or any number of stereo files and folders.

    Args:
        paths: what was given.
        naming: where results go.
        layout: of every file that is not one of two, None to detect it.

    Returns:
        The items, whose results can be written.

    Raises:
        UsageError: as ``find``; for a folder without ``out``, two results of one name, or a result in the place of an
            input.
        StereosrError: where results cannot be written.
    """
    if naming.out is None and (folder := next((path for path in paths if path.is_dir()), None)):
        instead = f", not {naming.files[0]}" if naming.files else ""
        raise UsageError(f"{folder} is a folder: say to which folder the results go{instead}", settings=("out",))
    naming = _with_layout_of_file(naming)
    found = find(paths, naming, layout)
    return _checked(found.items, found.left_out, naming)


def find(paths: Sequence[Path], naming: Naming, layout: Layout | None = None) -> Inputs:
    """As ``collect``, but results may collide or be impossible to write.

    Args:
        paths: what was given.
        naming: where results would go.
        layout: of every file that is not one of two, None to detect it.

    Returns:
        The items, and what was left out.

    Raises:
        UsageError: for nothing at all, a missing path, or one picture alone.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist")
    if not paths:
        raise UsageError(
            "nothing to do: give LEFT RIGHT, a stereo file, or a folder and one for the results", settings=("out",)
        )
    if _is_pair(paths, layout):
        return Inputs((_two_files(paths[0], paths[1], naming),), ())
    items: list[Item] = []
    left_out: list[str] = []
    for path in paths:
        if path.is_dir():
            found, rest = _folder_items(path, naming, layout)
            items += found
            left_out += rest
        elif layout is not None:
            items.append(_file_item(path, PurePath(), naming, layout))
        else:
            known, decoded = _known_layout(path, paths)
            item = _file_item(path, PurePath(), naming, known)
            items.append(replace(item, decoded=decoded) if len(paths) == 1 else item)  # memory has room for one
    return Inputs(tuple(items), tuple(left_out))


def _with_layout_of_file(naming: Naming) -> Naming:
    """With the layout that the suffix of the only result implies: ``a.mpo`` is an MPO file."""
    if naming.layout is None and len(naming.files) == 1:
        by_suffix = STEREO_SUFFIXES.get(naming.files[0].suffix.lower())
        return replace(naming, layout=by_suffix if by_suffix != "heic" else None)
    return naming


def collect_lists(left: Path | str, right: Path | str, naming: Naming) -> Inputs:
    """The pairs of two folders or two globs, one for each view.

    Args:
        left: a folder, a glob or a file.
        right: likewise.
        naming: where results go.

    Returns:
        The items, whose results can be written.

    Raises:
        UsageError, StereosrError: as ``collect``.
    """
    if Path(left).is_file() and Path(right).is_file():
        return collect([Path(left), Path(right)], naming, "pair")
    if naming.out is None:
        raise UsageError("two folders or globs of views: say to which folder the results go", settings=("out",))
    scan = pair_lists(left, right, naming.ignored, {*READABLE, *VIDEO_SUFFIXES})
    items: list[Item] = []
    for pair in scan.pairs:
        below = PurePath(pair.name).parent
        items.append(_pair_item(pair, (_SIDES[0] / below, _SIDES[1] / below), naming))
    rest = [*_contested(scan), *map(_no_partner, _alone(scan)), *_taken_for_results(scan.ignored, items)]
    return _checked(items, rest, naming)


_SIDES = PurePath("left"), PurePath("right")
"""Folders for views that have one name."""


def _is_pair(paths: Sequence[Path], layout: Layout | None) -> bool:
    if len(paths) != 2 or layout not in (None, "pair") or all(path.is_dir() for path in paths):
        return False
    kinds = {detect_by_name(path).kind for path in paths}
    if "video" in kinds:
        return _are_views(paths, layout)
    return "stereo" not in kinds or (layout == "pair" or all(_shows_one_view(path) for path in paths))


def _shows_one_view(path: Path) -> bool:
    """Whether a file is no stereo file, as most HEIC files are none, though their suffix allows it."""
    return path.is_file() and detect(path).layout is None


def _are_views(paths: Sequence[Path], layout: Layout | None) -> bool:
    """Whether two videos are the views of one: as was said, or as their names show."""
    if len(paths) != 2 or {detect_by_name(p).kind for p in paths} != {"video"}:
        return False
    return layout == "pair" or is_pair_of_names(*paths)


def _two_files(left: Path, right: Path, naming: Naming) -> Item:
    for path in (left, right):
        if path.is_dir():
            raise UsageError(f"{path} is a folder: give both folders of views by name", settings=("left", "right"))
    if left.samefile(right):
        raise UsageError(f"{left} is given twice: give LEFT and RIGHT")
    folders = _SIDES if left.stem == right.stem else (PurePath(), PurePath())
    return _pair_item(PairFiles(pair_name(left, right), left, right), folders, naming)


def _folder_items(folder: Path, naming: Naming, layout: Layout | None) -> tuple[list[Item], list[str]]:
    """Pairs by name; then the files that hold both views, by suffix, name or content. ``layout`` is for files that show
    no other."""
    items, left_out, ignored = [], [], []
    paired: set[Path] = set()
    for kinds in (READABLE, VIDEO_SUFFIXES):
        scan = scan_folder(folder, naming.ignored, kinds, naming.out)
        left_out += _contested(scan)
        for pair in scan.pairs:
            left, right = (path.parent.relative_to(folder) for path in (pair.left, pair.right))
            items.append(_pair_item(pair, (left, right), naming))
        paired.update(*((pair.left, pair.right) for pair in scan.pairs), *scan.contested)
    for path in visible(folder, but=naming.out):
        kind = detect_by_name(path).kind
        if path in paired or (kind == "other" and not path.is_dir()):
            continue
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                left_out.append(f"cannot look into {path}: permission denied")
        elif path.stem.endswith(naming.ignored):
            ignored.append(path)
        elif kind == "unread":
            left_out.append(f"{path} is left out, as {path.suffix} is not read here: convert it to PNG")
        else:
            try:
                found = detect(path) if layout != "pair" else detect_by_name(path)
                shown = _of_no_other_kind(found.layout, layout)
                if shown is not None:
                    items.append(_file_item(path, path.parent.relative_to(folder), naming, shown))
                else:
                    left_out.append(_no_partner(path) + (f": {found.why}" if found.why else ""))
            except StereosrError as error:
                left_out.append(str(error))
    return items, [*left_out, *_taken_for_results(ignored, items)]


def _of_no_other_kind(found: Layout | None, said: Layout | None) -> Layout | None:
    """The layout found; the one given where none was found, or where they differ only in whether views are squeezed."""
    if said in (None, "pair"):
        return found
    return said if found is None or found.split("-")[0] == said.split("-")[0] else found


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


def _pair_item(pair: PairFiles, folders: tuple[PurePath, PurePath], naming: Naming) -> Item:
    """What holds both views is named after the pair; each view by itself goes into its own of ``folders``."""
    sources = (pair.left, pair.right)
    if detect_by_name(pair.left).kind == "video":
        check_layouts(pair.left, "pair", naming.layout or "pair")
        pair = replace(pair, left=_as_video(pair.left, naming), right=_as_video(pair.right, naming))
    named = (pair.left, pair.right)
    if naming.layout in (None, "pair"):
        targets = [_target(path, path.stem, at, naming, naming.suffix) for path, at in zip(named, folders, strict=True)]
        return Item(pair.name, sources, tuple(targets))
    name = PurePath(pair.name)
    target = _target(pair.left, with_mark(name.name, naming.layout), name.parent, naming, naming.suffix, naming.layout)
    return Item(pair.name, sources, (target,), "pair", naming.layout)


def _file_item(path: Path, below: PurePath, naming: Naming, layout: Layout) -> Item:
    source, name = path, str(below / path.stem)
    out_layout = naming.layout or ("pair" if layout in ("heic", "vr180") else layout)
    if detect_by_name(path).kind == "video":
        check_layouts(path, layout, out_layout)
        if out_layout == "pair" and naming.layout is None:
            out_layout = "sbs"  # two streams of one file
        path = _as_video(path, naming)
        stem = path.stem if layout == out_layout else with_mark(path.stem, out_layout)
    else:
        stem = with_mark(path.stem, out_layout)
    endings = [f"_{side}{naming.suffix}" for side in "LR"] if out_layout == "pair" else [naming.suffix]
    targets = tuple(_target(path, stem, below, naming, ending, out_layout) for ending in endings)
    return Item(name, (source,), targets, layout, out_layout)


def _as_video(path: Path, naming: Naming) -> Path:
    """The name of a video, with the suffix of what is made of it."""
    if naming.format:
        raise UsageError(
            f"{path} is a video: leave out the format {naming.format[1:]}; videos have a codec", settings=("codec",)
        )
    return path.with_suffix(output_suffix(path, naming.codec))


def _target(source: Path, stem: str, below: PurePath, naming: Naming, ending: str, layout: Layout = "pair") -> Path:
    """Where a source goes; the suffix is what was asked for, what the layout needs, or the source's own."""
    suffix = naming.format or source.suffix
    if layout in JPEG_LAYOUTS:
        if naming.format not in (None, ".jpg"):
            raise UsageError(
                f"{source}: {layout} is JPEG inside; leave out the format {suffix[1:]}, or write two files",
                settings=("format", "out_layout"),
            )
        suffix = naming.format or f".{layout}"
    elif layout == "wiggle":
        suffix = naming.format or ".webp"
    elif suffix.lower() == ".pns" and layout not in ("sbs", "sbs-half"):
        suffix = ".png"
    elif suffix.lower() in STEREO_SUFFIXES and suffix.lower() not in SUFFIXES:
        suffix = ".jpg"
    return (source.parent if naming.out is None else naming.out / below) / f"{stem}{ending}{suffix}"


def _known_layout(path: Path, paths: Sequence[Path]) -> tuple[Layout, Picture | None]:
    """How a file holds two views; and the whole picture, where that had to be decoded to see it.

    Raises:
        UsageError: if it shows one view; the message has the fix for what else was given.
    """
    found = detect(path)
    if found.layout is None:
        why = f": {found.why}" if found.why else ""
        fix = "give a folder of pairs, or the layout, sbs for example"
        if len(paths) == 2 and all(detect_by_name(each).kind == "video" for each in paths):
            fix = "the layout is pair if the two are the views of one video; else say which, sbs for example"
        elif len(paths) != 2:
            fix = "give LEFT RIGHT alone, a folder of pairs, or the layout, sbs for example"
        raise UsageError(f"{path} does not show two views{why}; {fix}", settings=("layout",))
    return found.layout, found.decoded


def _checked(items: Sequence[Item], left_out: Iterable[str], naming: Naming) -> Inputs:
    """Checked before hours of work: no two results have one name, none replaces an input, all can be written."""
    if naming.files:
        items = [_into_files(item, naming.files, len(items)) for item in items]
    seen: dict[Path, str] = {}
    sources = {source.resolve() for item in items for source in item.sources}
    for item in items:
        for target in item.targets:
            _check_suffix(target, item)
            place = target.resolve()
            if place in seen:
                raise UsageError(
                    f"{seen[place]} and {item.name} would both be written to {target}: rename one, or give a folder",
                    settings=("out",),
                )
            if place in sources:
                raise UsageError(
                    f"the result of {item.name} would replace the input {target}: give a suffix or another folder",
                    settings=("suffix", "out"),
                )
            seen[place] = item.name
    for folder in {target.parent for item in items for target in item.targets}:
        check_writable(folder)
    return Inputs(tuple(items), tuple(left_out))


def _into_files(item: Item, files: tuple[Path, ...], items: int) -> Item:
    """The same item with these results."""
    if items > 1:
        raise UsageError(f"there are {items} pairs, and {files[0]} is one file: give a folder", settings=("out",))
    if len(files) != len(item.targets):
        if len(item.targets) == 2:
            raise UsageError(
                f"two views do not go into {files[0]}: give two files, a folder, or a layout, sbs for example",
                settings=("out", "out_layout"),
            )
        raise UsageError(
            f"both views go into one file as {item.out_layout}: give one file, or the layout pair",
            settings=("out", "out_layout"),
        )
    return replace(item, targets=files)


def _check_suffix(target: Path, item: Item) -> None:
    suffix = target.suffix.lower()
    if item.out_layout in JPEG_LAYOUTS:
        known: set[str] = {f".{item.out_layout}", ".jpg", ".jpeg"}
    elif item.out_layout == "wiggle":
        known = set(ANIMATED)
    elif detect_by_name(item.sources[0]).kind == "video":
        known = VIDEO_SUFFIXES
    else:
        known = set(SUFFIXES)
    if suffix not in known:
        raise UsageError(
            f"cannot write {target}: {suffix or 'no suffix'} is none of {', '.join(sorted(known))}",
            settings=("format",),
        )
