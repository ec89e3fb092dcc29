import numpy as np
import pytest

from shared_data import ROOT, shared
from stereosr.geometry import rectify
from stereosr.geometry.matching import match
from stereosr.geometry.rectify import Alignment, RowFit, fit_rows, move
from stereosr.io.images import read_picture
from stereosr.types import Pixels

HR = ROOT / "engines/stereosr/models/bundled/examples/render"


@pytest.fixture(scope="module")
def pair() -> tuple[Pixels, Pixels]:
    return read_picture(HR / "hr0.png").pixels, read_picture(HR / "hr1.png").pixels


def fit(left: Pixels, right: Pixels) -> RowFit:
    return fit_rows(match(left, right), *left.shape[:2])


@pytest.mark.parametrize(
    "moved",
    [
        Alignment(4.4),
        Alignment(-2.5, 0.008, 1.01),
        Alignment(0.0, -0.01, 0.995),
        Alignment(1.5, 0.004, 1.004, (0.02, -0.01)),
    ],
)
def test_what_was_moved_is_moved_back(pair: tuple[Pixels, Pixels], moved: Alignment) -> None:
    left, right = pair
    height, width = left.shape[:2]
    apart = move(right, moved)
    found = fit(left, apart)
    both = found.alignment.matrix(height, width) @ moved.matrix(height, width)
    corners = both @ [[0, width, 0, width], [0, 0, height, height], [1] * 4]
    assert np.abs(corners[1] / corners[2] - [0, 0, height, height]).max() < 0.4  # columns are told by no match
    assert found.uncertainty < 0.1
    assert found.error_after < 0.15 < 0.8 < found.error
    assert fit(left, move(apart, found.alignment)).error < 0.15


def test_a_pair_on_common_rows_needs_next_to_nothing(pair: tuple[Pixels, Pixels]) -> None:
    found = fit(*pair)
    assert np.abs(found.alignment.rows(*pair[0].shape[:2])).max() < 0.15
    assert found.error - found.error_after < 0.05


def test_the_matrix_is_where_points_go() -> None:
    alignment = Alignment(2.0, 0.01, 1.01, (0.02, 0.01))
    matrix = alignment.matrix(101, 201)
    x, y, w = matrix @ [100, 50, 1]  # the middle
    assert (x / w, y / w) == pytest.approx((100, 52))
    x, y, w = matrix @ [200, 50, 1]
    assert (x / w, y / w) == pytest.approx((100 + 101 / (1 + 0.02 / 100.5 * 100), 50 + 3 / (1 + 0.02 / 100.5 * 100)))
    small = alignment.scaled(0.5).matrix(101, 201)
    assert small[2, 0] == matrix[2, 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_samples_of_any_type_are_moved_and_moved_back(pair: tuple[Pixels, Pixels], dtype: type) -> None:
    right = pair[1].astype(dtype)
    down = move(right, Alignment(2.0))
    assert down.dtype == dtype
    np.testing.assert_array_equal(down[2:], right[:-2])
    np.testing.assert_array_equal(down[:2], right[[0, 0]])
    np.testing.assert_array_equal(move(right[..., 0], Alignment(2.0)), down[..., 0])
    np.testing.assert_array_equal(move(down, Alignment(2.0), back=True)[:-2], right[:-2])


def test_pictures_larger_than_opencv_moves_are_moved_block_by_block(
    pair: tuple[Pixels, Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    alignment = Alignment(3.3, 0.01, 1.01, (0.01, 0.02))
    whole = move(pair[1], alignment)
    monkeypatch.setattr(rectify, "_BLOCK", 100)
    assert np.abs(move(pair[1], alignment).astype(int) - whole).max() <= 1
    wide = np.tile(pair[1][:40], (1, 60, 1))
    assert wide.shape[1] > 32767
    np.testing.assert_array_equal(move(wide, Alignment(1.0))[1:], wide[:-1])


def test_a_real_pair_with_a_vertical_offset_comes_out_on_common_rows() -> None:
    folder = shared("formats/unrectified")
    left, right = (read_picture(folder / f"{side}.png").pixels for side in ("left", "right"))
    found = fit(left, right)
    after = match(left, move(right, found.alignment)).vertical_offset
    assert found.error > 1.5
    assert np.median(np.abs(after)) < 0.2
    assert np.percentile(np.abs(after), 90) < 0.5
