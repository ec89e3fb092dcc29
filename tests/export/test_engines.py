"""Real TensorRT engines of the zoo in half precision, built on a machine without a GPU."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from command import failed, stereosr
from golden import with_golden_weights
from stereosr.backends.tensorrt.build import EXTRAS, RTX, build, count_layers, identify, load, profile_of
from stereosr.errors import BackendUnavailable, UsageError
from stereosr.models.engine_file import EngineFile, read_engine, why_unusable
from stereosr.models.library import BUNDLED, file_name, fp16_path
from stereosr.models.spec import METADATA_KEY, read_spec
from stereosr_cli.work.build import build_engine, variant
from stereosr_export.precision import to_half
from stereosr_export.to_onnx import spec_of, trace
from stereosr_export.zoo import find

TARGETS = ("sm86", "sm89", "sm120")


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory):
    """The fp16 file of a network: with the bundled weights, or random ones."""
    folder = tmp_path_factory.mktemp("onnx")

    def make(name: str) -> Path:
        path = fp16_path(folder / file_name(name, 4))
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


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("nafssr-t", 0.75),
        ("gcssr", 0.75),
        pytest.param("nafssr-s", 0.75, marks=pytest.mark.slow),
        pytest.param("passrnet", 0.65, marks=pytest.mark.slow),
    ],
)
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


@pytest.mark.slow
def test_the_command_builds_and_says_what_it_built(tmp_path: Path) -> None:
    """In fp32 and for any size, whose attention map alone takes 2 GB: what the guard falls back to has to build."""
    pytest.importorskip(RTX, reason="needs tensorrt_rtx: pip install stereosr[rtx]")
    arguments = ["build", BUNDLED / file_name("nafssr-t", 2), "--for", "sm89"]
    done = stereosr(*arguments, STEREOSR_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("nafssr-t_x2_*_sm89.engine")
    assert f"{file}: nafssr-t x2 fp32 for sm89, 45x135 to 540x960, tensorrt_rtx" in done.stderr
    engine = read_engine(file)
    assert not engine.identity.profile.fixed
    assert (engine.spec.precision, engine.half_layers) == ("fp32", 0)
    failed(stereosr(*arguments, STEREOSR_HOME=str(tmp_path)), 2, "exists", "--overwrite")
    replace(engine, identity=replace(engine.identity, version="1.0")).write(file)
    assert "it was built by tensorrt_rtx 1.0, here is" in (why_unusable(file, engine.identity) or "")


def test_what_is_kept_is_built_again_where_it_is_stale_or_damaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(RTX, reason="needs tensorrt_rtx: pip install stereosr[rtx]")
    monkeypatch.setenv("STEREOSR_HOME", str(tmp_path / "home"))
    onnx_file = BUNDLED / file_name("nafssr-t", 2)
    monkeypatch.setattr(
        "stereosr_cli.work.build.build",
        lambda _onnx, wanted, _step: EngineFile(wanted, read_spec(onnx_file), 2, 1, b"plan"),
    )

    def built(out: Path | None = None) -> str:
        build_engine(onnx_file, ("sm89",), None, None, out, overwrite=False)
        return capsys.readouterr().err

    assert "again" not in built()
    (file,) = (tmp_path / "home").iterdir()
    good = file.read_bytes()
    file.write_bytes(good[:-1] + b"?")
    assert f"building {file.name} again: {file} is damaged" in built()
    assert file.read_bytes() == good
    with pytest.raises(UsageError, match="exists: pass --overwrite"):
        built()
    mine = tmp_path / "mine.engine"
    mine.write_bytes(b"anything")
    with pytest.raises(UsageError, match="exists: pass --overwrite"):
        built(mine)


def test_what_cannot_be_built_is_refused_in_one_line(half, tmp_path: Path) -> None:
    pytest.importorskip(RTX, reason="needs tensorrt_rtx: pip install stereosr[rtx]")
    failed(stereosr("build", half("nafssr-t"), "--for", "sm90"), 2, "sm90", "sm75", "sm120", "(--for)")
    failed(stereosr("export", "--format", "tensorrt", "--for", "sm90"), 2, "sm90", "(--for)")
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
    with pytest.raises(BackendUnavailable, match=r'pip install "stereosr\[rtx\]" for RTX GPUs') as problem:
        variant(())
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
