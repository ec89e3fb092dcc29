"""The NVIDIA GPUs of this machine, as the driver itself tells; needs no library but the driver's own."""

import ctypes
import sys
from dataclasses import dataclass
from functools import cache

CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""CUdevice_attribute numbers (cuda.h)."""

NO_DRIVER = "no NVIDIA driver answers: install the driver of your GPU"


@dataclass(frozen=True, slots=True)
class Gpu:
    """``capability``: compute capability 8.9 is ``sm89``. ``memory`` in bytes."""

    name: str
    capability: str
    memory: int


@dataclass(frozen=True, slots=True)
class Driver:
    """``version``: ``580.65.06``, empty if not told; ``cuda``: the newest CUDA version that it serves, ``13.0``."""

    version: str
    cuda: str
    gpus: tuple[Gpu, ...]


@cache
def driver() -> Driver | None:
    """The driver and its GPUs; None where there is no driver or no GPU."""
    library = _library("nvcuda.dll", "libcuda.so.1")
    if library is None or library.cuInit(0):
        return None
    version, count = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    library.cuDeviceGetCount(ctypes.byref(count))
    if not count.value:
        return None
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return Driver(_version(), cuda, tuple(_gpu(library, index) for index in range(count.value)))


def _library(windows: str, linux: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(windows if sys.platform == "win32" else linux)
    except OSError:
        return None


def _version() -> str:
    management, text = _library("nvml.dll", "libnvidia-ml.so.1"), ctypes.create_string_buffer(96)
    if management is not None and not management.nvmlInit_v2():
        management.nvmlSystemGetDriverVersion(text, len(text))
    return text.value.decode()


def _gpu(library: ctypes.CDLL, index: int) -> Gpu:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceGetAttribute(ctypes.byref(major), CAPABILITY_MAJOR, device)
    library.cuDeviceGetAttribute(ctypes.byref(minor), CAPABILITY_MINOR, device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    return Gpu(name.value.decode(), f"sm{major.value}{minor.value}", memory.value)
