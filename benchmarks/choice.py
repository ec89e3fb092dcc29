"""Does ``upscale -n auto`` choose well? python benchmarks/choice.py PAIRS -s 4

PAIRS is a folder of pairs at high resolution. LR is made by MATLAB's bicubic from the middle of each scene, then
degraded by each recipe (see ``stereosr.evaluation.degrade``). Both engines are scored on it (PSNR, mean of both views),
and the choice is made from the pixels alone, as if the picture had come as PNG: with a JPEG's own tables it can only be
easier. Writes choice_xS.json and choice_xS.md into benchmarks/results, and prints the latter. Scores that the first
has are taken from there, and only the choices are made again: after a change of the rule that takes seconds.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from photo import middle

from stereosr.backends.base import RunOptions
from stereosr.errors import StereosrError
from stereosr.evaluation.bench import Model, open_models
from stereosr.evaluation.datasets import Views
from stereosr.evaluation.degrade import corrupt_pair, degrade
from stereosr.evaluation.metrics import psnr
from stereosr.inference.choice import choose_engine
from stereosr.io.images import Picture, read_picture
from stereosr.io.pairs import scan_folder
from stereosr.models.library import default_model, find_model, photo_name
from stereosr.models.spec import read_spec
from stereosr.system import machine

RECIPES = (
    *("clean", "jpeg98", "jpeg95", "jpeg90", "jpeg85", "jpeg70"),
    *("noise1", "noise2", "noise5", "noise5+jpeg85"),
)
LARGEST_LR = (60, 120)
Row = dict[str, Any]


def cases(pairs: Path, scale: int, recipes: tuple[str, ...]) -> Iterator[tuple[Row, Views, Views]]:
    """Scene and recipe, degraded LR, HR."""
    largest = (LARGEST_LR[0] * scale, LARGEST_LR[1] * scale)
    for pair in scan_folder(pairs, ignore_suffixes=()).pairs:
        left, right = (
            middle(read_picture(p).pixels.astype(np.uint8), largest, 8 * scale) for p in (pair.left, pair.right)
        )
        for recipe in recipes:
            lr = corrupt_pair((degrade(left, scale), degrade(right, scale)), recipe, pair.name)
            yield {"scene": pair.name, "recipe": recipe}, lr, (left, right)


def scores(models: Mapping[str, Model], lr: Views, hr: Views) -> Row:
    return {
        engine: float(np.mean([psnr(a, b) for a, b in zip(model(lr), hr, strict=True)]))
        for engine, model in models.items()
    }


def table(rows: list[Row]) -> str:
    """A line a recipe: what the photo engine gains over the clean one, how often which is better and is chosen, and
    what the choice loses against the better one."""
    lines = ["| LR | photo - clean, dB | photo is better | photo is chosen | better one chosen | loss, mean | most |"]
    lines.append("| --- |" + " --: |" * 6)
    for recipe in [*RECIPES, None]:
        found = [row for row in rows if recipe in (row["recipe"], None)]
        gain = np.array([row["photo"] - row["clean"] for row in found])
        chosen = np.array([row["chosen"] == "photo" for row in found])
        loss = np.where(chosen == (gain > 0), 0, np.abs(gain))
        cells = [
            *(f"{gain.mean():+.2f} ({gain.min():+.2f} to {gain.max():+.2f})", str((gain > 0).sum()), str(chosen.sum())),
            *(f"{(loss == 0).sum()} of {len(found)}", f"{loss.mean():.2f}", f"{loss.max():.2f}"),
        ]
        lines.append(f"| {' | '.join([recipe or 'all', *cells])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("-s", "--scale", type=int, default=4)
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    stem = options.out / f"choice_x{options.scale}"
    kept = (
        json.loads(stem.with_suffix(".json").read_text(encoding="utf-8")) if stem.with_suffix(".json").exists() else {}
    )
    models: dict[str, Model] = {}
    rows = []
    with ExitStack() as opened:
        clean = default_model(options.scale)
        names = {"clean": clean, "photo": photo_name(clean)}
        files = {engine: find_model(name, options.scale) for engine, name in names.items()}
        engines = {engine: hashlib.sha256(file.read_bytes()).hexdigest() for engine, file in files.items()}
        known = {(r["scene"], r["recipe"]): r for r in kept.get("rows", ()) if kept["engines"] == engines}
        for case, lr, hr in cases(options.pairs, options.scale, RECIPES):
            found = known.get((case["scene"], case["recipe"]))
            if found is None and not models:
                for engine, file in files.items():
                    (model,) = open_models({file: read_spec(file)}, ["ort-cpu"], False, RunOptions(), opened)
                    if isinstance(model, StereosrError):
                        raise model
                    models[engine] = model
            score = {engine: found[engine] for engine in names} if found else scores(models, lr, hr)
            choice = choose_engine(Picture(lr[0]), Picture(lr[1]), "pair")
            rows.append(case | score | {"chosen": "photo" if choice.photo else "clean", "why": choice.why})
    result = {"machine": machine(), "engines": engines, "rows": rows}
    stem.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(table(rows), encoding="utf-8")
    sys.stdout.write(table(rows))


if __name__ == "__main__":
    main()
