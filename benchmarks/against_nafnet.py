"""Our engine beside the authors' own NAFSSR code: the same weights, the same pictures, in one run.

    python benchmarks/against_nafnet.py --reference NAFNET [--data FOLDER] [-s 4] [--weights FILE] [--rounds 5] [-o LOG]

NAFNET is a checkout of megvii-research/NAFNet; its network is run as it is, by eager PyTorch on the CPU. Quality must
come out the same, latency is taken in turn. Without --data it is measured on the bundled example.
"""

import argparse
import importlib
import logging
import sys
import tempfile
import types
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from stereosr.backends.base import RunOptions
from stereosr.evaluation.bench import (
    Bicubic,
    Log,
    Method,
    Model,
    Row,
    describe,
    measure_latency,
    measure_quality,
    open_models,
    summarise,
)
from stereosr.evaluation.datasets import Views, open_dataset
from stereosr.models.library import BUNDLED
from stereosr.models.spec import read_spec
from stereosr.system import default_threads, machine
from stereosr.types import quantise, to_float
from stereosr_cli.report.tables import markdown
from stereosr_export.checkpoints import load_weights, own_weights
from stereosr_export.to_onnx import export, spec_of


def authors_network(reference: Path, scale: int, state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """Their NAFSSR with these weights.

    Their packages are entered without running what their ``__init__`` files import: training code and its libraries.
    """
    for name in ("basicsr", "basicsr.models", "basicsr.models.archs", "basicsr.utils"):
        package = types.ModuleType(name)
        package.__path__ = [str(reference / name.replace(".", "/"))]
        sys.modules[name] = package
    sys.modules["basicsr.utils"].get_root_logger = logging.getLogger  # type: ignore[attr-defined]
    build = importlib.import_module("basicsr.models.archs.NAFSSR_arch").NAFSSR
    blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("body."))
    network: torch.nn.Module = build(up_scale=scale, width=len(state["intro.weight"]), num_blks=blocks)
    network.load_state_dict(state)
    return network.eval()


class Authors:
    """Their network as a row of the bench."""

    device = "PyTorch, eager"

    def __init__(self, network: torch.nn.Module, ours: Row) -> None:
        self._network = network
        self.row = Row(
            model="the authors' code",
            backend="torch",
            precision="fp32",
            ensemble=False,
            parameters=ours.parameters,
            gmacs=None,
        )

    def __call__(self, lr: Views) -> Views:
        both = np.concatenate([to_float(view) for view in lr], 2).transpose(2, 0, 1)[None]
        with torch.inference_mode():
            out = self._network(torch.from_numpy(np.ascontiguousarray(both)))[0].numpy()
        left, right = (quantise(view.transpose(1, 2, 0), np.uint8) for view in (out[:3], out[3:]))
        return left.astype(np.uint8), right.astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=BUNDLED / "examples")
    parser.add_argument("-s", "--scale", type=int, default=4)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--out", type=Path)
    chosen = parser.parse_args()
    weights = chosen.weights or own_weights("nafssr-t", chosen.scale)
    model, scale, state = load_weights(weights, scale=chosen.scale)
    data = open_dataset(chosen.data, scale)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        file = Path(folder, "ours.onnx")
        network = model.create(scale)
        network.load_state_dict(state)
        export(model, network, spec_of(model, network, scale, "", ""), file)
        models = open_models({file: read_spec(file)}, [], False, RunOptions(), opened)
        ours = [m for m in models if isinstance(m, Model)]
        authors = Authors(authors_network(chosen.reference, scale, state), ours[0].row)
        methods: list[Method] = [Bicubic(scale), authors, *ours]
        log = Log(chosen.out or Path(folder, "log.jsonl"))
        log.add("run", dataset=data.name, digest=data.digest, scale=scale, scenes=len(data.scenes), **machine())
        describe(methods, log)
        where = f"{machine()['cpu']}, {default_threads()} threads"
        torch.set_num_threads(default_threads())
        measured = (
            measure_quality(methods, data, log),
            measure_latency(methods, data.scenes[0], chosen.rounds, where, log),
        )
        for error in chain(*measured):
            sys.stderr.write(f"failed: {error}\n")
        summaries = summarise(log.records, scale)
    sys.stdout.write(f"{data.name} x{scale}, {len(data.scenes)} scenes; {where}\n\n{markdown(summaries)}\n\n")
    theirs = summaries[1]
    for found in summaries[2:]:
        if found.latency and theirs.latency and found.psnr_avg and theirs.psnr_avg:
            sys.stdout.write(
                f"{found.row.backend}: {theirs.latency / found.latency:.2f} times as fast, "
                f"{found.psnr_avg - theirs.psnr_avg:+.4f} dB\n"
            )


if __name__ == "__main__":
    main()
