"""Upscales a folder by a backend that repeats pixels, and prints each result: run_job.py FOLDER OUT."""

import sys
from pathlib import Path

from fakes import FakeBackend
from stereosr.batch.inputs import Naming, collect
from stereosr.batch.item import Settings
from stereosr.batch.job import run
from stereosr.batch.manifest import MANIFEST

source, out = map(Path, sys.argv[1:])
items = collect([source], Naming(out=out, suffix="_x2")).items
for result in run(items, FakeBackend(), Settings(model="fake"), out / MANIFEST):
    print(result.status, result.item.name, flush=True)  # noqa: T201
