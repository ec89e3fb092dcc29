"""From what was typed to a list of items: pairs, stereo files and folders, and where each result goes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stereosr_engines.errors import UsageError
from stereosr_engines.images import SUFFIXES
from stereosr_engines.job import Item
from stereosr_engines.layouts import STEREO_SUFFIXES, Layout, detect_layout
from stereosr_engines.pairs import FolderScan, pair_lists, scan_folder
from stereosr_engines.video import detect_video_layout, is_video, output_suffix


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


@dataclass(frozen=True, slots=True)
class Inputs:
    """``unmatched`` are pictures without a partner, to be reported."""

    items: tuple[Item, ...]
    unmatched: tuple[Path, ...]


def collect(paths: Sequence[Path], naming: Naming, layout: Layout | None = None) -> Inputs:
    """The items behind ``paths``: LEFT RIGHT, or any number of stereo files and folders.

    Args:
        layout: of every file that is no pair, None to detect it.

    Raises:
        UsageError: for nothing at all, a missing path, one picture alone, a folder without ``out``, results that meet.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist")
    if not paths:
        raise UsageError("nothing to do: give LEFT RIGHT, a stereo file, or a folder with -o OUT")
    if _is_pair(paths, layout):
        left, right = paths
        if left.is_dir() or right.is_dir():
            raise UsageError(
                f"{left if left.is_dir() else right} is a folder: give -l DIR -r DIR for two folders of views"
            )
        return _checked([_pair_item(left.stem, left, right, Path(), naming)], ())
    items: list[Item] = []
    unmatched: list[Path] = []
    for path in paths:
        if path.is_dir():
            if naming.out is None:
                raise UsageError(f"{path} is a folder: say with -o OUT where the results go")
            found, rest = _folder_items(path, naming, layout)
            items += found
            unmatched += rest
        elif is_video(path):
            items.append(_video_item(path, naming, layout or _known_layout(path)))
        else:
            items.append(_file_item(path, Path(), naming, layout or _known_layout(path)))
    return _checked(items, unmatched)


def collect_lists(left: Path | str, right: Path | str, naming: Naming) -> Inputs:
    """The pairs of two folders or two globs, one for each view.

    Raises:
        UsageError: without ``out``, or where results meet.
    """
    if naming.out is None:
        raise UsageError("-l and -r need -o OUT: say where the results go")
    scan = pair_lists(left, right)
    return _checked(list(_scan_items(scan, naming)), scan.unmatched)


def _is_pair(paths: Sequence[Path], layout: Layout | None) -> bool:
    alone = layout not in (None, "pair") or any(p.suffix.lower() in STEREO_SUFFIXES or is_video(p) for p in paths)
    return len(paths) == 2 and not alone and not all(p.is_dir() for p in paths)


def _folder_items(folder: Path, naming: Naming, layout: Layout | None) -> tuple[list[Item], list[Path]]:
    """With a layout every picture is one item; without, pairs by name and the files that are stereo by their suffix."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.stem.endswith(naming.suffix)]
    whole = SUFFIXES.keys() | STEREO_SUFFIXES if layout not in (None, "pair") else STEREO_SUFFIXES
    singles = [p for p in files if p.suffix.lower() in whole]
    items = [_file_item(p, p.parent.relative_to(folder), naming, layout or _known_layout(p)) for p in singles]
    if layout not in (None, "pair"):
        return items, []
    scan = scan_folder(folder)
    return items + list(_scan_items(scan, naming, folder)), [p for p in scan.unmatched if p not in singles]


def _scan_items(scan: FolderScan, naming: Naming, root: Path | None = None) -> Iterator[Item]:
    for pair in scan.pairs:
        if root is not None:
            yield _pair_item(pair.name, pair.left, pair.right, pair.left.parent.relative_to(root), naming)
        else:  # two lists: left and right of one name must not meet in one folder
            yield _pair_item(pair.name, pair.left, pair.right, Path(), naming, folders=("left", "right"))


def _pair_item(
    name: str, left: Path, right: Path, below: Path, naming: Naming, folders: tuple[str, str] = ("", "")
) -> Item:
    if naming.layout in (None, "pair"):
        targets = tuple(
            _target(
                p, below / f if left.parent == right.parent or f else _own_folder(p, left, below), naming, naming.suffix
            )
            for p, f in zip((left, right), folders, strict=True)
        )
        return Item(name, (left, right), targets)
    target = _target(left, below, naming, f"_{naming.layout}{naming.suffix}", _file_suffix(naming.layout))
    return Item(name, (left, right), (target,), "pair", naming.layout)


def _own_folder(path: Path, left: Path, below: Path) -> Path:
    """Views in sibling folders (left/, right/) keep their own."""
    return below if path == left else below.parent / path.parent.name


def _file_item(path: Path, below: Path, naming: Naming, layout: Layout) -> Item:
    out_layout = naming.layout or layout
    if out_layout == "pair":
        plain = None if path.suffix.lower() in SUFFIXES else ".jpg"
        targets = tuple(_target(path, below, naming, f"_{side}{naming.suffix}", plain) for side in "LR")
    else:
        targets = (_target(path, below, naming, naming.suffix, _file_suffix(out_layout, path)),)
    return Item(str(below / path.stem), (path,), targets, layout, out_layout)


def _video_item(path: Path, naming: Naming, layout: Layout) -> Item:
    target = (naming.out or path.parent) / f"{path.stem}{naming.suffix}{output_suffix(path)}"
    return Item(path.stem, (path,), (target,), layout, naming.layout or layout)


def _target(source: Path, below: Path, naming: Naming, ending: str, forced: str | None = None) -> Path:
    folder = source.parent if naming.out is None else naming.out / below
    return folder / f"{source.stem}{ending}{naming.format or forced or source.suffix}"


def _file_suffix(layout: Layout, source: Path | None = None) -> str | None:
    """The file suffix that a layout needs, None where the source's own will do."""
    if layout in ("mpo", "jps"):
        return f".{layout}"
    return ".jpg" if source is not None and source.suffix.lower() in STEREO_SUFFIXES else None


def _known_layout(path: Path) -> Layout:
    layout = detect_video_layout(path) if is_video(path) else detect_layout(path)
    if layout is None:
        raise UsageError(f"{path} is no stereo file that we know: give the other view too, or say e.g. --layout sbs")
    return layout


def _checked(items: list[Item], unmatched: Sequence[Path]) -> Inputs:
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
    return Inputs(tuple(items), tuple(unmatched))
