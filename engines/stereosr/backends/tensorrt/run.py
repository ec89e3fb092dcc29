"""Running engines: what the backends ``tensorrt`` and ``tensorrt-rtx`` share."""

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stereosr.backends.base import BackendBase, RunOptions
from stereosr.backends.nvidia import NO_DRIVER, Gpu, driver
from stereosr.backends.tensorrt import device_memory
from stereosr.backends.tensorrt.build import RTX, build, identify, load, profile_of, why_unsupported
from stereosr.backends.tensorrt.cache import cache_path, read_cache, write_cache
from stereosr.backends.tensorrt.device_memory import Bytes, Device, Graph, open_device
from stereosr.errors import BackendUnavailable, OutOfMemory, StereosrError, UsageError
from stereosr.models.engine_file import SUFFIX, EngineFile, cached_engine, read_engine
from stereosr.models.spec import INPUTS, OUTPUTS, read_spec
from stereosr.system import cache_dir
from stereosr.types import StereoPair

_log = logging.getLogger("stereosr")


def missing(variant: str) -> str | None:
    """Why engines of this variant cannot be run here, and what to do; None if they can."""
    here = driver()
    if here is None and importlib.util.find_spec(variant) is not None:
        return NO_DRIVER  # and TensorRT need not be loaded to know it
    try:
        trt = load(variant)
    except BackendUnavailable as error:
        return str(error)
    if here is None:
        return NO_DRIVER
    reasons = [why_unsupported(trt, variant, gpu) for gpu in here.gpus]
    return reasons[0] if all(reasons) else device_memory.missing()


def open_engine(path: Path, options: RunOptions, variant: str) -> "TensorRT":
    """Open an engine file, or the engine of an ONNX file, built first where there is none that fits.

    Raises:
        UsageError: for an engine file that cannot run here, or is damaged.
        BackendUnavailable: if there is no such GPU, TensorRT does not serve it, or refuses the engine.
        OutOfMemory: if the network itself does not fit.
    """
    gpu = gpu_at(options.gpu)
    trt = load(variant)
    device = open_device(options.gpu)
    if path.suffix == SUFFIX:
        engine = read_engine(path)
        reason = engine.identity.incompatibility(variant, trt.__version__, gpu.capability, gpu.name)
        if reason:
            raise UsageError(f"{path} cannot be used: {reason}; build it here with 'stereosr build'")
    else:
        with device.current():  # TensorRT builds for the current one
            engine = fitting_engine(path, variant, gpu)
    return TensorRT(engine, trt, device, gpu)


def gpu_at(index: int) -> Gpu:
    """Raises BackendUnavailable where there is no such GPU."""
    here = driver()
    if here is None:
        raise BackendUnavailable(NO_DRIVER)
    if index >= len(here.gpus):
        raise BackendUnavailable(f"there is no GPU {index}: the numbers here go from 0 to {len(here.gpus) - 1}")
    return here.gpus[index]


def fitting_engine(onnx: Path, variant: str, gpu: Gpu) -> EngineFile:
    """The cached engine of an ONNX file for any size, or a new one; the log says why one is built.

    A new one is cached if the cache folder can be written to.
    """
    wanted = identify(onnx, variant, profile_of(read_spec(onnx), None), (), gpu)
    path = cache_dir() / wanted.file_name(onnx)
    cached = cached_engine(path, wanted)
    if isinstance(cached, EngineFile):
        return cached
    _log.info("building the engine %s: %s", path.name, cached)
    engine = build(onnx, wanted)
    try:
        engine.write(path)
    except StereosrError as error:
        _log.warning("%s; the engine is used all the same, and will be built again next time", error)
    return engine


class _Slot:
    """What one pair on its way has for itself: pinned buffers, others on the GPU, a context that is bound to them.

    A context of its own, because a graph holds only while the context that it was captured from is left as it was.
    """

    def __init__(self, context: Any) -> None:
        self.context = context
        self.host: dict[str, Bytes] = {}
        self.device: dict[str, int] = {}
        self.graph: Graph | None = None
        self.runs = 0
        self.pending: object | None = None

    def bind(self) -> None:
        """Raises StereosrError if TensorRT does not take a buffer."""
        for name, pointer in self.device.items():
            if not self.context.set_tensor_address(name, pointer):
                raise StereosrError(f"TensorRT takes no buffer for {name}: build the engine again")


class TensorRT(BackendBase):
    """An engine with buffers for two pairs: one is uploaded or downloaded while the other is computed.

    Both are computed in one stream, one after the other, in one piece of memory, as much as pictures of their size
    need. From the second use of a size on, the network is replayed as a CUDA graph: our own with ``tensorrt``;
    TensorRT-RTX keeps one itself, as it alone knows when its kernels for a size are compiled.
    """

    def __init__(self, engine: EngineFile, trt: Any, device: Device, gpu: Gpu) -> None:
        with device.current():
            self._open(engine, trt, device, gpu)

    def _open(self, engine: EngineFile, trt: Any, device: Device, gpu: Gpu) -> None:
        identity = engine.identity
        self.spec = replace(engine.spec, min_tile=identity.profile.min, max_tile=identity.profile.max)
        self.device = f"{identity.variant} {identity.version} on {gpu.name}"
        self._profile = identity.profile
        self._memory = device
        self._log = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(engine.plan)
        if self._engine is None:
            raise BackendUnavailable(f"{self.device} refuses the engine: build it again with 'stereosr build'")
        names = {self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)}
        if names != {*INPUTS, *OUTPUTS}:
            raise UsageError(
                f"the engine has {', '.join(sorted(names))}, and left, right, left_sr, right_sr are needed"
            )
        self._own_graphs = identity.variant != RTX
        self._kernels: _Kernels | None = None
        how = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if identity.variant == RTX:
            config = self._engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(how)
            config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self._kernels = _Kernels(config, cache_path("kernels", identity.version, gpu.name))
            how = config
        self._slots = [_Slot(self._engine.create_execution_context(how)) for _ in range(2)]
        if any(slot.context is None for slot in self._slots):
            raise OutOfMemory(f"{self.spec.title} does not fit into the memory of {gpu.name}: close other programs")
        self._in, self._work, self._out = self._streams = [device.create_stream() for _ in range(3)]
        for slot in self._slots:
            slot.context.set_optimization_profile_async(0, self._work)  # TensorRT chooses it for the first one alone
        self._size = (0, 0)
        self._scratch: int | None = None

    def _infer(self, pair: StereoPair) -> StereoPair:
        return self._submit(pair)()

    def _submit(self, pair: StereoPair) -> Callable[[], StereoPair]:
        with self._memory.current():
            slot = self._start(pair)

        def result() -> StereoPair:
            size = (3, pair.height * self.spec.scale, pair.width * self.spec.scale)
            with self._memory.current():
                self._finish(slot)
                return StereoPair(*(_image(slot.host[name], size) for name in OUTPUTS))

        return result

    def _close(self) -> None:
        with self._memory.current():
            self._release()
            for stream in self._streams:
                self._memory.destroy_stream(stream)
            if self._kernels is not None:
                self._kernels.keep()
            self._slots.clear()  # TensorRT wants contexts to go before their engine, and that before its runtime
            self._kernels = None
            del self._engine, self._runtime

    def _start(self, pair: StereoPair) -> _Slot:
        """Put all that one pair takes into the streams."""
        self._fit((pair.height, pair.width))
        slot = self._slots[0]
        self._slots.reverse()
        self._finish(slot)  # nobody asked for its result: a tile after it failed
        for name, view in zip(INPUTS, (pair.left, pair.right), strict=True):
            host = slot.host[name].view(np.float32).reshape(3, pair.height, pair.width)
            np.copyto(host, view.transpose(2, 0, 1))
            self._memory.upload(slot.device[name], slot.host[name], self._in)
        self._memory.wait_event(self._work, self._in)
        self._run(slot)
        self._memory.wait_event(self._out, self._work)
        for name in OUTPUTS:
            self._memory.download(slot.host[name], slot.device[name], self._out)
        slot.pending = self._memory.record_event(self._out)
        return slot

    def _run(self, slot: _Slot) -> None:
        """Put the network into the stream; the first time as it is, which sets up what a capture must not."""

        def enqueue() -> bool:
            return bool(slot.context.execute_async_v3(self._work))

        if self._own_graphs and slot.runs == 1:
            slot.graph = self._memory.capture(self._work, enqueue)
        slot.runs += 1
        if slot.graph is not None:
            slot.graph.launch()
        elif not enqueue():
            raise MemoryError(f"{self.device} could not start the network: most often for want of memory")

    def _fit(self, size: tuple[int, int]) -> None:
        """Buffers and shapes for pairs of this size.

        Raises:
            UsageError: if the engine takes none such.
            MemoryError: if they do not fit.
        """
        if size == self._size:
            return
        self._release()
        for slot in self._slots:
            if not all(slot.context.set_input_shape(name, (1, 3, *size)) for name in INPUTS):
                raise UsageError(f"the engine takes pictures of {self._profile}, not {size[0]}x{size[1]}")
        need = max(slot.context.update_device_memory_size_for_shapes() for slot in self._slots)
        if need:
            self._scratch = self._memory.allocate(need)
        scale = self.spec.scale
        pixels = {name: 3 * prod(size) * (scale**2 if name in OUTPUTS else 1) for name in (*INPUTS, *OUTPUTS)}
        for slot in self._slots:
            if self._scratch is not None:
                slot.context.set_device_memory(self._scratch, need)
            for name, count in pixels.items():
                slot.host[name] = self._memory.pinned(4 * count)
                slot.device[name] = self._memory.allocate(4 * count)
            slot.bind()
        self._size = size

    def _finish(self, slot: _Slot) -> None:
        if slot.pending is not None:
            event, slot.pending = slot.pending, None
            self._memory.synchronize(event)

    def _release(self) -> None:
        """Give back what pairs of one size needed, once nothing uses it any more."""
        for slot in self._slots:
            self._finish(slot)
        for stream in self._streams:  # a failure may have left something in them
            self._memory.synchronize(self._memory.record_event(stream))
        for slot in self._slots:
            if slot.graph is not None:
                slot.graph.destroy()  # before the memory that it refers to
            for pointer in slot.device.values():
                self._memory.free(pointer)
            for data in slot.host.values():
                self._memory.unpin(data)
            slot.graph, slot.runs, slot.device, slot.host = None, 0, {}, {}
        if self._scratch is not None:
            self._memory.free(self._scratch)
        self._scratch, self._size = None, (0, 0)


class _Kernels:
    """What TensorRT-RTX compiles for the GPU at hand: both contexts share it, later runs find it compiled."""

    def __init__(self, config: Any, path: Path) -> None:
        self._path = path
        self._cache = config.create_runtime_cache()
        self._before = read_cache(path)
        if self._before and not self._cache.deserialize(self._before):
            _log.info("%s is of another driver: kernels are compiled again", path.name)
        config.set_runtime_cache(self._cache)

    def keep(self) -> None:
        content = bytes(self._cache.serialize())
        if content != self._before:
            write_cache(self._path, content)


def _image(data: Bytes, size: tuple[int, int, int]) -> NDArray[np.float32]:
    """A copy, because the buffer is used again: 3 x H x W -> H x W x 3."""
    return np.array(data.view(np.float32).reshape(size).transpose(1, 2, 0))
