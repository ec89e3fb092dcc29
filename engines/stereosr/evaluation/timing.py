"""Timing: calls in turn, and a command from start to end."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from stereosr.errors import StereosrError


def in_turn(calls: Mapping[str, Callable[[], object]], rounds: int) -> Iterator[dict[str, float]]:
    """Seconds of each call, round by round: each round runs all, so that a drifting machine hurts all alike.

    A call must return only when its result is there, as one that returns numpy arrays does. Warm up first.
    """
    for _ in range(rounds):
        yield {name: seconds(call) for name, call in calls.items()}


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def run_command(command: Sequence[str]) -> tuple[float, str]:
    """Seconds from the start of a process to its end, and what it wrote to stdout.

    Raises:
        StereosrError: if it fails, with the last line that it wrote to stderr.
    """
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - started
    if done.returncode:
        raise StereosrError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    return took, done.stdout
