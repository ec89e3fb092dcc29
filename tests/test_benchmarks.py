"""The committed results: of the very models that are bundled, repeatable, and what the documentation shows."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from command import stereosr
from shared_data import ROOT
from stereosr.evaluation.bench import read_log, summarise
from stereosr.io.encode import write_picture
from stereosr.io.images import Picture
from stereosr.models.library import default_model

RESULTS = sorted((ROOT / "benchmarks/results").glob("*_x?.jsonl"))


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_and_the_model_cards_show_the_committed_results() -> None:
    """To make it so: python benchmarks/pages.py"""
    pages = script("pages")
    (shown,) = pages.MARKED.findall(pages.PAGE.read_text(encoding="utf-8"))
    assert shown == pages.section()
    assert "bicubic | 24.38 / .7334 | 23.79 / .7066 |" in shown
    assert pages.MARKED.findall(pages.CARD.read_text(encoding="utf-8")) == [pages.card()]
    assert pages.MARKED.findall(pages.BASELINES_CARD.read_text(encoding="utf-8")) == [pages.baselines_card()]


def test_what_pages_show_is_of_clean_lr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages, kept = script("pages"), ROOT / "benchmarks/results/example_x4.jsonl"
    (tmp_path / "results").mkdir()
    degraded = [r | {"recipe": "jpeg70"} for r in read_log(kept) if r["kind"] == "scene"]
    text = kept.read_text(encoding="utf-8") + "".join(json.dumps(r) + "\n" for r in degraded)
    (tmp_path / "results/example_x4.jsonl").write_text(text, encoding="utf-8")
    monkeypatch.setattr(pages, "HERE", tmp_path)
    assert pages.results("example", 4)[1] == summarise(read_log(kept), 4)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_row_has_every_scene(path: Path) -> None:
    records = read_log(path)
    run = next(record for record in records if record["kind"] == "run")
    assert run["commit"]
    for row in (record["row"] for record in records if record["kind"] == "row"):
        assert len({r["scene"] for r in records if r["kind"] == "scene" and r["row"] == row}) == run["scenes"], row


@pytest.mark.parametrize("scale", [4, pytest.param(2, marks=pytest.mark.slow)])
def test_the_results_are_of_the_bundled_models(tmp_path: Path, scale: int) -> None:
    """The example's are repeated, as a project would do in its CI. After training: python benchmarks/results.py DATA"""
    kept = ROOT / f"benchmarks/results/example_x{scale}.jsonl"
    rows = [summary.row for summary in summarise(read_log(kept), scale)]
    before = {s.row.title: s.psnr_avg for s in summarise(read_log(kept), scale)}
    models = dict.fromkeys(row.model for row in rows if row.parameters)
    assert default_model(scale) in models
    done = stereosr(
        *("bench", "-s", scale, *(part for model in models for part in ("-n", model)), "--only", "quality"),
        *("--check", kept, "--json", *(["-x"] if any(row.ensemble for row in rows) else [])),
        STEREOSR_HOME=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    for row in map(json.loads, done.stdout.splitlines()):
        title = row["model"] + " + ensemble" * row["ensemble"]
        assert row["psnr_avg"] == pytest.approx(before[title], abs=0.01)


def test_passrnets_are_compared_after_equal_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stereo, replicated and single input, two iterations each."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    for name in "abc":
        for side, x in (("left", 8), ("right", 0)):
            wide = np.random.default_rng(ord(name)).integers(0, 256, (12, 48, 3), np.uint8)
            picture = cv2.resize(wide, (440, 100), interpolation=cv2.INTER_CUBIC)[:, x : x + 432].astype(np.uint8)
            target = tmp_path / f"data/stereo/{name}/{side}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_picture(target, Picture(picture))
    losses = script("passrnet_losses")
    recipe = losses.recipe
    monkeypatch.setattr(losses, "recipe", lambda *a: replace(recipe(*a), batch=1, patch=(8, 16)))
    monkeypatch.setattr(losses, "MODELS", [model for model in losses.MODELS if model != "passrnet-sr-loss"])
    out = tmp_path / "table.md"
    arguments = [tmp_path / "data", "--runs", tmp_path / "runs", "--until", 2, "-o", out]
    monkeypatch.setattr("sys.argv", ["passrnet_losses.py", *map(str, arguments)])
    try:
        losses.main()
    finally:
        torch.set_num_threads(threads)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.read_text().splitlines()]
    assert rows[0] == ["iterations", "model", "PSNR, dB", "pixels attended", "disparity found", "mask agreement"]
    assert [row[:2] for row in rows[2:]] == [["2", model] for model in losses.MODELS]
    measured = {row[1]: row[2:] for row in rows[2:]}
    assert all(4 < float(row[0]) < 60 for row in measured.values())
    assert measured["passrnet-single-input"][1:] == ["-"] * 3
    assert 1 < float(measured["passrnet"][1]) < 432 / 4


def test_there_are_results_of_every_set() -> None:
    names = {f"{name}_x{scale}" for name in ("kitti2015", "middlebury4", "example") for scale in (2, 4)}
    assert {path.stem for path in RESULTS} >= names
