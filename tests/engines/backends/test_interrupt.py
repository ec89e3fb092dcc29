"""Ctrl-C inside a tile."""

import importlib.util
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, wait

import pytest

from shared_data import ROOT
from stereosr.backends import interrupt
from stereosr.backends.interrupt import interruptible


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent an interrupt there")
@pytest.mark.parametrize("backend", ["ort-cpu", "openvino"])
def test_an_interrupt_ends_a_tile_long_before_its_end(backend: str) -> None:
    if backend == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    command = [sys.executable, ROOT / "tests/workers/interrupted_tile.py", backend]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "begun\n"
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert rest == "interrupted\n"  # and not "done" before it


def test_what_the_work_gives_or_raises_comes_through() -> None:
    def failing() -> None:
        raise MemoryError("no room")

    assert interruptible(lambda: 3, lambda: None) == 3
    with pytest.raises(MemoryError, match="no room"):
        interruptible(failing, lambda: None)


def test_work_that_does_not_hear_the_first_stop_is_stopped_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the waiting thread is interrupted by is raised once the work has ended."""
    stops: list[int] = []
    heard = threading.Event()
    really = wait

    def interrupted_once(running: list[Future[bool]], seconds: float) -> object:
        if not stops:
            stops.append(0)
            raise KeyboardInterrupt
        return really(running, seconds / 10)

    def stop() -> None:
        stops.append(1)
        if len(stops) > 3:
            heard.set()

    monkeypatch.setattr(interrupt, "wait", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        interruptible(lambda: heard.wait(60), stop)
    assert len(stops) > 3
