"""One page that shows the pictures behind the numbers; it needs nothing but itself and opens offline."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stereosr.atomic import write_bytes
from stereosr.evaluation.bench import Method, Summary
from stereosr.evaluation.datasets import Scene, UInt8, Views
from stereosr.evaluation.degrade import CLEAN, corrupt_pair
from stereosr.io.encode import encode_picture
from stereosr.io.images import Picture
from stereosr.types import Pixels, quantise, to_float
from stereosr_cli.report import tables

TEMPLATE = Path(__file__).with_name("page.html")
PICTURES = 3
"""Scenes that are shown: the first, the last, and what lies evenly between; fewer if there are several recipes."""
SHOWN = (480, 960)
"""Rows and columns, at most, that are shown of each: its middle."""


def write_page(
    path: Path,
    title: str,
    about: Sequence[str],
    summaries: Sequence[Summary],
    methods: Sequence[Method],
    scenes: Sequence[Scene],
    recipes: Sequence[str] = (CLEAN,),
) -> None:
    """Super-resolve some scenes by every method, and write them, beside HR, with the tables into one HTML file."""
    shown = []
    for scene in chosen(scenes, max(1, PICTURES // len(recipes))):
        hr, clean = scene.views()
        for recipe in recipes:
            lr = corrupt_pair(clean, recipe, scene.name)
            pictures = [_pictures(hr), *(_pictures(method(lr)) for method in methods)]
            name = scene.name if recipe == CLEAN else f"{scene.name} · {recipe}"
            shown.append({"name": name, "pictures": pictures})
    built = [{"columns": table.titles, "rows": table.rows} for table in tables.build(summaries)]
    points = [
        {"name": s.title, "seconds": s.latency, "psnr": s.psnr_avg} for s in summaries if s.latency and s.psnr_avg
    ]
    _write(
        path,
        title=title,
        about=list(about),
        tables=built,
        points=points,
        methods=["HR", *(_name(method, methods) for method in methods)],
        scenes=shown,
    )


class Results:
    """A page of one's own results, beside the input enlarged by bicubic: the first few pairs, the middle of each."""

    def __init__(self, model: str) -> None:
        self._model, self._scenes = model, list[dict[str, Any]]()

    @property
    def full(self) -> bool:
        """Whether no more pairs will be shown."""
        return len(self._scenes) >= PICTURES

    def add(self, name: str, lr: tuple[Pixels, Pixels], sr: tuple[Pixels, Pixels]) -> None:
        """Keep what will be shown of a pair, if there is room; ``lr`` and ``sr`` are H x W x 3, ``sr`` the larger."""
        if not self.full:
            height, width = sr[0].shape[:2]
            large = [cv2.resize(view, (width, height), interpolation=cv2.INTER_CUBIC) for view in lr]
            pictures = [_pictures((_eight_bits(left), _eight_bits(right))) for left, right in (large, sr)]
            self._scenes.append({"name": name, "pictures": pictures})

    def write(self, path: Path) -> None:
        """Write what was kept. Raises StereosrError if that fails."""
        methods, about = ["bicubic", self._model], [f"upscaled by {self._model}; shown is the middle of each view"]
        _write(path, title="stereosr upscale", about=about, tables=[], points=[], methods=methods, scenes=self._scenes)


def _eight_bits(view: NDArray[Any]) -> UInt8:
    return np.asarray(view if view.dtype == np.uint8 else quantise(to_float(view), np.dtype(np.uint8)), dtype=np.uint8)


def _write(path: Path, **data: Any) -> None:
    text = TEMPLATE.read_text(encoding="utf-8").replace("__DATA__", json.dumps(data).replace("<", "\\u003c"))
    write_bytes(path, text.encode())


def chosen(scenes: Sequence[Scene], most: int) -> list[Scene]:
    """So many scenes at most, evenly spread."""
    count = min(most, len(scenes))
    return [scenes[round(i * (len(scenes) - 1) / max(count - 1, 1))] for i in range(count)]


def _name(method: Method, methods: Sequence[Method]) -> str:
    """The short name where it is the only one of its kind."""
    alike = [m for m in methods if m.row.title == method.row.title]
    return method.row.title if len(alike) == 1 else method.row.label


def _pictures(views: Views) -> dict[str, str]:
    return {side: _data_uri(view) for side, view in zip(("left", "right"), views, strict=True)}


def _data_uri(view: UInt8) -> str:
    """The middle of a view, lossless."""
    top, left = (max(0, (size - most) // 2) for size, most in zip(view.shape, SHOWN, strict=False))
    middle = view[top : top + SHOWN[0], left : left + SHOWN[1]]
    data = encode_picture(Picture(middle), "WEBP", None, TEMPLATE)
    return "data:image/webp;base64," + base64.b64encode(data).decode()
