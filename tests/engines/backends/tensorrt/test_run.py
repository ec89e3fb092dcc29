"""Engines run by name, two pairs under way, replayed as graphs; against fakes that hold TensorRT's and CUDA's rules."""

import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from fakes import SPEC, random_pair
from stereosr.backends.base import RunOptions
from stereosr.backends.nvidia import Driver, Gpu
from stereosr.backends.tensorrt import build as tensorrt_build
from stereosr.backends.tensorrt import run as tensorrt_run
from stereosr.backends.tensorrt.run import TensorRT, fitting_engine, missing, open_engine
from stereosr.errors import BackendUnavailable, OutOfMemory, StereosrError, UsageError
from stereosr.inference.tiling import TilePlan
from stereosr.inference.upscale import iter_bands, upscale
from stereosr.models.engine_file import EngineFile, Identity, Profile, read_engine
from stereosr.models.library import BUNDLED, file_name
from stereosr.types import StereoPair

CARD = Gpu("NVIDIA GeForce RTX 4090", "sm89", 24 << 30)
ANY_SIZE = Profile((4, 4), (8, 8), (16, 16))
FIXED = Profile((8, 8), (8, 8), (8, 8))
ONNX = BUNDLED / file_name("nafssr-t", 4)
INPUTS, OUTPUTS = ("left", "right"), ("left_sr", "right_sr")
SCRATCH = 1000
"""Bytes of working memory that the network needs a pixel."""


@dataclass(frozen=True)
class Operation:
    """``uses``: pointers to memory of the GPU."""

    run: Callable[[], object]
    uses: frozenset[int]


class FakeDevice:
    """A GPU whose streams do nothing until the host waits for them: what is not waited for is not there.

    As on a real one, memory must not be freed while work or a graph refers to it, and a capture must set up nothing.
    """

    def __init__(self) -> None:
        self.memory: dict[int, np.ndarray] = {}
        self.hosts: list[np.ndarray] = []
        self.streams: list[list[Operation]] = []
        self.done: list[int] = []
        self.graphs: set[FakeGraph] = set()
        self.captured: list[Operation] | None = None
        self.capturing = "works"
        self.launches = 0
        self.limit = 1 << 30

    def allocate(self, size: int) -> int:
        assert self.captured is None, "no allocation while capturing"
        if size + sum(m.nbytes for m in self.memory.values()) > self.limit:
            raise MemoryError("full")
        pointer = 256 * (1 + max(self.memory, default=0) // 256)
        self.memory[pointer] = np.zeros(size, np.uint8)
        return pointer

    def free(self, pointer: int) -> None:
        assert not any(pointer in graph.uses for graph in self.graphs), "a graph refers to it"
        for stream, done in zip(self.streams, self.done, strict=True):
            assert not any(pointer in operation.uses for operation in stream[done:]), "work under way uses it"
        del self.memory[pointer]

    def pinned(self, size: int) -> np.ndarray:
        assert self.captured is None, "no allocation while capturing"
        self.hosts.append(np.zeros(size, np.uint8))
        return self.hosts[-1]

    def unpin(self, data: np.ndarray) -> None:
        data[:] = 255
        self.hosts = [host for host in self.hosts if host is not data]

    def stream(self) -> int:
        self.streams.append([])
        self.done.append(0)
        return len(self.streams) - 1

    def enqueue(self, stream: int, run: Callable[[], object], *uses: int) -> None:
        assert self.memory.keys() >= set(uses), "memory that was freed"
        operation = Operation(run, frozenset(uses))
        if self.captured is None:
            self.streams[stream].append(operation)
        else:
            self.captured.append(operation)

    def upload(self, pointer: int, data: np.ndarray, stream: int) -> None:
        self.enqueue(stream, lambda: np.copyto(self.memory[pointer], data), pointer)

    def download(self, data: np.ndarray, pointer: int, stream: int) -> None:
        self.enqueue(stream, lambda: np.copyto(data, self.memory[pointer]), pointer)

    def follow(self, stream: int, leader: int) -> None:
        mark = self.mark(leader)
        self.enqueue(stream, lambda: self.reach(mark))

    def mark(self, stream: int) -> tuple[int, int]:
        return stream, len(self.streams[stream])

    def reach(self, mark: tuple[int, int]) -> None:
        stream, end = mark
        while self.done[stream] < end:
            self.done[stream] += 1
            self.streams[stream][self.done[stream] - 1].run()

    def capture(self, stream: int, work: Callable[[], bool]) -> "FakeGraph | None":
        self.captured = []
        worked, operations, self.captured = work(), self.captured, None
        if not worked or self.capturing != "works":
            return None
        return FakeGraph(self, stream, operations)


class FakeGraph:
    def __init__(self, device: FakeDevice, stream: int, operations: list[Operation]) -> None:
        self.device, self.stream, self.operations = device, stream, operations
        self.uses = frozenset[int]().union(*(operation.uses for operation in operations))
        device.graphs.add(self)

    def launch(self) -> None:
        assert self in self.device.graphs, "a graph that was destroyed"
        self.device.launches += 1
        for operation in self.operations:
            self.device.enqueue(self.stream, operation.run, *operation.uses)

    def destroy(self) -> None:
        self.device.graphs.remove(self)


class FakeContext:
    """Of an engine that repeats each pixel. It notes how often it was modified, which no graph of it survives."""

    def __init__(self, device: FakeDevice, profile: Profile, gone: list[str]) -> None:
        self.device, self.profile, self.gone = device, profile, gone
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.scratch: tuple[int, int] | None = None
        self.chosen = False
        self.modified = 0
        self.warm = -1
        self.works = True

    def __del__(self) -> None:
        self.gone.append("context")

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        assert self.device.streams[stream] is not None
        self.chosen = index == 0
        return self.chosen

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert self.chosen, "no profile was chosen"
        self.modified += 1
        self.shapes[name] = shape
        limits = zip(self.profile.min, shape[2:], self.profile.max, strict=True)
        return shape[:2] == (1, 3) and all(least <= size <= most for least, size, most in limits)

    def update_device_memory_size_for_shapes(self) -> int:
        return SCRATCH * int(np.prod(self.shapes["left"][2:]))

    def set_device_memory(self, pointer: int, size: int) -> None:
        self.modified += 1
        self.scratch = pointer, size

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        self.modified += 1
        self.addresses[name] = pointer
        return True

    def execute_async_v3(self, stream: int) -> bool:
        if not self.works:
            return False
        capturing = self.device.captured is not None
        assert self.scratch is not None
        assert self.scratch[1] >= self.update_device_memory_size_for_shapes()
        assert not capturing or self.warm == self.modified, "a capture without a run before"
        self.warm = self.modified
        shapes, addresses, modified = dict(self.shapes), dict(self.addresses), self.modified

        def run() -> None:
            assert not capturing or self.modified == modified, "a graph of a context that was modified since"
            for name in INPUTS:
                x = self.device.memory[addresses[name]].view(np.float32).reshape(shapes[name])
                y = self.device.memory[addresses[f"{name}_sr"]].view(np.float32)
                y[:] = x.repeat(2, 2).repeat(2, 3).ravel()

        self.device.enqueue(stream, run, self.scratch[0], *addresses.values())
        return True


class FakeCache:
    """TensorRT-RTX's runtime cache; what is of another driver it does not take."""

    content = b""

    def deserialize(self, content: bytes) -> bool:
        taken = content.startswith(b"kernels")
        self.content = content if taken else b""
        return taken

    def serialize(self) -> bytes:
        return self.content or b"kernels"


class FakeEngine:
    num_io_tensors = 4

    def __init__(self, trt: "FakeTensorRT") -> None:
        self.trt = trt

    def __del__(self) -> None:
        self.trt.gone.append("engine")

    def get_tensor_name(self, index: int) -> str:
        return self.trt.tensors[index]

    def create_runtime_config(self) -> types.SimpleNamespace:
        config = self.trt.config = types.SimpleNamespace(create_runtime_cache=FakeCache)
        config.set_runtime_cache = lambda cache: setattr(config, "cache", cache)
        config.set_execution_context_allocation_strategy = lambda how: setattr(config, "how", how)
        return config

    def create_execution_context(self, how: object) -> FakeContext | None:
        assert getattr(how, "how", how) == "user managed"
        if self.trt.full:
            return None
        self.trt.contexts.append(FakeContext(self.trt.device, self.trt.profile, self.trt.gone))
        return self.trt.contexts[-1]


class FakeTensorRT:
    """The module; engines whose plan is ``refused`` do not load. ``tensors`` are what an engine has."""

    __version__ = "1.7"
    ExecutionContextAllocationStrategy = types.SimpleNamespace(USER_MANAGED="user managed")
    CudaGraphStrategy = types.SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")
    ComputeCapability = types.SimpleNamespace(SM75=1, SM89=2, SM120=3, NONE=0)

    class Logger:
        ERROR = 1

        def __init__(self, _level: int) -> None:
            pass

    def __init__(self, device: FakeDevice) -> None:
        self.device, self.profile, self.full = device, ANY_SIZE, False
        self.tensors = [*INPUTS, *OUTPUTS]
        self.contexts: list[FakeContext] = []
        self.gone: list[str] = []
        self.config = types.SimpleNamespace()

    def Runtime(self, _log: Logger) -> types.SimpleNamespace:  # noqa: N802
        return types.SimpleNamespace(
            deserialize_cuda_engine=lambda plan: None if plan == b"refused" else FakeEngine(self)
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
    monkeypatch.setattr(tensorrt_run, "driver", lambda: Driver("580.65", "13.0", (CARD,)))
    monkeypatch.setattr(tensorrt_run, "open_device", lambda _index: device)
    return fake


def twice(pair: StereoPair) -> StereoPair:
    return StereoPair(*(v.repeat(2, 0).repeat(2, 1) for v in (pair.left, pair.right)))


def same(a: StereoPair, b: StereoPair) -> bool:
    return np.array_equal(a.left, b.left) and np.array_equal(a.right, b.right)


RUNS = pytest.mark.parametrize("variant", ["tensorrt", "tensorrt_rtx"])


@RUNS
def test_a_picture_of_any_size_in_tiles(device: FakeDevice, machine: FakeTensorRT, variant: str) -> None:
    backend = TensorRT(engine_of(ANY_SIZE, variant=variant), machine, device, CARD)
    assert backend.device == f"{variant} 1.7 on NVIDIA GeForce RTX 4090"
    assert (backend.spec.min_tile, backend.spec.max_tile) == ((4, 4), (16, 16))
    pair = random_pair(60, 12)
    assert same(upscale(pair, backend, TilePlan.of(60, 12, (16, 12), (4, 0))), twice(pair))
    assert same(upscale(random_pair(3, 9), backend), twice(random_pair(3, 9)))
    backend.close()
    assert not device.memory
    assert not device.hosts
    assert not device.graphs


def test_copies_and_computing_overlap_on_three_streams(device: FakeDevice, machine: FakeTensorRT) -> None:
    backend = TensorRT(engine_of(ANY_SIZE), machine, device, CARD)
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
    backend = TensorRT(engine_of(ANY_SIZE), machine, device, CARD)
    for seed in range(5):
        backend.submit(random_pair(8, 8, seed))
    assert same(backend.infer(random_pair(8, 8, 9)), twice(random_pair(8, 8, 9)))
    backend.submit(random_pair(8, 8))
    assert same(backend.infer(random_pair(4, 4)), twice(random_pair(4, 4)))  # other buffers, while work is under way
    backend.submit(random_pair(4, 4))
    backend.close()


@pytest.mark.parametrize("profile", [FIXED, ANY_SIZE])
def test_a_size_that_stays_is_replayed_as_a_graph(device: FakeDevice, machine: FakeTensorRT, profile: Profile) -> None:
    backend = TensorRT(engine_of(profile, variant="tensorrt"), machine, device, CARD)
    for seed in range(6):
        assert same(backend.infer(random_pair(8, 8, seed)), twice(random_pair(8, 8, seed)))
    assert device.launches == 4  # each of two contexts ran once as it is
    if profile is ANY_SIZE:
        for seed in range(6):
            assert same(backend.infer(random_pair(5, 6, seed)), twice(random_pair(5, 6, seed)))
        assert device.launches == 8


def test_a_network_that_cannot_be_captured_runs_as_it_is(device: FakeDevice, machine: FakeTensorRT) -> None:
    device.capturing = "does not work"
    backend = TensorRT(engine_of(FIXED, variant="tensorrt"), machine, device, CARD)
    for seed in range(4):
        assert same(backend.infer(random_pair(8, 8, seed)), twice(random_pair(8, 8, seed)))
    assert device.launches == 0


def test_rtx_keeps_graphs_and_compiled_kernels_itself(
    device: FakeDevice, machine: FakeTensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def run() -> None:
        backend = TensorRT(engine_of(FIXED), machine, device, CARD, said.append)
        assert machine.config.cuda_graph_strategy == "whole"
        for seed in range(3):
            backend.infer(random_pair(8, 8, seed))
        backend.close()

    run()
    assert device.launches == 0
    (kept,) = (tmp_path / "home").iterdir()
    assert kept.name == "kernels-1-7-nvidia-geforce-rtx-4090.cache"
    run()
    assert machine.config.cache.content == b"kernels"
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    run()
    assert machine.config.cache.content == b"", "a damaged one never gets to TensorRT"
    assert not said
    tensorrt_run.write_cache(kept, b"of another driver")
    run()
    assert "of another driver" in said.pop()
    kept.unlink()
    monkeypatch.setattr(tensorrt_run, "write_cache", raising(StereosrError("cannot write it")))
    run()
    assert said == ["warning: cannot write it; kernels will be compiled again"]


def raising(error: Exception) -> Callable[..., None]:
    def call(*_: object) -> None:
        raise error

    return call


def test_contexts_go_before_their_engine(device: FakeDevice, machine: FakeTensorRT) -> None:
    backend = TensorRT(engine_of(FIXED), machine, device, CARD)
    backend.infer(random_pair(8, 8))
    machine.contexts.clear()  # ours are the last references then
    device.streams, device.done = [[], [], []], [0, 0, 0]
    backend.close()
    assert machine.gone == ["context", "context", "engine"]


@RUNS
def test_a_tile_that_does_not_fit_is_a_memory_error_and_a_smaller_one_runs(
    device: FakeDevice, machine: FakeTensorRT, variant: str
) -> None:
    backend = TensorRT(engine_of(ANY_SIZE, variant=variant), machine, device, CARD)
    plans: list[TilePlan] = []
    for limit in (SCRATCH * 16 * 16 - 1, SCRATCH * 16 * 16 + 9000):  # the working memory, or a buffer beside it
        device.limit = limit
        pair = random_pair(32, 16)
        bands = list(iter_bands(pair, backend, TilePlan.of(32, 16, (16, 16), (2, 0)), plans.append))
        assert np.array_equal(np.concatenate([band.left for band in bands]), twice(pair).left)
        assert plans[-1].tile == (8, 16)
    backend.close()
    assert not device.memory
    assert not device.hosts


def test_what_the_network_itself_lacks_is_said(device: FakeDevice, machine: FakeTensorRT) -> None:
    backend = TensorRT(engine_of(ANY_SIZE), machine, device, CARD)
    with pytest.raises(UsageError, match="takes pictures of 4x4 to 16x16, not 8x17"):
        backend.infer(random_pair(8, 17))
    for context in machine.contexts:
        context.works = False
    with pytest.raises(MemoryError, match="memory"):
        backend.infer(random_pair(8, 8))
    backend.close()
    machine.full = True
    with pytest.raises(OutOfMemory, match="fake x2 does not fit into the memory of NVIDIA GeForce RTX 4090"):
        TensorRT(engine_of(ANY_SIZE), machine, device, CARD)


@pytest.mark.usefixtures("machine")
def test_a_card_that_this_tensorrt_does_not_serve_is_said_before_it_is_tried(
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
    monkeypatch.setattr(tensorrt_build, "load", lambda _flavour: machine)
    with pytest.raises(BackendUnavailable, match="serves sm75, sm89, sm120"):
        open_engine(ONNX, RunOptions(), "tensorrt_rtx")
    monkeypatch.setattr(tensorrt_run, "driver", lambda: None)
    assert "no NVIDIA driver answers" in (missing("tensorrt_rtx") or "")


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
        ({"variant": "tensorrt"}, "built by tensorrt 1.7, here is tensorrt_rtx 1.7"),
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

    replace(first, identity=replace(first.identity, onnx="b" * 64)).write(path)
    engine()
    assert said.pop().endswith("it was built from another ONNX file")

    machine.__version__ = "1.8"
    engine()
    assert said.pop().endswith("it was built by tensorrt_rtx 1.7, here is tensorrt_rtx 1.8")
    assert len(builds) == 4
    assert read_engine(path).identity.version == "1.8"
    assert not said
