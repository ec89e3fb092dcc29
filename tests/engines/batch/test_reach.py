"""Near things that the model does not look far enough for: said, and only then."""

from dataclasses import replace

import pytest

from fakes import SPEC
from stereosr.batch.pictures import reach_notes
from stereosr.geometry.pair_check import PairMeasurements, PairReport
from stereosr.geometry.rectify import Alignment

SEEN = PairMeasurements(
    vertical_offset=0,
    row_error=0,
    row_error_aligned=0,
    alignment=Alignment(0),
    uncertainty=0.05,
    disparity=(2, 20, 60),
    order=5,
    exposure=None,
    colour=None,
    light=None,
)


@pytest.mark.parametrize(
    ("disparity", "reach", "width", "said"),
    [
        ((2, 20, 60), 50, 201, "up to 60 px apart in the views, and fake looks 50 px far"),
        ((-70, 20, 30), 50, 201, "up to 70 px apart"),
        ((2, 20, 60), 60, 900, None),  # as far as it looks
        ((2, 20, 60), 50, 200, None),  # a row that is seen whole
        ((2, 20, 60), None, 900, None),
    ],
)
def test_what_lies_beyond_the_reach_is_said(disparity, reach, width, said):
    report = PairReport(rows="aligned", measured=replace(SEEN, disparity=disparity))
    notes = reach_notes(report, replace(SPEC, reach=reach), width)
    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]


def test_nothing_is_said_of_what_is_not_known():
    assert reach_notes(PairReport(), replace(SPEC, reach=5), 900) == []
