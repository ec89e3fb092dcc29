"""The bench's tables for a terminal, for Markdown, for spreadsheets and for programs."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table as RichTable

from stereosr.evaluation.bench import BICUBIC, Summary
from stereosr.evaluation.degrade import CLEAN


@dataclass(frozen=True, slots=True)
class Column:
    """``show`` gives the text of a cell, from a summary and bicubic's on the same LR (None where there is none)."""

    title: str
    show: Callable[[Summary, Summary | None], str]


@dataclass(frozen=True, slots=True)
class Table:
    """Texts, ready to be printed; ``rows`` are as long as ``titles``."""

    titles: list[str]
    rows: list[list[str]]


ABSENT = "-"


def _score(protocol: str) -> Callable[[Summary, Summary | None], str]:
    def show(s: Summary, _bicubic: Summary | None) -> str:
        psnr, ssim = getattr(s, f"psnr_{protocol}"), getattr(s, f"ssim_{protocol}")
        return ABSENT if psnr is None else f"{psnr:.2f}/{f'{ssim:.4f}'.lstrip('0')}"

    return show


def _gain(protocol: str) -> Callable[[Summary, Summary | None], str]:
    def show(s: Summary, bicubic: Summary | None) -> str:
        ours, base = getattr(s, f"psnr_{protocol}"), bicubic and getattr(bicubic, f"psnr_{protocol}")
        return ABSENT if ours is None or base is None or s is bicubic else f"{ours - base:+.2f}"

    return show


def _number(name: str, pattern: str, factor: float = 1) -> Callable[[Summary, Summary | None], str]:
    def show(s: Summary, _bicubic: Summary | None) -> str:
        value = getattr(s, name)
        return ABSENT if value is None else pattern.format(factor * value)

    return show


def _times_bicubic(s: Summary, _bicubic: Summary | None) -> str:
    return ABSENT if s.speed is None else f"{1 / s.speed:.1f}"


ROW = (
    Column("model", lambda s, _: s.row.title),
    Column("backend", lambda s, _: f"{s.row.backend} {s.row.precision}"),
)
LR = (Column("LR", lambda s, _: s.recipe),)
"""Shown where there is more than clean LR."""
QUALITY = (
    Column("params", lambda s, _: f"{s.row.parameters / 1e6:.2f}M" if s.row.parameters else ABSENT),
    Column("GMACs", lambda s, _: f"{s.row.gmacs:,.0f}" if s.row.gmacs else ABSENT),
    Column("avg dB/SSIM", _score("avg")),
    Column("gain", _gain("avg")),
    Column("left dB/SSIM", _score("left")),
    Column("gain", _gain("left")),
)
DEPTH = (
    Column("disparity error px", _number("disparity", "{:.2f}")),
    Column("lost %", _number("lost", "{:.1f}", 100)),
    Column("warp error", _number("warp", "{:.2f}")),
    Column("HR's own", _number("hr_warp", "{:.2f}")),
)
SPEED = (
    Column("median s", _number("latency", "{:.3f}")),
    Column("p95 s", _number("p95", "{:.3f}")),
    Column("MP/s", _number("megapixels", "{:.2f}")),
    Column("x bicubic", _times_bicubic),
    Column("first s", _number("first", "{:.2f}")),
    Column("peak MB", _number("memory", "{:.0f}", 1e-6)),
)


def build(summaries: Sequence[Summary]) -> list[Table]:
    """The tables that have something to show."""
    bicubic = {s.recipe: s for s in summaries if s.row.model == BICUBIC}
    lr = LR if {s.recipe for s in summaries} - {CLEAN} else ()

    def table(columns: Sequence[Column], lines: Sequence[Summary]) -> Table:
        return Table(
            [column.title for column in columns],
            [[column.show(s, bicubic.get(s.recipe)) for column in columns] for s in lines],
        )

    tables = []
    if any(s.psnr_avg is not None for s in summaries):
        tables += [table((*ROW, *lr, *QUALITY), summaries), table((*ROW, *lr, *DEPTH), summaries)]
        if lr:
            tables.insert(0, _recipes(summaries, bicubic))
    if any(s.latency is not None for s in summaries):
        rows = {s.row: s for s in reversed(summaries)}  # a row's latency is the same with every recipe
        tables.append(table((*ROW, *SPEED), list(reversed(rows.values()))))
    return tables


def _recipes(summaries: Sequence[Summary], bicubic: dict[str, Summary]) -> Table:
    """A column a recipe: PSNR avg of bicubic, what the other rows gain over it."""
    recipes, gain = dict.fromkeys(s.recipe for s in summaries), _gain("avg")
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for s in summaries:
        base = bicubic.get(s.recipe)
        text = f"{s.psnr_avg:.2f} dB" if s is base and s.psnr_avg is not None else gain(s, base)
        found.setdefault(tuple(column.show(s, None) for column in ROW), {})[s.recipe] = text
    rows = [[*row, *(cells.get(recipe, ABSENT) for recipe in recipes)] for row, cells in found.items()]
    return Table([*(column.title for column in ROW), *recipes], rows)


def rich_tables(summaries: Sequence[Summary]) -> list[RichTable]:
    tables = []
    for built in build(summaries):
        table = RichTable(box=None)
        for i, title in enumerate(built.titles):
            table.add_column(title, justify="left" if i < len(ROW) else "right", no_wrap=True)
        for row in built.rows:
            table.add_row(*row)
        tables.append(table)
    return tables


def markdown(summaries: Sequence[Summary]) -> str:
    blocks = []
    for table in build(summaries):
        rule = ["---" if i < len(ROW) else "--:" for i in range(len(table.titles))]
        blocks.append("\n".join(f"| {' | '.join(line)} |" for line in (table.titles, rule, *table.rows)))
    return "\n\n".join(blocks)


def values(summary: Summary) -> dict[str, Any]:
    """One flat record: the row's own fields, then everything measured, in the units of ``Summary``."""
    flat: dict[str, Any] = asdict(summary)
    row: dict[str, Any] = flat.pop("row")
    return row | flat


def comma_separated(summaries: Sequence[Summary]) -> str:
    rows = [values(s) for s in summaries]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().rstrip("\n")


def json_lines(summaries: Sequence[Summary]) -> str:
    return "\n".join(json.dumps(values(s)) for s in summaries)
