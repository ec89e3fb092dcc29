"""Engines run by name, two pairs under way, graphs where sizes are fixed; against fakes of TensorRT and of the GPU."""

import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes import SPEC, random_pair
from stereosr_engines import tensorrt_run
from stereosr_engines.backend import RunOptions
from stereosr_engines.enginefile import EngineFile, Identity, Profile, read_engine
from stereosr_engines.errors import BackendUnavailable, UsageError
from stereosr_engines.gpu import Driver, Gpu
from stereosr_engines.library import BUNDLED, file_name
from stereosr_engines.tensorrt_run import TensorRT, fitting_engine, open_engine
from stereosr_engines.tiling import TilePlan
from stereosr_engines.types import StereoPair
from stereosr_engines.upscale import upscale

CARD = Gpu("NVIDIA GeForce RTX 4090", "sm89", 24 << 30)
ANY_SIZE = Profile((4, 4), (8, 8), (16, 16))
FIXED = Profile((8, 8), (8, 8), (8, 8))
ONNX = BUNDLED / file_name("nafssr-t", 4)


class FakeDevice:
    """A GPU whose memory are arrays by number, and whose streams do everything at once."""

    def __init__(self) -> None:
        self.memory: dict[int, np.ndarray] = {}
        self.events: list[str] = []
        self.launches = 0
        self.context: FakeContext

    def allocate(self, size: int) -> int:
        pointer = max(self.memory, default=0) + 1
        self.memory[pointer] = np.zeros(size, np.uint8)
        return pointer

    def free(self, pointer: int) -> None:
        del self.memory[pointer]

    def pinned(self, size: int) -> np.ndarray:
        return np.zeros(size, np.uint8)

    def unpin(self, data: np.ndarray) -> None:
        data[:] = 255

    def stream(self) -> int:
        self.events.append("stream")
        return self.events.count("stream")

    def upload(self, pointer: int, data: np.ndarray, stream: int) -> None:
        self.events.append(f"upload on {stream}")
        self.memory[pointer][:] = data

    def download(self, data: np.ndarray, pointer: int, stream: int) -> None:
        self.events.append(f"download on {stream}")
        data[:] = self.memory[pointer]

    def mark(self, stream: int) -> object:
        return f"mark {stream}"

    def wait(self, stream: int, mark: object) -> None:
        self.events.append(f"{stream} waits for {mark}")

    def reach(self, mark: object) -> None:
        self.events.append(f"reach {mark}")

    def record(self, _stream: int, work: Callable[[], None]) -> Callable[[], None]:
        addresses = dict(self.context.addresses)

        def launch() -> None:
            self.launches += 1
            self.context.addresses = dict(addresses)
            work()

        return launch


class FakeContext:
    def __init__(self, device: FakeDevice) -> None:
        self.device = device
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.works = True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> None:
        self.shapes[name] = shape

    def set_tensor_address(self, name: str, pointer: int) -> None:
        self.addresses[name] = pointer

    def execute_async_v3(self, stream: int) -> bool:
        self.device.events.append(f"network on {stream}")
        if self.works:
            for name in ("left", "right"):
                x = self.device.memory[self.addresses[name]].view(np.float32).reshape(self.shapes[name])
                y = self.device.memory[self.addresses[f"{name}_sr"]].view(np.float32)
                y[:] = x.repeat(2, 2).repeat(2, 3).ravel()
        return self.works


class FakeTensorRT(types.SimpleNamespace):
    """The module; engines whose plan is ``refused`` do not load. ``tensors`` are what an engine has."""

    def __init__(self, device: FakeDevice) -> None:
        tensors = ["left", "right", "left_sr", "right_sr"]
        context = device.context = FakeContext(device)
        engine = types.SimpleNamespace(
            num_io_tensors=4, get_tensor_name=tensors.__getitem__, create_execution_context=lambda: self.context
        )
        runtime = types.SimpleNamespace(deserialize_cuda_engine=lambda plan: None if plan == b"refused" else engine)
        logger = type("Logger", (), {"ERROR": 1, "__init__": lambda _self, _level: None})
        super().__init__(
            __version__="1.7", Logger=logger, Runtime=lambda _log: runtime, tensors=tensors, context=context
        )


def engine_of(profile: Profile, **changes: object) -> EngineFile:
    identity = Identity("a" * 64, profile, "tensorrt_rtx", "1.7", ("sm89",), "", 4096)
    return EngineFile(replace(identity, **changes), SPEC, 1, 1, b"plan")  # type: ignore[arg-type]


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def machine(device: FakeDevice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTensorRT:
    """A machine with TensorRT-RTX 1.7 and one card."""
    fake = FakeTensorRT(device)
    monkeypatch.setenv("STEREOSR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tensorrt_run, "load", lambda _flavour: fake)
    monkeypatch.setattr(tensorrt_run, "driver", lambda: Driver("13.0", (CARD,)))
    monkeypatch.setattr(tensorrt_run, "open_device", lambda _index: device)
    return fake


def twice(pair: StereoPair) -> StereoPair:
    return StereoPair(*(v.repeat(2, 0).repeat(2, 1) for v in (pair.left, pair.right)))


def same(a: StereoPair, b: StereoPair) -> bool:
    return np.array_equal(a.left, b.left) and np.array_equal(a.right, b.right)


def test_a_picture_of_any_size_in_tiles(device: FakeDevice, machine: FakeTensorRT) -> None:
    backend = TensorRT(engine_of(ANY_SIZE), machine, device, CARD)
    assert backend.device == "tensorrt_rtx 1.7 on NVIDIA GeForce RTX 4090"
    assert (backend.spec.min_tile, backend.spec.max_tile) == ((4, 4), (16, 16))
    pair = random_pair(40, 12)
    assert same(upscale(pair, backend, TilePlan.of(40, 12, (16, 12), (4, 0))), twice(pair))
    assert same(upscale(random_pair(3, 9), backend), twice(random_pair(3, 9)))
    assert device.launches == 0
    backend.close()
    assert not device.memory


def test_copies_and_computing_overlap_on_three_streams(device: FakeDevice, machine: FakeTensorRT) -> None:
    backend = TensorRT(engine_of(ANY_SIZE), machine, device, CARD)
    pairs = [random_pair(8, 8, seed) for seed in range(3)]
    first = backend.submit(pairs[0])
    second = backend.submit(pairs[1])
    assert not any(e.startswith("reach") for e in device.events)
    assert device.events[3:10] == [
        "upload on 1",
        "upload on 1",
        "2 waits for mark 1",
        "network on 2",
        "3 waits for mark 2",
        "download on 3",
        "download on 3",
    ]
    assert same(first(), twice(pairs[0]))
    third = backend.submit(pairs[2])
    assert same(second(), twice(pairs[1]))
    assert same(third(), twice(pairs[2]))


def test_a_result_that_nobody_fetched_is_waited_for_before_its_buffers_are_used(
    device: FakeDevice, machine: FakeTensorRT
) -> None:
    backend = TensorRT(engine_of(ANY_SIZE), machine, device, CARD)
    for seed in range(3):
        backend.submit(random_pair(8, 8, seed))
    assert device.events.count("reach mark 3") == 1
    assert same(backend.infer(random_pair(8, 8, 9)), twice(random_pair(8, 8, 9)))


def test_fixed_sizes_are_replayed_as_graphs(device: FakeDevice, machine: FakeTensorRT) -> None:
    backend = TensorRT(engine_of(FIXED), machine, device, CARD)
    for seed in range(6):
        assert same(backend.infer(random_pair(8, 8, seed)), twice(random_pair(8, 8, seed)))
    assert device.launches == 4  # each of two buffers ran once without


def test_a_network_that_cannot_start_for_want_of_memory_is_a_memory_error(
    device: FakeDevice, machine: FakeTensorRT
) -> None:
    backend = TensorRT(engine_of(ANY_SIZE), machine, device, CARD)
    machine.context.works = False
    with pytest.raises(MemoryError, match="memory"):
        backend.infer(random_pair(8, 8))
    machine.context = None
    with pytest.raises(MemoryError, match="GPU"):
        TensorRT(engine_of(ANY_SIZE), machine, device, CARD)


def test_an_engine_that_tensorrt_refuses_or_that_is_no_network_of_ours(
    device: FakeDevice, machine: FakeTensorRT
) -> None:
    with pytest.raises(BackendUnavailable, match="refuses the engine"):
        TensorRT(replace(engine_of(ANY_SIZE), plan=b"refused"), machine, device, CARD)
    machine.tensors[0] = "image"
    with pytest.raises(UsageError, match="the engine has image, left_sr, right, right_sr"):
        TensorRT(engine_of(ANY_SIZE), machine, device, CARD)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"targets": ("sm120",)}, "built for sm120, the GPU here is sm89"),
        ({"version": "1.6"}, "built by tensorrt_rtx 1.6, here is tensorrt_rtx 1.7"),
        ({"flavour": "tensorrt"}, "built by tensorrt 1.7, here is tensorrt_rtx 1.7"),
        ({"gpu": "NVIDIA L40"}, "built on NVIDIA L40, the GPU here is NVIDIA GeForce RTX 4090"),
    ],
)
def test_a_given_engine_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    engine_of(ANY_SIZE, **changes).write(tmp_path / "x.engine")
    with pytest.raises(UsageError, match=rf"x\.engine cannot be used: it was {reason}; build it here"):
        open_engine(tmp_path / "x.engine", RunOptions(), "tensorrt_rtx")


@pytest.mark.usefixtures("machine")
def test_a_given_engine_that_fits_runs_and_a_card_that_is_not_there_does_not(tmp_path: Path) -> None:
    engine_of(ANY_SIZE).write(tmp_path / "x.engine")
    pair = random_pair(6, 5)
    assert same(open_engine(tmp_path / "x.engine", RunOptions(), "tensorrt_rtx").infer(pair), twice(pair))
    with pytest.raises(BackendUnavailable, match="no GPU 1: the numbers here go from 0 to 0"):
        open_engine(tmp_path / "x.engine", RunOptions(gpu=1), "tensorrt_rtx")


@pytest.fixture
def builds(machine: FakeTensorRT, monkeypatch: pytest.MonkeyPatch) -> list[Identity]:
    """Notes what is built, and builds nothing."""
    done: list[Identity] = []

    def identify(onnx: Path, flavour: str, profile: Profile, _targets: tuple[str, ...], gpu: Gpu) -> Identity:
        digest = f"{len(onnx.read_bytes()):064d}"
        return Identity(digest, profile, flavour, machine.__version__, (gpu.capability,), "", 4096)

    def build(_onnx: Path, wanted: Identity) -> EngineFile:
        done.append(wanted)
        return EngineFile(wanted, SPEC, 1, 1, b"plan")

    monkeypatch.setattr(tensorrt_run, "identify", identify)
    monkeypatch.setattr(tensorrt_run, "build", build)
    return done


def test_an_engine_is_built_once_and_again_where_it_is_stale_or_damaged(
    tmp_path: Path, machine: FakeTensorRT, builds: list[Identity]
) -> None:
    said: list[str] = []

    def engine() -> EngineFile:
        return fitting_engine(ONNX, "tensorrt_rtx", CARD, said.append)

    first = engine()
    (path,) = (tmp_path / "home").glob("*.engine")
    assert engine() == first == read_engine(path)
    assert len(builds) == 1
    assert said.pop().endswith(f"{path.name}: there is none yet")

    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    engine()
    assert "is damaged (its checksum is wrong)" in said.pop()

    machine.__version__ = "1.8"
    engine()
    assert said.pop().endswith("it was built by tensorrt_rtx 1.7, here is tensorrt_rtx 1.8")
    assert len(builds) == 3
    assert read_engine(path).identity.version == "1.8"
    assert not said
