"""Files that appear whole or not at all: a temporary file beside the target, then a rename."""

import hashlib
import os
import platform
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

from stereosr.errors import StereosrError, UsageError, reason

_ABANDONED = 24 * 3600
"""Seconds after which a temporary file of another machine is what a killed process left."""


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a file by way of a temporary one beside it. Raises StereosrError, and leaves nothing, where that fails."""
    write_all([(path, data)])


def check_writable(folder: Path) -> None:
    """Before long work, whether files can be put into a folder, or into a new one of this path.

    Raises:
        UsageError: if a file is in the way.
        StereosrError: if it may not be written to.
    """
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir():
        raise UsageError(f"cannot write into {folder}: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StereosrError(f"cannot write into {there}: permission denied; give another folder", settings=("out",))


def write_all(files: Iterable[tuple[Path, bytes | memoryview]]) -> None:
    """Write files by way of temporary ones beside them; none appears before all are there.

    Temporary names are unique, so that of two processes writing one file the last one wins, whole. What a killed
    process left is removed when the file is written again; if that is done on another machine, a day later.
    """
    parts: dict[Path, Path] = {}
    try:
        for path, data in files:
            name = hashlib.sha256(path.name.encode(errors="surrogateescape")).hexdigest()[:16]
            with named(path):
                _remove_abandoned(path.parent.glob(f".{name}.*.part"))
                parts[path] = path.with_name(f".{name}.{_machine()}.{os.getpid()}.{secrets.token_hex(4)}.part")
                parts[path].write_bytes(data)
        for path, part in parts.items():
            with named(path):
                part.replace(path)
    finally:
        for part in parts.values():
            with suppress(OSError, ValueError):
                part.unlink()


def _remove_abandoned(parts: Iterable[Path]) -> None:
    """Those that no process can still be writing."""
    for part in parts:
        with suppress(OSError, ValueError):
            _, _, machine, process, _, _ = part.name.split(".")
            dead = machine == _machine() and not psutil.pid_exists(int(process))
            if dead or part.stat().st_mtime < time.time() - _ABANDONED:
                part.unlink()


@cache
def _machine() -> str:
    """Tells apart machines, and containers, each of which counts its processes by itself."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        name = boot + str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # no Linux
        name = platform.node()
    return hashlib.sha256(name.encode()).hexdigest()[:8]


@contextmanager
def named(path: Path) -> Iterator[None]:
    """What keeps a file from being written, as an error that names it."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise StereosrError(f"cannot write {path}: {reason(error)}") from error
