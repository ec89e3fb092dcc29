"""What misaligned views cost, and what aligning them wins back: python benchmarks/alignment.py PAIRS [FILE ...]

PAIRS is a folder of pairs at high resolution. The right view of each is put out of place at that size, LR is made by
MATLAB's bicubic, and the x4 engine upscales its middle with ``--rectify off`` and ``auto``; what ``auto`` does follows
from the whole LR views. The loss is that of the left view's PSNR against the pair as it was, with ``off``. ``alone``
gives each view itself as the other one; ``x0.8`` is a right view that is darker. Seconds are of the CPU.

Each FILE is one that holds two views, or a folder with left.png and right.png: by how many rows they miss each other
before and behind the alignment, median over points, as the tool measures it, and by SIFT, which it does not use.
Writes benchmarks/results/alignment.json and prints tables.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stereosr.backends.registry import open_backend
from stereosr.evaluation.degrade import degrade
from stereosr.evaluation.metrics import psnr
from stereosr.geometry.matching import match
from stereosr.geometry.pair_check import examine
from stereosr.geometry.rectify import Alignment, move
from stereosr.geometry.treatment import Treatment, choose_treatment
from stereosr.inference.memory import make_plan
from stereosr.inference.settings import TileSettings
from stereosr.inference.treated import upscale_treated
from stereosr.io.images import Picture, read_picture
from stereosr.io.layouts import read_stereo
from stereosr.io.pairs import scan_folder
from stereosr.models.library import find_model
from stereosr.system import machine
from stereosr.types import Pixels, StereoPair, quantise, to_float

SCALE = 4
LARGEST = (60, 160)
"""LR rows and columns of the middle of a scene that are upscaled."""


def lowered(rows: int) -> Callable[[Pixels], Pixels]:
    """A view ``rows`` HR rows further down, exactly."""
    return lambda view: np.pad(view, ((rows, 0), (0, 0), (0, 0)), "edge")[: len(view)]


def darker(view: Pixels) -> Pixels:
    """A view with 0.8 of the light."""
    return quantise(to_float(view) * np.float32(0.8), view.dtype)


DISTURBED: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda view: view,
    "0.5 px": lowered(2),
    "1 px": lowered(4),
    "2 px": lowered(8),
    "0.3°": lambda view: move(view, Alignment(0, rotation=float(np.radians(0.3)))),
    "0.5 %": lambda view: move(view, Alignment(0, scale=1.005)),
    "x0.8": darker,
}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("files", type=Path, nargs="*")
    options = parser.parse_args()
    files = [file_row(path) for path in options.files]
    for row in files:
        print(row, flush=True)  # noqa: T201
    rows: list[dict[str, Any]] = []
    with open_backend(find_model("nafssr-t", SCALE)) as engine:
        for pair in scan_folder(options.pairs, ignore_suffixes=()).pairs:
            left, right = (read_picture(path).pixels for path in (pair.left, pair.right))
            rows += scene_rows(pair.name, left, right, engine)
            print(rows[-len(DISTURBED) :], flush=True)  # noqa: T201
    out = Path(__file__).parent / "results" / "alignment.json"
    result = {"machine": machine(), "pairs": rows, "files": files}
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(rows))  # noqa: T201


def scene_rows(name: str, left: Pixels, right: Pixels, engine: Any) -> list[dict[str, Any]]:
    """One row for each way to disturb a scene, and one for each view by itself."""
    whole = degrade(left.astype(np.uint8), SCALE)
    lr = middle(whole)
    hr = middle(left[: len(whole) * SCALE, : whole.shape[1] * SCALE], SCALE).astype(np.uint8)
    plan = make_plan(lr.shape[:2], 64, engine.spec, TileSettings())

    def score(other: Pixels, treatment: Treatment) -> tuple[float, float]:
        started = time.process_time()
        pair = StereoPair(to_float(lr), to_float(middle(other)))
        result = upscale_treated(pair, engine, plan, np.dtype(np.uint8), treatment)[0]
        return psnr(result.astype(np.uint8), hr), time.process_time() - started

    rows = []
    reference = 0.0
    for kind, disturb in DISTURBED.items():
        other = degrade(disturb(right).astype(np.uint8), SCALE)
        started = time.process_time()
        report = examine(Picture(whole), Picture(other))
        looked = time.process_time() - started
        off, plain = score(other, Treatment())
        reference = off if kind == "none" else reference
        auto, treated = score(other, of_middle(choose_treatment(report), whole.shape, lr.shape))
        rows.append(
            {
                "scene": name,
                "disturbed": kind,
                "rows": report.rows,
                "off": round(off - reference, 4),
                "auto": round(auto - reference, 4),
                "seconds": [round(looked, 3), round(plain, 3), round(treated, 3)],
                "share": round(lr.size / whole.size, 3),
            }
        )
    alone = score(degrade(right.astype(np.uint8), SCALE), Treatment(apart=True))[0]
    return [
        *rows,
        {"scene": name, "disturbed": "alone", "psnr": round(reference, 4), "off": round(alone - reference, 4)},
    ]


def middle(view: Pixels, scale: int = 1) -> Pixels:
    """What is upscaled of an LR view; with a scale, the same of the HR view."""
    lr = [side // scale for side in view.shape[:2]]
    height, width = (min(side, most) for side, most in zip(lr, LARGEST, strict=True))
    top, left = ((side - part) // 2 * scale for side, part in zip(lr, (height, width), strict=True))
    return np.ascontiguousarray(view[top : top + height * scale, left : left + width * scale])


def of_middle(treatment: Treatment, whole: tuple[int, ...], part: tuple[int, ...]) -> Treatment:
    """The treatment of the middle of a view: a keystone is told for half the longer side."""
    if treatment.alignment is None:
        return treatment
    smaller = max(part) / max(whole)
    across, down = (smaller * value for value in treatment.alignment.keystone)
    return replace(treatment, alignment=replace(treatment.alignment, keystone=(across, down)))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row a disturbance, the mean loss in dB, and the worst scene's."""
    lines = ["| right view | off | auto | auto, worst scene | time |", "| --- | --: | --: | --: | --: |"]
    for kind in dict.fromkeys(row["disturbed"] for row in rows):
        these = [row for row in rows if row["disturbed"] == kind]
        cells = [f"{np.mean([row['off'] for row in these]):+.3f}", "", "", ""]
        if kind != "alone":
            auto = [row["auto"] for row in these]
            times = np.sum([row["seconds"] for row in these], 0)
            cells[1:] = [f"{np.mean(auto):+.3f}", f"{min(auto):+.3f}", f"{times[2] / times[1]:.1f} x"]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    times = np.array([[row["seconds"][0], row["seconds"][1] / row["share"]] for row in rows if "seconds" in row])
    looked, network = times.sum(0)
    return "\n".join(
        [*lines, f"\nThe look at a pair took {100 * looked / network:.1f} % of the time of one pass over it."]
    )


def file_row(path: Path) -> dict[str, Any]:
    """Row errors of one file before and behind the alignment."""
    views = [read_picture(path / f"{side}.png") for side in ("left", "right")] if path.is_dir() else read_stereo(path)
    left, right = (view.pixels for view in views)
    report = examine(*views)
    alignment = choose_treatment(report).alignment
    again = right if alignment is None else move(right, alignment)
    return {
        "file": path.name,
        "rows": report.rows,
        "alignment": str(alignment),
        "own": [round(float(np.median(np.abs(match(left, view).vertical_offset))), 3) for view in (right, again)],
        "sift": [round(sift_error(left, view), 3) for view in (right, again)],
    }


def sift_error(left: Pixels, right: Pixels) -> float:
    """Rows by which SIFT's points miss each other, the median; each the other's best match, and clearly so."""
    sift = cv2.SIFT.create(4000)
    (a, words_a), (b, words_b) = (sift.detectAndCompute(v.astype(np.uint8), np.empty(0)) for v in (left, right))
    there = cv2.BFMatcher().knnMatch(words_a, words_b, k=2)
    back = {m.queryIdx: m.trainIdx for m in cv2.BFMatcher().match(words_b, words_a)}
    good = [m for m, n in there if m.distance < 0.7 * n.distance and back[m.trainIdx] == m.queryIdx]
    offset = np.array([b[m.trainIdx].pt[1] - a[m.queryIdx].pt[1] for m in good])
    return float(np.median(np.abs(offset[np.abs(offset) < 0.02 * left.shape[0]])))


if __name__ == "__main__":
    main()
