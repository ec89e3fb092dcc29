"""What each engine gains on degraded input: python benchmarks/photo.py PAIRS -s 4 nafssr-t nafssr-t-photo

PAIRS is a folder of pairs at high resolution. LR is made by MATLAB's bicubic from the middle of each scene, then
degraded by each recipe (``stereosr.evaluation.degrade.corrupt``). The gain is over bicubic of the same degraded LR, in
the left view. Writes benchmarks/results/photo_xS.json and prints a table.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from stereosr.backends.registry import open_backend
from stereosr.evaluation.degrade import corrupt, degrade, imresize
from stereosr.evaluation.metrics import psnr, ssim
from stereosr.inference.settings import TileSettings
from stereosr.inference.upscale import make_plan, upscale_pixels
from stereosr.io.images import read_picture
from stereosr.io.pairs import scan_folder
from stereosr.models.library import find_model
from stereosr.system import machine
from stereosr.types import StereoPair, to_float

RECIPES = ("clean", "jpeg95", "jpeg85", "jpeg70", "noise5", "noise5+jpeg85")
LARGEST = (480, 960)
"""HR rows and columns of the middle of a scene that are measured."""


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("engines", nargs="+", help="names or files")
    parser.add_argument("-s", "--scale", type=int, default=4)
    options = parser.parse_args()
    engines = {name: open_backend(find_model(name, options.scale)) for name in options.engines}
    rows = []
    for pair in scan_folder(options.pairs, ignore_suffixes=()).pairs:
        hr = [_middle(read_picture(p).pixels.astype(np.uint8), options.scale) for p in (pair.left, pair.right)]
        for recipe in RECIPES:
            lr = [corrupt(degrade(v, options.scale), recipe, f"{pair.name}/{view}") for view, v in enumerate(hr)]
            results = {"bicubic": imresize(lr[0], options.scale)}
            for name, engine in engines.items():
                plan = make_plan(lr[0].shape[:2], 64, engine.spec, TileSettings())
                views = StereoPair(*(to_float(v) for v in lr))
                results[name] = upscale_pixels(views, engine, plan, np.dtype(np.uint8))[0].astype(np.uint8)
            for name, sr in results.items():
                rows.append(
                    {
                        "scene": pair.name,
                        "recipe": recipe,
                        "engine": name,
                        "psnr": round(psnr(sr, hr[0]), 4),
                        "ssim": round(ssim(sr, hr[0]), 5),
                    }
                )
    out = Path(__file__).parent / "results" / f"photo_x{options.scale}.json"
    out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n", encoding="utf-8")
    print(table(rows, options.engines))  # noqa: T201


def table(rows: list[dict[str, object]], engines: list[str]) -> str:
    """Markdown: a row a recipe, a column an engine, the mean gain in dB and in SSIM over bicubic."""

    def mean(engine: str, recipe: str, what: str) -> float:
        return float(np.mean([r[what] for r in rows if (r["engine"], r["recipe"]) == (engine, recipe)]))

    lines = ["| LR | " + " | ".join(engines) + " |", "| --- |" + " --: |" * len(engines)]
    for recipe in dict.fromkeys(str(r["recipe"]) for r in rows):
        cells = [
            f"{mean(e, recipe, 'psnr') - mean('bicubic', recipe, 'psnr'):+.2f} dB, "
            f"{mean(e, recipe, 'ssim') - mean('bicubic', recipe, 'ssim'):+.3f}"
            for e in engines
        ]
        lines.append(f"| {recipe} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _middle(
    view: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", scale: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    height, width = (side - side % scale for side in view.shape[:2])
    rows, columns = min(height, LARGEST[0]), min(width, LARGEST[1])
    top, left = (height - rows) // 2, (width - columns) // 2
    return view[top : top + rows, left : left + columns]


if __name__ == "__main__":
    main()
