"""NAFSSR-T and S x4 on an NVIDIA GPU: every way to run them, as fast as it goes and against the CPU's pictures.

    python benchmarks/gpu.py [--rounds 20] [--sizes 270x480 540x960] [-o benchmarks/results/gpu.json]

Needs stereosr[export], onnxruntime-gpu and PyTorch with CUDA; TensorRT is measured where it is installed. NAFSSR-S has
random weights, which cost what trained ones cost. Rows: PyTorch eager and compiled, in fp32 and in fp16 (autocast), and
each backend that works here, with the fp32 and the fp16 file. PyTorch is timed with its pictures on the GPU; backends
from array to array, copies included. Each row is checked against onnxruntime's fp32 pictures on the CPU.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from stereosr.backends.base import Backend, RunOptions
from stereosr.backends.nvidia import driver
from stereosr.backends.registry import available_backends, open_backend
from stereosr.models.library import file_name, fp16_path
from stereosr.types import StereoPair
from stereosr_export.checkpoints import load_network, own_weights
from stereosr_export.precision import export_half, probes
from stereosr_export.to_onnx import export, spec_of
from stereosr_export.zoo import find

SCALE = 4
LEAST = {"fp32": 60.0, "fp16": 50.0}
"""dB to the CPU's fp32 pictures that a row must reach."""


def network_of(name: str) -> nn.Module:
    model = find(name)
    if name == "nafssr-t":
        return load_network(model, SCALE, own_weights(model.name, SCALE))
    torch.manual_seed(0)
    network = model.create(SCALE).eval()
    for parameter_name, parameter in network.named_parameters():  # a new network is its bilinear shortcut alone
        if parameter_name.endswith(("beta", "gamma")):
            nn.init.normal_(parameter, std=0.1)
    return network


def files_of(name: str, network: nn.Module, folder: Path) -> list[Path]:
    model, single = find(name), folder / file_name(name, SCALE)
    export(model, network, spec_of(model, network, SCALE, "", ""), single)
    export_half(single, fp16_path(single))
    return [single, fp16_path(single)]


def in_torch(network: nn.Module, pair: StereoPair, half: bool) -> Callable[[], StereoPair]:
    views = [torch.from_numpy(v.transpose(2, 0, 1).copy())[None].cuda() for v in (pair.left, pair.right)]

    def run() -> StereoPair:
        with torch.inference_mode(), torch.autocast("cuda", torch.float16, enabled=half):
            outputs = network(*views)
        torch.cuda.synchronize()
        return StereoPair(*(v[0].float().permute(1, 2, 0).cpu().numpy() for v in outputs))

    return run


def timed(run: Callable[[], object], rounds: int) -> float:
    """Seconds, median, after a warm-up in which compilation and tuning happen."""
    for _ in range(3):
        run()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def psnr(a: StereoPair, b: StereoPair) -> float:
    mse = max(float(np.mean((x.astype(np.float64) - y) ** 2)) for x, y in ((a.left, b.left), (a.right, b.right)))
    return float("inf") if mse == 0 else -10 * np.log10(mse)


def picture(height: int, width: int) -> StereoPair:
    """The example scene, repeated to this size."""
    pair = probes(spec_of(find("nafssr-t"), nn.Module(), SCALE, "", ""))[0]
    times = (-(-height // pair.height), -(-width // pair.width), 1)
    return StereoPair(*(np.ascontiguousarray(np.tile(v, times)[:height, :width]) for v in (pair.left, pair.right)))


def rows_of(
    name: str, size: tuple[int, int], files: list[Path], network: nn.Module, rounds: int
) -> list[dict[str, object]]:
    pair = picture(*size)
    truth = open_backend(files[0], "ort-cpu").infer(pair)
    ways: list[tuple[str, str, Callable[[], StereoPair], Backend | None]] = []
    on_gpu = network.cuda()
    for precision in ("fp32", "fp16"):
        ways.append(("PyTorch eager", precision, in_torch(on_gpu, pair, precision == "fp16"), None))
        compiled = torch.compile(on_gpu, dynamic=False)
        ways.append(("PyTorch compiled", precision, in_torch(compiled, pair, precision == "fp16"), None))
    for kind in available_backends():
        if kind.on_gpu and kind.missing() is None:
            for file in files:
                backend = kind.open(file, RunOptions())
                ways.append((kind.name, backend.spec.precision, lambda b=backend: b.infer(pair), backend))
    rows = []
    for way, precision, run, backend in ways:
        found = {"model": name, "size": f"{size[0]}x{size[1]}", "way": way, "precision": precision}
        found |= {"seconds": round(timed(run, rounds), 5), "psnr_to_cpu": round(psnr(run(), truth), 2)}
        found["holds"] = found["psnr_to_cpu"] >= LEAST[precision]
        rows.append(found)
        sys.stdout.write("  ".join(f"{v}" for v in found.values()) + "\n")
        if backend is not None:
            backend.close()
    network.cpu()
    return rows


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--models", nargs="+", default=["nafssr-t", "nafssr-s"])
    parser.add_argument("--sizes", nargs="+", default=["270x480", "540x960"])
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).with_name("results") / "gpu.json")
    chosen = parser.parse_args()
    here = driver()
    if here is None or not torch.cuda.is_available():
        sys.stderr.write("no NVIDIA GPU that PyTorch can use: see 'stereosr doctor'\n")
        return 1
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.models:
            network = network_of(name)
            files = files_of(name, network, Path(folder))
            for size in chosen.sizes:
                height, width = map(int, size.split("x"))
                rows += rows_of(name, (height, width), files, network, chosen.rounds)
    report = {
        "gpu": here.gpus[0].name,
        "driver_cuda": here.cuda,
        "versions": {name: version(name) for name in ("torch", "onnxruntime-gpu", "numpy")},
        "rounds": chosen.rounds,
        "rows": rows,
    }
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
