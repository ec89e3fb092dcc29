"""As ``run_job``, on a Ray cluster: run_on_cluster.py FOLDER OUT ADDRESS. Pictures with five rows end their worker."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from fakes import FakeBackend
from stereosr.batch import cluster
from stereosr.batch.inputs import Naming, collect
from stereosr.batch.item import Settings
from stereosr.batch.manifest import MANIFEST
from stereosr.types import StereoPair


def infer(pair: StereoPair) -> StereoPair:
    if pair.height == 5:
        os._exit(1)
    time.sleep(0.1)
    return pair


def open_fake(_threads: int) -> tuple[FakeBackend, str]:
    return FakeBackend(infer), "fake"


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    source, out = map(Path, sys.argv[1:3])
    items = collect([source], Naming(out=out, suffix="_x2")).items
    opener = partial(cluster.open_job, open_fake, Settings(model="fake"))
    where = cluster.Cluster(address=sys.argv[3], gpu=True, threads=1)
    try:
        for result in cluster.run(items, opener, out / MANIFEST, where):
            print(result.status, result.item.name, result.error or "", flush=True)  # noqa: T201
    except KeyboardInterrupt:
        sys.exit(130)
