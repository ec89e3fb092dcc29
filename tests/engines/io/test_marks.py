"""What names say of the views in a file, and what files are called that hold them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stereosr.io.marks import Layout, read_mark, with_mark

JOINED: list[Layout] = ["sbs", "sbs-half", "ou", "ou-half", "anaglyph", "wiggle"]


@pytest.mark.parametrize(
    ("stem", "layout", "marked"),
    [
        ("film", "sbs", "film_SBS"),
        ("film", "mpo", "film"),
        ("film_SBS", "sbs", "film_SBS"),
        ("film-h-sbs", "sbs-half", "film_HSBS"),
        ("film_LR", "sbs", "film_SBS"),
        ("film_SBS_x4", "sbs", "film_x4_SBS"),
        ("film_HSBS", "sbs", "film_SBS"),
        ("film.3D.Half-OU", "ou", "film.3D_TB"),
        ("film_RL", "sbs", "film_RL"),
        ("film_RL", "anaglyph", "film_redcyan"),
        ("film_crosseye", "pair", "film"),
        ("film_crosseye", "sbs", "film_RL"),
        ("film_HBT", "ou-half", "film_HBT"),
        ("noir ou blanc", "sbs", "noir ou blanc_SBS"),
        ("SBS", "ou", "SBS_TB"),
        ("moon.vr", "pair", "moon"),
    ],
)
def test_old_marks_go_and_the_new_one_is_there(stem: str, layout: Layout, marked: str) -> None:
    assert with_mark(stem, layout) == marked


@given(stem=st.text("aSBTLRHou_-. x4", min_size=1, max_size=12), layout=st.sampled_from(JOINED))
def test_what_we_mark_we_read_in_any_company(stem: str, layout: Layout) -> None:
    mark = read_mark(f"{with_mark(stem, layout)}_x4")
    assert mark is not None
    if layout != "anaglyph":
        assert mark.layout == layout
