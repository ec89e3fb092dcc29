"""What others published on the same benchmarks: the rows of ``published.csv``.

PSNR in dB and SSIM as printed, None where a table has no such column; ``parameters`` to the digits printed.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("published.csv")


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A method's scores on one benchmark at one scale; ``source`` says where they are printed."""

    benchmark: str
    scale: int
    method: str
    parameters: int
    psnr_left: float | None
    ssim_left: float | None
    psnr_avg: float | None
    ssim_avg: float | None
    source: str


def published(benchmark: str | None, scale: int) -> list[PublishedRow]:
    """The rows of one benchmark and scale; none for None, which stands for any other set of pictures."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = [_row(cells) for cells in csv.DictReader(file)]
    return [row for row in rows if (row.benchmark, row.scale) == (benchmark, scale)]


def _row(cells: dict[str, str]) -> PublishedRow:
    numbers = {name: float(cells[name]) if cells[name] else None for name in cells if name[:5] in ("psnr_", "ssim_")}
    return PublishedRow(
        benchmark=cells["benchmark"],
        scale=int(cells["scale"]),
        method=cells["method"],
        parameters=int(cells["parameters"]),
        source=cells["source"],
        **numbers,
    )
