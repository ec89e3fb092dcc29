"""Is this a rectified stereo pair? Geometry, order and light of two views, and a fix for what is wrong."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from stereosr.geometry.rectify import FEW, Alignment, Matches, align, as_bright_as, match, move, shrink
from stereosr.io.images import Picture
from stereosr.types import Image, Pixels

Kind = Literal["size", "identical", "unrelated", "rows", "swapped", "exposure", "colour"]


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
        alignment: what ``--rectify`` would do; ``alignable`` says whether that would help.
        disparity: the smallest, the median and the largest, in pixels: positive where a point lies further left in
            the right view.
        order: evidence that left is left, in standard deviations; negative for swapped views.
        exposure: how much brighter the right view is, as a factor less 1; None in the dark.
        colour: the same of red, green and blue beside the mean of the three.
    """

    vertical_offset: float
    row_error: float
    alignment: Alignment
    alignable: bool
    disparity: tuple[float, float, float]
    order: float
    exposure: float | None
    colour: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """What a look at a pair gave.

    Attributes:
        matches: points that are seen in both views.
        measured: what they say of the pair; None where they are too few.
        unknown: why nothing could be measured, else None.
        findings: what is wrong with the pair, each with its kind.
    """

    matches: int = 0
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
    """Look at a pair, on pictures scaled down: a tenth of a second, whatever its size."""
    if left.pixels.shape != right.pixels.shape:
        sizes = [f"{v.pixels.shape[1]}x{v.pixels.shape[0]}" for v in (left, right)]
        finding = Finding("size", f"left is {sizes[0]}, right is {sizes[1]}: crop or resize one")
        return PairReport(unknown="the views differ in size", findings=(finding,))
    if np.array_equal(left.pixels, right.pixels):
        return PairReport(unknown="the views are the same", findings=(_IDENTICAL,))
    matches = match(left.pixels, right.pixels)
    if len(matches) < FEW:
        if matches.features < _PLENTY:
            return PairReport(
                matches=len(matches), unknown="they are too small, or have too little texture, to be compared"
            )
        return PairReport(matches=len(matches), unknown="too little is seen in both views", findings=(_UNRELATED,))
    height, width = left.pixels.shape[:2]
    alignment = align(matches, height, width)
    disparity = np.percentile(matches.disparity, (2, 50, 98))
    (small_left, factor), (small_right, _) = shrink(left.pixels, _SIDE), shrink(right.pixels, _SIDE)
    light = _light(small_left, small_right, matches, factor)
    small = replace(alignment, shift=alignment.shift * factor)
    seen = PairMeasurements(
        vertical_offset=float(np.median(matches.drop)),
        row_error=float(np.median(np.abs(matches.drop))),
        alignment=alignment,
        alignable=alignment.helps(matches, height, width),
        disparity=(float(disparity[0]), float(disparity[1]), float(disparity[2])),
        order=_order(small_left, move(small_right, small), *(disparity[[0, 2]] * factor)),
        exposure=None if light is None else float(light.mean() - 1),
        colour=None if light is None else tuple((light / light.mean() - 1).tolist()),
    )
    same = np.percentile(np.abs(matches.left - matches.right).max(1), 90) < _SAME
    return PairReport(matches=len(matches), measured=seen, findings=(_IDENTICAL,) if same else tuple(_judge(seen)))


def check_pair_or_unknown(left: Picture, right: Picture) -> PairReport:
    """``examine`` for pictures of any size: of those that OpenCV does not take nothing is said."""
    try:
        return examine(left, right)
    except cv2.error:
        return PairReport(unknown="they are too large to be compared")


_IDENTICAL = Finding("identical", "both views are the same picture: the second cannot help; is one file given twice?")
_UNRELATED = Finding("unrelated", "the views have next to nothing in common: are both of one scene, and none mirrored?")
_SIDE = 480  # of the pictures on which order and light are judged
_PLENTY = 100  # features that should have given matches

# Measured on 50 good pairs: row errors up to 1.1 px; order 2 to 15, but in 11 pairs that show few strips (-0.2 to 1.9);
# light up to 8 %, a colour up to 3 %. Exchanged, unrelated and mistuned ones are in tests/engines/test_check.py.
_ROWS, _SAME, _ORDER, _EXPOSURE, _COLOUR = 1.5, 0.15, 2.0, 0.15, 0.05


def _judge(seen: PairMeasurements) -> Iterator[Finding]:
    if seen.row_error > _ROWS:
        text = f"the views are not rectified, rows are {seen.row_error:.1f} px off: "
        if not seen.alignable:
            yield Finding("rows", text + "rectify them by the cameras' calibration, for no small move would do")
            return  # disparities mean nothing then
        yield Finding("rows", text + f"pass --rectify, which moves the right view {seen.alignment}")
    if seen.order < -_ORDER:
        yield Finding("swapped", "the views are exchanged, what is near seems to lie behind: pass --swap")
    elif seen.order < _ORDER and seen.disparity[1] < -1 and seen.disparity[2] < 0.5:
        text = "the views may be exchanged, everything lies behind the screen: pass --swap if they were not made so"
        yield Finding("swapped", text)
    if seen.exposure is not None and abs(seen.exposure) > _EXPOSURE:
        how = "brighter" if seen.exposure > 0 else "darker"
        text = f"the right view is {100 * abs(seen.exposure):.0f} % {how}: match the exposure of the two first"
        yield Finding("exposure", text)
    if seen.colour is not None and max(map(abs, seen.colour)) > _COLOUR:
        name, value = max(zip(("red", "green", "blue"), seen.colour, strict=True), key=lambda c: abs(c[1]))
        how = "more" if value > 0 else "less"
        text = f"the right view has {100 * abs(value):.0f} % {how} {name}: match the white balance of the two first"
        yield Finding("colour", text)


def _light(left: Pixels, right: Pixels, matches: Matches, factor: float) -> NDArray[np.float64] | None:
    """By which factors red, green and blue are brighter in the right view around the matches; None in the dark."""
    samples = []
    for view, points in ((left, matches.left), (right, matches.right)):
        at = ((points + 0.5) * factor - 0.5).round().astype(int)
        rows, columns = np.clip(at[:, 1], 0, view.shape[0] - 1), np.clip(at[:, 0], 0, view.shape[1] - 1)
        samples.append(np.asarray(cv2.blur(view, (9, 9)), np.float64)[rows, columns])
    a, b = samples
    usable = (np.minimum(a, b) > 10).all(1) & (np.maximum(a, b) < 245).all(1)
    return np.asarray(np.median(b[usable] / a[usable], axis=0)) if usable.sum() >= FEW else None


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
    a, b = (np.pad(view, ((0, 0), (pad, pad)), "edge") for view in (grey[0], as_bright_as(*grey)))

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
