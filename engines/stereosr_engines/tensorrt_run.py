"""Running engines: what the backends ``tensorrt`` and ``tensorrt-rtx`` share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stereosr_engines.backend import RunOptions
from stereosr_engines.device_memory import Bytes, Device, open_device
from stereosr_engines.enginefile import SUFFIX, EngineFile, read_engine
from stereosr_engines.errors import BackendUnavailable, UsageError
from stereosr_engines.gpu import Gpu, driver
from stereosr_engines.library import home
from stereosr_engines.spec import ModelSpec, read_spec
from stereosr_engines.tensorrt_build import build, identify, load, profile_of
from stereosr_engines.types import StereoPair

INPUTS, OUTPUTS = ("left", "right"), ("left_sr", "right_sr")


def missing(flavour: str) -> str | None:
    """Why engines of this flavour cannot be run here, and what to do; None if they can."""
    try:
        load(flavour)
    except BackendUnavailable as error:
        return str(error)
    if driver() is None:
        return "no NVIDIA driver answers: install the driver of your card"
    return None


def open_engine(path: Path, options: RunOptions, flavour: str) -> "TensorRT":
    """Open an engine file, or the engine of an ONNX file, built first where there is none that fits.

    Raises:
        UsageError: for an engine file that cannot run here, or is damaged.
        BackendUnavailable: if there is no such GPU, or TensorRT refuses the engine.
    """
    gpu = gpu_at(options.gpu)
    trt = load(flavour)
    if path.suffix == SUFFIX:
        engine = read_engine(path)
        reason = engine.identity.unfit(flavour, trt.__version__, gpu.capability, gpu.name)
        if reason:
            raise UsageError(f"{path} cannot be used: {reason}; build it here with 'stereosr build'")
    else:
        engine = fitting_engine(path, flavour, gpu, options.say)
    return TensorRT(engine, trt, open_device(options.gpu), gpu)


def gpu_at(index: int) -> Gpu:
    """Raises BackendUnavailable where there is no such card."""
    here = driver()
    if here is None:
        raise BackendUnavailable("no NVIDIA driver answers: install the driver of your card")
    if index >= len(here.gpus):
        raise BackendUnavailable(f"there is no GPU {index}: the numbers here go from 0 to {len(here.gpus) - 1}")
    return here.gpus[index]


def fitting_engine(onnx: Path, flavour: str, gpu: Gpu, say: Callable[[str], None]) -> EngineFile:
    """The kept engine of an ONNX file for any size, or a new one; ``say`` is told why one is built."""
    wanted = identify(onnx, flavour, profile_of(read_spec(onnx), None), (), gpu)
    path = home() / wanted.file_name(onnx)
    reason: str | None = "there is none yet"
    if path.exists():
        try:
            engine = read_engine(path)
            reason = engine.identity.differs(wanted)
        except UsageError as error:
            reason = str(error)
        if reason is None:
            return engine
    say(f"building the engine {path.name}: {reason}")
    engine = build(onnx, wanted)
    engine.write(path)
    return engine


@dataclass(slots=True)
class _Slot:
    """Buffers of one pair on its way: pinned ones here, others on the GPU; ``graph`` launches the network again."""

    host: dict[str, Bytes]
    device: dict[str, int]
    graph: Callable[[], None] | None = None
    runs: int = 0
    pending: object | None = None


class TensorRT:
    """An engine with buffers for two pairs: one is uploaded or downloaded while the other is computed."""

    def __init__(self, engine: EngineFile, trt: Any, device: Device, gpu: Gpu) -> None:
        profile = engine.identity.profile
        self.spec: ModelSpec = replace(engine.spec, min_tile=profile.least, max_tile=profile.most)
        self.device = f"{engine.identity.flavour} {engine.identity.version} on {gpu.name}"
        self._fixed = profile.fixed
        self._memory = device
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(engine.plan)
        if self._engine is None:
            raise BackendUnavailable(f"{self.device} refuses the engine: build it again with 'stereosr build'")
        names = {self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)}
        if names != {*INPUTS, *OUTPUTS}:
            raise UsageError(
                f"the engine has {', '.join(sorted(names))}, and left, right, left_sr, right_sr are needed"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise MemoryError("the GPU has not the memory that the engine works in")
        self._in, self._work, self._out = device.stream(), device.stream(), device.stream()
        self._size = (0, 0)
        self._slots: list[_Slot] = []

    def infer(self, pair: StereoPair) -> StereoPair:
        return self.submit(pair)()

    def submit(self, pair: StereoPair) -> Callable[[], StereoPair]:
        """Begin with a pair; the call of what is given waits for the result. At most two may be under way."""
        self._fit(pair)
        slot = self._slots[0]
        self._slots.reverse()
        self._finish(slot)  # nobody asked for its result: a tile after it failed
        for name, view in zip(INPUTS, (pair.left, pair.right), strict=True):
            host = slot.host[name].view(np.float32).reshape(3, pair.height, pair.width)
            np.copyto(host, view.transpose(2, 0, 1))
            self._memory.upload(slot.device[name], slot.host[name], self._in)
        self._memory.wait(self._work, self._memory.mark(self._in))
        self._run(slot)
        self._memory.wait(self._out, self._memory.mark(self._work))
        for name in OUTPUTS:
            self._memory.download(slot.host[name], slot.device[name], self._out)
        slot.pending = self._memory.mark(self._out)

        def result() -> StereoPair:
            self._finish(slot)
            size = (3, pair.height * self.spec.scale, pair.width * self.spec.scale)
            return StereoPair(*(_image(slot.host[name], size) for name in OUTPUTS))

        return result

    def close(self) -> None:
        self._release()
        del self._context, self._engine, self._runtime

    def _run(self, slot: _Slot) -> None:
        """Put the network into the stream: as it is at first, then, where sizes are fixed, as a CUDA graph."""
        if slot.graph is not None:
            slot.graph()
            return
        for name, pointer in slot.device.items():
            self._context.set_tensor_address(name, pointer)
        if self._fixed and slot.runs:
            slot.graph = self._memory.record(self._work, self._enqueue)
        slot.runs += 1
        if slot.graph is None:
            self._enqueue()
        else:
            slot.graph()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._work):
            raise MemoryError(f"{self.device} could not start the network: most often for want of memory")

    def _fit(self, pair: StereoPair) -> None:
        """Buffers and shapes for pairs of this size."""
        size = (pair.height, pair.width)
        if size == self._size:
            return
        self._release()
        for name in INPUTS:
            self._context.set_input_shape(name, (1, 3, *size))
        scale = self.spec.scale
        pixels = {name: 3 * prod(size) * (scale**2 if name in OUTPUTS else 1) for name in (*INPUTS, *OUTPUTS)}
        for _ in range(2):
            slot = _Slot({}, {})
            self._slots.append(slot)
            for name, count in pixels.items():
                slot.host[name] = self._memory.pinned(4 * count)
                slot.device[name] = self._memory.allocate(4 * count)
        self._size = size

    def _finish(self, slot: _Slot) -> None:
        if slot.pending is not None:
            self._memory.reach(slot.pending)
            slot.pending = None

    def _release(self) -> None:
        for slot in self._slots:
            self._finish(slot)
            for pointer in slot.device.values():
                self._memory.free(pointer)
            for data in slot.host.values():
                self._memory.unpin(data)
        self._slots, self._size = [], (0, 0)


def _image(data: Bytes, size: tuple[int, int, int]) -> NDArray[np.float32]:
    """A copy, because the buffer is used again: 3 x H x W -> H x W x 3."""
    return np.array(data.view(np.float32).reshape(size).transpose(1, 2, 0))
