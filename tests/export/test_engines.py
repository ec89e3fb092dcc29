"""Real TensorRT engines of the zoo in half precision, built on a machine without a GPU."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from command import failed, stereosr
from golden import with_golden_weights
from stereosr_cli.engine import flavour
from stereosr_engines.enginefile import read_engine
from stereosr_engines.errors import BackendUnavailable
from stereosr_engines.library import BUNDLED, file_name, half_of
from stereosr_engines.spec import METADATA_KEY, read_spec
from stereosr_engines.tensorrt_build import EXTRAS, RTX, build, count_layers, identify, load, profile_of
from stereosr_export.precision import to_half
from stereosr_export.to_onnx import spec_of, trace
from stereosr_export.zoo import find

TARGETS = ("sm86", "sm89", "sm120")


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory):
    """The fp16 file of a network: with the bundled weights, or random ones."""
    folder = tmp_path_factory.mktemp("onnx")

    def make(name: str) -> Path:
        path = half_of(folder / file_name(name, 4))
        if path.exists():
            return path
        bundled = BUNDLED / file_name(name, 4)
        if bundled.exists():
            single, spec = onnx.load(bundled), read_spec(bundled)
        else:
            model = find(name)
            network = with_golden_weights(model.create(4))
            single, spec = trace(network, model), spec_of(model, network, 4, "", "")
        graph = to_half(single)
        del graph.metadata_props[:]
        graph.metadata_props.add(key=METADATA_KEY, value=replace(spec, precision="fp16").to_json())
        path.write_bytes(graph.SerializeToString())
        return path

    return make


@pytest.mark.parametrize(("name", "share"), [("nafssr-t", 0.75), ("nafssr-s", 0.75), ("passrnet", 0.65)])
def test_an_engine_for_three_generations_of_cards(half, name: str, share: float, tmp_path: Path) -> None:
    """PASSRnet has fifty small layers that clean its masks, of one channel, in fp32."""
    pytest.importorskip(RTX, reason="needs tensorrt_rtx: pip install stereosr[rtx]")
    path, steps = half(name), []
    spec = profile_of(read_spec(path), (64, 160))
    wanted = identify(path, RTX, spec, TARGETS)
    engine = build(path, wanted, lambda *step: steps.append(step))
    assert engine.layers > 50
    assert engine.half_layers / engine.layers > share
    assert len(engine.plan) > path.stat().st_size
    assert steps
    assert all(0 < done <= total for _, done, total in steps)
    engine.write(tmp_path / "x.engine")
    assert read_engine(tmp_path / "x.engine") == engine


def test_the_command_builds_and_says_what_it_built(half, tmp_path: Path) -> None:
    pytest.importorskip(RTX, reason="needs tensorrt_rtx: pip install stereosr[rtx]")
    arguments = ["build", half("nafssr-t"), "--for", "sm89", "--size", "45x135"]
    done = stereosr(*arguments, STEREOSR_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("nafssr-t_x4_fp16_*_sm89_45x135.engine")
    assert f"{file}: nafssr-t x4 fp16 for sm89, 45x135, tensorrt_rtx" in done.stderr
    engine = read_engine(file)
    assert engine.identity.profile.fixed
    assert engine.spec.precision == "fp16"
    failed(stereosr(*arguments, STEREOSR_HOME=str(tmp_path)), 2, "exists", "--overwrite")


def test_what_cannot_be_built_is_refused_in_one_line(half, tmp_path: Path) -> None:
    pytest.importorskip(RTX, reason="needs tensorrt_rtx: pip install stereosr[rtx]")
    failed(stereosr("build", half("nafssr-t"), "--for", "sm90"), 2, "sm90", "sm75", "sm120", "pass --for")
    failed(stereosr("build", half("nafssr-t"), "--for", "sm89", "--size", "8x8"), 2, "at least 45x135")
    foreign = onnx.load(half("nafssr-t"))
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    failed(stereosr("build", tmp_path / "foreign.onnx", "--for", "sm89"), 2, "carries no stereosr specification")
    spoilt = onnx.load(half("nafssr-t"))
    spoilt.graph.node[5].op_type = "Nonsense"
    onnx.save(spoilt, tmp_path / "spoilt.onnx")
    failed(stereosr("build", tmp_path / "spoilt.onnx", "--for", "sm89"), 1, "cannot read", "Nonsense")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["foreign.onnx", "spoilt.onnx"]


def test_without_tensorrt_the_pip_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(BackendUnavailable, match=r'pip install "stereosr\[rtx\]" for RTX cards') as problem:
        flavour(())
    assert problem.value.exit_code == 4
    for name, extra in EXTRAS.items():
        with pytest.raises(BackendUnavailable, match=rf'{name} is not installed: pip install "stereosr\[{extra}\]"'):
            load(name)


def test_ctrl_c_ends_a_build(half) -> None:
    pytest.importorskip(RTX, reason="needs tensorrt_rtx: pip install stereosr[rtx]")

    def interrupted(_phase: str, _done: int, _all: int) -> None:
        raise KeyboardInterrupt

    path = half("nafssr-t")
    wanted = identify(path, RTX, profile_of(read_spec(path), (45, 135)), ("sm89",))
    with pytest.raises(KeyboardInterrupt):
        build(path, wanted, interrupted)


def test_layers_are_counted_by_the_type_of_what_they_give() -> None:
    report = (
        "Layers:\n"
        "Name: a, Inputs: [ { Datatype: Float }], Outputs: [ { Name: x, Datatype: Half, Format }], TacticName: \n"
        "Name: b, Inputs: [ { Datatype: Half }], Outputs: [ { Name: y, Datatype: Float, Format }], TacticName: \n"
        "Name: shapes, Inputs: [], Outputs: [], TacticName: \n"
    )
    assert count_layers(report) == (2, 1)
