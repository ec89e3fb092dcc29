"""Doubles a side-by-side video, slowly, in short segments: convert_video.py SOURCE TARGET."""

import sys
import time
from pathlib import Path

from stereosr.io import video
from stereosr.io.images import Picture


def doubled(picture: Picture) -> Picture:
    time.sleep(0.01)
    return Picture(picture.pixels.repeat(2, 0).repeat(2, 1))


def twice(height: int, width: int) -> tuple[int, int]:
    return 2 * height, 2 * width


video.SEGMENT = 8

conversion = video.Conversion((Path(sys.argv[1]),), (Path(sys.argv[2]),), ("sbs", "sbs"), twice)
conversion.run(lambda left, right, _time: (doubled(left), doubled(right)), "key")
