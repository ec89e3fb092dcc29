"""What this machine is and lends us: cache folder, threads, memory, versions."""

import contextlib
import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

LIBRARIES = ("stereosr", "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")


def default_threads() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Hardware, versions and commit, for a record of a measurement."""
    return {
        "cpu": _cpu(),
        "cores": default_threads(),
        "memory": psutil.virtual_memory().total,
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in LIBRARIES if (found := _version(name))},
        "commit": _commit(),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpu() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip().splitlines()
    return ", ".join(names) or None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Of the checkout that this very file is tracked in; None where it is in none.

    ``-dirty`` is behind it if this package, the runtime and its bundled engines, is not as in that commit. Texts and
    what lies elsewhere, such as results of the run that is being measured, do not change what ran.
    """
    here = Path(__file__)
    git = ["git", "-C", str(here.parent)]
    if shutil.which("git") is None:
        return None
    tracked = subprocess.run([*git, "ls-files", "--error-unmatch", here.name], capture_output=True, check=False)
    if tracked.returncode:
        return None
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ".", ":!*.md"], capture_output=True, check=False)
    return None if head.returncode else head.stdout.strip() + "-dirty" * bool(changed.returncode)


def cache_dir() -> Path:
    """Where exported and built engines are kept: ``STEREOSR_HOME``, or the user's cache folder."""
    chosen = os.environ.get("STEREOSR_HOME")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stereosr"


def peak_memory() -> int:
    """The largest resident size of this process so far, in bytes (0 where the system does not say)."""
    with contextlib.suppress(OSError, IndexError):  # getrusage would count what started us, as Linux keeps it over exec
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    with contextlib.suppress(ImportError):
        import resource
        import sys

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 0
