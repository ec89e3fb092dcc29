"""Networks of others that see one view: read, run on both views, refused where they are something else."""

from contextlib import closing

import numpy as np
import pytest

from stereosr.backends.base import RunOptions
from stereosr.errors import StereosrError, UsageError
from stereosr.evaluation.single_view import SingleView
from tiny_onnx import network

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(0)
LR = tuple(RNG.integers(0, 256, (2, 6, 9, 3), np.uint8))


@pytest.mark.parametrize("white", [1, 255])
def test_each_view_is_enlarged_by_itself(tmp_path, white):
    with closing(SingleView(network(tmp_path / "repeat.onnx"), 2, white, RunOptions(threads=1))) as method:
        for found, view in zip(method(LR), LR, strict=True):
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, view.repeat(2, 0).repeat(2, 1))
        assert method.row.title == "repeat (single view)"
        assert method.row.parameters is None
        assert len(method.row.sha256) == 64


def test_values_are_from_0_to_white_and_clamped(tmp_path):
    """A bias of 0.25 is a quarter of white in [0, 1], and next to nothing in [0, 255]."""
    file = network(tmp_path / "brighter.onnx", bias=0.25)
    for white, levels in ((1, 63.75), (255, 0.25)):
        found = SingleView(file, 2, white, RunOptions())(LR)[0]
        wanted = np.minimum(np.floor(LR[0] + levels + 0.5), 255).repeat(2, 0).repeat(2, 1)
        np.testing.assert_array_equal(found, wanted)


def test_another_scale_is_an_error_that_says_so(tmp_path):
    method = SingleView(network(tmp_path / "x2.onnx"), 4, 1, RunOptions())
    with pytest.raises(UsageError, match=r"\(1, 3, 12, 18\).*x4 is \(1, 3, 24, 36\).*the scale of this network"):
        method(LR)


def test_values_that_are_not_finite_are_an_error(tmp_path):
    method = SingleView(network(tmp_path / "nan.onnx", bias=float("nan")), 2, 1, RunOptions())
    with pytest.raises(StereosrError, match="not finite"):
        method(LR)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"inputs": ("x", "other")}, "one input and one output"),
        ({"channels": 1}, "float32, 1 x 3 x H x W"),
        ({"kind": 10}, "float32, 1 x 3 x H x W"),  # float16
    ],
)
def test_another_kind_of_network_is_refused(tmp_path, what, message):
    with pytest.raises(UsageError, match=message):
        SingleView(network(tmp_path / "other.onnx", **what), 2, 1, RunOptions())


def test_a_file_that_is_no_network_is_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(UsageError, match=r"cannot load .*text\.onnx"):
        SingleView(tmp_path / "text.onnx", 2, 1, RunOptions())
