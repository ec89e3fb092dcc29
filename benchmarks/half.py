"""What half precision costs: exported fp32 files against their fp16 form.

    python benchmarks/half.py KITTI2015 [file.onnx ...] [-o benchmarks/results/half.json]

On the benchmark's pairs: PSNR of fp16 to fp32 (the worst view), the largest difference of a value in [0, 1], and the
benchmark's own PSNR of both; every value is rounded as a GPU rounds it, which onnxruntime's CPU kernels leave out. Then
one pair of 540 x 960, its upper half blown out and its lower half nearly black, by the fp16 file as onnxruntime runs it
(rounded value by value it would take 20 GB). Without files, the bundled x4 engine.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime

from stereosr.backends.ort_session import to_nchw
from stereosr.evaluation.bench import score
from stereosr.evaluation.datasets import Dataset, open_dataset
from stereosr.models.library import find_model
from stereosr.models.spec import read_spec
from stereosr.types import Image, StereoPair, quantise, to_float
from stereosr_export.precision import rounded, to_half

SIZE = (540, 960)


class Both:
    """An exported file in fp32 and in fp16; keeps the worst that it saw."""

    def __init__(self, single: bytes, half: onnx.ModelProto) -> None:
        providers = ["CPUExecutionProvider"]
        self._sessions = [
            onnxruntime.InferenceSession(m, providers=providers) for m in (single, half.SerializeToString())
        ]
        self._error = self._mse = 0.0

    def __call__(self, pair: StereoPair) -> list[tuple[Image, Image]]:
        feeds = {"left": to_nchw(pair.left), "right": to_nchw(pair.right)}
        outputs = [session.run(["left_sr", "right_sr"], feeds) for session in self._sessions]
        for a, b in zip(*outputs, strict=True):
            self._error = np.maximum(self._error, np.abs(a - b).max())  # keeps nan
            self._mse = np.maximum(self._mse, np.mean((a - b) ** 2, dtype=np.float64))
        return [(left[0].transpose(1, 2, 0), right[0].transpose(1, 2, 0)) for left, right in outputs]

    def worst(self) -> dict[str, float]:
        return {"psnr_to_fp32": float(-10 * np.log10(self._mse)), "largest_error": float(self._error)}


def benchmark(both: Both, dataset: Dataset) -> dict[str, float]:
    scores: list[list[float]] = []
    for scene in dataset.scenes:
        hr, lr = scene.views()
        outputs = both(StereoPair(to_float(lr[0]), to_float(lr[1])))
        scores.append([score(_bytes(views), hr)["psnr_avg"] for views in outputs])
        sys.stderr.write(f"{scene.name}: {scores[-1]}\n")
    single, half = np.mean(scores, 0)
    return both.worst() | {"benchmark_psnr_fp32": float(single), "benchmark_psnr_change": float(half - single)}


def _bytes(views: tuple[Image, Image]) -> Any:
    return tuple(quantise(np.ascontiguousarray(view), np.uint8) for view in views)


def hard(both: Both, dataset: Dataset) -> dict[str, float]:
    """On the first scene at 540 x 960, 16 times as bright above, a 64th below."""
    gains = np.where(np.arange(SIZE[0]) < SIZE[0] // 2, 16, 1 / 64).astype(np.float32)[:, None, None]
    both(
        StereoPair(*(np.clip(gains * cv2.resize(to_float(v), SIZE[::-1]), 0, 1) for v in dataset.scenes[0].views()[0]))
    )
    return both.worst()


def rows(files: list[Path], root: Path) -> Iterator[dict[str, Any]]:
    for path in files:
        spec, single = read_spec(path), path.read_bytes()
        half = to_half(onnx.load_from_string(single))
        dataset = open_dataset(root, spec.scale)
        found = {"pairs": len(dataset.scenes), **benchmark(Both(single, rounded(half)), dataset)}
        large = hard(Both(single, half), dataset)
        yield {"name": spec.title, "trained_on": spec.trained_on, "benchmark": found, "540x960": large}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("-o", "--out", type=Path)
    chosen = parser.parse_args()
    kept = json.loads(chosen.out.read_text(encoding="utf-8")) if chosen.out and chosen.out.exists() else []
    for row in rows(chosen.files or [find_model("nafssr-t", 4)], chosen.benchmark):
        kept = [r for r in kept if r["name"] != row["name"]] + [row]
        sys.stdout.write(json.dumps(row, indent=1) + "\n")
        if chosen.out:
            chosen.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
