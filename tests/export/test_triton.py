"""The model repository: Triton's own definition of a configuration reads it; no server is run."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from command import failed, in_process
from stereosr.backends.base import RunOptions
from stereosr.backends.ort_cpu import OrtCpu
from stereosr.backends.ort_session import load_onnxruntime
from stereosr.models.library import bundled
from stereosr.models.spec import read_spec


def definition() -> ModuleType:
    """``model_config_pb2``, without the package around it, which wants gRPC."""
    pytest.importorskip("google.protobuf")
    package = importlib.util.find_spec("tritonclient")
    if package is None:
        pytest.skip("needs tritonclient")
    (folder,) = package.submodule_search_locations
    spec = importlib.util.spec_from_file_location("model_config_pb2", Path(folder) / "grpc/model_config_pb2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parsed(file: Path):
    from google.protobuf import text_format

    return text_format.Parse(file.read_text(encoding="utf-8"), definition().ModelConfig())


def test_a_repository_is_what_triton_defines_and_its_tensors_are_those_of_the_file(tmp_path):
    done = in_process("export", "nafssr-t", "--format", "triton", "-o", "repo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for scale in (2, 4):
        folder = tmp_path / f"repo/nafssr-t_x{scale}"
        assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
            "1/model.onnx",
            "README.md",
            "config.pbtxt",
        ]
        (source,) = bundled("nafssr-t", scale).values()
        assert (folder / "1/model.onnx").read_bytes() == source.read_bytes()
        config = parsed(folder / "config.pbtxt")
        assert (config.name, config.backend, config.max_batch_size) == (folder.name, "onnxruntime", 0)
        session = load_onnxruntime().InferenceSession(folder / "1/model.onnx", providers=["CPUExecutionProvider"])
        for told, found in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
            assert [tensor.name for tensor in told] == [tensor.name for tensor in found]
            assert {definition().DataType.Name(tensor.data_type) for tensor in told} == {"TYPE_FP32"}
            assert {tensor.type for tensor in found} == {"tensor(float)"}
            for tensor, own in zip(told, found, strict=True):  # -1 wherever the graph leaves the size open
                assert [size if isinstance(size, int) else -1 for size in own.shape] == list(tensor.dims)
        readme = (folder / "README.md").read_text(encoding="utf-8")
        rows, columns = read_spec(source).min_tile
        assert f"H is {rows} or more, W is {columns} or more" in readme
        assert "no Triton server has run it" in readme


@pytest.mark.slow
def test_the_half_form_is_a_model_of_its_own(tmp_path):
    done = in_process("export", "srcnn", "--fp16", "--format", "triton", "-o", "repo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    config = parsed(tmp_path / "repo/srcnn_x4_fp16/config.pbtxt")
    assert config.name == "srcnn_x4_fp16"
    with OrtCpu(tmp_path / "repo/srcnn_x4_fp16/1/model.onnx", RunOptions(threads=1)) as backend:
        assert backend.spec.precision == "fp16"


def test_what_is_there_stays_and_a_folder_must_be_named(tmp_path):
    failed(in_process("export", "--format", "triton", cwd=tmp_path), 2, "say with -o")
    mine = tmp_path / "repo/nafssr-t_x2/config.pbtxt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    done = in_process("export", "nafssr-t", "-s", 2, "--format", "triton", "-o", "repo", cwd=tmp_path)
    failed(done, 2, "config.pbtxt exists", "--overwrite")
    assert mine.read_text() == "mine"
