"""What this machine is and lends us: cache folder, threads, memory, versions."""

import contextlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path, PurePosixPath
from typing import Any

import psutil


def default_threads() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that this process may still take: what the machine has free, or less where a container's or a batch
    system's limit (a Linux control group, version 1 or 2) leaves less.

    Args:
        root: below which ``/proc`` and ``/sys`` lie.
    """
    return max(0, min([psutil.virtual_memory().available, *_left_of_group_limits(root)]))


def format_bytes(count: int) -> str:
    """An amount of memory as people read it: ``1.5 GiB``, ``300 MiB``, ``12 KiB``."""
    if count >= 2**30:
        return f"{count / 2**30:.1f} GiB"
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def _left_of_group_limits(root: Path) -> Iterator[int]:
    """What each limit leaves, in bytes: that of this process's group, and of the groups which that is in.

    Cached file contents that the kernel drops when memory is short do not count as used.
    """
    groups = root / "proc/self/cgroup"
    lines = groups.read_text(encoding="utf-8", errors="replace").splitlines() if groups.exists() else []
    for _, controllers, name in (line.split(":", 2) for line in lines):
        if not controllers:
            mounted, files, cached = "sys/fs/cgroup", ("memory.max", "memory.current"), "inactive_file"
        elif "memory" in controllers.split(","):
            mounted, files = "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
            cached = "total_inactive_file"
        else:
            continue
        group = PurePosixPath(name.lstrip("/"))
        for folder in (root / mounted / part for part in (group, *group.parents)):
            with contextlib.suppress(OSError, ValueError):  # a container sees its own group only; "max" is no limit
                limit, used = (int((folder / file).read_text(encoding="ascii")) for file in files)
                droppable = re.search(rf"^{cached} (\d+)$", (folder / "memory.stat").read_text("ascii"), re.MULTILINE)
                yield limit - used + (int(droppable[1]) if droppable else 0)


def machine() -> dict[str, Any]:
    """Hardware, versions and commit, for a record of a measurement."""
    return {
        "cpu": _cpu(),
        "cores": default_threads(),
        "memory": psutil.virtual_memory().total,
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": _versions(),
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


def _versions() -> dict[str, str]:
    """Of this package, and of all that it or one of its extras names and that is installed."""
    names = ["stereosr"]
    with contextlib.suppress(PackageNotFoundError):  # run from a checkout
        names += sorted({re.split(r"[^\w.-]", wanted, maxsplit=1)[0] for wanted in requires("stereosr") or []})
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


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
    """Where exported and built engines are kept: ``STEREOSR_HOME``, or the system's folder for a user's caches."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("STEREOSR_HOME")
    return Path(chosen) if chosen else user_cache_path("stereosr", appauthor=False)


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
