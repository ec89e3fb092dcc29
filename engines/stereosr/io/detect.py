"""What a file is: the one place that says."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from stereosr.io.images import SUFFIXES, UNREAD, Picture, UnreadableImage, read_bytes
from stereosr.io.layouts import STEREO_SUFFIXES, Layout, look
from stereosr.io.marks import read_mark
from stereosr.io.video import SUFFIXES as VIDEO_SUFFIXES
from stereosr.io.video import detect_video_layout

Kind = Literal["picture", "stereo", "video", "unread", "other"]


@dataclass(frozen=True, slots=True)
class FileType:
    """What a file is.

    Attributes:
        kind: by its suffix: a ``picture``, of one view or of both; ``stereo``, a format made for two views; a
            ``video``; a picture of a kind that is ``unread`` here; or ``other``.
        claims_both: whether suffix or name say that both views may be in it. A name may be wrong: its content decides.
        layout: how it holds both views; None if it shows one, or was not looked into.
        why: in words, why it shows one, if that is known.
        decoded: the whole picture, where only its pixels show how it holds both views.
    """

    kind: Kind
    claims_both: bool
    layout: Layout | None = None
    why: str = ""
    decoded: Picture | None = field(default=None, repr=False, compare=False)


def detect_by_name(path: Path) -> FileType:
    """What a file is by its name alone; it need not exist, and ``layout`` is None."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return FileType("video", claims_both=True)
    if suffix in STEREO_SUFFIXES:
        return FileType("stereo", claims_both=True)
    if suffix in SUFFIXES:
        return FileType("picture", claims_both=read_mark(path.stem) is not None)
    return FileType("unread" if suffix in UNREAD else "other", claims_both=False)


def detect(path: Path) -> FileType:
    """What a file is, by its name and its content.

    A picture that cannot be read is judged by its suffix alone: reading it will say what is wrong.

    Args:
        path: of a file that exists.

    Returns:
        What it is, with the layout in which it holds two views.

    Raises:
        StereosrError: for a video that cannot be read.
        UsageError: for HEIC or a video without the extra that reads it.
    """
    named = detect_by_name(path)
    if named.kind == "video":
        return replace(named, layout=detect_video_layout(path))
    try:
        layout, decoded, why = look(read_bytes(path), path)
        return replace(named, layout=layout, why=why, decoded=None if layout is None else decoded)
    except UnreadableImage:
        return replace(named, layout=STEREO_SUFFIXES.get(path.suffix.lower()))
