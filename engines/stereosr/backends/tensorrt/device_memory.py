"""Memory, streams and graphs of an NVIDIA GPU: the only place that touches PyCUDA or cuda-python.

PyCUDA where it is installed (it has to be compiled), cuda-python otherwise (it has wheels). Pointers and streams are
plain integers, as TensorRT takes them.
"""

import contextlib
import ctypes
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stereosr.errors import BackendUnavailable, StereosrError, install_hint

Bytes = NDArray[np.uint8]

NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: the legacy default stream, which others use, neither waits for ours nor spoils a capture."""


class Graph(Protocol):
    """A CUDA graph. Memory that its nodes refer to must outlive it."""

    def launch(self) -> None:
        """Put it into the stream that it was captured from."""
        ...

    def destroy(self) -> None: ...


class Device(Protocol):
    """The CUDA calls that running an engine takes.

    Sizes are in bytes. Every other call must be made inside ``current``, by whichever thread.
    """

    def current(self) -> AbstractContextManager[None]:
        """Makes the GPU the current one of the calling thread: CUDA keeps one for each thread."""
        ...

    def allocate(self, size: int) -> int:
        """Memory of the GPU, for ``free``. Raises MemoryError."""
        ...

    def free(self, pointer: int) -> None: ...

    def pinned(self, size: int) -> Bytes:
        """Page-locked host memory, for ``unpin``: only its copies overlap with computing. Raises MemoryError."""
        ...

    def unpin(self, data: Bytes) -> None: ...

    def create_stream(self) -> int: ...

    def destroy_stream(self, stream: int) -> None:
        """Nothing may be under way in it."""
        ...

    def upload(self, pointer: int, data: Bytes, stream: int) -> None:
        """Starts a copy from pinned host memory to the GPU; both must live until the stream has done it."""
        ...

    def download(self, data: Bytes, pointer: int, stream: int) -> None:
        """Starts a copy from the GPU to pinned host memory; both must live until the stream has done it."""
        ...

    def wait_event(self, stream: int, leader: int) -> None:
        """What comes into ``stream`` from now on waits for all that is in ``leader``; the host goes on at once."""
        ...

    def record_event(self, stream: int) -> object:
        """Record an event at the stream's current end; pass it to ``synchronize`` exactly once."""
        ...

    def synchronize(self, event: object) -> None:
        """The host waits for an event, which is destroyed then."""
        ...

    def capture(self, stream: int, work: Callable[[], bool]) -> Graph | None:
        """What ``work`` puts into the stream, which is not run; None where it says that it failed, or cannot be kept.

        The same work must have run before: what it sets up at first (memory, kernels) cannot be captured.
        """
        ...


def missing() -> str | None:
    """What to install where neither library is; None where one is."""
    if _installed("pycuda", "driver") or _installed("cuda", "bindings"):
        return None
    return f"neither pycuda nor cuda-python is installed: {install_hint('rtx')}"


def open_device(index: int) -> Device:
    """The GPU of this number.

    Raises:
        BackendUnavailable: if neither library is installed, or there is no such GPU.
    """
    lacking = missing()
    if lacking:
        raise BackendUnavailable(lacking)
    return PyCuda(index) if _installed("pycuda", "driver") else CudaPython(index)


def _installed(package: str, module: str) -> bool:
    """The module too: other packages put something of their own into the namespace ``cuda``."""
    return importlib.util.find_spec(package) is not None and importlib.util.find_spec(f"{package}.{module}") is not None


class CudaPython:
    """By ``cuda.bindings.runtime``, whose functions give (error, results...)."""

    def __init__(self, index: int) -> None:
        self._cuda: Any = importlib.import_module("cuda.bindings.runtime")
        self._index = index
        try:
            with self.current():
                pass
        except StereosrError as error:
            raise BackendUnavailable(f"GPU {index} cannot be used: {error}") from error

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        self._call("cudaSetDevice", self._index)
        yield  # and it stays: to set another GPU again would start a context of CUDA's on it, of some 100 MB

    def allocate(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, pointer: int) -> None:
        self._call("cudaFree", pointer)

    def pinned(self, size: int) -> Bytes:
        pointer = int(self._call("cudaMallocHost", size))
        return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_uint8)), (size,))

    def unpin(self, data: Bytes) -> None:
        self._call("cudaFreeHost", data.ctypes.data)

    def create_stream(self) -> int:
        return int(self._call("cudaStreamCreateWithFlags", NON_BLOCKING))

    def destroy_stream(self, stream: int) -> None:
        self._call("cudaStreamDestroy", stream)

    def upload(self, pointer: int, data: Bytes, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", pointer, data.ctypes.data, data.nbytes, kind, stream)

    def download(self, data: Bytes, pointer: int, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", data.ctypes.data, pointer, data.nbytes, kind, stream)

    def wait_event(self, stream: int, leader: int) -> None:
        event = self.record_event(leader)
        self._call("cudaStreamWaitEvent", stream, event, 0)
        self._call("cudaEventDestroy", event)  # CUDA keeps it until it was reached

    def record_event(self, stream: int) -> object:
        event = self._call("cudaEventCreateWithFlags", self._cuda.cudaEventDisableTiming)
        self._call("cudaEventRecord", event, stream)
        return event

    def synchronize(self, event: object) -> None:
        try:
            self._call("cudaEventSynchronize", event)
        finally:
            self._call("cudaEventDestroy", event)

    def capture(self, stream: int, work: Callable[[], bool]) -> Graph | None:
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            worked = work()
        finally:  # the stream is of no use before
            error, graph = self._cuda.cudaStreamEndCapture(stream)
        if not worked or error != self._cuda.cudaError_t.cudaSuccess:
            return None
        try:
            executable = self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)
        return _CudaGraph(self, executable, stream)

    def _call(self, name: str, *arguments: object) -> Any:
        error, *results = getattr(self._cuda, name)(*arguments)
        if error == self._cuda.cudaError_t.cudaErrorMemoryAllocation:
            raise MemoryError(f"{name}: the GPU's memory is used up")
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise StereosrError(f"{name} failed: {getattr(error, 'name', error)}")
        return results[0] if results else None


class _CudaGraph:
    def __init__(self, device: CudaPython, executable: object, stream: int) -> None:
        self._device, self._executable, self._stream = device, executable, stream

    def launch(self) -> None:
        self._device._call("cudaGraphLaunch", self._executable, self._stream)

    def destroy(self) -> None:
        self._device._call("cudaGraphExecDestroy", self._executable)


class PyCuda:
    """By ``pycuda.driver``, in the GPU's primary context, which TensorRT uses too. It knows no CUDA graphs."""

    def __init__(self, index: int) -> None:
        self._cuda: Any = importlib.import_module("pycuda.driver")
        try:
            self._cuda.init()
            self._context = self._cuda.Device(index).retain_primary_context()
        except self._cuda.Error as error:
            raise BackendUnavailable(f"GPU {index} cannot be used: {error}") from error
        self._memory: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        with self._errors():
            self._context.push()
        try:
            yield
        finally:
            self._context.pop()  # PyCUDA aborts a process that ends with a context on its stack

    def allocate(self, size: int) -> int:
        with self._errors():
            memory = self._cuda.mem_alloc(size)
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, pointer: int) -> None:
        with self._errors():
            self._memory.pop(pointer).free()

    def pinned(self, size: int) -> Bytes:
        with self._errors():
            return np.asarray(self._cuda.pagelocked_empty(size, np.uint8))

    def unpin(self, data: Bytes) -> None:
        pass  # PyCUDA unlocks it with the array

    def create_stream(self) -> int:
        with self._errors():
            stream = self._cuda.Stream(NON_BLOCKING)
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def destroy_stream(self, stream: int) -> None:
        del self._streams[stream]  # PyCUDA destroys it with the object

    def upload(self, pointer: int, data: Bytes, stream: int) -> None:
        with self._errors():
            self._cuda.memcpy_htod_async(pointer, data, self._streams[stream])

    def download(self, data: Bytes, pointer: int, stream: int) -> None:
        with self._errors():
            self._cuda.memcpy_dtoh_async(data, pointer, self._streams[stream])

    def wait_event(self, stream: int, leader: int) -> None:
        with self._errors():
            self._streams[stream].wait_for_event(self.record_event(leader))

    def record_event(self, stream: int) -> object:
        with self._errors():
            return self._cuda.Event(self._cuda.event_flags.DISABLE_TIMING).record(self._streams[stream])

    def synchronize(self, event: Any) -> None:
        with self._errors():
            event.synchronize()

    def capture(self, stream: int, work: Callable[[], bool]) -> Graph | None:  # noqa: ARG002
        return None

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._cuda.MemoryError as error:
            raise MemoryError(f"the GPU's memory is used up: {error}") from error
        except self._cuda.Error as error:
            raise StereosrError(f"PyCUDA failed: {error}") from error
