"""One page that shows the pictures behind the numbers, and needs nothing but itself: it opens offline."""

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stereosr.evaluation.bench import Method, Summary
    from stereosr.evaluation.datasets import Scene, UInt8

TEMPLATE = Path(__file__).with_name("page.html")
SCENES = 3
"""Scenes that are shown: the first, the last, and what lies evenly between."""
SHOWN = (360, 640)
"""Rows and columns, at most, that are shown of each: its middle."""


def write_page(
    path: Path,
    title: str,
    about: Sequence[str],
    summaries: "Sequence[Summary]",
    methods: "Sequence[Method]",
    scenes: "Sequence[Scene]",
    on_picture: Callable[[str], None],
) -> None:
    """Super-resolve some scenes by every method, and write them, beside HR, with the tables into one HTML file."""
    from stereosr.atomic import write_bytes
    from stereosr_cli.report.tables import cells, parts

    shown = []
    for scene in chosen(scenes):
        hr, lr = scene.views()
        pictures = [_pictures(hr)]
        for method in methods:
            on_picture(f"{scene.name} · {method.row.title}")
            pictures.append(_pictures(method(lr)))
        shown.append({"name": scene.name, "pictures": pictures})
    tables = [
        {"columns": [c.title for c in columns], "rows": cells(columns, summaries)} for columns in parts(summaries)
    ]
    names = ["HR", *(_name(method, methods) for method in methods)]
    data = {"title": title, "about": list(about), "tables": tables, "methods": names, "scenes": shown}
    text = TEMPLATE.read_text(encoding="utf-8").replace("__DATA__", json.dumps(data).replace("<", "\\u003c"))
    write_bytes(path, text.encode())


def chosen(scenes: "Sequence[Scene]") -> "list[Scene]":
    count = min(SCENES, len(scenes))
    return [scenes[round(i * (len(scenes) - 1) / max(count - 1, 1))] for i in range(count)]


def _name(method: "Method", methods: "Sequence[Method]") -> str:
    """The short name where it is the only one of its kind."""
    alike = [m for m in methods if m.row.title == method.row.title]
    return method.row.title if len(alike) == 1 else method.row.label


def _pictures(views: "Sequence[UInt8]") -> dict[str, Any]:
    return {side: _data_uri(view) for side, view in zip(("left", "right"), views, strict=True)}


def _data_uri(view: "UInt8") -> str:
    """The middle of a view, lossless."""
    from stereosr.io.encode import encode_picture
    from stereosr.io.images import Picture

    top, left = (max(0, (size - most) // 2) for size, most in zip(view.shape, SHOWN, strict=False))
    middle = view[top : top + SHOWN[0], left : left + SHOWN[1]]
    data = encode_picture(Picture(middle), "WEBP", None, TEMPLATE)
    return "data:image/webp;base64," + base64.b64encode(data).decode()
