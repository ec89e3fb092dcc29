"""A GPU, and TensorRT on it, that hold CUDA's and TensorRT's rules: what breaks them fails an assertion."""

import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from fakes import SPEC
from stereosr.backends.nvidia import Gpu
from stereosr.backends.tensorrt.device_memory import Bytes
from stereosr.models.engine_file import EngineFile, Identity, Profile
from stereosr.models.spec import INPUTS, OUTPUTS

GPU = Gpu("NVIDIA GeForce RTX 4090", "sm89", 24 << 30)
ANY_SIZE = Profile((4, 4), (8, 8), (16, 16))
FIXED = Profile((8, 8), (8, 8), (8, 8))
SCRATCH = 1000
"""Bytes of working memory that the network needs a pixel."""


@dataclass(frozen=True)
class Operation:
    """``uses``: pointers to memory of the GPU."""

    run: Callable[[], object]
    uses: frozenset[int]


class FakeDevice:
    """A GPU whose streams do nothing until the host waits for them: what is not waited for is not there.

    As on a real one, it must be the thread's current GPU, memory must not be freed while work or a graph refers to it,
    and a capture must set up nothing.
    """

    def __init__(self) -> None:
        self.memory: dict[int, Bytes] = {}
        self.hosts: list[Bytes] = []
        self.streams: list[list[Operation]] = []
        self.done: list[int] = []
        self.graphs: set[FakeGraph] = set()
        self.captured: list[Operation] | None = None
        self.capturing = "works"
        self.launches = 0
        self.limit = 1 << 30
        self.open_streams: set[int] = set()
        self.open_events: set[object] = set()
        self._threads = threading.local()

    @contextmanager
    def current(self) -> Iterator[None]:
        self._threads.depth = self.depth + 1
        try:
            yield
        finally:
            self._threads.depth -= 1

    @property
    def depth(self) -> int:
        depth: int = getattr(self._threads, "depth", 0)
        return depth

    def check_current(self) -> None:
        assert self.depth, "not this thread's current GPU"

    def allocate(self, size: int) -> int:
        self.check_current()
        assert self.captured is None, "no allocation while capturing"
        if size + sum(m.nbytes for m in self.memory.values()) > self.limit:
            raise MemoryError("full")
        pointer = 256 * (1 + max(self.memory, default=0) // 256)
        self.memory[pointer] = np.zeros(size, np.uint8)
        return pointer

    def free(self, pointer: int) -> None:
        self.check_current()
        assert not any(pointer in graph.uses for graph in self.graphs), "a graph refers to it"
        for stream, done in zip(self.streams, self.done, strict=True):
            assert not any(pointer in operation.uses for operation in stream[done:]), "work under way uses it"
        del self.memory[pointer]

    def pinned(self, size: int) -> Bytes:
        self.check_current()
        assert self.captured is None, "no allocation while capturing"
        self.hosts.append(np.zeros(size, np.uint8))
        return self.hosts[-1]

    def unpin(self, data: Bytes) -> None:
        self.check_current()
        data[:] = 255
        self.hosts = [host for host in self.hosts if host is not data]

    def create_stream(self) -> int:
        self.check_current()
        self.streams.append([])
        self.done.append(0)
        self.open_streams.add(len(self.streams) - 1)
        return len(self.streams) - 1

    def destroy_stream(self, stream: int) -> None:
        self.check_current()
        assert self.done[stream] == len(self.streams[stream]), "work is under way"
        self.open_streams.remove(stream)

    def enqueue(self, stream: int, run: Callable[[], object], *uses: int) -> None:
        self.check_current()
        assert stream in self.open_streams, "a stream that was destroyed"
        assert self.memory.keys() >= set(uses), "memory that was freed"
        operation = Operation(run, frozenset(uses))
        if self.captured is None:
            self.streams[stream].append(operation)
        else:
            self.captured.append(operation)

    def upload(self, pointer: int, data: Bytes, stream: int) -> None:
        self.enqueue(stream, lambda: np.copyto(self.memory[pointer], data), pointer)

    def download(self, data: Bytes, pointer: int, stream: int) -> None:
        self.enqueue(stream, lambda: np.copyto(data, self.memory[pointer]), pointer)

    def wait_event(self, stream: int, leader: int) -> None:
        end = len(self.streams[leader])
        self.enqueue(stream, lambda: self._run_to(leader, end))

    def record_event(self, stream: int) -> object:
        self.check_current()
        event = stream, len(self.streams[stream]), object()
        self.open_events.add(event)
        return event

    def synchronize(self, event: object) -> None:
        self.check_current()
        self.open_events.remove(event)
        assert isinstance(event, tuple)
        self._run_to(*event[:2])

    def _run_to(self, stream: int, end: int) -> None:
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
