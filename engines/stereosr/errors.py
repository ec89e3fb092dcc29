"""Errors that people see: one line that names the fix, and the exit code that goes with it.

A message is read by callers of the library, by users of the command and by clients of the service: it tells the fix in
words, and ``settings`` has the names of what to set, from which the command makes its flags.

::

    StereosrError              1  anything that the program knows how to explain
    |-- UsageError             2  (also a ValueError) the call contradicts itself or the files given
    |-- SomeItemsFailed        3  part of a batch failed
    |-- BackendUnavailable     4  (also a RuntimeError) not installed, or does not work on this machine
    `-- OutOfMemory            5  (also a MemoryError) not even the smallest tile fits

``MemoryError`` itself, from a backend, means one tile: a smaller one may fit. ``OutOfMemory`` is final.
"""


class StereosrError(Exception):
    """Anything the program knows how to explain.

    Attributes:
        exit_code: what the command line ends with.
        settings: what could be set otherwise to mend it, by the names of the library's arguments.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, settings: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.settings = settings


class UsageError(StereosrError, ValueError):
    """The call asks for something that does not exist or contradicts itself."""

    exit_code = 2


class SomeItemsFailed(StereosrError):
    """Part of a folder could not be done; the rest is done."""

    exit_code = 3


class BackendUnavailable(StereosrError, RuntimeError):
    """The backend asked for is not installed or does not work on this machine."""

    exit_code = 4


class OutOfMemory(StereosrError, MemoryError):
    """Even the smallest tile does not fit."""

    exit_code = 5


def reason(error: Exception) -> str:
    """What went wrong, without the file's name: that is for the caller to say."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__


def install_hint(extra: str) -> str:
    """The command that installs what an extra of this package needs.

    One spelling for every installation: pip finds this package installed, from a checkout as well as from a wheel, and
    adds what the extra needs.
    """
    return f'pip install "stereosr[{extra}]"'
