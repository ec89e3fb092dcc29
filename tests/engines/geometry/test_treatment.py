from dataclasses import replace

import pytest

from stereosr.geometry.light import Light
from stereosr.geometry.pair_check import Finding, PairMeasurements, PairReport, Rows
from stereosr.geometry.rectify import Alignment
from stereosr.geometry.treatment import Rectify, Treatment, choose_treatment

LIGHT = Light((1.2, 1.2, 1.2), (1, 1, 1), (0.8, 0.8, 0.8))
MEASURED = PairMeasurements(
    vertical_offset=1.0,
    row_error=1.0,
    row_error_aligned=0.1,
    alignment=Alignment(-1.0),
    uncertainty=0.05,
    disparity=(0, 5, 9),
    order=3.0,
    exposure=-0.2,
    colour=(0, 0, 0),
    light=LIGHT,
)
UNRELATED = PairReport(rows="unalignable", unknown="too little is seen", findings=(Finding("unrelated", "nothing"),))
FLAT = PairReport(unknown="they are too small")


def seen(rows: Rows, *, uncertainty: float = 0.05) -> PairReport:
    findings = () if rows == "aligned" else (Finding("rows", "off"),)
    return PairReport(rows=rows, measured=replace(MEASURED, uncertainty=uncertainty), findings=findings)


@pytest.mark.parametrize(
    ("report", "rectify", "done"),
    [
        (seen("aligned"), "auto", "nothing"),
        (seen("aligned"), "on", "aligned"),
        (seen("aligned"), "off", "nothing"),
        (seen("aligned", uncertainty=0.3), "on", "nothing"),
        (seen("alignable"), "auto", "aligned"),
        (seen("alignable"), "on", "aligned"),
        (seen("alignable"), "off", "nothing"),
        (seen("unalignable"), "auto", "apart"),
        (seen("unalignable"), "on", "apart"),
        (seen("unalignable"), "off", "nothing"),
        (UNRELATED, "auto", "apart"),
        (UNRELATED, "off", "nothing"),
        (FLAT, "auto", "nothing"),
        (FLAT, "on", "nothing"),
        (FLAT, "off", "nothing"),
    ],
)
def test_what_is_done(report: PairReport, rectify: Rectify, done: str) -> None:
    treatment = choose_treatment(report, rectify)
    assert treatment.apart == (done == "apart")
    assert treatment.alignment == (MEASURED.alignment if done == "aligned" else None)


def test_what_is_done_is_said_and_what_is_not_done_too() -> None:
    (note,) = choose_treatment(seen("alignable")).notes
    assert note == "rows were 1.0 px off: the right view was moved 1.0 px up"
    assert "for the model only" in choose_treatment(seen("alignable"), keep_geometry=True).notes[0]
    assert choose_treatment(seen("alignable"), "off").notes == ("off",)
    assert "without the other" in choose_treatment(seen("unalignable")).notes[0]
    assert choose_treatment(UNRELATED).notes[1] == "nothing"
    assert choose_treatment(FLAT, "on").notes == ("not aligned: they are too small",)
    assert choose_treatment(FLAT) == choose_treatment(seen("aligned")) == Treatment()


def test_light_is_matched_where_its_difference_is_a_finding_whatever_is_rectified() -> None:
    report = replace(seen("aligned"), findings=(Finding("exposure", "darker"),))
    for rectify in ("auto", "on", "off"):
        treatment = choose_treatment(report, rectify)  # type: ignore[arg-type]
        assert treatment.light == LIGHT
        assert "darker" in treatment.notes
