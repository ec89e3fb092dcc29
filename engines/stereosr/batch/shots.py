"""What an edited film is made of: shots, each taken by one pair of cameras and so aligned by itself."""

from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stereosr.batch.item import Settings
from stereosr.geometry.matching import match
from stereosr.geometry.pair_check import PairReport, check_pair_or_unknown
from stereosr.geometry.rectify import Alignment
from stereosr.geometry.treatment import Treatment, choose_treatment
from stereosr.io.images import Picture
from stereosr.io.video import Conversion

_JUMP = 8.0
"""Levels of 255 by which a small picture changes at a cut, at least, in the mean."""
_TIMES = 3.0
"""How many times as much as around it: what moves, changes all the time."""
_AROUND = 2
"""Frames on either side that tell how much a film changes anyway."""
_LOOKS = 3
"""Frames of a shot that are looked at."""
_SAME = 0.25
"""Rows, root mean square, by which alignments differ that are taken for one: what whole rows would not show."""

Views = tuple[Picture, Picture]


@dataclass(frozen=True, slots=True)
class Shot:
    """From here on, until the next one: ``start`` is seconds from the first frame of the video."""

    start: Fraction
    treatment: Treatment


def best_look(looks: Sequence[Views]) -> tuple[Views, PairReport]:
    """Of some frames the one whose views have most in common, and what it shows of the pair."""
    views = max(looks, key=lambda pair: len(match(pair[0].pixels, pair[1].pixels)))
    return views, check_pair_or_unknown(*views)


def find_shots(video: Conversion, usual: Treatment, settings: Settings) -> list[Shot]:
    """Decode a video once, small, to find its cuts, and look at each shot.

    Args:
        video: what is to be done of it.
        usual: what is to be done with a shot that cannot be measured. A shot that needs the same alignment to a
            quarter of a row gets this very one, so that nothing moves at a cut.
        settings: of the job.

    Returns:
        The shots in their order, from the beginning; neighbours with one treatment are one shot. The first begins
        where the video does.

    Raises:
        StereosrError: if the video cannot be read.
    """
    times: list[Fraction] = []

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for time, thumbnail in video.thumbnails():
            times.append(time)
            yield thumbnail

    starts = [0, *cuts(pictures())]
    if not times:
        return [Shot(Fraction(0), usual)]
    wanted = [
        times[start + (end - start) * (2 * n + 1) // (2 * _LOOKS)]
        for start, end in pairwise([*starts, len(times)])
        for n in range(_LOOKS)
    ]
    looks: list[list[Views]] = [[] for _ in starts]
    for number, views in enumerate(video.source.views_at(wanted)):
        looks[number // _LOOKS].append(views[::-1] if settings.swap else views)
    shots: list[Shot] = []
    for start, seen in zip(starts, looks, strict=True):
        treatment = _of_shot(seen, usual, settings)
        if not shots or treatment != shots[-1].treatment:
            shots.append(Shot(times[start] if start else Fraction(0), treatment))
    return shots


def treatment_at(shots: Sequence[Shot], time: Fraction) -> Treatment:
    """What is done with the frame shown at ``time``, seconds from the first one."""
    return shots[max(0, bisect(shots, time, key=lambda shot: shot.start) - 1)].treatment


def cuts(thumbnails: Iterable[NDArray[np.uint8]]) -> list[int]:
    """Where a film is cut.

    A cut is a frame that differs from the one before by much, and by much more than the frames around it do: fast
    movement and flashes go on, or back.

    Args:
        thumbnails: H x W, uint8, the brightness of each frame.

    Returns:
        The numbers of the frames that are the first ones of a shot, in ascending order; never 0.
    """
    changes = np.array([np.abs(b.astype(np.int16) - a).mean() for a, b in pairwise(thumbnails)])
    found = []
    for at in np.flatnonzero(changes >= _JUMP):
        around = np.delete(changes[max(0, at - _AROUND) : at + _AROUND + 1], min(int(at), _AROUND))
        if changes[at] >= _TIMES * around.max(initial=0):
            found.append(int(at) + 1)
    return found


def _of_shot(looks: Sequence[Views], usual: Treatment, settings: Settings) -> Treatment:
    if not looks:
        return usual
    views, report = best_look(looks)
    if report.rows == "unknown":
        return usual
    own = choose_treatment(report, settings.rectify, keep_geometry=settings.keep_geometry)
    if own.apart or usual.apart:
        return own if own.apart != usual.apart else usual
    height, width = views[0].pixels.shape[:2]
    a, b = ((t.alignment or Alignment(0)).rows(height, width) for t in (own, usual))
    return replace(usual, light=own.light) if np.sqrt(np.mean((a - b) ** 2)) < _SAME else own
