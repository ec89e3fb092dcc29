"""What every test runs in: a cache folder and a temporary folder of their own, both gone when the tests end."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# A shell starts what it puts in the background with interrupts ignored, and programs inherit that: the tests send some.
signal.signal(signal.SIGINT, signal.default_int_handler)

# As the runtime does before it imports onnxruntime, for tests that import it themselves.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Hypothesis fails examples that take longer than 200 ms, which on a busy machine says nothing about the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Engines that the user keeps are none of the tests' business, and nothing may stay in the temporary folder."""
    temporary = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEREOSR_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("torch")))  # torch's own way is to leave it
        for name in ("TMPDIR", "TEMP", "TMP"):
            patch.setenv(name, str(temporary))
        patch.setattr(tempfile, "tempdir", None)
        yield
    left: list[Path] = sorted(temporary.iterdir())
    assert not left, f"tests or what they ran left these in the temporary folder: {[p.name for p in left]}"
