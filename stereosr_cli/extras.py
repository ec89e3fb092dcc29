"""Say which extra to install where a command needs more than the runtime."""

import importlib.util

from stereosr.errors import UsageError, install_hint


def need(*modules: str, extra: str) -> None:
    """Raises UsageError, with the pip command, if one of the modules is not installed."""
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} is not installed: {install_hint(extra)}")
