"""Errors that people see: one line that names the fix, and the exit code that goes with it."""


class StereosrError(Exception):
    """Anything the program knows how to explain. ``exit_code`` is what the command line ends with."""

    exit_code = 1


class UsageError(StereosrError):
    """The call asks for something that does not exist or contradicts itself."""

    exit_code = 2


class SomeItemsFailed(StereosrError):
    """Part of a folder could not be done; the rest is done."""

    exit_code = 3


class BackendUnavailable(StereosrError):
    """The backend asked for is not installed or does not work on this machine."""

    exit_code = 4


class OutOfMemory(StereosrError):
    """Even the smallest tile does not fit."""

    exit_code = 5


def reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
