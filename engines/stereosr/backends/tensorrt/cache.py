"""What TensorRT learnt on a card and may use again: the timings of builds, the kernels compiled at run time.

Kept in the user's cache, behind a sha256 of the rest: a cache with a flipped byte has been seen to end the process.
"""

import hashlib
import re
from pathlib import Path

from stereosr.atomic import write_bytes
from stereosr.system import cache_dir


def cache_path(kind: str, version: str, gpu: str) -> Path:
    """``kernels-1-7-nvidia-geforce-rtx-4090.cache``: of one version on one kind of card."""
    return cache_dir() / (re.sub(r"\W+", "-", f"{kind} {version} {gpu}".lower()) + ".cache")


def read_cache(path: Path) -> bytes:
    """Empty where there is none, or a damaged one: it will be made again."""
    data = path.read_bytes() if path.exists() else b""
    checksum, content = data[:32], data[32:]
    return content if checksum == hashlib.sha256(content).digest() else b""


def write_cache(path: Path, content: bytes) -> None:
    """Raises StereosrError where it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, hashlib.sha256(content).digest() + content)
