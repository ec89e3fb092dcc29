"""How fast NAFSSR-T x4 is here, against eager PyTorch and against this machine's own limit, in one run.

    python benchmarks/speed.py [--rounds 7] [--threads N] [--sizes 94x310 270x480] [-o benchmarks/results/speed.json]

Every row is measured in turn in every round, so that a drifting machine hurts all alike; medians are given, as ratios
to plain eager PyTorch. The yardstick of the machine, a 2048-cube fp32 matrix product, is measured in the same rounds.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import torch
from growth import Profiled, random_pair
from plain_nafssr import Plain
from torch.utils.flop_counter import FlopCounterMode

from stereosr.evaluation.timing import in_turn, run_command
from stereosr.models.library import find_model
from stereosr.system import default_threads, machine
from stereosr_export.checkpoints import load_network, own_weights
from stereosr_export.zoo import find

CUBE = 2048


def median_times(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    times = list(in_turn(calls, rounds))
    return {name: statistics.median(row[name] for row in times) for name in calls}


def rows(left: Any, right: Any, threads: int) -> tuple[dict[str, Callable[[], object]], float, float]:
    """What is measured on this pair, its operations, the largest difference to the plain network."""
    model = find("nafssr-t")
    ours = load_network(model, 4, own_weights(model.name, 4)).eval()
    plain = Plain(4).eval()
    plain.load_state_dict(ours.state_dict())
    compiled = torch.compile(plain, dynamic=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(find_model("nafssr-t", 4)), options, providers=["CPUExecutionProvider"])
    feeds = {"left": left, "right": right}
    views = torch.from_numpy(left), torch.from_numpy(right)
    a, b = torch.rand(2, CUBE, CUBE)
    calls = {
        "plain eager PyTorch": lambda: plain(*views),
        "plain torch.compile": lambda: compiled(*views),
        "ours, eager PyTorch": lambda: ours(*views),
        "ours, onnxruntime fp32": lambda: session.run(None, feeds),
        "matrix product": lambda: a @ b,
    }
    reference = [v.numpy() for v in plain(*views)]
    error = max(
        float(np.abs(x - y).max() / np.abs(x).max())
        for outputs in (session.run(None, feeds), [v.numpy() for v in ours(*views)])
        for x, y in zip(reference, outputs, strict=True)
    )
    with FlopCounterMode(display=False) as counter:
        plain(*views)
    return calls, float(counter.get_total_flops()), error


def first_picture(height: int, width: int, rounds: int) -> float:
    """Seconds from the start of the process to the written file, median."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        views = [f"{folder}/{name}.png" for name in ("left", "right")]
        for view in views:
            cv2.imwrite(view, rng.integers(0, 256, (height, width, 3), np.uint8))
        command = [sys.executable, "-m", "stereosr_cli", "upscale", *views, "--overwrite"]
        return statistics.median(run_command(command)[0] for _ in range(rounds))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--sizes", nargs="+", default=["94x310", "270x480"])
    parser.add_argument("-o", "--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    report: dict[str, object] = {
        "machine": machine() | {"torch": version("torch"), "threads": chosen.threads},
        "rounds": chosen.rounds,
        "sizes": {},
    }
    for size in chosen.sizes:
        height, width = map(int, size.split("x"))
        left, right = random_pair(height, width)
        with torch.no_grad():
            calls, flops, error = rows(left, right, chosen.threads)
            seconds = median_times(calls, chosen.rounds)
        peak = 2 * CUBE**3 / seconds.pop("matrix product")
        eager = seconds["plain eager PyTorch"]
        table = {
            name: {
                "seconds": round(s, 4),
                "times_faster": round(eager / s, 2),
                "share_of_peak": round(flops / s / peak, 3),
            }
            for name, s in seconds.items()
        }
        with Profiled(chosen.threads) as profiled:
            profiled.run(left, right)
        start = first_picture(height, width, 3) - seconds["ours, onnxruntime fp32"]
        report["sizes"][size] = {  # type: ignore[index]
            "gflop": round(flops / 1e9, 1),
            "peak_gflops": round(peak / 1e9, 1),
            "largest_relative_error": error,
            "start_up_seconds": round(start, 2),
            "operators": profiled.shares,
            "rows": table,
        }
        sys.stdout.write(
            f"{size}: {flops / 1e9:.1f} GFLOP, matrix product at {peak / 1e9:.0f} GFLOP/s, error {error:.1e}\n"
        )
        for name, row in table.items():
            times, share = f"{row['times_faster']:5.2f} x", f"{row['share_of_peak']:4.0%} of the peak"
            sys.stdout.write(f"  {name:24s} {row['seconds']:8.3f} s  {times}  {share}\n")
        sys.stdout.write(f"  start-up of stereosr upscale: {start:.2f} s beyond inference\n")
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
