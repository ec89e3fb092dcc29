"""What TLSC brings: the bundled weights, run by torch, with local and with global means, on a benchmark's folder.

python benchmarks/tlsc.py KITTI2015 [-s 4] [-o benchmarks/results/tlsc.json]
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from stereosr.backends.ort_session import to_nchw
from stereosr.evaluation.bench import score
from stereosr.evaluation.datasets import Dataset, open_dataset
from stereosr.types import quantise, to_float
from stereosr_export.checkpoints import load_network, own_weights
from stereosr_export.layers.tlsc import LocalMean
from stereosr_export.zoo import find

WHOLE = (10**6, 10**6)
"""A window that covers every picture: the global mean of training."""


@torch.no_grad()
def measure(dataset: Dataset) -> dict[str, float]:
    """Mean avg PSNR (dB) of the set, with TLSC, without, and the difference."""
    model = find("nafssr-t")
    found = {}
    for name in ("with", "without"):
        network = load_network(model, dataset.scale, own_weights(model.name, dataset.scale)).eval()
        if name == "without":
            for module in network.modules():
                if isinstance(module, LocalMean):
                    module.window = WHOLE
        scores = []
        for scene in dataset.scenes:
            hr, lr = scene.views()
            left, right = network(*(torch.from_numpy(to_nchw(to_float(view))) for view in lr))
            sr = [quantise(np.ascontiguousarray(v[0].permute(1, 2, 0).numpy()), np.uint8) for v in (left, right)]
            scores.append(score((sr[0], sr[1]), hr)["psnr_avg"])  # type: ignore[arg-type]
        found[name] = round(float(np.mean(scores)), 3)
    return found | {"gain": round(found["with"] - found["without"], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("-s", "--scale", type=int, action="append", help="[default: 4 and 2]")
    parser.add_argument("-o", "--out", type=Path)
    chosen = parser.parse_args()
    rows = {}
    for scale in chosen.scale or (4, 2):
        rows[f"x{scale}"] = measure(open_dataset(chosen.benchmark, scale))
        sys.stdout.write(f"x{scale}: {rows[f'x{scale}']}\n")
    if chosen.out:
        chosen.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
