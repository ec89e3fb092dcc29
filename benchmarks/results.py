"""Measure the models that are here, for the committed results and docs/: one command for all of it.

    python benchmarks/results.py DATA [-s 4] [-x] [--only quality|speed] [--go-on]

DATA holds KITTI2015 and Middlebury4. What is measured is written to benchmarks/results/<set>_x<scale>.jsonl, anew or,
with --go-on, added to what is there (after a stop; or speed, when the machine is idle, after quality). The bundled
example is measured too: it is what ``stereosr bench --check`` compares with in the tests. At the end the
documentation's section is written.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pages

from stereosr.models.library import BUNDLED, bundled, photo_name
from stereosr.models.spec import read_spec

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("-s", "--scale", type=int, action="append", help="[default: 4 and 2]")
    parser.add_argument("-x", "--ensemble", action="store_true")
    parser.add_argument("--only", choices=["quality", "speed"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--go-on", action="store_true")
    chosen = parser.parse_args()
    names = {read_spec(path).name for path in BUNDLED.glob("*.onnx")}
    clean = sorted(names - {photo_name(name) for name in names})
    for scale in chosen.scale or (4, 2):
        models = [part for name in clean if bundled(name, scale) for part in ("-n", name)]
        for name, folder in (("example", None), *((n, chosen.data / n) for n in ("Middlebury4", "KITTI2015"))):
            out = HERE / "results" / f"{name.lower()}_x{scale}.jsonl"
            if not chosen.go_on:
                out.unlink(missing_ok=True)
            command = [sys.executable, "-m", "stereosr_cli", "bench", *([str(folder)] if folder else [])]
            command += ["-s", str(scale), *models, "-o", str(out), "--rounds", str(chosen.rounds)]
            command += ["-x"] * chosen.ensemble + (["--only", chosen.only] if chosen.only else [])
            subprocess.run(command, check=True)
    pages.main()


if __name__ == "__main__":
    main()
