"""Broken files, and bombs: each is read or refused in one line; none hangs or takes the memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared_data import ROOT

LIMIT = 2 * 2**30


@pytest.mark.timeout(660)
@pytest.mark.parametrize("files", [280, pytest.param(2000, marks=pytest.mark.slow)])
def test_broken_files_and_bombs(tmp_path: Path, files: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "tests/workers/read_broken.py", str(tmp_path), str(files)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["read"] + found["refused"] == files
    assert min(found["read"], found["refused"]) > files / 10
    assert found["bombs"] == ["refused", "read"]  # a lie about its size; and the largest that is read, of one colour
    assert found["peak"] < LIMIT
