"""What a Ray cluster's driver costs, and how many workers it keeps busy: items that only sleep, on one machine.

    python benchmarks/cluster.py [--workers 1 2 4 8 16 32] [--items 10000] [-o benchmarks/results/cluster]

Each worker is a process with a whole conversation an item, as in ``upscale --cluster``: is it done, is anything in the
way, it starts, the result; in place of pictures it sleeps 0.5 s. Efficiency is the time slept of the time there was,
from when all workers have given a result until each has given 30 more, so start and end of a job are left out. The
driver's cost and memory are those of ``--items`` items by two workers that do not sleep: as fast as it can go.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from stereosr.batch import cluster
from stereosr.batch.item import Item, Result
from stereosr.system import machine

SECONDS, ROUNDS = 0.5, 30


class Sleeper:
    """The work of a worker."""

    def __init__(self, seconds: float, place: cluster.Place) -> None:
        self.seconds, self.manifest = seconds, place.manifest

    def do(self, item: Item) -> Result:
        key = item.name
        if self.manifest.is_done(key, item) or self.manifest.strangers(key, item):
            raise AssertionError(item)
        time.sleep(self.seconds)
        self.manifest.start(key, item, dict.fromkeys(item.targets, key))
        self.manifest.finish(key, item)
        return Result(item, "done", device=str(os.getpid()))


@contextmanager
def job(workers: int, items: int, seconds: float) -> Iterator[Iterator[Result]]:
    """Results of so many items, on a cluster that is there as long."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(True, head_node_args={"num_cpus": workers, "object_store_memory": 100 * 2**20})
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            todo = [Item(f"{n:06}", (folder / "source",), (folder / f"{n:06}",)) for n in range(items)]
            where = cluster.Cluster(address=nodes.address, gpu=False, threads=1)
            manifest = folder / "stereosr-manifest.jsonl"
            with closing(cluster.run(todo, partial(Sleeper, seconds), manifest, where)) as results:
                yield results
    finally:
        nodes.shutdown()


def efficiency(workers: int) -> dict[str, float]:
    with job(workers, 10000, SECONDS) as results:
        seen: set[str] = set()
        while len(seen) < workers:
            seen.add(next(results).device)
        started, cpu = time.perf_counter(), time.process_time()
        count = sum(1 for _ in islice(results, ROUNDS * workers))
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {
        "items": count,
        "efficiency": round(count * SECONDS / (workers * wall), 4),
        "driver_cpu_ms_an_item": round(1000 * cpu / count, 2),
        "load_of_the_machine": round(os.getloadavg()[0], 1),
    }


def driver(items: int) -> dict[str, float]:
    """What an item costs it, and whether it grows."""
    process = psutil.Process()
    with job(2, items, 0) as results:
        list(islice(results, items // 10))
        before, cpu, started = process.memory_info().rss, time.process_time(), time.perf_counter()
        count = sum(1 for _ in results)
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
        after = process.memory_info().rss
    return {
        "items": items,
        "items_a_second": round(count / wall, 1),
        "driver_cpu_ms_an_item": round(1000 * cpu / count, 2),
        "memory_mb_after_a_tenth": round(before / 2**20, 1),
        "memory_mb_at_the_end": round(after / 2**20, 1),
        "load_of_the_machine": round(os.getloadavg()[0], 1),
    }


def plot(rows: dict[int, dict[str, float]], out: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.semilogx(list(rows), [100 * row["efficiency"] for row in rows.values()], "o-", base=2)
    axes.axhline(95, linestyle="--", color="0.6")
    axes.set(xlabel=f"workers, items of {SECONDS} s", ylabel="efficiency, %", ylim=(80, 101))
    axes.set_xticks(list(rows), [str(workers) for workers in rows])
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--items", type=int, default=10000)
    parser.add_argument("-o", "--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ.update(RAY_TMPDIR=folder, RAY_worker_niceness="0")  # others on the machine count as little as can be
        report: dict[str, Any] = {"machine": machine(), "driver": driver(chosen.items), "workers": {}}
        for workers in chosen.workers:
            report["workers"][workers] = efficiency(workers)
            sys.stdout.write(f"{workers}: {report['workers'][workers]}\n")
            sys.stdout.flush()
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        plot(report["workers"], chosen.out.with_suffix(".png"))
    else:
        sys.stdout.write(json.dumps(report["driver"]) + "\n")


if __name__ == "__main__":
    main()
