"""``stereosr check``, behind its options: measure a pair and print the verdict."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click

from stereosr.errors import UsageError
from stereosr.geometry.pair_check import PairMeasurements, PairReport, examine
from stereosr.io.layouts import Layout, read_pair


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """The options of the command, by their names."""

    paths: tuple[Path, ...]
    layout: Layout | Literal["auto"]
    as_json: bool


def check(options: CheckOptions) -> int:
    """Do what the options ask for; gives the exit code."""
    paths = options.paths
    if len(paths) > 2:
        raise UsageError("give LEFT RIGHT, or one file that holds both views")
    left, right = read_pair(paths, options.layout)
    report = examine(left, right)
    if options.as_json:
        click.echo(json.dumps({"input": list(map(str, paths)), "good": report.good} | asdict(report)))
    else:
        for line in _lines(report):
            click.echo(line)
    return 0 if report.good else 1


def _lines(report: PairReport) -> Iterator[str]:
    if report.measured is not None:
        yield from _measurements(report.measured, report.matches)
    for finding in report.findings:
        yield f"{finding.kind}: {finding.text}"
    if report.good:
        yield "verdict: a rectified stereo pair"
    elif report.findings:
        yield "verdict: not a good stereo pair yet"
    else:
        yield f"verdict: cannot tell, {report.unknown}"


def _measurements(measured: PairMeasurements, points: int) -> Iterator[str]:
    least, median, most = measured.disparity
    yield f"matches        {points} points seen in both views"
    yield f"rows           {measured.row_error:.2f} px off; right view {measured.vertical_offset:+.2f} px lower"
    yield f"disparity      {least:.1f} to {most:.1f} px, median {median:.1f}"
    yield f"view order     {measured.order:+.1f} sigma for left/right; negative speaks for swapped views"
    if measured.exposure is not None and measured.colour is not None:
        named = zip(("red", "green", "blue"), measured.colour, strict=True)
        shades = ", ".join(f"{name} {v:+.0%}" for name, v in named)
        yield f"right exposure {measured.exposure:+.0%}; {shades}"
