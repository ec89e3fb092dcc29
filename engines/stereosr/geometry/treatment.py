"""What is done about the geometry and the light of a pair: decided once, from what was measured."""

from dataclasses import dataclass, field
from typing import Literal

from stereosr.geometry.light import Light
from stereosr.geometry.pair_check import PairReport
from stereosr.geometry.rectify import MAX_UNCERTAINTY, Alignment

Rectify = Literal["auto", "on", "off"]
"""Whether the right view is aligned: where that wins something, wherever it can be measured, never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """How a pair goes through the network.

    Attributes:
        alignment: what the right view needs; None for nothing.
        keep_geometry: the right result is as the right view was, not aligned.
        apart: each view is upscaled without the other, for which it is paired with itself.
        light: what makes the right view as bright as the left one, for the network alone; None for nothing.
        notes: what people should know of this, a line each.
    """

    alignment: Alignment | None = None
    keep_geometry: bool = False
    apart: bool = False
    light: Light | None = None
    notes: tuple[str, ...] = field(default=())


def choose_treatment(report: PairReport, rectify: Rectify = "auto", *, keep_geometry: bool = False) -> Treatment:
    """Decide what is to be done with a pair.

    Args:
        report: what was measured.
        rectify: what the user asked for. ``auto`` aligns where that wins a quarter of a row, ``on`` wherever the
            alignment is known; both take the views apart where they cannot be aligned. ``off`` does neither.
        keep_geometry: the right result is to be as the right view was.

    Returns:
        The treatment; its notes include the problems of the pair that remain.
    """
    problems = [f.text for f in report.findings if f.kind != "rows" or rectify == "off"]
    seen = report.measured
    light = seen.light if seen is not None and any(f.kind in ("exposure", "colour") for f in report.findings) else None
    alignment, apart, notes = None, False, []
    if rectify == "off":
        pass
    elif report.rows == "unalignable":
        apart = True
        error = "too little is seen in both" if seen is None else f"rows are {seen.row_error:.1f} px off"
        notes = [f"each view was upscaled without the other, because they cannot be aligned: {error}"]
    elif seen is not None and (report.rows == "alignable" or (rectify == "on" and seen.uncertainty < MAX_UNCERTAINTY)):
        alignment = seen.alignment
        kept = ", for the model only" if keep_geometry else ""
        notes = [f"rows were {seen.row_error:.1f} px off: the right view was moved {alignment}{kept}"]
    elif rectify == "on" and report.unknown is not None:
        notes = [f"not aligned: {report.unknown}"]
    return Treatment(
        alignment=alignment,
        keep_geometry=keep_geometry,
        apart=apart,
        light=light,
        notes=(*notes, *problems),
    )
