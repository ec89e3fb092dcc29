"""PSNR against latency and against parameters, with the published rows as grey dots."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stereosr.atomic import write_bytes
from stereosr.errors import UsageError
from stereosr.evaluation.bench import Summary
from stereosr_cli.report.published import published

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "0.6"


def write_plot(path: Path, summaries: Sequence[Summary], title: str, benchmark: str | None, scale: int) -> None:
    """Write a picture in the format of the path's suffix (png, svg, pdf); nothing half-written is left.

    Raises:
        UsageError: if matplotlib knows no such format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(13, 6), layout="constrained")
    known = FigureCanvasAgg(figure).get_supported_filetypes()
    kind = path.suffix.lower().removeprefix(".")
    if kind not in known:
        raise UsageError(f"cannot write a plot as {path.name}: use .png, .svg or .pdf")
    figure.suptitle(title)
    speed, size = figure.subplots(1, 2, sharey=True)
    where = next((s.where for s in summaries if s.where), "not measured")
    ours = [s for s in summaries if s.psnr_avg is not None]
    _points(speed, [(s.title, s.latency, s.psnr_avg) for s in ours], "C0")
    _points(size, [(r.method, r.parameters, r.psnr_avg) for r in published(benchmark, scale)], GREY)
    _points(size, [(s.title, s.row.parameters, s.psnr_avg) for s in ours if not s.row.ensemble], "C0")
    for axes, label in ((speed, f"seconds a pair, {where}"), (size, "parameters")):
        axes.set_xlabel(label)
        axes.margins(x=0.15)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_minor_formatter(NullFormatter())
    speed.set_ylabel("PSNR avg, dB")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150)
    write_bytes(path, buffer.getvalue())


def _points(axes: "Axes", points: Sequence[tuple[str, float | None, float | None]], colour: str) -> None:
    """Labelled dots on a logarithmic axis; a row with no place on it (bicubic has no parameters) is a line."""
    style: dict[str, Any] = {"color": colour, "fontsize": 7, "xytext": (4, 3), "textcoords": "offset points"}
    axes.set_xscale("log")
    for name, x, y in points:
        if y is None or x is None:
            continue
        if x > 0:
            axes.plot(x, y, "o", color=colour, markersize=5)
            axes.annotate(name, (x, y), **style)
        elif colour != GREY:
            axes.axhline(y, color=colour, linestyle=":", linewidth=1)
            axes.annotate(name, (0, y), xycoords=("axes fraction", "data"), **style)
