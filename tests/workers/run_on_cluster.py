"""As ``run_job``, on a Ray cluster: run_on_cluster.py FOLDER OUT ADDRESS MODEL. There is no model but "fake".

Pictures with five rows end their worker; those with four end their first one, when all is written."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from fakes import FakeBackend
from stereosr.backends.base import RunReport
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


class Ending(FakeBackend):
    """``report`` is asked for behind an item's work."""

    flag: Path

    def report(self) -> RunReport:
        if self.tiles and self.tiles[-1][0] == 4 and not self.flag.exists():
            self.flag.touch()
            os._exit(1)
        return super().report()


def open_fake(flag: Path, _threads: int) -> tuple[FakeBackend, str]:
    backend = Ending(infer)
    backend.flag = flag
    return backend, "fake"


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    source, out = map(Path, sys.argv[1:3])
    items = collect([source], Naming(out=out, suffix="_x2")).items
    opener = partial(cluster.open_job, partial(open_fake, out.with_name("flag")), Settings(model=sys.argv[4]))
    where = cluster.Cluster(address=sys.argv[3], gpu=True, threads=1)
    try:
        for result in cluster.run(items, opener, out / MANIFEST, where):
            print(result.status, result.item.name, result.error or "", flush=True)  # noqa: T201
    except KeyboardInterrupt:
        sys.exit(130)
