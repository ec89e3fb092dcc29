"""How time and memory of an x4 engine grow with the picture, whole, in one tile.

    python benchmarks/growth.py [-n MODEL] [--threads N] [--sizes 48x480 48x960 ...] [-o benchmarks/results/growth]

MODEL is a name or a file. Without sizes it is one height, in widths that double. Each size runs in a process of its
own, once for the memory and once for the time, under the profiler of onnxruntime, which says what share of the time
each operator takes. Writes OUT.json and OUT.png.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from stereosr.evaluation.timing import seconds
from stereosr.models.library import find_model
from stereosr.system import default_threads, machine

SIZES = ["48x480", "48x960", "48x1920", "48x3840", "48x7680"]


def measure(model: str, size: str, threads: int) -> dict[str, Any]:
    """Seconds of one pair, resident memory it took beyond the loaded model in MB, share of the time by operator."""
    height, width = map(int, size.split("x"))
    before = _peak_mb()
    with Profiled(model, threads) as profiled:
        profiled.run(*random_pair(45, 135))
        loaded = _peak_mb()
        pair = random_pair(height, width)
        profiled.run(*pair)
        peak = _peak_mb() - loaded
        took = seconds(lambda: profiled.run(*pair))
    return {
        "seconds": round(took, 3),
        "memory_mb": round(peak),
        "model_mb": round(loaded - before),
        "share": profiled.shares,
    }


def random_pair(height: int, width: int) -> Any:
    """Left and right, each 1 x 3 x H x W."""
    return np.random.default_rng(0).random((2, 1, 3, height, width), np.float32)


class Profiled:
    """An x4 engine under onnxruntime's profiler. ``shares``: what part of the time each operator took.

    Of all runs together, by the kind of operator, the largest eight.
    """

    def __init__(self, model: str, threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_profiling, options.profile_file_prefix = True, f"{self._folder.name}/profile"
        path = str(find_model(model, 4))
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.shares: dict[str, float] = {}

    def run(self, left: Any, right: Any) -> None:
        self._session.run(None, {"left": left, "right": right})

    def __enter__(self) -> "Profiled":
        return self

    def __exit__(self, *_error: object) -> None:
        events = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        busy: Counter[str] = Counter()
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
                busy[event["args"]["op_name"]] += event["dur"]
        self.shares = {name: round(t / busy.total(), 3) for name, t in busy.most_common(8)}
        self._folder.cleanup()


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


def exponents(rows: dict[str, dict[str, Any]], key: str) -> list[float]:
    """The local power of the picture's area by which ``key`` grows, from each size to the next."""
    areas = [np.prod([int(n) for n in size.split("x")]) for size in rows]
    values = [row[key] for row in rows.values()]
    return [round(float(p), 2) for p in np.diff(np.log(values)) / np.diff(np.log(areas))]


def plot(rows: dict[str, dict[str, Any]], out: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    areas = [float(np.prod([int(n) for n in size.split("x")])) / 1e6 for size in rows]
    figure, (times, memories) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axes, key, label in ((times, "seconds", "seconds"), (memories, "memory_mb", "memory, MB")):
        values = [row[key] for row in rows.values()]
        axes.loglog(areas, values, "o-", label=label)
        axes.loglog(areas, [values[0] * a / areas[0] for a in areas], "--", color="grey", label="like the area")
        axes.set(xlabel="LR megapixels of a view", ylabel=label)
        axes.legend()
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", "--model", default="gcssr")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--one", help="measure one size and print it; what the other processes do")
    parser.add_argument("-o", "--out", type=Path)
    chosen = parser.parse_args()
    if chosen.one:
        sys.stdout.write(json.dumps(measure(chosen.model, chosen.one, chosen.threads)))
        return
    rows = {}
    for size in chosen.sizes:
        command = [sys.executable, __file__, "-n", chosen.model, "--one", size, "--threads", str(chosen.threads)]
        rows[size] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        sys.stdout.write(f"{size}: {rows[size]}\n")
        sys.stdout.flush()
    report = {
        "model": chosen.model,
        "machine": machine() | {"threads": chosen.threads},
        "sizes": rows,
        "time_grows_by_the_power_of_the_area": exponents(rows, "seconds"),
        "memory_grows_by_the_power_of_the_area": exponents(rows, "memory_mb"),
    }
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        plot(rows, chosen.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
