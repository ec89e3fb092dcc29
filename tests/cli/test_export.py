from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from command import failed, in_process, stereosr
from fakes import random_pair
from stereosr.backends.base import RunOptions
from stereosr.backends.ort_cpu import OrtCpu
from stereosr.models.library import BUNDLED
from stereosr.models.spec import read_spec
from stereosr.types import StereoPair

torch = pytest.importorskip("torch")

from golden import golden_state  # noqa: E402
from stereosr_export.zoo import find  # noqa: E402


def checkpoint(folder: Path, name: str, scale: int) -> Path:
    """A file as PASSRnet's authors write it."""
    with torch.device("meta"):
        network = find(name).create(scale)
    torch.save({"state_dict": golden_state(network)}, folder / "author.pth")
    return folder / "author.pth"


def test_a_checkpoint_alone_says_what_it_is_of_and_its_channel_order_can_be_said(tmp_path):
    path = checkpoint(tmp_path, "passrnet-single-input", 2)
    rgb, bgr = tmp_path / "passrnet-single-input_x2.onnx", tmp_path / "bgr.onnx"
    for arguments in ([], ["--channel-order", "bgr", "-o", bgr]):
        done = in_process("export", "--weights", path, *arguments, STEREOSR_HOME=str(tmp_path))
        assert done.returncode == 0, done.stderr
    plain, turned = (OrtCpu(file, RunOptions()) for file in (rgb, bgr))
    assert plain.spec.title == turned.spec.title == "passrnet-single-input x2"
    pair = random_pair(12, 20)
    expected = plain.infer(pair).left
    found = turned.infer(StereoPair(pair.left[..., ::-1], pair.right[..., ::-1])).left[..., ::-1]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_wrong_calls_name_the_fix(tmp_path):
    path = checkpoint(tmp_path, "srcnn", 2)
    failed(in_process("export", "--weights", path, cwd=tmp_path), 2, "pass -s 2 or -s 4")
    failed(in_process("export", "nafssr-t", "--weights", path, cwd=tmp_path), 2, "fits no model")
    (tmp_path / "gcssr_x4.onnx").write_text("mine")
    failed(in_process("export", STEREOSR_HOME=str(tmp_path)), 2, "gcssr_x4.onnx exists", "--overwrite")
    failed(in_process("export", "-o", tmp_path / "mine.onnx"), 2, "x2 and x4", "pass -s")
    failed(in_process("export", "-s", 2, "-o", path / "mine.onnx"), 2, f"{path} is a file")
    failed(in_process("export", "--reach", "0"), 2, "'0' is neither a whole number from 1 on nor 'full'")
    out = tmp_path / "far.onnx"
    failed(
        in_process("export", "--weights", path, "-s", 2, "--reach", 64, "-o", out), 2, "attention of srcnn has no reach"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "found"), [("full", None), ("300", 300)])
def test_an_engine_looks_as_far_as_asked(tmp_path, asked, found):
    out = tmp_path / "far.onnx"
    done = in_process("export", "gcssr", "-s", 4, "--reach", asked, "-o", out)
    assert done.returncode == 0, done.stderr
    bundled = BUNDLED / "gcssr_x4.onnx"
    assert replace(read_spec(out), scores={}) == replace(read_spec(bundled), scores={}, reach=found)
    pair = random_pair(4, 900, 1)
    far, near = (OrtCpu(file, RunOptions()).infer(pair) for file in (out, bundled))
    assert np.abs(far.left - near.left).max() > 1e-6


def test_own_weights_are_exported_at_the_scales_there_are_and_say_what_they_are_of(tmp_path):
    done = stereosr("export", "srcnn", "--license", "mine", STEREOSR_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.onnx")
    spec = read_spec(path)
    assert (spec.title, spec.license) == ("srcnn x4", "mine")
    assert "Middlebury" in spec.trained_on
