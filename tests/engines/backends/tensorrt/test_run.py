"""Engines run by name, two pairs under way, replayed as graphs; against fakes that hold TensorRT's and CUDA's rules."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake_tensorrt import ANY_SIZE, FIXED, GPU, SCRATCH, FakeDevice, FakeTensorRT, engine_of
from fakes import SPEC, random_pair
from stereosr.backends.base import RunOptions
from stereosr.backends.nvidia import Driver, Gpu
from stereosr.backends.tensorrt import build as tensorrt_build
from stereosr.backends.tensorrt import run as tensorrt_run
from stereosr.backends.tensorrt.cache import write_cache
from stereosr.backends.tensorrt.run import TensorRT, fitting_engine, missing, open_engine
from stereosr.errors import BackendUnavailable, OutOfMemory, UsageError
from stereosr.inference.tiling import TilePlan
from stereosr.inference.upscale import iter_bands, upscale
from stereosr.models.engine_file import EngineFile, Identity, Profile, read_engine
from stereosr.models.library import BUNDLED, file_name
from stereosr.types import StereoPair

ONNX = BUNDLED / file_name("nafssr-t", 4)


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def machine(device: FakeDevice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTensorRT:
    """A machine with TensorRT-RTX 1.7 and one GPU."""
    fake = FakeTensorRT(device)
    monkeypatch.setenv("STEREOSR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tensorrt_run, "load", lambda _variant: fake)
    monkeypatch.setattr(tensorrt_run, "driver", lambda: Driver("580.65", "13.0", (GPU,)))
    monkeypatch.setattr(tensorrt_run, "open_device", lambda _index: device)
    return fake


def twice(pair: StereoPair) -> StereoPair:
    return StereoPair(*(v.repeat(2, 0).repeat(2, 1) for v in (pair.left, pair.right)))


def same(a: StereoPair, b: StereoPair) -> bool:
    return np.array_equal(a.left, b.left) and np.array_equal(a.right, b.right)


def nothing_is_held(device: FakeDevice) -> bool:
    return not (device.memory or device.hosts or device.graphs or device.open_streams or device.open_events)


RUNS = pytest.mark.parametrize("variant", ["tensorrt", "tensorrt_rtx"])


@RUNS
def test_a_picture_of_any_size_in_tiles(device: FakeDevice, machine: FakeTensorRT, variant: str) -> None:
    backend = TensorRT(engine_of(ANY_SIZE, variant=variant), machine, device, GPU)
    assert backend.device == f"{variant} 1.7 on NVIDIA GeForce RTX 4090"
    assert (backend.spec.min_tile, backend.spec.max_tile) == ((4, 4), (16, 16))
    pair = random_pair(60, 12)
    assert same(upscale(pair, backend, TilePlan.of(60, 12, (16, 12), (4, 0))), twice(pair))
    assert same(upscale(random_pair(3, 9), backend), twice(random_pair(3, 9)))
    backend.close()
    assert nothing_is_held(device)


def test_copies_and_computing_overlap_on_three_streams(device: FakeDevice, machine: FakeTensorRT) -> None:
    backend = TensorRT(engine_of(ANY_SIZE), machine, device, GPU)
    pairs = [random_pair(8, 8, seed) for seed in range(3)]
    first = backend.submit(pairs[0])
    reached = list(device.done)
    second = backend.submit(pairs[1])
    assert device.done == reached, "nothing was waited for"
    assert same(first(), twice(pairs[0]))
    uploads, works, downloads = device.done
    assert uploads < len(device.streams[0]), "the second upload does not hold back the first result"
    assert works < len(device.streams[1])
    assert downloads < len(device.streams[2])
    third = backend.submit(pairs[2])
    assert same(second(), twice(pairs[1]))
    assert same(third(), twice(pairs[2]))


def test_a_result_that_nobody_fetched_is_waited_for_before_its_buffers_are_used(
    device: FakeDevice, machine: FakeTensorRT
) -> None:
    backend = TensorRT(engine_of(ANY_SIZE), machine, device, GPU)
    for seed in range(5):
        backend.submit(random_pair(8, 8, seed))
    assert same(backend.infer(random_pair(8, 8, 9)), twice(random_pair(8, 8, 9)))
    backend.submit(random_pair(8, 8))
    assert same(backend.infer(random_pair(4, 4)), twice(random_pair(4, 4)))  # other buffers, while work is under way
    backend.submit(random_pair(4, 4))
    backend.close()
    assert nothing_is_held(device)


@pytest.mark.parametrize("profile", [FIXED, ANY_SIZE])
def test_a_size_that_stays_is_replayed_as_a_graph(device: FakeDevice, machine: FakeTensorRT, profile: Profile) -> None:
    backend = TensorRT(engine_of(profile, variant="tensorrt"), machine, device, GPU)
    for seed in range(6):
        assert same(backend.infer(random_pair(8, 8, seed)), twice(random_pair(8, 8, seed)))
    assert device.launches == 4  # each of two contexts ran once as it is
    if profile is ANY_SIZE:
        for seed in range(6):
            assert same(backend.infer(random_pair(5, 6, seed)), twice(random_pair(5, 6, seed)))
        assert device.launches == 8


def test_a_network_that_cannot_be_captured_runs_as_it_is(device: FakeDevice, machine: FakeTensorRT) -> None:
    device.capturing = "does not work"
    backend = TensorRT(engine_of(FIXED, variant="tensorrt"), machine, device, GPU)
    for seed in range(4):
        assert same(backend.infer(random_pair(8, 8, seed)), twice(random_pair(8, 8, seed)))
    assert device.launches == 0


def test_rtx_keeps_graphs_and_compiled_kernels_itself(
    device: FakeDevice, machine: FakeTensorRT, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stereosr")

    def run() -> list[str]:
        caplog.clear()
        backend = TensorRT(engine_of(FIXED), machine, device, GPU)
        assert machine.config.cuda_graph_strategy == "whole"
        for seed in range(3):
            assert same(backend.infer(random_pair(8, 8, seed)), twice(random_pair(8, 8, seed)))
        backend.close()
        return caplog.messages

    assert run() == []
    assert device.launches == 0
    (kept,) = (tmp_path / "home").iterdir()
    assert kept.name == "kernels-1-7-nvidia-geforce-rtx-4090.cache"
    assert run() == []
    assert machine.config.cache.content == b"kernels"
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    assert run() == []
    assert machine.config.cache.content == b"", "a damaged one never gets to TensorRT"
    write_cache(kept, b"of another driver")
    assert run() == [f"{kept.name} is of another driver: kernels are compiled again"]
    kept.unlink()
    kept.mkdir()
    (warning,) = run()
    assert str(kept) in warning
    assert warning.endswith("it will be made again next time")


def test_contexts_go_before_their_engine(device: FakeDevice, machine: FakeTensorRT) -> None:
    backend = TensorRT(engine_of(FIXED), machine, device, GPU)
    backend.infer(random_pair(8, 8))
    machine.contexts.clear()  # ours are the last references then
    for stream in device.streams:
        stream.clear()
    device.done = [0, 0, 0]
    backend.close()
    assert machine.gone == ["context", "context", "engine"]


@RUNS
def test_a_tile_that_does_not_fit_is_a_memory_error_and_a_smaller_one_runs(
    device: FakeDevice, machine: FakeTensorRT, variant: str
) -> None:
    backend = TensorRT(engine_of(ANY_SIZE, variant=variant), machine, device, GPU)
    plans: list[TilePlan] = []
    for limit in (SCRATCH * 16 * 16 - 1, SCRATCH * 16 * 16 + 9000):  # the working memory, or a buffer beside it
        device.limit = limit
        pair = random_pair(32, 16)
        bands = list(iter_bands(pair, backend, TilePlan.of(32, 16, (16, 16), (2, 0)), plans.append))
        assert np.array_equal(np.concatenate([band.left for band in bands]), twice(pair).left)
        assert plans[-1].tile == (8, 16)
    backend.close()
    assert nothing_is_held(device)


def test_what_the_network_itself_lacks_is_said(device: FakeDevice, machine: FakeTensorRT) -> None:
    backend = TensorRT(engine_of(ANY_SIZE), machine, device, GPU)
    with pytest.raises(UsageError, match="takes pictures of 4x4 to 16x16, not 8x17"):
        backend.infer(random_pair(8, 17))
    for context in machine.contexts:
        context.works = False
    with pytest.raises(MemoryError, match="memory"):
        backend.infer(random_pair(8, 8))
    backend.close()
    machine.full = True
    with pytest.raises(OutOfMemory, match="fake x2 does not fit into the memory of NVIDIA GeForce RTX 4090"):
        TensorRT(engine_of(ANY_SIZE), machine, device, GPU)


@pytest.mark.usefixtures("machine")
def test_a_gpu_that_this_tensorrt_does_not_serve_is_said_before_it_is_tried(
    machine: FakeTensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    assert missing("tensorrt_rtx") is None
    monkeypatch.setattr(
        tensorrt_run, "driver", lambda: Driver("580.65", "13.0", (Gpu("NVIDIA H200", "sm90", 1 << 37),))
    )
    assert missing("tensorrt") is None
    reason = 'tensorrt_rtx serves sm75, sm89, sm120, NVIDIA H200 is sm90: pip install "stereosr[tensorrt]"'
    assert missing("tensorrt_rtx") == reason
    monkeypatch.setattr(tensorrt_build, "load", lambda _variant: machine)
    with pytest.raises(BackendUnavailable, match="serves sm75, sm89, sm120"):
        open_engine(ONNX, RunOptions(), "tensorrt_rtx")
    monkeypatch.setattr(tensorrt_run, "driver", lambda: None)
    assert "no NVIDIA driver answers" in (missing("tensorrt_rtx") or "")


def test_an_engine_that_tensorrt_refuses_or_that_is_no_network_of_ours(
    device: FakeDevice, machine: FakeTensorRT
) -> None:
    with pytest.raises(BackendUnavailable, match="refuses the engine"):
        TensorRT(replace(engine_of(ANY_SIZE), plan=b"refused"), machine, device, GPU)
    machine.tensors[0] = "image"
    with pytest.raises(UsageError, match="the engine has image, left_sr, right, right_sr"):
        TensorRT(engine_of(ANY_SIZE), machine, device, GPU)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"targets": ("sm120",)}, "built for sm120, the GPU here is sm89"),
        ({"version": "1.6"}, "built by tensorrt_rtx 1.6, here is tensorrt_rtx 1.7"),
        ({"variant": "tensorrt"}, "built by tensorrt 1.7, here is tensorrt_rtx 1.7"),
        ({"gpu": "NVIDIA L40"}, "built on NVIDIA L40, the GPU here is NVIDIA GeForce RTX 4090"),
    ],
)
def test_a_given_engine_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    engine_of(ANY_SIZE, **changes).write(tmp_path / "x.engine")
    with pytest.raises(UsageError, match=rf"x\.engine cannot be used: it was {reason}; build it here"):
        open_engine(tmp_path / "x.engine", RunOptions(), "tensorrt_rtx")


@pytest.mark.usefixtures("machine")
def test_a_given_engine_that_fits_runs_and_a_gpu_that_is_not_there_does_not(tmp_path: Path) -> None:
    engine_of(ANY_SIZE).write(tmp_path / "x.engine")
    pair = random_pair(6, 5)
    assert same(open_engine(tmp_path / "x.engine", RunOptions(), "tensorrt_rtx").infer(pair), twice(pair))
    with pytest.raises(BackendUnavailable, match="no GPU 1: the numbers here go from 0 to 0"):
        open_engine(tmp_path / "x.engine", RunOptions(gpu=1), "tensorrt_rtx")


@pytest.fixture
def builds(machine: FakeTensorRT, monkeypatch: pytest.MonkeyPatch) -> list[Identity]:
    """Notes what is built, and builds nothing."""
    done: list[Identity] = []

    def identify(onnx: Path, variant: str, profile: Profile, _targets: tuple[str, ...], gpu: Gpu) -> Identity:
        digest = f"{len(onnx.read_bytes()):064d}"
        return Identity(digest, profile, variant, machine.__version__, (gpu.capability,), "", 4096)

    def build(_onnx: Path, wanted: Identity) -> EngineFile:
        done.append(wanted)
        return EngineFile(wanted, SPEC, 1, 1, b"plan")

    monkeypatch.setattr(tensorrt_run, "identify", identify)
    monkeypatch.setattr(tensorrt_run, "build", build)
    return done


def test_an_engine_is_built_once_and_again_where_it_is_stale_or_damaged(
    tmp_path: Path, machine: FakeTensorRT, builds: list[Identity], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stereosr")

    def engine() -> tuple[EngineFile, list[str]]:
        caplog.clear()
        return fitting_engine(ONNX, "tensorrt_rtx", GPU), caplog.messages

    first, said = engine()
    (path,) = (tmp_path / "home").glob("*.engine")
    assert said == [f"building the engine {path.name}: there is none yet"]
    assert engine() == (first, [])
    assert read_engine(path) == first
    assert len(builds) == 1

    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    assert "is damaged (its checksum is wrong)" in engine()[1][0]

    replace(first, identity=replace(first.identity, onnx="b" * 64)).write(path)
    assert engine()[1][0].endswith("it was built from another ONNX file")

    machine.__version__ = "1.8"
    assert engine()[1][0].endswith("it was built by tensorrt_rtx 1.7, here is tensorrt_rtx 1.8")
    assert len(builds) == 4
    assert read_engine(path).identity.version == "1.8"


@pytest.mark.parametrize("in_the_way", ["the folder", "the file"])
def test_an_engine_that_cannot_be_cached_is_used_all_the_same(
    in_the_way: str, tmp_path: Path, builds: list[Identity], caplog: pytest.LogCaptureFixture
) -> None:
    """A file where the cache folder should be, or a folder where the engine should be: nothing can be written."""
    first = fitting_engine(ONNX, "tensorrt_rtx", GPU)
    (path,) = (tmp_path / "home").glob("*.engine")
    path.unlink()
    if in_the_way == "the folder":
        path.parent.rmdir()
        path.parent.write_bytes(b"")
    else:
        path.mkdir()
    assert fitting_engine(ONNX, "tensorrt_rtx", GPU) == first
    assert len(builds) == 2
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert "cannot write" in line.getMessage()
    assert "the engine is used all the same" in line.getMessage()
