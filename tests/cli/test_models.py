"""``stereosr models``."""

import json
from pathlib import Path

from command import in_process


def test_a_file_in_the_cache_that_is_no_model_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"<html>not found</html>")
    done = in_process("models", STEREOSR_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "left out:" in done.stdout
    lines = [
        json.loads(line) for line in in_process("models", "--json", STEREOSR_HOME=str(tmp_path)).stdout.splitlines()
    ]
    assert any(line.get("file", "").endswith("nafssr-t_x4.onnx") for line in lines)
    (junk,) = [line for line in lines if line.get("file") == str(tmp_path / "junk.onnx")]
    assert "junk.onnx is not an ONNX file of stereosr" in junk["problem"]
