"""Memory, streams and graphs of an NVIDIA GPU: the only place that touches PyCUDA or cuda-python.

PyCUDA where it is installed (it has to be compiled), cuda-python otherwise (it has wheels). Pointers and streams are
plain integers, as TensorRT takes them.
"""

import ctypes
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stereosr_engines.errors import BackendUnavailable, StereosrError

Bytes = NDArray[np.uint8]


class Device(Protocol):
    """The calls that running an engine takes. Copies are asynchronous; hosts' buffers must be pinned ones."""

    def allocate(self, size: int) -> int:
        """Raises MemoryError."""
        ...

    def free(self, pointer: int) -> None: ...

    def pinned(self, size: int) -> Bytes:
        """Page-locked host memory, from and to which copies overlap with computing. Raises MemoryError."""
        ...

    def unpin(self, data: Bytes) -> None: ...

    def stream(self) -> int: ...

    def upload(self, pointer: int, data: Bytes, stream: int) -> None: ...

    def download(self, data: Bytes, pointer: int, stream: int) -> None: ...

    def mark(self, stream: int) -> object:
        """A point in a stream, for other streams and the host to wait for."""
        ...

    def wait(self, stream: int, mark: object) -> None:
        """The stream goes on when the mark is reached; the host goes on at once."""
        ...

    def reach(self, mark: object) -> None:
        """The host waits for the mark."""
        ...

    def record(self, stream: int, work: Callable[[], None]) -> Callable[[], None] | None:
        """What ``work`` puts into the stream, as a CUDA graph that a call puts there again; None where it cannot be."""
        ...


def open_device(index: int) -> Device:
    """The GPU of this number.

    Raises:
        BackendUnavailable: if neither library is installed, or there is no such GPU.
    """
    if importlib.util.find_spec("pycuda") is not None:
        return PyCuda(index)
    if importlib.util.find_spec("cuda") is not None:
        return CudaPython(index)
    raise BackendUnavailable('neither pycuda nor cuda-python is installed: pip install "stereosr[rtx]"')


class CudaPython:
    """By ``cuda.bindings.runtime``, whose functions give (error, results...)."""

    def __init__(self, index: int) -> None:
        self._cuda: Any = importlib.import_module("cuda.bindings.runtime")
        try:
            self._call("cudaSetDevice", index)
        except StereosrError as error:
            raise BackendUnavailable(f"GPU {index} cannot be used: {error}") from error

    def allocate(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, pointer: int) -> None:
        self._call("cudaFree", pointer)

    def pinned(self, size: int) -> Bytes:
        pointer = int(self._call("cudaMallocHost", size))
        return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_uint8)), (size,))

    def unpin(self, data: Bytes) -> None:
        self._call("cudaFreeHost", data.ctypes.data)

    def stream(self) -> int:
        return int(self._call("cudaStreamCreate"))

    def upload(self, pointer: int, data: Bytes, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", pointer, data.ctypes.data, data.nbytes, kind, stream)

    def download(self, data: Bytes, pointer: int, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", data.ctypes.data, pointer, data.nbytes, kind, stream)

    def mark(self, stream: int) -> object:
        event = self._call("cudaEventCreate")
        self._call("cudaEventRecord", event, stream)
        return event

    def wait(self, stream: int, mark: object) -> None:
        self._call("cudaStreamWaitEvent", stream, mark, 0)

    def reach(self, mark: object) -> None:
        self._call("cudaEventSynchronize", mark)
        self._call("cudaEventDestroy", mark)

    def record(self, stream: int, work: Callable[[], None]) -> Callable[[], None] | None:
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            work()
        finally:
            graph = self._call("cudaStreamEndCapture", stream)
        executable = self._call("cudaGraphInstantiate", graph, 0)
        return lambda: self._call("cudaGraphLaunch", executable, stream)

    def _call(self, name: str, *arguments: object) -> Any:
        error, *results = getattr(self._cuda, name)(*arguments)
        if error == self._cuda.cudaError_t.cudaErrorMemoryAllocation:
            raise MemoryError(f"{name}: the GPU's memory is used up")
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise StereosrError(f"{name} failed: {getattr(error, 'name', error)}")
        return results[0] if results else None


class PyCuda:
    """By ``pycuda.driver``, in the GPU's primary context, which TensorRT uses too. It knows no CUDA graphs."""

    def __init__(self, index: int) -> None:
        self._cuda: Any = importlib.import_module("pycuda.driver")
        try:
            self._cuda.init()
            self._context = self._cuda.Device(index).retain_primary_context()
            self._context.push()
        except self._cuda.Error as error:
            raise BackendUnavailable(f"GPU {index} cannot be used: {error}") from error
        self._memory: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}

    def allocate(self, size: int) -> int:
        try:
            memory = self._cuda.mem_alloc(size)
        except self._cuda.MemoryError as error:
            raise MemoryError("the GPU's memory is used up") from error
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, pointer: int) -> None:
        self._memory.pop(pointer).free()

    def pinned(self, size: int) -> Bytes:
        try:
            return np.asarray(self._cuda.pagelocked_empty(size, np.uint8))
        except self._cuda.MemoryError as error:
            raise MemoryError("no more memory can be page-locked") from error

    def unpin(self, data: Bytes) -> None:
        pass  # PyCUDA unlocks it with the array

    def stream(self) -> int:
        stream = self._cuda.Stream()
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def upload(self, pointer: int, data: Bytes, stream: int) -> None:
        self._cuda.memcpy_htod_async(pointer, data, self._streams[stream])

    def download(self, data: Bytes, pointer: int, stream: int) -> None:
        self._cuda.memcpy_dtoh_async(data, pointer, self._streams[stream])

    def mark(self, stream: int) -> object:
        return self._cuda.Event().record(self._streams[stream])

    def wait(self, stream: int, mark: object) -> None:
        self._streams[stream].wait_for_event(mark)

    def reach(self, mark: Any) -> None:
        mark.synchronize()

    def record(self, stream: int, work: Callable[[], None]) -> Callable[[], None] | None:  # noqa: ARG002
        return None
