"""What a file is: the one place that says."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stereosr.io.images import SUFFIXES
from stereosr.io.layouts import STEREO_SUFFIXES, Layout, detect_layout, is_named
from stereosr.io.video import SUFFIXES as VIDEO_SUFFIXES
from stereosr.io.video import detect_video_layout

Kind = Literal["picture", "stereo", "video", "other"]


@dataclass(frozen=True, slots=True)
class FileType:
    """What a file is.

    Attributes:
        kind: by its suffix: a ``picture``, of one view or of both; ``stereo``, a format made for two views; a
            ``video``; or ``other``, which is not read here.
        claims_both: whether suffix or name say that both views may be in it. A name may be wrong: its content decides.
        layout: how it holds both views; None if it shows one, or was not looked into.
    """

    kind: Kind
    claims_both: bool
    layout: Layout | None = None


def detect_by_name(path: Path) -> FileType:
    """What a file is as far as its name says; it need not exist."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return FileType("video", claims_both=True)
    if suffix in STEREO_SUFFIXES:
        return FileType("stereo", claims_both=True)
    if suffix in SUFFIXES:
        return FileType("picture", claims_both=is_named(path.stem))
    return FileType("other", claims_both=False)


def detect(path: Path) -> FileType:
    """What a file is, by its name and its content.

    A picture that cannot be read is judged by its suffix alone: reading it will say what is wrong.

    Raises:
        StereosrError: for a video that cannot be read.
        UsageError: for HEIC or a video without the extra that reads it.
    """
    named = detect_by_name(path)
    return replace(named, layout=detect_video_layout(path) if named.kind == "video" else detect_layout(path))
