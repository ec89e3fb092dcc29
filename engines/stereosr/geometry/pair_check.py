"""Is this a rectified stereo pair? Geometry, order and light of two views, and a fix for what is wrong."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from stereosr.geometry.light import Light, measure_light
from stereosr.geometry.matching import MIN_MATCHES, match, match_brightness, shrink
from stereosr.geometry.rectify import MAX_UNCERTAINTY, Alignment, RowFit, fit_rows, move
from stereosr.io.images import Picture
from stereosr.types import Image, Pixels

Kind = Literal["size", "identical", "unrelated", "rows", "swapped", "exposure", "colour"]
Rows = Literal["aligned", "alignable", "unalignable", "unknown"]
"""What is to be done about the rows of a pair: nothing, a small move of the right view, no such move, no telling."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a pair; ``text`` says it and names the fix."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairMeasurements:
    """What the points that both views show say of a pair.

    Attributes:
        vertical_offset: how much lower the right view lies, in pixels: the median over the points.
        row_error: by how many rows a point misses its own: the median.
        row_error_aligned: the same behind ``alignment``.
        alignment: what brings the right view onto the rows of the left one, as far as a small move can.
        uncertainty: of the rows to which the alignment moves points: a standard deviation.
        disparity: the smallest, the median and the largest, in pixels: positive where a point lies further left in
            the right view.
        order: evidence that left is left, in standard deviations; negative for swapped views.
        exposure: how much brighter the right view is, as a factor less 1; None in the dark.
        colour: the same of red, green and blue beside the mean of the three.
        light: what makes the right view as bright as the left one; None in the dark.
    """

    vertical_offset: float
    row_error: float
    row_error_aligned: float
    alignment: Alignment
    uncertainty: float
    disparity: tuple[float, float, float]
    order: float
    exposure: float | None
    colour: tuple[float, float, float] | None
    light: Light | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """What a look at a pair gave.

    Attributes:
        matches: points that are seen in both views.
        rows: whether they lie on common rows, or can be brought there.
        measured: what they say of the pair; None where they are too few.
        unknown: why nothing could be measured, else None.
        findings: what is wrong with the pair, each with its kind.
    """

    matches: int = 0
    rows: Rows = "unknown"
    measured: PairMeasurements | None = None
    unknown: str | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def good(self) -> bool:
        """A rectified pair; False also where that cannot be told."""
        return not self.findings and self.unknown is None

    @property
    def problems(self) -> list[str]:
        """What is wrong with the pair, in words that name the fix."""
        return [finding.text for finding in self.findings]

    def largest_disparity(self, width: int) -> int:
        """How far apart the views show one thing at most, in pixels, with a quarter to spare.

        An eighth of ``width`` where that is not known; a quarter at most, as more is a false match.
        """
        if self.measured is None:
            return width // 8
        return min(math.ceil(1.25 * max(map(abs, self.measured.disparity))), width // 4)


def examine(left: Picture, right: Picture) -> PairReport:
    """Look at a pair, on pictures scaled down: a tenth of a second, whatever its size.

    Args:
        left: of any size.
        right: of another size, which is a finding, or of the same.

    Returns:
        What was seen.

    Raises:
        cv2.error: for pictures that OpenCV does not take.
    """
    if left.pixels.shape != right.pixels.shape:
        sizes = [f"{v.pixels.shape[1]}x{v.pixels.shape[0]}" for v in (left, right)]
        finding = Finding("size", f"left is {sizes[0]}, right is {sizes[1]}: crop or resize one")
        return PairReport(unknown="the views differ in size", findings=(finding,))
    if np.array_equal(left.pixels, right.pixels):
        return PairReport(unknown="the views are the same", findings=(_IDENTICAL,))
    matches = match(left.pixels, right.pixels)
    if len(matches) < MIN_MATCHES:
        if matches.features < _PLENTY:
            return PairReport(
                matches=len(matches), unknown="they are too small, or have too little texture, to be compared"
            )
        return PairReport(
            matches=len(matches),
            rows="unalignable",
            unknown="too little is seen in both views",
            findings=(_UNRELATED,),
        )
    height, width = left.pixels.shape[:2]
    fit = fit_rows(matches, height, width)
    disparity = np.percentile(matches.disparity, (2, 50, 98))
    (small_left, factor), (small_right, _) = shrink(left.pixels, _SIDE), shrink(right.pixels, _SIDE)
    light = measure_light(small_left, small_right, matches, factor)
    on_rows = move(small_right, fit.alignment.scaled(factor)) if fit.alignment.is_small(height) else small_right
    seen = PairMeasurements(
        vertical_offset=float(np.median(matches.vertical_offset)),
        row_error=fit.error,
        row_error_aligned=fit.error_after,
        alignment=fit.alignment,
        uncertainty=fit.uncertainty,
        disparity=(float(disparity[0]), float(disparity[1]), float(disparity[2])),
        order=_order(small_left, on_rows, *(disparity[[0, 2]] * factor)),
        exposure=None if light is None else light.exposure,
        colour=None if light is None else light.colour,
        light=light,
    )
    if np.percentile(np.abs(matches.left - matches.right).max(1), 90) < _SAME:
        return PairReport(matches=len(matches), rows="aligned", measured=seen, findings=(_IDENTICAL,))
    rows = _judge_rows(fit, height)
    return PairReport(matches=len(matches), rows=rows, measured=seen, findings=tuple(_judge(seen, rows)))


def check_pair_or_unknown(left: Picture, right: Picture) -> PairReport:
    """``examine`` for pictures of any size: returns "unknown" for those that OpenCV cannot process."""
    try:
        return examine(left, right)
    except cv2.error:
        return PairReport(unknown="they are too large to be compared")


_IDENTICAL = Finding("identical", "both views are the same picture: the second cannot help; is one file given twice?")
_UNRELATED = Finding("unrelated", "the views have next to nothing in common: are both of one scene, and none mirrored?")
_SIDE = 480  # of the pictures on which order and light are judged
_PLENTY = 100  # features that should have given matches

_MATCHED = "upscale matches it for the model, and the result keeps the difference"

MIN_GAIN = 0.25
"""Rows that an alignment must win to be worth it; of well calibrated pairs none wins as much (0.23 at most)."""

_WORSE_THAN_NONE = 0.75  # rows off at which a second view costs more than it gives: benchmarks/results/alignment.json

# Measured on 50 good pairs: order 2 to 15, but in 11 pairs that show few strips (-0.2 to 1.9); light up to 8 %, a
# colour up to 3 %. Exchanged, unrelated and mistuned ones are in tests/engines/geometry/test_pair_check.py.
_SAME, _EXPOSURE, _COLOUR = 0.15, 0.1, 0.1
SURE_ORDER = 2.0
"""Standard deviations from which on the order of the views is known."""


def _judge_rows(fit: RowFit, height: int) -> Rows:
    small = fit.alignment.is_small(height)
    if small and fit.uncertainty < MAX_UNCERTAINTY and fit.error_after < _WORSE_THAN_NONE:
        return "alignable" if fit.error - fit.error_after >= MIN_GAIN else "aligned"
    return "unalignable" if fit.error >= _WORSE_THAN_NONE else "aligned"


def _judge(seen: PairMeasurements, rows: Rows) -> Iterator[Finding]:
    text = f"the views are not aligned, rows are {seen.row_error:.1f} px off: "
    if rows == "unalignable":
        yield Finding("rows", text + "rectify them by the cameras' calibration, for no small move would do")
        return  # disparities mean nothing then
    if rows == "alignable":
        yield Finding("rows", text + f"by default, upscaling moves the right view {seen.alignment}")
    if seen.order < -SURE_ORDER:
        yield Finding("swapped", "the views are exchanged, what is near seems to lie behind: swap left and right")
    elif seen.order < SURE_ORDER and seen.disparity[1] < -1 and seen.disparity[2] < 0.5:
        text = "the views may be exchanged, everything lies behind the screen: swap them if they were not made so"
        yield Finding("swapped", text)
    if seen.exposure is not None and abs(seen.exposure) > _EXPOSURE:
        how = "brighter" if seen.exposure > 0 else "darker"
        text = f"the right view is {100 * abs(seen.exposure):.0f} % {how}: {_MATCHED}"
        yield Finding("exposure", text)
    if seen.colour is not None and max(map(abs, seen.colour)) > _COLOUR:
        name, value = max(zip(("red", "green", "blue"), seen.colour, strict=True), key=lambda c: abs(c[1]))
        how = "more" if value > 0 else "less"
        text = f"the right view has {100 * abs(value):.0f} % {how} {name}: {_MATCHED}"
        yield Finding("colour", text)


def _order(left: Pixels, right: Pixels, low: float, high: float) -> float:
    """Evidence that left is left, in standard deviations, for disparities between ``low`` and ``high``.

    What only one eye sees is a strip of background beside something nearer. Disparities tell where such strips are and
    which neighbour is the nearer one; the strip's colour tells to which neighbour it belongs. In a swapped pair near
    and far are exchanged, and strips seem to belong to the nearer one. Unlike the sign of disparities this also holds
    for pictures that were shifted sideways to lie behind the screen.
    """
    least = int(np.floor(low)) - 4
    a, b = _disparities(left, right, least, -(-(int(np.ceil(high)) + 8 - least) // 16) * 16)
    votes = np.concatenate([_strips(left, a, b), _strips(right[:, ::-1], b[:, ::-1], a[:, ::-1])])
    return float(votes.sum() / np.sqrt(max(len(votes), 1)))


def _disparities(left: Pixels, right: Pixels, least: int, count: int) -> tuple[Image, Image]:
    """Dense disparities of both views, each searched by itself."""
    grey = [np.asarray(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), np.uint8) for view in (left, right)]
    pad = max(0, least + count, -least) + 1
    a, b = (np.pad(view, ((0, 0), (pad, pad)), "edge") for view in (grey[0], match_brightness(*grey)))

    def search(view: Pixels, other: Pixels, least: int) -> Image:
        matcher = cv2.StereoSGBM.create(
            least, count, 3, P1=72, P2=288, uniquenessRatio=5, mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY
        )
        return np.asarray(matcher.compute(view, other)[:, pad:-pad] / np.float32(16), np.float32)

    return search(a, b, least), -search(b, a, 1 - least - count)


def _strips(view: Pixels, disparity: Image, other: Image) -> NDArray[np.float64]:
    """One vote for each strip that only this view sees: 1 where it belongs to the farther neighbour, else -1.

    A strip lies left of something nearer; ``other`` are the disparities of the other view.
    """
    width = disparity.shape[1]
    columns = np.rint(np.arange(width) - disparity).astype(int)
    there = np.take_along_axis(other, np.clip(columns, 0, width - 1), 1)
    seen = (columns >= 0) & (columns < width) & (np.abs(there - disparity) <= 1)
    changes = np.diff(np.pad(seen[::2], ((0, 0), (1, 1)), constant_values=True).astype(np.int8))
    row, start = np.nonzero(changes == -1)
    stop = np.nonzero(changes == 1)[1]
    inside = (start >= 6) & (stop <= width - 6)
    row, start, stop = 2 * row[inside], start[inside], stop[inside]
    step = disparity[row, stop] - disparity[row, start - 1]
    length = stop - start
    beside = np.arange(4)
    sure = seen[row[:, None], start[:, None] - 1 - beside].all(1) & seen[row[:, None], stop[:, None] + beside].all(1)
    strip = sure & (step >= 3) & (length >= 0.5 * step) & (length <= 1.5 * step + 2)
    row, start, stop = row[strip], start[strip], stop[strip]
    mean = np.asarray(cv2.blur(np.ascontiguousarray(view), (3, 3)), np.float32)
    colour = mean[row, (start + stop - 1) // 2]
    far, near = (np.abs(colour - mean[row, at]).sum(1) for at in (start - 3, stop + 2))
    clear = np.abs(far - near) > 10
    return np.asarray(np.where(far < near, 1.0, -1.0)[clear])
