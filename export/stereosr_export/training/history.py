"""The history of a run: a CSV file with a row for each report, and a plot of it."""

import csv
import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Progress:
    """One row: ``loss`` is the mean since the last, ``psnr`` over scenes and views, where it was measured.

    ``seconds`` counts from the start of the process.
    """

    iteration: int
    iterations: int
    loss: float
    lr: float
    seconds: float
    psnr: float | None


def append(path: Path, row: Progress) -> None:
    """Add a row; a new file begins with the names of the columns."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, asdict(row).keys(), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))


def forget_after(path: Path, iteration: int) -> None:
    """Drop the rows of later iterations, and one half written: a run that was killed will write them again."""
    if path.exists():
        names, *rows = path.read_text().splitlines(keepends=True) or [""]
        kept = [row for row in rows if row.endswith("\n") and int(row.partition(",")[0]) <= iteration]
        path.write_text("".join([names, *kept])) if kept else path.unlink()


def plot(path: Path) -> None:
    """Loss and PSNR over the iterations, as a PNG beside the CSV file, if there is one and matplotlib is installed."""
    if not path.exists() or importlib.util.find_spec("matplotlib") is None:
        return
    from matplotlib.figure import Figure

    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    scored = [row for row in rows if row["psnr"]]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    left = figure.subplots()
    left.plot([int(r["iteration"]) for r in rows], [float(r["loss"]) for r in rows], color="tab:blue", lw=1)
    left.set(xlabel="iteration", yscale="log")
    left.set_ylabel("training loss", color="tab:blue")
    right = left.twinx()
    right.plot([int(r["iteration"]) for r in scored], [float(r["psnr"]) for r in scored], color="tab:red", marker=".")
    right.set_ylabel("PSNR of held-back scenes in dB", color="tab:red")
    figure.savefig(path.with_suffix(".png"), dpi=120)
