"""Wheels and source distributions, built without a network."""

import subprocess
import sys
from pathlib import Path

import pytest

from shared_data import ROOT


def build(kind: str, folder: Path, source: Path = ROOT) -> Path:
    """The wheel or the sdist of a checkout, in a folder."""
    pytest.importorskip("hatchling")
    code = f"from hatchling.build import build_{kind} as build; import sys; print(build(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, cwd=source, check=True, capture_output=True, text=True, timeout=120)
    return folder / done.stdout.strip()
