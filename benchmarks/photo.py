"""What engines do to pictures as people have them: gain on degraded scenes; noise and JPEG's grid on camera files.

    python benchmarks/photo.py PAIRS nafssr-t nafssr-t-photo -s 4 [--camera FILE...] [--scenes N] [-o FOLDER]

PAIRS is a folder of pairs at high resolution; engines are names or files. LR is made by MATLAB's bicubic from the
middle of each scene, then degraded by each recipe (see ``stereosr.evaluation.degrade``). Gains are over bicubic
of the same degraded LR, by the bench's protocol. A camera file is enlarged as it is, its middle; what is measured there
is in ``noise`` and ``grid``. Writes photo_xS.json and photo_xS.md into benchmarks/results, and prints the latter.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stereosr.backends.base import RunOptions
from stereosr.errors import StereosrError
from stereosr.evaluation.bench import BICUBIC, Bicubic, Method, open_models, score
from stereosr.evaluation.datasets import UInt8, Views
from stereosr.evaluation.degrade import corrupt_pair, degrade
from stereosr.io.images import read_picture
from stereosr.io.layouts import read_stereo
from stereosr.io.pairs import scan_folder
from stereosr.models.library import find_model
from stereosr.models.spec import read_spec
from stereosr.system import machine

RECIPES = ("clean", "jpeg95", "jpeg85", "jpeg70", "noise5", "noise5+jpeg85")
LARGEST_HR, LARGEST_CAMERA = (720, 1440), (360, 720)
"""Rows and columns of the middle that is taken of a scene and of a camera file."""
GRID = 8
"""JPEG's, in LR pixels."""
Plane = NDArray[np.float32]
Methods = Mapping[str, Method]


def open_engines(names: Iterable[str], scale: int, opened: ExitStack) -> dict[str, Method]:
    """Bicubic, and engines by their names or files, which are closed with the stack."""
    methods: dict[str, Method] = {BICUBIC: Bicubic(scale)}
    for name in names:
        file = find_model(name, scale)
        (model,) = open_models({file: read_spec(file)}, ["ort-cpu"], False, RunOptions(), opened)
        if isinstance(model, StereosrError):
            raise model
        methods[name if name == model.row.model else file.stem] = model
    return methods


def middle(view: UInt8, largest: tuple[int, int], step: int) -> UInt8:
    """The middle of a view, of at most so many rows and columns, multiples of ``step`` and beginning at one."""
    rows, columns = (min(side, most) // step * step for side, most in zip(view.shape, largest, strict=False))
    top, left = ((side - kept) // 2 // step * step for side, kept in zip(view.shape, (rows, columns), strict=False))
    return view[top : top + rows, left : left + columns]


def gains(pairs: Path, methods: Methods, scale: int, scenes: int | None) -> Iterator[dict[str, Any]]:
    """A record a scene, recipe and method: PSNR and SSIM, ``avg`` and ``left``."""
    for pair in scan_folder(pairs, ignore_suffixes=()).pairs[:scenes]:
        left, right = (
            middle(read_picture(p).pixels.astype(np.uint8), LARGEST_HR, scale) for p in (pair.left, pair.right)
        )
        for recipe in RECIPES:
            lr = corrupt_pair((degrade(left, scale), degrade(right, scale)), recipe, pair.name)
            for name, method in methods.items():
                yield {"scene": pair.name, "recipe": recipe, "engine": name} | score(method(lr), (left, right))


def camera(file: Path, methods: Methods, scale: int) -> Iterator[dict[str, Any]]:
    """A record a method: ``noise`` and ``grid`` in the left view."""
    left, right = (middle(p.pixels.astype(np.uint8), LARGEST_CAMERA, GRID) for p in read_stereo(file))
    lr: Views = (left, right)
    flat, lines = flat_areas(luma(left), scale), None
    for name, method in methods.items():  # bicubic is the first
        y = luma(method(lr)[0])
        profiles = [grid(y, flat, scale), grid(y.T, flat.T, scale)]
        if lines is None:  # where the grid lies in this file: turned and cut files have it elsewhere
            lines = [int(profile.argmax()) for profile in profiles]
        contrast = float(np.mean([profile[line] for profile, line in zip(profiles, lines, strict=True)]))
        yield {"file": file.name, "engine": name, "noise": noise(y, flat, scale), "grid": contrast}


def luma(view: UInt8) -> Plane:
    return np.asarray(view @ np.array([0.299, 0.587, 0.114]), dtype=np.float32)


def flat_areas(y: Plane, scale: int) -> NDArray[np.bool_]:
    """Where LR has neither edges nor clipped values, at the size of SR: the flattest fifth."""
    smooth = cv2.GaussianBlur(y, (0, 0), 2)
    slope = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    slope = cv2.dilate(slope, np.ones((9, 9), np.uint8))  # no edge is near
    usable = (smooth > 16) & (smooth < 239)
    flat = usable & (slope <= np.quantile(slope[usable], 0.2))
    return flat.repeat(scale, 0).repeat(scale, 1)


def noise(y: Plane, flat: NDArray[np.bool_], scale: int) -> float:
    """Deviation, in levels of 255, of what is finer than one LR pixel's Gaussian, in flat areas."""
    return float((y - cv2.GaussianBlur(y, (0, 0), scale))[flat].std())


def grid(y: Plane, flat: NDArray[np.bool_], scale: int) -> NDArray[np.float64]:
    """For each of the 8 places where vertical grid lines may lie: steps there over steps elsewhere, in flat areas."""
    period, reach = GRID * scale, (scale - 1) // 2
    steps, both = np.abs(np.diff(y, axis=1)), flat[:, 1:] & flat[:, :-1]
    phase = np.broadcast_to((np.arange(steps.shape[1]) + 1) % period, steps.shape)[both]
    profile = np.bincount(phase, steps[both], period) / np.maximum(np.bincount(phase, minlength=period), 1)
    around = np.arange(GRID)[:, None] * scale + np.arange(-reach, reach + 1)
    near = profile[around % period]
    return np.asarray(near.mean(1) / ((profile.sum() - near.sum(1)) / (period - near.shape[1])))


def gain_table(rows: list[dict[str, Any]], engines: list[str], view: str) -> str:
    """A line a recipe, a column an engine: what it gains over bicubic, the mean over the scenes."""

    def mean(engine: str, recipe: str, what: str) -> float:
        found = [r[f"{what}_{view}"] for r in rows if (r["engine"], r["recipe"]) == (engine, recipe)]
        return float(np.mean(found))

    def cell(engine: str, recipe: str) -> str:
        psnr, ssim = (mean(engine, recipe, what) - mean(BICUBIC, recipe, what) for what in ("psnr", "ssim"))
        return f"{psnr:+.2f} dB, {ssim:+.3f}"

    lines = [[f"LR, {view}", BICUBIC, *engines], ["---", *["--:"] * (1 + len(engines))]]
    for recipe in RECIPES:
        lines.append([recipe, f"{mean(BICUBIC, recipe, 'psnr'):.2f} dB", *(cell(e, recipe) for e in engines)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def camera_table(rows: list[dict[str, Any]], engines: list[str]) -> str:
    """A line a file: noise in flat areas as a multiple of bicubic's; contrast of the grid."""
    lines = [
        ["camera file", *(f"noise, {e}" for e in engines), *(f"grid, {e}" for e in (BICUBIC, *engines))],
        ["---", *["--:"] * (2 * len(engines) + 1)],
    ]
    for file in dict.fromkeys(r["file"] for r in rows):
        found = {r["engine"]: r for r in rows if r["file"] == file}
        noises = [f"{found[e]['noise'] / found[BICUBIC]['noise']:.2f} x" for e in engines]
        lines.append([file, *noises, *(f"{found[e]['grid']:.3f}" for e in (BICUBIC, *engines))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("engines", nargs="+", help="names or files")
    parser.add_argument("-s", "--scale", type=int, default=4)
    parser.add_argument("--camera", type=Path, nargs="+", default=[])
    parser.add_argument("--scenes", type=int, help="only so many  [default: all]")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    with ExitStack() as opened:
        methods = open_engines(options.engines, options.scale, opened)
        scores = list(gains(options.pairs, methods, options.scale, options.scenes))
        cameras = [row for file in options.camera for row in camera(file, methods, options.scale)]
    engines = [name for name in methods if name != BICUBIC]
    blocks = [gain_table(scores, engines, view) for view in ("left", "avg")]
    if cameras:
        blocks.append(camera_table(cameras, engines))
    found = {"machine": machine(), "scores": scores, "camera": cameras}
    stem = options.out / f"photo_x{options.scale}"
    options.out.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    text = "\n\n".join(blocks) + "\n"
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
