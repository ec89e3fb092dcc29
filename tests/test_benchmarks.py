"""The committed results: of the very models that are bundled, repeatable, and what the README shows."""

import importlib.util
import json
from types import ModuleType

import pytest

from command import stereosr
from shared_data import ROOT
from stereosr_engines.bench import read_log, summarise

RESULTS = sorted((ROOT / "benchmarks/results").glob("*_x?.jsonl"))


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_shows_the_committed_results():
    """To make it so: python benchmarks/readme.py"""
    readme = script("readme")
    (shown,) = readme.MARKED.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown == readme.section()
    assert "bicubic | 24.38 / .7334 | 23.79 / .7066 |" in shown


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_row_has_every_scene(path):
    records = read_log(path)
    run = next(record for record in records if record["kind"] == "run")
    assert run["commit"]
    for row in (record["row"] for record in records if record["kind"] == "row"):
        assert len({r["scene"] for r in records if r["kind"] == "scene" and r["row"] == row}) == run["scenes"], row


@pytest.mark.parametrize("scale", [4, 2])
def test_the_results_are_of_the_bundled_models(tmp_path, scale):
    """The example's are repeated, as a project would do in its CI. After training: python benchmarks/results.py DATA"""
    kept = ROOT / f"benchmarks/results/example_x{scale}.jsonl"
    before = {s.row.title: s.psnr_avg for s in summarise(read_log(kept), scale)}
    ensemble = ["-x"] if len(before) > 2 else []
    done = stereosr(
        *("bench", "-s", scale, "--only", "quality", "--check", kept, "--json", *ensemble), STEREOSR_HOME=str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    for row in map(json.loads, done.stdout.splitlines()):
        title = row["model"] + " + ensemble" * row["ensemble"]
        assert row["psnr_avg"] == pytest.approx(before[title], abs=0.01)


def test_there_are_results_of_every_set():
    names = {f"{name}_x{scale}" for name in ("kitti2015", "middlebury4", "example") for scale in (2, 4)}
    assert {path.stem for path in RESULTS} >= names
