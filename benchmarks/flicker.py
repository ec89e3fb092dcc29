"""Do engines make compressed video flicker? What stands still should, in the result too.

    python benchmarks/flicker.py PAIRS nafssr-t nafssr-t-photo -s 4 [--crf 18 23 28] [--scenes N] [-o FOLDER]

PAIRS is a folder of pairs at high resolution. A clip shows the LR middle of a scene, made by MATLAB's bicubic, for some
frames, without any movement; each frame has its own noise of 3 of 255, and all are H.264 of a given CRF (PyAV, x264
``medium``, 4:2:0). Flicker is the mean absolute difference between
frames that follow each other, in levels of 255. Writes flicker_xS.json and flicker_xS.md, and prints the latter.
"""

import argparse
import io
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from photo import middle, open_engines

from stereosr.evaluation.bench import BICUBIC, Method
from stereosr.evaluation.datasets import UInt8, Views
from stereosr.evaluation.degrade import degrade
from stereosr.io.images import read_picture
from stereosr.io.pairs import scan_folder
from stereosr.system import machine

FRAMES, RATE, NOISE = 6, 25, 3.0
LARGEST_LR = (90, 180)


def clip(views: Views, crf: int, seed: int) -> Iterator[Views]:
    """The frames of a scene that stands still, both views side by side in one film, as they are decoded."""
    rng, scene = np.random.default_rng(seed), np.concatenate(views, 1)
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as writer:
        stream = writer.add_stream("libx264", rate=RATE, options={"crf": str(crf)})
        stream.height, stream.width = scene.shape[:2]
        stream.pix_fmt = "yuv420p"
        for _ in range(FRAMES):
            noisy = np.clip(scene + rng.normal(0, NOISE, scene.shape) + 0.5, 0, 255).astype(np.uint8)
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, "rgb24")))
        writer.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as reader:
        for frame in reader.decode(video=0):
            left, right = np.split(frame.to_ndarray(format="rgb24"), 2, axis=1)
            yield np.ascontiguousarray(left), np.ascontiguousarray(right)


def flicker(frames: list[UInt8]) -> float:
    """Mean absolute difference of frames that follow each other, levels of 255."""
    return float(np.mean([np.abs(b.astype(np.int16) - a).mean() for a, b in pairwise(frames)]))


def rows(pairs: Path, methods: Mapping[str, Method], scale: int, crfs: list[int], scenes: int | None) -> Iterator[Any]:
    largest = (LARGEST_LR[0] * scale, LARGEST_LR[1] * scale)
    for number, pair in enumerate(scan_folder(pairs, ignore_suffixes=()).pairs[:scenes]):
        hr = (middle(read_picture(p).pixels.astype(np.uint8), largest, 2 * scale) for p in (pair.left, pair.right))
        left, right = (degrade(view, scale) for view in hr)
        for crf in crfs:
            frames = list(clip((left, right), crf, number))
            for name, method in methods.items():
                results = [method(frame)[0] for frame in frames]
                yield {"scene": pair.name, "crf": crf, "engine": name, "flicker": flicker(results)}


def table(found: list[dict[str, Any]], engines: list[str], crfs: list[int]) -> str:
    def mean(engine: str, crf: int) -> float:
        return float(np.mean([r["flicker"] for r in found if (r["engine"], r["crf"]) == (engine, crf)]))

    lines = [["flicker of what stands still", BICUBIC, *engines], ["---", *["--:"] * (1 + len(engines))]]
    for crf in crfs:
        base = mean(BICUBIC, crf)
        lines.append([f"CRF {crf}", f"{base:.2f} of 255", *(f"{mean(engine, crf) / base:.2f} x" for engine in engines)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("engines", nargs="+", help="names or files")
    parser.add_argument("-s", "--scale", type=int, default=4)
    parser.add_argument("--crf", type=int, nargs="+", default=[18, 23, 28])
    parser.add_argument("--scenes", type=int, help="only so many  [default: all]")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    with ExitStack() as opened:
        methods = open_engines(options.engines, options.scale, opened)
        found = list(rows(options.pairs, methods, options.scale, options.crf, options.scenes))
    engines = [name for name in methods if name != BICUBIC]
    stem = options.out / f"flicker_x{options.scale}"
    options.out.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(
        json.dumps({"machine": machine(), "rows": found}, indent=1) + "\n", encoding="utf-8"
    )
    stem.with_suffix(".md").write_text(table(found, engines, options.crf), encoding="utf-8")
    sys.stdout.write(table(found, engines, options.crf))


if __name__ == "__main__":
    main()
