"""What the runtime says of arguments, said of the options of the command line."""

from stereosr.errors import StereosrError


def with_flags(error: StereosrError) -> str:
    """The message of an error, and in brackets the options that set what it speaks of."""
    flags = ", ".join(f"--{name.replace('_', '-')}" for name in error.settings)
    return f"{error} ({flags})" if flags else str(error)
