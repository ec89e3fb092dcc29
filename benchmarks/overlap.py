"""What tiling costs: the error of tiled against whole super-resolution, and the loss on the benchmark, by overlap.

    python benchmarks/overlap.py BENCH [--pair FILE] [--model nafssr-t] [-o benchmarks/results/overlap.md]

BENCH holds the 20 KITTI 2015 scenes as ``hr/`` and ``lr_x4/``. Every LR pair is super-resolved whole, and in two bands
that share exactly so many rows as the table says (two, as no tile is lower than TLSC's window of 45 rows); once also in
two tiles side by side, by the overlap that ``stereosr upscale`` takes from the pair's largest disparity.

FILE is one file of both views, say of 1920 x 1080, as a camera made it: cut into five bands that share the default
overlap, and that only, as it takes minutes.

Errors are after rounding to 8 bits, as PSNR over both views: infinite where not one sample differs.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from stereosr.backends.base import RunOptions
from stereosr.backends.ort_cpu import OrtCpu
from stereosr.evaluation.metrics import psnr
from stereosr.geometry.pair_check import check_pair_or_unknown
from stereosr.inference.tiling import TilePlan, overlap_columns, overlap_rows
from stereosr.inference.upscale import upscale
from stereosr.io.images import Picture, read_picture
from stereosr.io.layouts import read_stereo
from stereosr.models.library import find_model
from stereosr.models.spec import ModelSpec
from stereosr.types import StereoPair, quantise, to_float

OVERLAPS = (4, 8, 16, 32)
"""Rows, besides the default."""

SIDE_BY_SIDE = "side by side"


def bands_of(pair: StereoPair, count: int, overlap: int) -> TilePlan:
    """So many bands of one height that share so many rows."""
    rows = -(-(pair.height + (count - 1) * overlap) // count)
    return TilePlan(pair.height, pair.width, (rows, pair.width), (overlap, 0))


def plans(pair: StereoPair, left: Picture, right: Picture, spec: ModelSpec) -> dict[str, TilePlan]:
    """Two bands by every overlap; two tiles side by side."""
    found = {f"{overlap} rows": bands_of(pair, 2, overlap) for overlap in sorted({*OVERLAPS, overlap_rows(spec)})}
    across = overlap_columns(spec, check_pair_or_unknown(left, right).largest_disparity(pair.width))
    columns = -(-(pair.width + across) // 2)
    found[SIDE_BY_SIDE] = TilePlan(pair.height, pair.width, (pair.height, columns), (0, across))
    return found


def compare(
    pair: StereoPair, model: OrtCpu, plans: dict[str, TilePlan], truth: list[np.ndarray]
) -> dict[str, list[float]]:
    """Of every plan: squared error against the whole, largest difference, loss of PSNR in dB (0 without truth)."""
    whole = views(upscale(pair, model))
    rows = {}
    for name, plan in plans.items():
        tiled = views(upscale(pair, model, plan))
        difference = np.stack([a.astype(float) - b for a, b in zip(tiled, whole, strict=True)])
        loss = [psnr(w, t) - psnr(s, t) for w, s, t in zip(whole, tiled, truth, strict=False)]
        rows[name] = [float((difference**2).mean()), float(np.abs(difference).max()), float(np.mean(loss or [0]))]
    return rows


def views(pair: StereoPair) -> list[np.ndarray]:
    return [quantise(view, np.uint8) for view in (pair.left, pair.right)]


def decibels(error: float) -> str:
    return f"{10 * np.log10(255**2 / error):.1f}" if error else "inf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path)
    parser.add_argument("--pair", type=Path)
    parser.add_argument("--model", default="nafssr-t")
    parser.add_argument("--threads", type=int)
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/results/overlap.md"))
    chosen = parser.parse_args()
    model = OrtCpu(find_model(chosen.model, 4), RunOptions(threads=chosen.threads))
    done = chosen.out.with_suffix(".json")
    scenes: dict[str, dict[str, list[float]]] = json.loads(done.read_text()) if done.exists() else {}
    for folder in sorted((chosen.bench / "lr_x4").iterdir()):
        if folder.name not in scenes:
            left, right = (read_picture(folder / f"lr{i}.png") for i in (0, 1))
            pair = StereoPair(to_float(left.pixels), to_float(right.pixels))
            hr = [read_picture(chosen.bench / "hr" / folder.name / f"hr{i}.png") for i in (0, 1)]
            truth = [view.pixels[: 4 * pair.height, : 4 * pair.width] for view in hr]
            scenes[folder.name] = compare(pair, model, plans(pair, left, right, model.spec), truth)
            done.write_text(json.dumps(scenes, indent=1))
            print(folder.name, scenes[folder.name], flush=True)  # noqa: T201
    lines = [
        f"{model.spec.title}, {model.device}, default overlap {overlap_rows(model.spec)} rows",
        "",
        "| shared | mean PSNR to the whole, dB | worst scene, dB | largest difference | loss on the benchmark, dB |",
        "|---|---|---|---|---|",
    ]
    for name in next(iter(scenes.values())):
        errors, largest, loss = np.array([scene[name] for scene in scenes.values()]).T
        mean = decibels(float(errors.mean()))
        lines.append(f"| {name} | {mean} | {decibels(errors.max())} | {largest.max():.0f} | {loss.mean():.4f} |")
    if chosen.pair:
        pair = StereoPair(*(to_float(view.pixels) for view in read_stereo(chosen.pair)))
        overlap = overlap_rows(model.spec)
        error, most, _ = compare(pair, model, {"": bands_of(pair, 5, overlap)}, [])[""]
        lines += ["", f"{chosen.pair.name}, {pair.width} x {pair.height}, in 5 bands that share {overlap} rows: "]
        lines[-1] += f"{decibels(error)} dB to the whole, largest difference {most:.0f}."
    chosen.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
