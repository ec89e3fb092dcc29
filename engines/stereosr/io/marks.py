"""Marks in the names of files that hold both views, as players know them: read, written, removed."""

import re
from dataclasses import dataclass
from typing import Literal

Layout = Literal["pair", "sbs", "sbs-half", "ou", "ou-half", "mpo", "jps", "heic", "vr180", "anaglyph", "wiggle"]
"""How two views lie on disk: ``pair`` is two files; ``heic`` and ``vr180`` are only read, ``anaglyph`` and
``wiggle`` only written: the one for red-cyan glasses, the other an animation of both views in turn."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a name says of the views in a file.

    Attributes:
        right_first: the right view comes first.
        sure: the mark says nothing else; one that is not sure, such as LR or ou, needs a picture that agrees.
        exact: full or squeezed as it says; others say SBS of both.
        ours: as this program writes it, ``_SBS_x4``: nothing else has to be asked.
    """

    layout: Layout
    right_first: bool = False
    sure: bool = True
    exact: bool = False
    ours: bool = False


_WORDS: dict[tuple[Layout, bool], str] = {
    ("sbs", False): "SBS",
    ("sbs", True): "RL",
    ("sbs-half", False): "HSBS",
    ("sbs-half", True): "HRL",
    ("ou", False): "TB",
    ("ou", True): "BT",
    ("ou-half", False): "HTB",
    ("ou-half", True): "HBT",
    ("anaglyph", False): "redcyan",
    ("wiggle", False): "wiggle",
}
"""What this program writes, for a layout and for whether the right view comes first."""

_SIDE, _OVER = r"sbs|side[-_. ]?by[-_. ]?side", r"over[-_. ]?under|top[-_. ]?(?:and[-_. ]?)?bottom"
_CROSSED = r"cross[-_. ]?eyed?|x[-_. ]?eyed?|cross[-_. ]?view"

# One row a mark, the surest first. They stand between anything but letters and digits.
_MARKS: tuple[tuple[str, Mark], ...] = (
    (rf"(?:h|half)[-_. ]?(?:{_SIDE}|lr)|(?:{_SIDE})[-_. ]?half", Mark("sbs-half", exact=True)),
    (r"(?:h|half)[-_. ]?rl", Mark("sbs-half", right_first=True, exact=True)),
    (rf"(?:h|half)[-_. ]?(?:{_OVER}|ou|tab|tb)|(?:{_OVER}|ou|tab|tb)[-_. ]?half", Mark("ou-half", exact=True)),
    (r"(?:h|half)[-_. ]?bt", Mark("ou-half", right_first=True, exact=True)),
    (rf"(?:f|full)[-_. ]?(?:{_SIDE}|lr)|(?:{_SIDE})[-_. ]?full", Mark("sbs", exact=True)),
    (r"(?:f|full)[-_. ]?rl", Mark("sbs", right_first=True, exact=True)),
    (rf"(?:f|full)[-_. ]?(?:{_OVER}|ou|tab|tb)|(?:{_OVER}|ou|tab|tb)[-_. ]?full", Mark("ou", exact=True)),
    (_CROSSED, Mark("sbs", right_first=True)),
    (rf"{_SIDE}|3dh|2x1", Mark("sbs")),
    (rf"{_OVER}|3dv|1x2", Mark("ou")),
    (r"rl|right[-_. ]left", Mark("sbs", right_first=True, sure=False)),
    (r"lr|left[-_. ]right|parallel", Mark("sbs", sure=False)),
    (r"bt|bottom[-_. ]top", Mark("ou", right_first=True, sure=False)),
    (r"ou|tab|tb", Mark("ou", sure=False)),
)
_OURS = re.compile(rf".*_({'|'.join(_WORDS.values())})(?:_x\d+(?:\.\d+)?)+")
_FOUND = [(re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])", re.IGNORECASE), mark) for words, mark in _MARKS]


def read_mark(stem: str) -> Mark | None:
    """What the stem of a file says of the views in it; None if nothing."""
    if match := _OURS.fullmatch(stem):
        layout, right_first = next(meaning for meaning, word in _WORDS.items() if word == match[1])
        return Mark(layout, right_first, exact=True, ours=True)
    return next((mark for pattern, mark in _FOUND if pattern.search(stem)), None)


def with_mark(stem: str, layout: Layout) -> str:
    """A stem that says how the file holds its views, in this program's words, and nothing else of it.

    Which view comes first stays as it is where the layout does.

    >>> with_mark("film_HSBS", "ou"), with_mark("film_RL", "sbs"), with_mark("film-OU", "pair"), with_mark("a", "mpo")
    ('film_TB', 'film_RL', 'film', 'a')
    """
    mark, kept = read_mark(stem), _without_mark(stem)
    right_first = mark is not None and mark.right_first and mark.layout == layout
    word = _WORDS.get((layout, right_first))
    return f"{kept}_{word}" if word else kept


def _without_mark(stem: str) -> str:
    """Without the marks that are sure, and one at the end that may be; never without anything."""
    stem = re.sub(r"\.vr$", "", stem, flags=re.IGNORECASE)
    for pattern, mark in _FOUND:
        ending = "" if mark.sure else r"(?=(?:_x\d+)*$)"
        shorter = re.sub(rf"[-_. ]*{pattern.pattern}{ending}", "", stem, flags=re.IGNORECASE).strip("-_. ")
        stem = shorter or stem
    return stem
