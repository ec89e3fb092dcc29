"""What TensorRT learnt on a GPU and may use again: the timings of builds, the kernels compiled at run time.

Kept in the user's cache folder, behind a sha256 of the rest: a cache with a flipped byte has been seen to end the
process. All of it is best effort: a cache that cannot be read or written costs time, never a result.
"""

import hashlib
import logging
import re
from pathlib import Path

from stereosr.atomic import named, write_bytes
from stereosr.errors import StereosrError
from stereosr.system import cache_dir

_log = logging.getLogger("stereosr")


def cache_path(kind: str, version: str, gpu: str) -> Path:
    """``kernels-1-7-nvidia-geforce-rtx-4090.cache``: of one version on one kind of GPU."""
    return cache_dir() / (re.sub(r"\W+", "-", f"{kind} {version} {gpu}".lower()) + ".cache")


def read_cache(path: Path) -> bytes:
    """What was kept there; empty where there is none, or one that cannot be read or is damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return b""
    checksum, content = data[:32], data[32:]
    return content if checksum == hashlib.sha256(content).digest() else b""


def write_cache(path: Path, content: bytes) -> None:
    """Keep it for the next time; only a warning in the log where that fails."""
    try:
        with named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, hashlib.sha256(content).digest() + content)
    except StereosrError as error:
        _log.warning("%s; it will be made again next time", error)
