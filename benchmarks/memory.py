"""How much memory a job takes: against the estimate, against the picture's height, and for a very large picture.

    python benchmarks/memory.py [model] [height] [large] [--plot FILE] [-o benchmarks/results/memory.json]

Every figure is the peak resident size of a process of its own, which does what ``stereosr upscale`` does.

- model: three runs of the bundled x2 engine at several sizes: what they take beyond the opened model, and the estimate
  by which ``--tile auto`` chooses tiles.
- height: whole jobs, 320 columns, 500 to 8000 rows, x2. The bundled engine for the lowest ones; for all of them a
  stand-in, which takes and touches as much memory as the estimate says and only repeats pixels, so that 2.5 megapixels
  need no hour. What must be flat is the peak less the two pictures read (8-bit and float) and the two canvases.
- large: 6000 x 4000 x2 by the stand-in; with ``--real-rows N`` the first N rows by the bundled engine too.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from stereosr.backends.base import Backend, RunOptions
from stereosr.backends.ort_cpu import OrtCpu
from stereosr.batch.item import Item
from stereosr.batch.job import Settings, run
from stereosr.inference.settings import TileSettings
from stereosr.models.library import find_model
from stereosr.types import StereoPair

SCALE = 2
MIB = 2**20
HEIGHTS, REAL_HEIGHTS = (500, 1000, 2000, 4000, 8000), (500, 1000, 2000)


class StandIn:
    """Takes the memory that the bundled engine is estimated to take, and repeats pixels."""

    device = "stand-in"

    def __init__(self, model: OrtCpu) -> None:
        self.spec = replace(model.spec, name=f"stand-in for {model.spec.name}")

    def infer(self, pair: StereoPair) -> StereoPair:
        taken = np.ones(estimate(self, pair.height, pair.width) // 8)
        left, right = (v.repeat(SCALE, 0).repeat(SCALE, 1) for v in (pair.left, pair.right))
        del taken
        return StereoPair(left, right)

    def close(self) -> None: ...


def estimate(backend: Backend, height: int, width: int) -> int:
    a, b = backend.spec.memory
    return height * width * (a + b * width)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def worker(kind: str, height: int, width: int, folder: Path) -> dict[str, object]:
    """What one process measures; its result goes to stdout as JSON."""
    model = OrtCpu(find_model("nafssr-t", SCALE), RunOptions())
    if kind == "model":
        pair = StereoPair(*np.random.default_rng(0).random((2, height, width, 3), np.float32))
        before = peak()
        for _ in range(3):  # onnxruntime may take more for later runs
            model.infer(pair)
        return {"peak": peak() - before, "estimate": estimate(model, height, width)}
    before = peak()
    sources = (folder / "left.png", folder / "right.png")
    item = Item("pair", sources, (folder / "left_x2.png", folder / "right_x2.png"))
    budget = None if kind.startswith("large") else 2**28
    settings = Settings(model="", tiles=TileSettings(max_memory=budget), overwrite=True)
    backend: Backend = model if kind.endswith("real") else StandIn(model)
    (result,) = run([item], backend, settings, None)
    if result.error:
        raise result.error
    pictures, canvases = 2 * height * width * 3 * 5, 2 * height * width * 3 * SCALE**2
    return {
        "peak": peak(),
        "beside_pictures_and_canvases": peak() - pictures - canvases,
        "above_canvases": peak() - canvases,
        "start": before,
        "tiles": result.tiles,
        "seconds": round(result.seconds, 1),
    }


def measure(kind: str, height: int, width: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        if kind != "model":
            draw(Path(folder), height, width)
        command = [sys.executable, __file__, "--worker", kind, str(height), str(width), folder]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    row: dict[str, object] = {"kind": kind, "height": height, "width": width, **json.loads(done.stdout)}
    shown = {k: f"{v / MIB:.0f} MiB" if isinstance(v, int) and v > MIB else v for k, v in row.items()}
    print("  ".join(f"{k} {v}" for k, v in shown.items()), flush=True)  # noqa: T201
    return row


def draw(folder: Path, height: int, width: int) -> None:
    """A pair of smooth noise, 6 pixels apart."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    wide = cv2.resize(noise, (width + 6, height), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / "left.png"), wide[:, :width])
    cv2.imwrite(str(folder / "right.png"), wide[:, 6:])


def plot(rows: list[dict[str, object]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    for kind, name in (("height-stand-in", "stand-in"), ("height-real", "bundled engine")):
        mine = [r for r in rows if r["kind"] == kind]
        for key, label, style in (
            ("peak", "peak of the process", "o-"),
            ("beside_pictures_and_canvases", "less pictures and canvases", "s--"),
        ):
            axes.plot([r["height"] for r in mine], [r[key] / MIB for r in mine], style, label=f"{name}: {label}")  # type: ignore[operator]
    axes.set(xlabel="LR rows, at 320 columns, x2, --max-memory 256M", ylabel="MiB", ylim=(0, None))
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=100)


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        kind, height, width, folder = sys.argv[2:]
        json.dump(worker(kind, int(height), int(width), Path(folder)), sys.stdout)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["model", "height", "large", []])
    parser.add_argument("--real-rows", type=int, help="Rows of the large picture for the bundled engine.")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    chosen = parser.parse_args()
    what = chosen.what or ["model", "height", "large"]
    rows = json.loads(chosen.out.read_text()) if chosen.out and chosen.out.exists() else []
    jobs: list[tuple[str, int, int]] = []
    if "model" in what:
        jobs += [("model", *size) for size in ((45, 135), (94, 310), (200, 320), (45, 1280), (100, 1280), (45, 1920))]
    if "height" in what:
        jobs += [("height-stand-in", height, 320) for height in HEIGHTS]
        jobs += [("height-real", height, 320) for height in REAL_HEIGHTS]
    if "large" in what:
        jobs += [("large-stand-in", 4000, 6000)]
        if chosen.real_rows:
            jobs += [("large-real", chosen.real_rows, 6000)]
    for job in jobs:
        row = measure(*job)
        rows = [r for r in rows if (r["kind"], r["height"], r["width"]) != job] + [row]
        if chosen.out:
            chosen.out.parent.mkdir(parents=True, exist_ok=True)
            chosen.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if chosen.plot:
        plot(rows, chosen.plot)


if __name__ == "__main__":
    main()
