"""Rows, records and their sums, with methods that are exact and instant."""

import json
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fakes import FakeBackend
from stereosr import system
from stereosr.backends.base import RunOptions
from stereosr.errors import StereosrError, UsageError
from stereosr.evaluation import bench
from stereosr.evaluation.bench import (
    BICUBIC,
    Bicubic,
    Log,
    Model,
    Row,
    Summary,
    describe,
    measure_latency,
    measure_quality,
    open_models,
    read_log,
    regressions,
    summarise,
)
from stereosr.evaluation.datasets import open_dataset
from stereosr.evaluation.degrade import CLEAN, corrupt, degrade, imresize
from stereosr.evaluation.metrics import psnr
from stereosr.evaluation.timing import in_turn, run_command
from stereosr.system import machine


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("STEREOSR_HOME", str(tmp_path / "home"))
    root = tmp_path / "set"
    root.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a_L", "a_R", "b_L", "b_R"):
        small = rng.integers(0, 256, (20, 60, 3), np.uint8)
        cv2.imwrite(str(root / f"{name}.png"), cv2.resize(small, (160, 64)))
    return open_dataset(root, 2)


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    log.add("run", dataset="set")
    return log


@pytest.fixture
def methods(tmp_path):
    file = tmp_path / "fake.onnx"
    file.write_bytes(b"fake")
    models = [Model(FakeBackend(gmacs=3.0, parameters=5), "fake", file, ensemble) for ensemble in (False, True)]
    return [Bicubic(2), *models]


def test_rounds_run_everything_in_turn():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    rounds = list(in_turn(calls, rounds=2))
    assert "".join(order) == "abc" * 2
    assert [set(times) for times in rounds] == [set("abc")] * 2


def test_the_scores_are_those_of_the_pictures(dataset, methods, log):
    describe(methods, log)
    assert list(measure_quality(methods, dataset, log)) == []
    bicubic, model, ensemble = summarise(log.records, 2)
    expected = []
    for scene in dataset.scenes:
        for path in (scene.hr.left, scene.hr.right):
            hr = cv2.imread(str(path))
            expected.append(psnr(imresize(degrade(hr, 2), 2), hr))
    assert bicubic.psnr_avg == pytest.approx(np.mean(expected), abs=1e-12)
    assert model.scenes == 2
    assert model.psnr_avg < bicubic.psnr_avg  # repeated pixels
    assert ensemble.psnr_avg == pytest.approx(model.psnr_avg)  # which every flip repeats alike
    assert (ensemble.row.gmacs, model.row.gmacs) == (12, 3)
    assert [s.row.title for s in (bicubic, model, ensemble)] == [BICUBIC, "fake", "fake + ensemble"]


def test_a_stopped_bench_goes_on_where_it_was(dataset, methods, log):
    class Stop:
        row, device = methods[1].row, "fake"
        calls = 0

        def __call__(self, lr):
            self.calls += 1
            if self.calls == 2:
                raise KeyboardInterrupt
            return methods[1](lr)

    describe(methods, log)
    with pytest.raises(KeyboardInterrupt):
        list(measure_quality([methods[0], Stop()], dataset, log))
    with log.path.open("a") as file:
        file.write('{"kind": "scene", "ro')  # killed while writing
    before = read_log(log.path)
    again = Log(log.path)
    assert list(measure_quality(methods[:2], dataset, again)) == []
    records = read_log(log.path)
    assert records[: len(before)] == before
    done = [(r["row"], r["scene"]) for r in records if r["kind"] == "scene"]
    assert len(done) == len(set(done)) == 4
    assert len(again.records) == len(records)


def test_degraded_lr_is_what_the_methods_see(dataset, methods, log):
    """Scores by recipe, against bicubic of the very bits that ``corrupt`` makes; those of clean LR stay as they are."""
    describe(methods, log)
    assert list(measure_quality(methods[:1], dataset, log)) == []
    clean = summarise(log.records, 2, [methods[0].row.key])
    recipes = (CLEAN, "noise5+jpeg85")
    steps = []
    assert list(measure_quality(methods[:1], dataset, log, recipes, steps.append)) == []
    assert len(log.find("scene")) == len(steps) == 4  # nothing of the clean ones is measured again
    found = summarise(log.records, 2, [methods[0].row.key])
    assert [s.recipe for s in found] == list(recipes)
    assert found[0] == clean[0]
    expected = []
    for scene in dataset.scenes:
        for view, hr in enumerate(scene.views()[0]):
            lr = corrupt(degrade(hr, 2), recipes[1], f"{scene.name}/{view}")
            expected.append(psnr(imresize(lr, 2), hr))
    assert found[1].psnr_avg == pytest.approx(np.mean(expected), abs=1e-12)
    assert found[1].title == "bicubic · noise5+jpeg85"
    assert list(measure_quality(methods[:1], dataset, Log(log.path), recipes)) == []
    assert len(read_log(log.path)) == len(log.records)


def test_scores_of_earlier_versions_are_of_clean_lr(dataset, methods, log):
    describe(methods[:1], log)
    assert list(measure_quality(methods[:1], dataset, log)) == []
    log.path.write_text(log.path.read_text().replace(', "recipe": "clean"', ""))
    assert '"recipe"' not in log.path.read_text()
    again = Log(log.path)
    assert summarise(again.records, 2) == summarise(log.records, 2)
    before = len(again.records)
    assert list(measure_quality(methods[:1], dataset, again, [CLEAN])) == []
    assert len(again.records) == before


def test_rows_have_a_line_for_each_recipe_they_were_scored_with(dataset, methods, log):
    describe(methods, log)
    assert list(measure_quality(methods[:1], dataset, log, ["jpeg85", "noise5"])) == []
    assert list(measure_quality(methods[1:2], dataset, log, ["noise5"])) == []
    assert list(measure_latency(methods[1:2], dataset.scenes[0], 1, "here", log)) == []
    lines = [(s.title, s.scenes, s.runs) for s in summarise(log.records, 2)]
    assert lines == [
        ("bicubic · jpeg85", 2, 0),
        ("fake + ensemble · jpeg85", 0, 0),  # not scored at all
        ("bicubic · noise5", 2, 0),
        ("fake · noise5", 2, 1),
    ]
    keys = [method.row.key for method in methods]
    assert [s.title for s in summarise(log.records, 2, keys[:1], ["noise5"])] == ["bicubic · noise5"]


def test_a_method_that_fails_is_one_line_and_the_rest_goes_on(dataset, methods, log):
    class Broken:
        row, device = replace(methods[1].row, model="broken"), "fake"

        def __call__(self, _lr):
            raise StereosrError("no such luck")

    describe([*methods, Broken()], log)
    lines = [str(error) for error in measure_quality([methods[0], Broken(), methods[1]], dataset, log)]
    assert [line.split(":")[0] for line in lines] == ["a", "b"]
    assert all("broken" in line and "no such luck" in line for line in lines)
    assert [s.scenes for s in summarise(log.records, 2)] == [2, 2, 0, 0]
    (error,) = measure_latency([methods[0], Broken(), methods[1]], dataset.scenes[0], 1, "here", log)
    assert "no such luck" in str(error)
    assert [r["row"] for r in log.find("time")] == [methods[0].row.key, methods[1].row.key]


def test_latency_is_recorded_with_its_yardstick_and_not_taken_twice(dataset, methods, log):
    describe(methods, log)
    runs = []
    assert list(measure_latency(methods, dataset.scenes[0], 3, "here", log, runs.append)) == []
    assert len(runs) == 3 * (1 + 3)  # a warm-up before the rounds
    assert [r["row"] for r in log.find("time")] == [m.row.key for m in methods] * 3
    assert all(r["bicubic"] == r["seconds"] for r in log.find("time", row=methods[0].row.key))
    assert list(measure_latency(methods, dataset.scenes[0], 3, "here", log, runs.append)) == []
    assert len(log.find("time")) == 9
    assert list(measure_latency(methods, dataset.scenes[0], 1, "elsewhere", log, runs.append)) == []
    assert len(log.find("time", where="elsewhere")) == 3
    assert [s.runs for s in summarise(log.records, 2)] == [1, 1, 1]  # of the machine measured last


def test_latencies_are_summed_up_in_pairs_with_bicubic(methods):
    row = {"kind": "row", "row": "k", "device": "d"} | {f: getattr(methods[1].row, f) for f in Row.__slots__}
    times = [
        {"kind": "time", "row": "k", "size": [100, 250], "where": "w", "seconds": s, "bicubic": b}
        for s, b in ((2.0, 0.2), (4.0, 0.4), (40.0, 4.0))  # the machine was busy, with both alike
    ]
    starts = [{"kind": "start", "row": "k", "seconds": s, "memory": m} for s, m in ((3.0, 10), (5.0, 30), (4.0, 20))]
    (found,) = summarise([row, *times, *starts], scale=4)
    assert (found.latency, found.runs, found.first, found.memory) == (4.0, 3, 4.0, 30)
    assert found.speed == pytest.approx(0.1)
    assert found.megapixels == pytest.approx(2 * 16 * 25000 / 1e6 / 4)
    assert found.p95 == pytest.approx(36.4)
    assert found.psnr_avg is None


@pytest.mark.parametrize(
    ("changes", "worse"),
    [
        ({}, None),
        ({"psnr_avg": 25.991}, None),
        ({"psnr_avg": 25.989}, "avg fell from 26.000 to 25.989"),
        ({"psnr_left": 24.0}, "left fell"),
        ({"psnr_avg": 30.0}, None),
        ({"speed": 0.07}, None),
        ({"speed": 0.066}, "10.0 times bicubic's time, is 15.2 times"),
        ({"speed": None}, None),
        ({"psnr_avg": None, "psnr_left": None}, None),
    ],
)
def test_what_counts_as_worse(methods, changes, worse):
    old = Summary(row=methods[1].row, device="d", psnr_avg=26.0, psnr_left=25.0, speed=0.1)
    lines = regressions([replace(old, **changes)], [old], slowdown=1.5)
    assert len(lines) == (worse is not None)
    assert worse is None or worse in lines[0]


def test_a_row_that_is_gone_is_worse_and_a_new_model_file_is_compared(methods):
    old = Summary(row=methods[1].row, device="d", psnr_avg=26.0)
    assert "not in this run" in regressions([], [old], 1.5)[0]
    retrained = replace(old, row=replace(old.row, sha256="other"), psnr_avg=25.0)
    assert "fell" in regressions([retrained], [old], 1.5)[0]


def test_regressions_are_seen_by_recipe_and_of_the_time_once(methods):
    old = [
        Summary(row=methods[1].row, device="d", recipe=recipe, psnr_avg=26.0, speed=0.1)
        for recipe in (CLEAN, "jpeg85", "noise5")
    ]
    now = [replace(old[0], speed=0.01), replace(old[1], psnr_avg=25.0, speed=0.01)]
    lines = regressions(now, old, 1.5)
    assert [line.split(":")[0] for line in lines] == [old[0].label, old[1].label, old[2].label]
    assert "is 100.0 times" in lines[0]
    assert "fake · fake · fp32 · jpeg85: avg fell from 26.000 to 25.000" in lines[1]
    assert "not in this run" in lines[2]


def test_files_of_others_are_left_alone(tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text('my notes\n{"kind": "note"}\n')
    with pytest.raises(UsageError, match="holds no results"):
        Log(notes)
    assert notes.read_text().startswith("my notes")
    with pytest.raises(UsageError, match="cannot read"):
        read_log(tmp_path / "missing.jsonl")


def test_a_command_that_fails_says_why():
    with pytest.raises(StereosrError, match="No such file"):
        run_command(["cat", "/nowhere"])


def test_the_machine_is_named():
    found = machine()
    assert found["cpu"]
    assert "numpy" in found["versions"]
    json.dumps(found)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_dirty_if_what_runs_was_changed_and_not_by_results(tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    results = [tmp_path / "results.json", package / "README.md"]
    for path in (package / "timing.py", *results):
        path.write_text("")
    monkeypatch.setattr(system, "__file__", str(package / "timing.py"))

    def git(*arguments):
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    git("init", "-q")
    assert machine()["commit"] is None
    git("add", ".")
    assert machine()["commit"] is None
    git("commit", "-q", "-m", "all", "--no-gpg-sign")
    head = git("rev-parse", "HEAD")
    for path in results:
        path.write_text("measured")
    assert machine()["commit"] == head[:12]
    (package / "timing.py").write_text("changed")
    assert machine()["commit"] == f"{head[:12]}-dirty"


def test_models_are_closed_with_the_stack_that_opened_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backends: list[FakeBackend] = []

    def open_fake(*_: object) -> FakeBackend:
        backends.append(FakeBackend())
        return backends[-1]

    monkeypatch.setattr(bench, "open_backend", open_fake)
    (tmp_path / "x.onnx").write_bytes(b"")
    files = {tmp_path / "x.onnx": FakeBackend().spec}
    with ExitStack() as opened:
        models = list(open_models(files, ["a", "b"], True, RunOptions(), opened))
        assert len(models) == 4
        assert not any(backend.closed for backend in backends)
    assert [backend.closed for backend in backends] == [True, True]
