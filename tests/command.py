"""The command line, run as a process."""

import os
import subprocess
import sys
from pathlib import Path


def stereosr(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``stereosr`` with these arguments; warnings are errors there too."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "stereosr_cli", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def failed(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """Assert an exit code and one clear line of error, with these parts in it and no traceback."""
    assert done.returncode == code, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    for part in parts:
        assert part in last, done.stderr
