"""The bench's table for a terminal, for Markdown, for spreadsheets and for programs."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from stereosr.evaluation.bench import Summary


@dataclass(frozen=True, slots=True)
class Column:
    """``show`` gives the text of a cell; ``bicubic`` is the summary of that row, or None where there is none."""

    title: str
    show: "Callable[[Summary, Summary | None], str]"


ABSENT = "-"


def _score(protocol: str) -> "Callable[[Summary, Summary | None], str]":
    def show(s: "Summary", _bicubic: "Summary | None") -> str:
        psnr, ssim = getattr(s, f"psnr_{protocol}"), getattr(s, f"ssim_{protocol}")
        return ABSENT if psnr is None else f"{psnr:.2f}/{f'{ssim:.4f}'.lstrip('0')}"

    return show


def _gain(protocol: str) -> "Callable[[Summary, Summary | None], str]":
    def show(s: "Summary", bicubic: "Summary | None") -> str:
        ours, base = getattr(s, f"psnr_{protocol}"), bicubic and getattr(bicubic, f"psnr_{protocol}")
        return ABSENT if ours is None or base is None or s is bicubic else f"{ours - base:+.2f}"

    return show


def _number(name: str, pattern: str, factor: float = 1) -> "Callable[[Summary, Summary | None], str]":
    def show(s: "Summary", _bicubic: "Summary | None") -> str:
        value = getattr(s, name)
        return ABSENT if value is None else pattern.format(factor * value)

    return show


def _times_bicubic(s: "Summary", _bicubic: "Summary | None") -> str:
    return ABSENT if s.speed is None else f"{1 / s.speed:.1f}"


ROW = (
    Column("model", lambda s, _: s.row.title),
    Column("backend", lambda s, _: f"{s.row.backend} {s.row.precision}"),
)
QUALITY = (
    *ROW,
    Column("params", lambda s, _: f"{s.row.parameters / 1e6:.2f}M" if s.row.parameters else ABSENT),
    Column("GMACs", lambda s, _: f"{s.row.gmacs:,.0f}" if s.row.gmacs else ABSENT),
    Column("avg dB/SSIM", _score("avg")),
    Column("gain", _gain("avg")),
    Column("left dB/SSIM", _score("left")),
    Column("gain", _gain("left")),
)
DEPTH = (
    *ROW,
    Column("disparity error px", _number("disparity", "{:.2f}")),
    Column("lost %", _number("lost", "{:.1f}", 100)),
    Column("warp error", _number("warp", "{:.2f}")),
    Column("HR's own", _number("hr_warp", "{:.2f}")),
)
SPEED = (
    *ROW,
    Column("median s", _number("latency", "{:.3f}")),
    Column("p95 s", _number("p95", "{:.3f}")),
    Column("MP/s", _number("megapixels", "{:.2f}")),
    Column("x bicubic", _times_bicubic),
    Column("first s", _number("first", "{:.2f}")),
    Column("peak MB", _number("memory", "{:.0f}", 1e-6)),
)


def parts(summaries: "Sequence[Summary]") -> list[tuple[Column, ...]]:
    """The tables that have something to show."""
    quality = any(s.psnr_avg is not None for s in summaries)
    speed = any(s.latency is not None for s in summaries)
    return [QUALITY, DEPTH] * quality + [SPEED] * speed


def cells(columns: Sequence[Column], summaries: "Sequence[Summary]") -> list[list[str]]:
    bicubic = next((s for s in summaries if not s.row.parameters), None)
    return [[column.show(s, bicubic) for column in columns] for s in summaries]


def rich_tables(summaries: "Sequence[Summary]") -> "list[Table]":
    from rich.table import Table

    tables = []
    for columns in parts(summaries):
        table = Table(box=None)
        for i, column in enumerate(columns):
            table.add_column(column.title, justify="left" if i < len(ROW) else "right", no_wrap=True)
        for row in cells(columns, summaries):
            table.add_row(*row)
        tables.append(table)
    return tables


def markdown(summaries: "Sequence[Summary]") -> str:
    blocks = []
    for columns in parts(summaries):
        lines = [[column.title for column in columns], ["---" if i < len(ROW) else "--:" for i in range(len(columns))]]
        lines += cells(columns, summaries)
        blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(blocks)


def values(summary: "Summary") -> dict[str, Any]:
    """One flat record: the row's own fields, then everything measured, in the units of ``Summary``."""
    flat: dict[str, Any] = asdict(summary)
    row: dict[str, Any] = flat.pop("row")
    return row | flat


def comma_separated(summaries: "Sequence[Summary]") -> str:
    rows = [values(s) for s in summaries]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().rstrip("\n")


def json_lines(summaries: "Sequence[Summary]") -> str:
    return "\n".join(json.dumps(values(s)) for s in summaries)
