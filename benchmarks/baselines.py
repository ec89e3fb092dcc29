"""The baselines that were trained here, on KITTI 2015 at x4: through the files that ``stereosr export`` makes of them.

    python benchmarks/baselines.py DATA

DATA holds KITTI2015. Writes benchmarks/results/baselines_x4.jsonl and the table of their model card.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pages

from stereosr.models.library import bundled
from stereosr_export.checkpoints import OWN_WEIGHTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    chosen = parser.parse_args()
    names = [path.stem.removesuffix("_x4") for path in sorted(OWN_WEIGHTS.glob("*_x4.safetensors"))]
    names = [name for name in names if not bundled(name)]
    out = pages.HERE / "results" / "baselines_x4.jsonl"
    out.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as home:

        def stereosr(*arguments: str) -> None:
            environment = os.environ | {"STEREOSR_HOME": home}
            subprocess.run([sys.executable, "-m", "stereosr_cli", *arguments], check=True, env=environment)

        for name in names:
            stereosr("export", name, "-s", "4")
        models = (part for name in names for part in ("-n", name))
        stereosr("bench", str(chosen.data / "KITTI2015"), "-s", "4", *models, "--only", "quality", "-o", str(out))
    pages.rewrite(pages.BASELINES_CARD, pages.baselines_card())


if __name__ == "__main__":
    main()
