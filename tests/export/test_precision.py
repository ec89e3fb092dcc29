"""Half precision: which operators, how near to fp32, and what is refused."""

from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fakes import SPEC
from shared_data import shared
from stereosr.errors import StereosrError
from stereosr.models.library import BUNDLED, file_name, fp16_path
from stereosr.models.spec import METADATA_KEY, ModelSpec, read_spec
from stereosr.types import StereoPair, to_float
from stereosr_export.precision import compare, export_half, operators, probes, rounded, to_half

BUNDLED_X4 = BUNDLED / file_name("nafssr-t", 4)


def types(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    return {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}


def test_products_are_half_and_the_pooled_branch_and_what_goes_in_and_out_are_not() -> None:
    single = onnx.load(BUNDLED_X4)
    before = single.SerializeToString()
    model = to_half(single)
    onnx.checker.check_model(model, full_check=True)
    assert single.SerializeToString() == before
    assert 0.45 < model.ByteSize() / single.ByteSize() < 0.6
    found = types(model)
    assert any(node.op_type == "LayerNormalization" for node in model.graph.node)
    assert {found[v.name] for v in (*model.graph.input, *model.graph.output)} == {TensorProto.FLOAT}
    for node in model.graph.node:
        if node.op_type in ("Conv", "MatMul", "LayerNormalization", "MultiHeadAttention"):
            assert found[node.output[0]] == TensorProto.FLOAT16, node
        if node.op_type in ("AveragePool", "Resize"):
            assert found[node.output[0]] == TensorProto.FLOAT, node
    in_half, everything = operators(model)
    assert in_half / everything > 0.9


def test_sums_are_fp32_between_halves() -> None:
    """GCSSR's norms and the means of its rows."""
    model = to_half(onnx.load(BUNDLED / file_name("gcssr", 4)))
    onnx.checker.check_model(model, full_check=True)
    found, readers = types(model), {name: node for node in model.graph.node for name in node.input}
    sums = [node for node in model.graph.node if node.op_type.startswith("Reduce")]
    assert len(sums) > 10
    for node in sums:
        assert found[node.output[0]] == TensorProto.FLOAT
        assert found[readers[node.output[0]].output[0]] == TensorProto.FLOAT16
    in_half, everything = operators(model)
    assert in_half / everything > 0.8


@pytest.mark.slow
def test_real_pictures_come_out_the_same() -> None:
    scene = shared("bench/KITTI2015") / "lr_x4" / "000004"
    views = (np.array(cv2.imread(str(scene / f"lr{v}.png")), np.uint8)[20:65, 60:200, ::-1] for v in (0, 1))
    half = to_half(onnx.load(BUNDLED_X4))
    error, psnr = compare(BUNDLED_X4.read_bytes(), half, [StereoPair(*map(to_float, views))])
    assert psnr > 65
    assert error < 2e-2


def test_half_numbers_are_rounded_to_nearest_even_and_what_they_cannot_hold_is_nan() -> None:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["y"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "cast", [given], [result])
    model = rounded(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10))
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(10_000) * 10.0 ** rng.integers(-3, 4, 10_000)).astype(np.float32)
    x = np.append(x[np.abs(x) >= 2**-14], np.float32([0, 1 + 2**-11, 1 + 3 * 2**-11, 65504]))
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x.astype(np.float16).astype(np.float32))
    assert np.isnan(session.run(None, {"x": np.float32([65536, -1e6])})[0]).all()


def tiny(path: Path, gain: float, offset: float) -> Path:
    """A file of ours whose network is ((x * gain) + offset) / gain - offset / gain, each view doubled in size."""

    def number(name: str, value: float) -> onnx.TensorProto:
        return numpy_helper.from_array(np.full((3, 1, 1, 1), value, np.float32), name)

    nodes, results = [], []
    for view in ("left", "right"):
        nodes += [
            helper.make_node("Conv", [view, "gain"], [f"{view}1"], group=3),
            helper.make_node("Add", [f"{view}1", "offset"], [f"{view}2"]),
            helper.make_node("Sub", [f"{view}2", "offset"], [f"{view}3"]),
            helper.make_node("Conv", [f"{view}3", "inverse"], [f"{view}4"], group=3),
            helper.make_node("Resize", [f"{view}4", "", "twice"], [f"{view}_sr"]),
        ]
        results.append(helper.make_tensor_value_info(f"{view}_sr", TensorProto.FLOAT, ["n", 3, "r", "s"]))
    given = [helper.make_tensor_value_info(v, TensorProto.FLOAT, ["n", 3, "h", "w"]) for v in ("left", "right")]
    weights = [
        number("gain", gain),
        number("inverse", 1 / gain),
        numpy_helper.from_array(np.float32(offset), "offset"),
        numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice"),
    ]
    graph = helper.make_graph(nodes, "tiny", given, results, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    model.metadata_props.add(key=METADATA_KEY, value=ModelSpec(**asdict(SPEC)).to_json())
    path.write_bytes(model.SerializeToString())
    return path


def test_a_half_file_names_the_fp32_file_that_it_was_made_from(tmp_path: Path) -> None:
    single = tiny(tmp_path / "tiny.onnx", 2, 0)
    report = export_half(single, fp16_path(single))
    assert report.psnr > 60
    assert "8 of 10 operators in fp16 (80%)" in str(report)
    spec = read_spec(tmp_path / "tiny_fp16.onnx")
    assert replace(spec, precision="fp32", fp32_sha256="") == read_spec(single)
    assert len(spec.fp32_sha256) == 64


@pytest.mark.parametrize(
    ("gain", "offset", "reason"),
    [(1e6, 0, "nan dB"), (1, 1000, r"\d\d\.\d dB to fp32")],
    ids=["not finite", "under 50 dB"],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_bad_graph_is_not_written(tmp_path: Path, gain: float, offset: float, reason: str) -> None:
    single = tiny(tmp_path / "tiny.onnx", gain, offset)
    fp16_path(single).write_text("older")
    with pytest.raises(StereosrError, match=rf"fake x2 in fp16 is at {reason}.*use the fp32 file"):
        export_half(single, fp16_path(single))
    assert fp16_path(single).read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 2


def test_the_probes_are_what_breaks_half_precision() -> None:
    plain, dark, blown_out = probes(read_spec(BUNDLED_X4))
    assert 0.2 < plain.left.mean() < 0.8
    assert dark.left.max() < 0.04
    assert (blown_out.left == 1).mean() > 0.5
    assert all((p.height, p.width) == (48, 144) for p in (plain, dark, blown_out))
