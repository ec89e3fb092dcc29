"""Ctrl-C inside a tile."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import TypeVar

_T = TypeVar("_T")

_LOOK = 0.1
"""Seconds after which the waiting thread looks for interrupts: on Windows none wakes a thread that waits."""


def interruptible(work: Callable[[], _T], stop: Callable[[], None]) -> _T:
    """What ``work`` gives, done in a thread of its own: interrupts reach the thread that waits, no library's loop.

    Args:
        work: what may take long.
        stop: makes it end soon, whatever it then gives or raises; called by the waiting thread until it has ended.
    """
    result: Future[_T] = Future()

    def run() -> None:
        if result.set_running_or_notify_cancel():
            try:
                result.set_result(work())
            except BaseException as error:
                result.set_exception(error)

    try:
        # By no executor: one that is interrupted as it starts forgets its work.
        Thread(target=run, name="stereosr-tile").start()
        while not result.done():
            wait([result], _LOOK)
    except BaseException:  # KeyboardInterrupt as a rule, or whatever a host's signal handler raises
        result.cancel()  # where it has not begun
        while not result.done():  # again and again: work that has just begun may not hear the first
            stop()
            wait([result], _LOOK)
        raise
    return result.result()
