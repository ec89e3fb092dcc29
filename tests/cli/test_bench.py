"""``stereosr bench`` as people run it."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from command import failed, stereosr, wait_until
from shared_data import SHARED, shared
from stereosr.evaluation.bench import Bicubic, Summary
from stereosr.evaluation.datasets import open_dataset
from stereosr.evaluation.degrade import degrade
from stereosr.models.library import BUNDLED
from stereosr_cli.work.bench import headlines
from tiny_onnx import network

RENDER = BUNDLED / "examples/render"


@pytest.fixture
def home(tmp_path):
    return {"STEREOSR_HOME": str(tmp_path / "home")}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Two scenes, cut from the example at the smallest size that the bundled models take as it is."""
    root = tmp_path_factory.mktemp("data") / "cuts"
    for scene, top in (("first", 60), ("second", 240)):
        for view in (0, 1):
            path = root / "hr" / scene / f"hr{view}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), cv2.imread(str(RENDER / f"hr{view}.png"))[top : top + 180, 50:590])
    return root


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_alone_it_measures_the_bundled_models_on_the_bundled_example(home):
    done = stereosr("bench", "--only", "quality", "--json", **home)
    assert done.returncode == 0, done.stderr
    bicubic, *models = lines(done.stdout)
    assert bicubic["model"] == "bicubic"
    assert [model["model"] for model in models] == ["gcssr", "gcssr-photo", "nafssr-t", "nafssr-t-photo"]
    for model in models:
        assert model["backend"] == "ort-cpu"
        assert model["parameters"] > 400_000
        assert model["gmacs"] > 50
        assert model["latency"] is None
        assert model["psnr_avg"] > bicubic["psnr_avg"] + (0 if model["model"].endswith("-photo") else 1)


def test_the_numbers_are_those_of_the_pictures_that_upscale_writes(dataset, tmp_path, home):
    """By the referee, which shares no code with us, to 0.001 dB."""
    referee = SHARED.parent / "tools/score.py"
    if not referee.exists():
        pytest.skip("needs the referee of ../shared/tools/score.py")
    found = lines(stereosr("bench", dataset, "-s", 4, "-n", "gcssr", "--only", "quality", "--json", **home).stdout)
    pairs = tmp_path / "pairs"
    for scene in (dataset / "hr").iterdir():
        (pairs / scene.name).mkdir(parents=True)
        for view in (0, 1):
            small = degrade(np.asarray(cv2.imread(str(scene / f"hr{view}.png"))), 4)
            cv2.imwrite(str(pairs / scene.name / f"lr{view}.png"), small)
    done = stereosr("upscale", pairs, "-o", tmp_path / "out", "--quiet")
    assert done.returncode == 0, done.stderr
    for row, what in ((found[0], ["--bicubic", "4"]), (found[1], [tmp_path / "out"])):
        command = [sys.executable, referee, dataset / "hr", *what]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
        left, left_ssim, avg, avg_ssim = map(float, re.findall(r"(?<= |/)\d*\.\d+", said))
        assert row["psnr_left"] == pytest.approx(left, abs=6e-4), said
        assert row["psnr_avg"] == pytest.approx(avg, abs=6e-4), said
        assert row["ssim_left"] == pytest.approx(left_ssim, abs=6e-5), said
        assert row["ssim_avg"] == pytest.approx(avg_ssim, abs=6e-5), said


def test_bicubic_on_real_pictures_prints_the_known_digits(home):
    done = stereosr("bench", shared("bench/Middlebury4"), "-n", "bicubic", "--only", "quality", **home)
    assert done.returncode == 0, done.stderr
    assert "four of the published benchmark's five scenes" in done.stdout
    assert "26.36/.7460" in done.stdout


def test_every_output_has_every_row(dataset, home, tmp_path):
    out = tmp_path / "kept.jsonl"
    arguments = ("bench", dataset, "-n", "gcssr", "--rounds", 1, "-o", out)
    done = stereosr(*arguments, **home)
    assert done.returncode == 0, done.stderr
    for text in ("cuts x4: 2 scenes", "made by MATLAB's imresize", "gcssr", "LR 135x45", "in turn"):
        assert text in done.stdout, done.stdout
    kept = out.read_text(encoding="utf-8")
    table = stereosr(*arguments, "--csv", **home).stdout
    bicubic, model = csv.DictReader(io.StringIO(table))
    assert float(model["psnr_avg"]) > float(bicubic["psnr_avg"]) > 15
    assert float(model["first"]) > float(model["latency"]) > float(bicubic["latency"]) > 0
    assert int(model["memory"]) > 10**7
    added = out.read_text(encoding="utf-8").removeprefix(kept)
    assert [record["kind"] for record in lines(added)] == ["run"]  # nothing was measured twice
    markdown = stereosr(*arguments, "--md", **home).stdout
    assert markdown.count("\n| gcssr | ort-cpu fp32 |") == 3


def test_ctrl_c_and_a_second_start_finish_the_table(dataset, home):
    """Without -o: what was measured is found in the user's cache, and gone when the table is finished."""
    command = [sys.executable, "-m", "stereosr_cli", "bench", str(dataset), "-x", "-n", "nafssr-t"]
    command += ["--only", "quality", "--json"]
    first = subprocess.Popen(command, env=os.environ | home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder = Path(home["STEREOSR_HOME"]) / "bench"

    def a_scene_is_done():
        return any('"scene"' in p.read_text(encoding="utf-8") for p in folder.glob("*.jsonl"))

    wait_until(lambda: a_scene_is_done() or first.poll() is not None)
    assert first.poll() is None, first.communicate(timeout=60)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130, said
    assert "Traceback" not in said
    (kept,) = folder.glob("*.jsonl")
    done = [record for record in lines(kept.read_text(encoding="utf-8")) if record["kind"] == "scene"]
    assert 1 <= len(done) < 6
    kept.write_text(kept.read_text(encoding="utf-8").replace(json.dumps(done[0]), json.dumps(done[0] | {"lost": 0.5})))
    second = stereosr("bench", dataset, "-x", "-n", "nafssr-t", "--only", "quality", "--json", **home)
    assert second.returncode == 0, second.stderr
    assert "resuming" in second.stderr
    rows = lines(second.stdout)
    assert [(row["ensemble"], row["scenes"]) for row in rows] == [(False, 2), (False, 2), (True, 2)]
    assert rows[2]["psnr_avg"] > rows[1]["psnr_avg"]
    assert any(row["lost"] > 0.2 for row in rows)  # the doctored record was believed: not done again
    assert not kept.exists()


def test_degraded_rows_are_kept_with_their_recipe_and_compared(dataset, home, tmp_path):
    """The clean digits are those of a run without --degrade; a second run has nothing left to measure."""
    out = tmp_path / "kept.jsonl"
    arguments = ["bench", dataset, "-n", "bicubic", "--only", "quality"]
    (alone,) = lines(stereosr(*arguments, "--json", **home).stdout)
    arguments += ["--degrade", "clean,jpeg85,noise5+jpeg85"]
    done = stereosr(*arguments, "-o", out, "--json", **home)
    assert done.returncode == 0, done.stderr
    clean, jpeg, both = lines(done.stdout)
    assert clean == alone
    assert [row["recipe"] for row in (clean, jpeg, both)] == ["clean", "jpeg85", "noise5+jpeg85"]
    assert clean["psnr_avg"] > jpeg["psnr_avg"] > both["psnr_avg"]
    kept = lines(out.read_text(encoding="utf-8"))
    assert [r["recipe"] for r in kept if r["kind"] == "scene"] == ["clean", "jpeg85", "noise5+jpeg85"] * 2
    assert all("jpeg" in r for r in kept if r["kind"] == "run")  # whose bits the JPEG's are
    page = tmp_path / "page.html"
    again = stereosr(*arguments, "-o", out, "--check", out, "--html", page, **home)
    assert again.returncode == 0, again.stderr
    assert "JPEG by libjpeg" in again.stdout
    assert json.dumps("first · jpeg85") in page.read_text(encoding="utf-8")
    assert [r["kind"] for r in lines(out.read_text(encoding="utf-8"))[len(kept) :]] == ["run"]
    fewer = stereosr(*arguments[:-1], "clean", "--check", out, **home)
    assert fewer.returncode == 1
    assert "bicubic · numpy · uint8 · jpeg85: not in this run" in fewer.stderr
    failed(stereosr("bench", dataset, "--degrade", "jpeg85,blur", **home), 2, "invalid degradation 'blur'")


def test_a_single_view_network_is_a_row(dataset, home, tmp_path):
    pytest.importorskip("onnx")
    file = network(tmp_path / "repeat.onnx")
    arguments = ("bench", dataset, "-s", 2, "-n", "bicubic", "--single-view", file, "--only", "quality", "--json")
    done = stereosr(*arguments, **home)
    assert done.returncode == 0, done.stderr
    bicubic, single = lines(done.stdout)
    assert (single["model"], single["backend"], single["parameters"]) == ("repeat (single view)", "ort-cpu", None)
    assert 10 < single["psnr_avg"] < bicubic["psnr_avg"]
    wrong = stereosr("bench", dataset, "-s", 4, *arguments[4:], **home)
    failed(wrong, 3, "2 left out")
    assert "failed: first: repeat (single view) · ort-cpu · fp32: repeat.onnx makes" in wrong.stderr
    assert "(--scale)" in wrong.stderr


def test_check_ends_with_1_where_quality_fell(dataset, home, tmp_path):
    out = tmp_path / "kept.jsonl"
    arguments = ("bench", dataset, "-n", "nafssr-t", "--only", "quality", "--json")
    assert stereosr(*arguments, "-o", out, **home).returncode == 0
    done = stereosr(*arguments, "--check", out, **home)
    assert done.returncode == 0, done.stderr
    better = [
        record | ({"psnr_avg": record["psnr_avg"] + 0.02} if record["kind"] == "scene" else {})
        for record in lines(out.read_text(encoding="utf-8"))
    ]
    out.write_text("".join(json.dumps(record) + "\n" for record in better))
    done = stereosr(*arguments, "--check", out, **home)
    assert done.returncode == 1
    assert "worse: nafssr-t · ort-cpu · fp32: avg fell" in done.stderr
    failed(stereosr("bench", "--only", "quality", "--check", out, **home), 2, "is of cuts x4", "not of examples x4")


def test_bad_scenes_are_one_line_each_and_the_rest_goes_on(dataset, home, tmp_path):
    root = tmp_path / "bad"
    shutil.copytree(dataset, root)
    shutil.rmtree(root / "hr/second")
    for scene in ("mixed", "alone"):
        shutil.copytree(root / "hr/first", root / "hr" / scene)
    (root / "hr/alone/hr1.png").unlink()
    cv2.imwrite(str(root / "hr/mixed/hr1.png"), np.zeros((180, 544, 3), np.uint8))
    done = stereosr("bench", root, "-n", "gcssr", "--only", "quality", "--json", **home)
    failed(done, 3, "2 left out")
    assert "left out: mixed: hr0.png is 540x180, hr1.png is 544x180" in done.stderr
    assert "left out: hr/alone/hr0.png: no partner" in done.stderr
    assert [row["scenes"] for row in lines(done.stdout)] == [1, 1]


def test_what_cannot_be(home, tmp_path):
    failed(stereosr("bench", tmp_path, **home), 2, "no stereo pairs")
    failed(stereosr("bench", "-b", "no-such-backend", **home), 2, "no-such-backend", "ort-cpu")
    failed(stereosr("bench", "-s", 3, **home), 2, "no model x3", "x2 and x4", "--scale")
    failed(stereosr("bench", "-n", "no-such-model", **home), 2, "no-such-model", "nafssr-t x4")
    failed(stereosr("bench", "--check", tmp_path / "missing.jsonl", **home), 2, "cannot read")


def test_bicubic_tells_whether_the_pictures_are_the_published_ones(dataset):
    data = replace(open_dataset(dataset, 4), benchmark="KITTI2015")
    summary = Summary(row=Bicubic(4).row, device="numpy", psnr_avg=24.383)
    assert "bicubic 24.38 dB avg as published (24.38): these numbers compare with the papers'" in headlines(
        [summary], data
    )
    other = replace(summary, psnr_avg=24.41)
    assert "bicubic is 24.41 dB avg where 24.38 is published: other pictures, or another LR" in headlines([other], data)
    assert len(headlines([other], replace(data, benchmark=None))) == 2
