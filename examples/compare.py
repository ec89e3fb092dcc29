"""Draw comparison.png for the README: a part of the example pair enlarged x4 by bicubic and by stereosr, and the truth.

stereosr upscale examples/left.png examples/right.png -s 4 --overwrite
python examples/compare.py
"""

from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent
TRUTH = HERE.parent / "engines/stereosr/models/bundled/examples/render/hr0.png"
ROWS, COLUMNS = slice(88, 222), slice(104, 316)
ZOOM, GAP, CAPTION = 2, 8, 26


def panel(view: np.ndarray, caption: str) -> np.ndarray:
    part = cv2.resize(view[ROWS, COLUMNS], None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
    part = cv2.copyMakeBorder(part, CAPTION, 0, 0, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return cv2.putText(part, caption, (2, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (40, 40, 40), 1, cv2.LINE_AA)


def main() -> None:
    small, ours, truth = (cv2.imread(str(path)) for path in (HERE / "left.png", HERE / "left_x4.png", TRUTH))
    bicubic = cv2.resize(small, truth.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    panels = [panel(bicubic, "bicubic x4"), panel(ours, "stereosr x4"), panel(truth, "the scene itself")]
    cv2.imwrite(str(HERE / "comparison.png"), cv2.hconcat(panels))


if __name__ == "__main__":
    main()
