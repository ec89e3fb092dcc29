"""PyCUDA and cuda-python behind one small protocol, against fakes of the few calls that are made."""

import importlib
import sys
import types

import numpy as np
import pytest

from stereosr_engines import device_memory
from stereosr_engines.device_memory import CudaPython, Device, PyCuda, open_device
from stereosr_engines.errors import BackendUnavailable, StereosrError


class Memory:
    """A GPU of 1000 bytes whose memory is the host's; notes every call."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.blocks: dict[int, np.ndarray] = {}

    def take(self, size: int) -> int | None:
        if sum(b.nbytes for b in self.blocks.values()) + size > 1000:
            return None
        block = np.zeros(size, np.uint8)
        self.blocks[block.ctypes.data] = block
        return int(block.ctypes.data)


def copy(to: int, source: int, size: int) -> None:
    import ctypes

    ctypes.memmove(to, source, size)


def fake_cuda_python(memory: Memory) -> types.ModuleType:
    module = types.ModuleType("cuda.bindings.runtime")
    module.cudaError_t = types.SimpleNamespace(cudaSuccess=0, cudaErrorMemoryAllocation=2)
    module.cudaMemcpyKind = types.SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    module.cudaStreamCaptureMode = types.SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def call(name, function):
        def wrapped(*arguments):
            memory.calls.append(name)
            return function(*arguments)

        setattr(module, name, wrapped)

    def allocated(size):
        pointer = memory.take(size)
        return (2, 0) if pointer is None else (0, pointer)

    def copied(to, source, size, _kind, _stream):
        copy(to, source, size)
        return (0,)

    call("cudaSetDevice", lambda index: (0 if index == 0 else 101,))
    call("cudaMalloc", allocated)
    call("cudaMallocHost", allocated)
    call("cudaFree", lambda pointer: (memory.blocks.pop(pointer) is None,))
    call("cudaFreeHost", lambda pointer: (memory.blocks.pop(pointer) is None,))
    call("cudaMemcpyAsync", copied)
    call("cudaStreamCreate", lambda: (0, 7))
    call("cudaEventCreate", lambda: (0, object()))
    call("cudaGraphInstantiate", lambda _graph, _flags: (0, "executable"))
    call("cudaStreamEndCapture", lambda _stream: (0, "graph"))
    for name in (
        "EventRecord",
        "StreamWaitEvent",
        "EventSynchronize",
        "EventDestroy",
        "StreamBeginCapture",
        "GraphLaunch",
    ):
        call(f"cuda{name}", lambda *_: (0,))
    return module


def fake_pycuda(memory: Memory) -> types.ModuleType:
    module = types.ModuleType("pycuda.driver")

    class Error(Exception):
        pass

    class OutOfMemory(Error):
        pass

    class Allocation(int):
        def free(self) -> None:
            memory.blocks.pop(int(self))

    class Stream:
        handle = 7

        def wait_for_event(self, _event: object) -> None:
            memory.calls.append("wait")

    class Event:
        def record(self, _stream: Stream) -> "Event":
            memory.calls.append("record")
            return self

        def synchronize(self) -> None:
            memory.calls.append("synchronize")

    def allocated(size: int) -> Allocation:
        pointer = memory.take(size)
        if pointer is None:
            raise OutOfMemory("cuMemAlloc failed")
        return Allocation(pointer)

    def device(index: int) -> types.SimpleNamespace:
        if index:
            raise Error("invalid device ordinal")
        context = types.SimpleNamespace(push=lambda: memory.calls.append("push"))
        return types.SimpleNamespace(retain_primary_context=lambda: context)

    module.Error, module.MemoryError = Error, OutOfMemory
    module.init, module.Device, module.Stream, module.Event = (lambda: None), device, Stream, Event
    module.mem_alloc = allocated
    module.pagelocked_empty = lambda size, dtype: np.empty(size, dtype)
    module.memcpy_htod_async = lambda to, data, _stream: copy(to, data.ctypes.data, data.nbytes)
    module.memcpy_dtoh_async = lambda data, source, _stream: copy(data.ctypes.data, source, data.nbytes)
    return module


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture(params=["cuda-python", "pycuda"])
def device(request: pytest.FixtureRequest, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Device:
    fakes = {"cuda.bindings.runtime": fake_cuda_python(memory), "pycuda.driver": fake_pycuda(memory)}
    monkeypatch.setattr(importlib, "import_module", lambda name: fakes[name])
    return (CudaPython if request.param == "cuda-python" else PyCuda)(0)


def test_data_goes_up_and_comes_down(device: Device, memory: Memory) -> None:
    stream = device.stream()
    up, down = device.pinned(64), device.pinned(64)
    pointer = device.allocate(64)
    up[:] = np.arange(64)
    device.upload(pointer, up, stream)
    mark = device.mark(stream)
    device.wait(stream, mark)
    device.download(down, pointer, stream)
    device.reach(device.mark(stream))
    np.testing.assert_array_equal(down, up)
    device.free(pointer)
    assert pointer not in memory.blocks
    device.unpin(up)
    device.unpin(down)
    assert not memory.blocks


def test_too_much_is_a_memory_error(device: Device) -> None:
    with pytest.raises(MemoryError):
        device.allocate(2000)


def test_a_graph_puts_the_work_there_again(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda _name: fake_cuda_python(memory))
    device = CudaPython(0)
    launch = device.record(7, lambda: memory.calls.append("work"))
    assert memory.calls[-4:] == ["cudaStreamBeginCapture", "work", "cudaStreamEndCapture", "cudaGraphInstantiate"]
    assert launch is not None
    launch()
    assert memory.calls[-1] == "cudaGraphLaunch"


def test_a_card_that_is_not_there_and_failing_calls_are_errors(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = {"cuda.bindings.runtime": fake_cuda_python(memory), "pycuda.driver": fake_pycuda(memory)}
    monkeypatch.setattr(importlib, "import_module", lambda name: fakes[name])
    for kind in (CudaPython, PyCuda):
        with pytest.raises(BackendUnavailable, match="GPU 3 cannot be used"):
            kind(3)
    fakes["cuda.bindings.runtime"].cudaStreamCreate = lambda: (719, None)
    with pytest.raises(StereosrError, match="cudaStreamCreate failed: 719"):
        CudaPython(0).stream()


def test_pycuda_comes_first_and_without_both_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    here: set[str] = set()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name in here else None)
    monkeypatch.setattr(device_memory, "PyCuda", lambda index: ("pycuda", index))
    monkeypatch.setattr(device_memory, "CudaPython", lambda index: ("cuda", index))
    with pytest.raises(BackendUnavailable, match=r'pip install "stereosr\[rtx\]"'):
        open_device(0)
    here.add("cuda")
    assert open_device(1) == ("cuda", 1)
    here.add("pycuda")
    assert open_device(1) == ("pycuda", 1)


def test_cuda_python_has_the_calls_that_the_fake_has(memory: Memory) -> None:
    real = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-python: pip install stereosr[rtx]")
    assert "cuda.bindings.runtime" in sys.modules
    for name in vars(fake_cuda_python(memory)):
        if not name.startswith("__"):
            assert hasattr(real, name), name
