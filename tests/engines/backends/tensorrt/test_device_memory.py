"""PyCUDA and cuda-python behind one small protocol, against fakes of the few calls that are made."""

import importlib
import threading
import types
from typing import Any

import numpy as np
import pytest

from stereosr.backends.nvidia import driver
from stereosr.backends.tensorrt import device_memory
from stereosr.backends.tensorrt.device_memory import CudaPython, Device, PyCuda, open_device
from stereosr.errors import BackendUnavailable, StereosrError


class Memory:
    """A GPU of 1000 bytes whose memory is the host's; notes every call."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.events = 0  # made and not yet destroyed
        self.streams = 0
        self.current: dict[int, list[int]] = {}  # by thread, as CUDA keeps it: the GPU, or PyCUDA's stack of contexts
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


def fake_cuda_python(memory: Memory) -> Any:
    module: Any = types.ModuleType("cuda.bindings.runtime")
    module.cudaError_t = types.SimpleNamespace(cudaSuccess=0, cudaErrorMemoryAllocation=2)
    module.cudaMemcpyKind = types.SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    module.cudaEventDisableTiming = 2
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

    def set_device(index):
        if index not in (0, 1):
            return (101,)
        memory.current[threading.get_ident()] = [index]
        return (0,)

    def streams(change, *result):
        memory.streams += change
        return 0, *result

    call("cudaSetDevice", set_device)
    call("cudaMalloc", allocated)
    call("cudaMallocHost", allocated)
    call("cudaFree", lambda pointer: (memory.blocks.pop(pointer) is None,))
    call("cudaFreeHost", lambda pointer: (memory.blocks.pop(pointer) is None,))
    call("cudaMemcpyAsync", copied)

    def counted(change):
        memory.events += change
        return (0, object()) if change > 0 else (0,)

    call("cudaStreamCreateWithFlags", lambda _flags: streams(1, 7))
    call("cudaStreamDestroy", lambda _stream: streams(-1))
    call("cudaEventCreateWithFlags", lambda _flags: counted(1))
    call("cudaEventDestroy", lambda _event: counted(-1))
    call("cudaGraphInstantiate", lambda _graph, _flags: (0, "executable"))
    call("cudaStreamEndCapture", lambda _stream: (0, "graph"))
    for name in (
        "EventRecord",
        "StreamWaitEvent",
        "EventSynchronize",
        "StreamBeginCapture",
        "GraphDestroy",
        "GraphExecDestroy",
        "GraphLaunch",
    ):
        call(f"cuda{name}", lambda *_: (0,))
    return module


def fake_pycuda(memory: Memory) -> Any:
    module: Any = types.ModuleType("pycuda.driver")

    class Error(Exception):
        pass

    class OutOfMemory(Error):
        pass

    class Allocation(int):
        def free(self) -> None:
            memory.blocks.pop(int(self))

    class Stream:
        handle = 7

        def __init__(self, flags: int) -> None:
            assert flags == device_memory.NON_BLOCKING
            memory.streams += 1

        def __del__(self) -> None:
            memory.streams -= 1

        def wait_for_event(self, _event: object) -> None:
            memory.calls.append("wait")

    class Event:
        def __init__(self, flags: int) -> None:
            assert flags == 2

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
        if index > 1:
            raise Error("invalid device ordinal")
        stack = memory.current.setdefault
        context = types.SimpleNamespace(
            push=lambda: stack(threading.get_ident(), []).append(index),
            pop=lambda: stack(threading.get_ident(), []).pop(),
        )
        return types.SimpleNamespace(retain_primary_context=lambda: context)

    module.event_flags = types.SimpleNamespace(DISABLE_TIMING=2)
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
    stream, other = device.create_stream(), device.create_stream()
    up, down = device.pinned(64), device.pinned(64)
    pointer = device.allocate(64)
    up[:] = np.arange(64)
    device.upload(pointer, up, stream)
    device.wait_event(other, stream)
    device.download(down, pointer, stream)
    device.synchronize(device.record_event(stream))
    np.testing.assert_array_equal(down, up)
    device.free(pointer)
    assert pointer not in memory.blocks
    device.unpin(up)
    device.unpin(down)
    for each in {stream, other}:  # both are 7 here
        device.destroy_stream(each)
    assert not memory.blocks
    assert not memory.events


def test_too_much_is_a_memory_error(device: Device) -> None:
    with pytest.raises(MemoryError):
        device.allocate(2000)


def test_a_graph_puts_the_work_there_again(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_cuda_python(memory)
    monkeypatch.setattr(importlib, "import_module", lambda _name: fake)
    device = CudaPython(0)

    def work(result: bool) -> bool:
        memory.calls.append("work")
        return result

    captured = ["cudaStreamBeginCapture", "work", "cudaStreamEndCapture"]
    graph = device.capture(7, lambda: work(True))
    assert memory.calls[-5:] == [*captured, "cudaGraphInstantiate", "cudaGraphDestroy"]
    assert graph is not None
    graph.launch()
    graph.destroy()
    assert memory.calls[-2:] == ["cudaGraphLaunch", "cudaGraphExecDestroy"]
    assert device.capture(7, lambda: work(False)) is None
    assert memory.calls[-3:] == captured
    invalidated = (901, None)  # cudaErrorStreamCaptureInvalidated
    monkeypatch.setattr(fake, "cudaStreamEndCapture", lambda _stream: invalidated)
    assert device.capture(7, lambda: work(True)) is None


def test_a_capture_ends_whatever_happens(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda _name: fake_cuda_python(memory))

    def interrupted() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CudaPython(0).capture(7, interrupted)
    assert memory.calls[-1] == "cudaStreamEndCapture"


def test_the_gpu_is_the_current_one_of_the_thread_that_calls(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA keeps one for each thread; PyCUDA a stack of contexts, which must be empty at the end."""
    fakes = {"cuda.bindings.runtime": fake_cuda_python(memory), "pycuda.driver": fake_pycuda(memory)}
    monkeypatch.setattr(importlib, "import_module", lambda name: fakes[name])
    for kind in (CudaPython, PyCuda):
        memory.current.clear()
        device: Device = kind(1)
        seen: list[int] = []

        def use(device: Device = device, seen: list[int] = seen) -> None:
            with device.current():
                seen.append(memory.current[threading.get_ident()][-1])

        other = threading.Thread(target=use, daemon=True)
        other.start()
        other.join(60)
        use()
        assert seen == [1, 1]
    assert not any(memory.current.values())


def test_pycudas_errors_are_ours(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_pycuda(memory)
    monkeypatch.setattr(importlib, "import_module", lambda _name: fake)
    device = PyCuda(0)

    def fails(*_: object) -> None:
        raise fake.Error("an illegal memory access was encountered")

    monkeypatch.setattr(fake, "memcpy_htod_async", fails)
    with pytest.raises(StereosrError, match="PyCUDA failed: an illegal memory access"):
        device.upload(1, device.pinned(4), device.create_stream())


def test_a_gpu_that_is_not_there_and_failing_calls_are_errors(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = {"cuda.bindings.runtime": fake_cuda_python(memory), "pycuda.driver": fake_pycuda(memory)}
    monkeypatch.setattr(importlib, "import_module", lambda name: fakes[name])
    for kind in (CudaPython, PyCuda):
        with pytest.raises(BackendUnavailable, match="GPU 3 cannot be used"):
            kind(3)
    monkeypatch.setattr(fakes["cuda.bindings.runtime"], "cudaStreamCreateWithFlags", lambda _flags: (719, None))
    with pytest.raises(StereosrError, match="cudaStreamCreateWithFlags failed: 719"):
        CudaPython(0).create_stream()
    monkeypatch.setattr(fakes["cuda.bindings.runtime"], "cudaEventSynchronize", lambda _event: (719,))
    with pytest.raises(StereosrError, match="cudaEventSynchronize failed: 719"):
        CudaPython(0).synchronize(CudaPython(0).record_event(7))
    assert not memory.events


def test_pycuda_comes_first_and_without_both_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"cuda"}  # a namespace that other packages share
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name in here else None)
    monkeypatch.setattr(device_memory, "PyCuda", lambda index: f"pycuda {index}")
    monkeypatch.setattr(device_memory, "CudaPython", lambda index: f"cuda {index}")
    with pytest.raises(BackendUnavailable, match=r'pip install "stereosr\[rtx\]"'):
        open_device(0)
    here.add("cuda.bindings")
    assert str(open_device(1)) == "cuda 1"
    here.update({"pycuda", "pycuda.driver"})
    assert str(open_device(1)) == "pycuda 1"


def test_cuda_python_takes_what_we_give_it(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own functions, which fail for want of a GPU: what they do not understand would be another error."""
    real = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-python: pip install stereosr[rtx]")
    if driver() is not None:
        pytest.skip("there is a GPU, which would be given wild pointers")
    for name in vars(fake_cuda_python(memory)):
        if not name.startswith("__"):
            assert hasattr(real, name), name
    device = CudaPython.__new__(CudaPython)
    device._cuda, device._index = real, 0
    data, event, graph = np.zeros(8, np.uint8), real.cudaEvent_t(), real.cudaGraphExec_t()
    monkeypatch.setattr(CudaPython, "record_event", lambda *_: event)
    for call in (
        lambda: device.allocate(8),
        lambda: device.free(8),
        lambda: device.pinned(8),
        lambda: device.unpin(data),
        lambda: device.create_stream(),
        lambda: device.destroy_stream(7),
        lambda: device.current().__enter__(),
        lambda: device.upload(8, data, 7),
        lambda: device.download(data, 8, 7),
        lambda: device.wait_event(7, 8),
        lambda: device.synchronize(event),
        lambda: device.capture(7, lambda: True),
        lambda: device_memory._CudaGraph(device, graph, 7).launch(),
        lambda: device_memory._CudaGraph(device, graph, 7).destroy(),
    ):
        with pytest.raises(StereosrError, match=r"failed: cudaError(InsufficientDriver|NoDevice)"):
            call()
    monkeypatch.undo()
    with pytest.raises(StereosrError, match="cudaEventCreateWithFlags failed: cudaError"):
        device.record_event(7)
