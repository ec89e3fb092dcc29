"""Real pictures beside the checkout; tests that need them skip where they are absent."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


def shared(name: str) -> Path:
    """A file or folder of the shared pictures; skips the test, with the reason, if it is not there."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs the real pictures of ../shared/data/{name}")
    return path
