"""Is a folder's job bound by inference? Its wall time against the sum of its inference times.

    python benchmarks/throughput.py [--pairs 50] [--scale 4] [-o benchmarks/results/throughput.json]

Upscales a folder of pairs of 310 x 94, cut from the bundled example, by ``stereosr upscale --json`` on the CPU: one
process that decodes, infers and encodes side by side, with one thread to read and one to write. The wall time is that
of the whole command, start and end included; the inference times are those that it reports.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from stereosr.models.library import BUNDLED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("-o", "--out", type=Path)
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    views = [cv2.imread(str(BUNDLED / f"examples/render/hr{i}.png")) for i in (0, 1)]
    with tempfile.TemporaryDirectory() as folder:
        for n in range(chosen.pairs):
            top, left = rng.integers(views[0].shape[0] - 94), rng.integers(views[0].shape[1] - 310)
            for view, side in zip(views, "LR", strict=True):
                cv2.imwrite(f"{folder}/{n:03}_{side}.png", view[top : top + 94, left : left + 310])
        command = ["upscale", folder, "-o", f"{folder}/out", "-s", str(chosen.scale), "--json"]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "stereosr_cli", *command], check=True, capture_output=True, text=True
        )
        wall = time.perf_counter() - started
    inference = sum(json.loads(line)["seconds"] for line in done.stdout.splitlines())
    row = {
        "pairs": chosen.pairs,
        "scale": chosen.scale,
        "wall_seconds": round(wall, 1),
        "inference_seconds": round(inference, 1),
        "ratio": round(wall / inference, 3),
        "load_of_the_machine": round(os.getloadavg()[0], 1),
        "cores": len(os.sched_getaffinity(0)),
    }
    print(json.dumps(row))  # noqa: T201
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
