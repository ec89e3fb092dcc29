"""The command line, run as a process, or in this one where a process does not matter."""

import contextlib
import io
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from stereosr_cli import main


def stereosr(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``stereosr`` with these arguments; warnings are errors there too."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "stereosr_cli", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def in_process(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """As ``stereosr``, in this process: starting one takes longer than most commands on small pictures."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["stereosr", *map(str, arguments)]
    here = contextlib.chdir(cwd) if cwd else contextlib.nullcontext()
    log = logging.getLogger("stereosr")
    level, handlers = log.level, log.handlers
    with (
        here,
        patch.dict(os.environ, environment),
        patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main.exit_code()
    log.setLevel(level)  # a process would have taken its logging with it
    log.handlers = handlers
    return subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until it is true; fail if it does not become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} seconds in vain"
        time.sleep(0.01)


def failed(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """Assert an exit code and one clear line of error, with these parts in it and no traceback."""
    assert done.returncode == code, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    for part in parts:
        assert part in last, done.stderr
