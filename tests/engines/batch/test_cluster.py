"""Jobs on a Ray cluster of two nodes on this machine: as a local job, whoever dies."""

import importlib.util
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Timer

import numpy as np
import psutil
import pytest

from command import failed, in_process, stereosr
from fakes import FakeBackend
from shared_data import ROOT
from stereosr.batch import cluster
from stereosr.batch.cluster import Cluster, Place, _identity, _Payload, _Share, _Worker, open_job
from stereosr.batch.inputs import Naming, collect
from stereosr.batch.item import Settings
from stereosr.batch.job import run
from stereosr.batch.manifest import MANIFEST, Manifest
from stereosr.errors import UsageError
from stereosr.inference.settings import TileSettings
from stereosr.io.encode import write_picture
from stereosr.io.images import Picture

START, WAIT = 80, 180
"""Seconds that Ray may take to start, and a test, on a machine that is busy with more than this."""

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or sys.platform != "linux", reason="needs Ray, on Linux"
)


def make_pairs(folder: Path, count: int, rows: dict[int, int] | None = None) -> Path:
    """Pairs of 7 rows, but for those of ``rows``."""
    folder.mkdir()
    for n in range(count):
        for side in "LR":
            pixels = np.random.default_rng(2 * n + (side == "R")).integers(
                0, 256, ((rows or {}).get(n, 7), 9, 3), np.uint8
            )
            write_picture(folder / f"{n:03}_{side}.png", Picture(pixels))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}


def local(source: Path, out: Path) -> dict[str, bytes]:
    """What a job of one process writes."""
    items = collect([source], Naming(out=out, suffix="_x2")).items
    assert all(run(items, FakeBackend(), Settings(model="fake"), out / MANIFEST))
    return files(out)


def times_done(out: Path) -> Counter[str]:
    """How often the manifest has each item as done."""
    rows = map(json.loads, (out / MANIFEST).read_text().splitlines())
    return Counter(row["name"] for row in rows if row["state"] == "done")


def popen(program: list[str], stdin: int) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    pipe = subprocess.PIPE
    return subprocess.Popen(program, env=environment, stdin=stdin, stdout=pipe, stderr=pipe, text=True)


class Deadline:
    """Of the test that runs."""

    until = 0.0

    @classmethod
    def set(cls, seconds: float) -> None:
        cls.until = time.monotonic() + seconds


@contextmanager
def bounded(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Kill the process where what is waited for does not come: who reads from it waits no longer."""
    timer = Timer(max(0, Deadline.until - time.monotonic()), process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Nodes:
    """A cluster that runs in a process of its own, and what is told to it."""

    def __init__(self) -> None:
        program = [sys.executable, str(ROOT / "tests/workers/ray_nodes.py")]
        self.process = popen(program, subprocess.PIPE)
        try:
            self.address = self.answer()
        except BaseException:
            self.close()
            raise

    def answer(self) -> str:
        with bounded(self.process):
            line = self.process.stdout.readline().strip()
        if not line:
            with bounded(self.process):
                said = self.process.stderr.read()
            if "timed out during startup" in said:  # thirty seconds, which cannot be changed
                pytest.skip("this machine is too busy for Ray to start")
            raise AssertionError(said)
        return line

    def tell(self, order: str) -> None:
        print(order, file=self.process.stdin, flush=True)
        assert self.answer() == order

    def close(self) -> None:
        """End it, and see to it that no process of it is left."""
        family = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        try:
            self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for process in psutil.wait_procs(family, 10)[1]:
            process.kill()
        assert psutil.wait_procs(family, 10)[1] == []


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    Deadline.set(START)
    started = Nodes()
    yield started
    started.close()


def start(source: Path, out: Path, nodes: Nodes, model: str = "fake") -> "subprocess.Popen[str]":
    worker = str(ROOT / "tests/workers/run_on_cluster.py")
    program = [sys.executable, worker, str(source), str(out), nodes.address, model]
    return popen(program, subprocess.DEVNULL)


def lines(process: "subprocess.Popen[str]", count: int) -> list[str]:
    with bounded(process):
        return [process.stdout.readline().rstrip() for _ in range(count)]


def rest(process: "subprocess.Popen[str]") -> list[str]:
    """All that it has still to say; it ends well."""
    with bounded(process), process:  # communicate would pass over what readline has read ahead
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0, err
    return [line.rstrip() for line in out.splitlines()]


@needs_ray
class TestOnTwoNodes:
    @pytest.fixture(autouse=True)
    def _deadline(self, nodes: Nodes) -> None:  # noqa: ARG002 - whose start has its own
        Deadline.set(WAIT)

    def test_all_but_what_is_broken_is_as_a_local_job_does_it(self, nodes, tmp_path):
        """A pair that cannot be read, and one that its workers die of, fail by themselves; one is done again."""
        source = make_pairs(tmp_path / "photos", 8, rows={3: 5, 5: 4})
        (source / "006_R.png").write_bytes(b"no picture")
        said = rest(start(source, tmp_path / "out", nodes))
        assert Counter(line.split()[0] for line in said) == {"done": 6, "failed": 2}
        deadly, bad = sorted(line for line in said if line.startswith("failed"))
        assert "006_R.png" in bad
        assert "003: 3 workers died at it" in deadly
        assert (tmp_path / "flag").exists()
        for side in "LR":
            (source / f"003_{side}.png").unlink()
        assert files(tmp_path / "out") == local(source, tmp_path / "local")
        assert times_done(tmp_path / "out") == times_done(tmp_path / "local")

    def test_a_driver_that_was_killed_goes_on(self, nodes, tmp_path):
        source, out = make_pairs(tmp_path / "photos", 12), tmp_path / "out"
        process = start(source, out, nodes)
        before = lines(process, 4)
        process.kill()
        process.communicate(timeout=WAIT)
        again = rest(start(source, out, nodes))
        assert {line.replace("done", "skipped") for line in before} <= set(again)
        assert len(again) == 12
        assert files(out) == local(source, tmp_path / "local")
        assert set(times_done(out).values()) == {1}

    @pytest.mark.parametrize("order", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
    def test_interrupted_it_leaves_nothing_half_written(self, nodes, tmp_path, order):
        source, out = make_pairs(tmp_path / "photos", 12), tmp_path / "out"
        process = start(source, out, nodes)
        lines(process, 2)
        process.send_signal(order)
        with bounded(process):
            process.communicate(timeout=WAIT)
        assert process.returncode == 130
        assert [name for name in files(out) if name.startswith(".")] == []

    def test_where_no_node_has_the_model_that_is_said(self, nodes, tmp_path):
        process = start(make_pairs(tmp_path / "photos", 2), tmp_path / "out", nodes, "another")
        with bounded(process):
            _, err = process.communicate(timeout=WAIT)
        assert process.returncode == 1
        assert "StereosrError: no node of the cluster can be used" in err
        assert "its model is not that of this machine, by sha256 fake and another" in err
        assert not (tmp_path / "out").exists()

    def test_a_node_that_dies_loses_nothing(self, nodes, tmp_path):
        source, out = make_pairs(tmp_path / "photos", 30), tmp_path / "out"
        process = start(source, out, nodes)
        said = lines(process, 6)
        nodes.tell("kill")
        said += rest(process)
        nodes.tell("add")
        assert sorted(said) == [f"done {n:03}" for n in range(30)]
        assert files(out) == local(source, tmp_path / "local")
        assert set(times_done(out).values()) == {1}

    def test_the_command_says_what_it_says_of_a_local_job(self, nodes, tmp_path):
        """And nothing else: no line of Ray's, though workers are started and ended."""
        source, out = make_pairs(tmp_path / "photos", 3), tmp_path / "out"
        (source / "001_R.png").write_bytes(b"no picture")
        asked = ("upscale", "photos", "-o", "out", "-n", "nafssr-t", "-s", 2, "-b", "ort-cpu", "--json")
        done = stereosr(*asked, "--cluster", nodes.address, "--threads", 1, cwd=tmp_path)
        said = [json.loads(line) for line in done.stdout.splitlines()]
        assert sorted((line["name"], line["status"]) for line in said) == [
            ("000", "done"),
            ("001", "failed"),
            ("002", "done"),
        ]
        assert {line["device"] for line in said if line["tiles"]} == {"onnxruntime CPUExecutionProvider"}
        expected = stereosr(*asked[:3], "local", *asked[4:], cwd=tmp_path)
        assert done.returncode == expected.returncode == 3
        assert done.stderr == expected.stderr
        assert files(out) == files(tmp_path / "local")

    @pytest.mark.slow
    def test_nodes_may_die_again_and_again(self, nodes, tmp_path):
        source, out = make_pairs(tmp_path / "photos", 200), tmp_path / "out"
        process = start(source, out, nodes)
        said = []
        for _ in range(4):
            said += lines(process, 10)
            nodes.tell("kill")
            nodes.tell("add")
        said += rest(process)
        assert sorted(said) == [f"done {n:03}" for n in range(200)]
        assert files(out) == local(source, tmp_path / "local")
        assert set(times_done(out).values()) == {1}


class TestWorker:
    """What a worker refuses."""

    @staticmethod
    def refusal(stereosr: str, payload: bytes) -> str:
        log = logging.getLogger("stereosr")
        before = log.handlers, log.level, log.propagate
        try:
            return _Worker().open(stereosr, payload, logging.ERROR, _Share(1, 0, 1)).refusal
        finally:
            log.handlers, log.propagate = before[0], before[2]
            log.setLevel(before[1])

    def test_another_stereosr_is_refused_before_anything_is_unpickled(self):
        assert "it has stereosr" in self.refusal("0.0.1 (abc)", b"no pickle")

    @needs_ray
    def test_a_node_without_the_folders_is_refused(self, tmp_path):
        payload = pickle.dumps(_Payload(partial(open_job, None, None), None, (tmp_path / "none",)))
        assert f"does not have {tmp_path / 'none'}" in self.refusal(_identity(), payload)

    def test_another_model_is_refused(self):
        place = Place(Manifest(None), lambda: None, 1, 1)
        with pytest.raises(UsageError, match="its model is not that of this machine"):
            open_job(lambda _threads: (FakeBackend(), "other"), Settings(model="fake"), place)

    def test_workers_of_one_node_share_its_memory(self, monkeypatch):
        monkeypatch.setattr(cluster, "available_memory", lambda: 8000)
        for workers, chosen, expected in ((1, None, None), (4, None, 1500), (4, 99, 99)):
            settings = Settings(model="fake", tiles=TileSettings(max_memory=chosen))
            place = Place(Manifest(None), lambda: None, 1, workers)
            job = open_job(lambda _threads: (FakeBackend(), "fake"), settings, place)
            assert job.settings.tiles.max_memory == expected


CPUS, GPUS = {"CPU": 8.0}, {"CPU": 16.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("gpu", "threads", "nodes", "expected"),
    [
        (False, None, [CPUS, {"CPU": 4.0}], [(8, 0, 1), (4, 0, 1)]),
        (False, 3, [CPUS, {"CPU": 2.0}], [(3, 0, 2), (3, 0, 0)]),
        (True, None, [CPUS, GPUS], [(1, 1, 0), (1, 1, 2)]),
        (True, None, [CPUS], [(8, 0, 1)]),
        (False, None, [GPUS, {}], [(16, 0, 1), (0, 0, 0)]),
    ],
)
def test_what_a_worker_takes_of_a_node(gpu, threads, nodes, expected):
    shares = Cluster(address="auto", gpu=gpu, threads=threads).shares(nodes)
    assert [(share.cpus, share.gpus, share.workers) for share in shares] == expected


def test_nothing_of_ray_is_imported_unless_asked_for():
    code = "import sys, stereosr_cli.work.upscale; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=WAIT)


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_an_address_where_nothing_is_is_said_at_once(tmp_path, address):
    make_pairs(tmp_path / "photos", 1)
    done = stereosr("upscale", "photos", "-o", "out", "--cluster", address, cwd=tmp_path)
    failed(done, 2, f"no Ray cluster at {address}", "a local one", "(--cluster)")


def test_two_ways_to_share_a_folder_are_one_too_many(tmp_path):
    make_pairs(tmp_path / "photos", 1)
    done = in_process("upscale", "photos", "-o", "out", "--shard", "1/2", "--cluster", "local", cwd=tmp_path)
    failed(done, 2, "--cluster and --shard" if importlib.util.find_spec("ray") else 'stereosr[ray]"')
