"""On what machine, and how long: calls in turn, a command from start to end."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from stereosr_engines.errors import StereosrError

LIBRARIES = ("stereosr", "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")


def in_turn(calls: Mapping[str, Callable[[], object]], rounds: int) -> Iterator[dict[str, float]]:
    """Seconds of each call, round by round: each round runs all, so that a drifting machine hurts all alike.

    A call must return only when its result is there: what gives numpy arrays does. Warm up first.
    """
    for _ in range(rounds):
        yield {name: seconds(call) for name, call in calls.items()}


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def run_command(command: Sequence[str]) -> tuple[float, str]:
    """Seconds from the start of a process to its end, and what it wrote to stdout.

    Raises:
        StereosrError: if it fails, with its last words.
    """
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - started
    if done.returncode:
        raise StereosrError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    return took, done.stdout


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
