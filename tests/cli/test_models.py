"""``stereosr models``."""

import json
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from command import in_process
from fakes import SPEC
from stereosr.models.library import BUNDLED
from stereosr.models.spec import METADATA_KEY
from tiny_onnx import network


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


def test_models_are_pulled_added_and_removed(tmp_path: Path) -> None:
    """From a server on loopback; what is said of them is whose they are."""
    onnx = pytest.importorskip("onnx")
    home, served = {"STEREOSR_HOME": str(tmp_path / "home")}, tmp_path / "served"
    served.mkdir()
    model = onnx.load(str(network(served / "any.onnx")))
    spec = replace(SPEC, name="mine", scale=3, license="CC0", precision="fp32")
    model.metadata_props.add(key=METADATA_KEY, value=spec.to_json())
    onnx.save(model, str(served / "any.onnx"))
    (served / "page.onnx").write_text("<html>")
    handler = partial(QuietHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/any.onnx"
        done = in_process("models", "pull", url, **home)
        refused = in_process("models", "pull", url.replace("any", "page"), **home)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert "mine_x3.onnx: mine x3 fp32" in done.stdout
    assert "terms: CC0" in done.stdout
    assert refused.returncode == 2
    assert "is not an ONNX file of stereosr" in refused.stderr
    assert sorted(p.name for p in (tmp_path / "home").rglob("*") if p.is_file()) == ["mine_x3.onnx"]
    again = in_process("models", "add", served / "any.onnx", **home)
    assert again.returncode == 2
    assert "exists: overwrite it" in again.stderr
    assert in_process("models", "add", served / "any.onnx", "--overwrite", **home).returncode == 0
    removed = in_process("models", "remove", "mine", **home)
    assert removed.returncode == 0, removed.stderr
    assert "removed" in removed.stdout
    assert "nothing to remove" in in_process("models", "remove", "mine", **home).stderr
    assert "comes with the program and stays" in in_process("models", "remove", "nafssr-t", **home).stderr


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *_: object) -> None:
        pass


def test_a_pipe_gets_whole_paths_and_costs_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"name": "net", "scale": 2, "parameters": 7, "gmacs": 1.5, "weights": "this project", "source": "paper"}
    counted: list[int] = []

    def zoo() -> list[dict[str, object]]:
        counted.append(1)
        return [row]

    monkeypatch.setattr("stereosr_cli.work.models._zoo", zoo)
    monkeypatch.setattr("stereosr_cli.work.models._zoo_is_here", lambda: True)
    done = in_process("models", STEREOSR_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert str(BUNDLED / "nafssr-t_x4.onnx") in done.stdout
    assert any(line.split()[:2] == ["net", "x2"] for line in done.stdout.splitlines())
    again = in_process("models", "--json", STEREOSR_HOME=str(tmp_path))
    assert json.loads(again.stdout.splitlines()[-1]) == row
    assert len(counted) == 1
    (tmp_path / "zoo.json").write_text('{"key": "of other sources", "rows": []}')
    assert in_process("models", STEREOSR_HOME=str(tmp_path)).stdout == done.stdout
    assert len(counted) == 2
