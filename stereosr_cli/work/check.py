"""``stereosr check``, behind its options: measure pairs and say what is wrong with each."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click

from stereosr.batch.inputs import Naming, find
from stereosr.errors import SomeItemsFailed, StereosrError, UsageError
from stereosr.geometry.pair_check import SURE_ORDER, PairMeasurements, PairReport, examine
from stereosr.io.detect import detect_by_name
from stereosr.io.layouts import Layout, read_pair
from stereosr_cli.flags import with_flags


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """The options of the command, by their names."""

    paths: tuple[Path, ...]
    layout: Layout | Literal["auto"]
    as_json: bool


def check(options: CheckOptions) -> int:
    """Do what the options ask for; gives the exit code.

    Raises:
        UsageError: if there is nothing to check.
        StereosrError: if the only pair cannot be read.
        SomeItemsFailed: if some of several cannot.
    """
    pairs = list(_pairs(options))
    if not pairs:
        raise UsageError("no stereo pair found: give LEFT RIGHT, a file that holds both views, or a folder of pairs")
    good, failed = 0, []
    for pair in pairs:
        try:
            report = examine(*read_pair(pair.sources, pair.layout))
        except StereosrError as error:
            if len(pairs) == 1:
                raise
            failed.append(pair.name)
            click.echo(f"failed: {pair.name}: {with_flags(error)}", err=True)
            continue
        good += report.good
        if options.as_json:
            click.echo(json.dumps(_json_line(pair, report)))
        else:
            click.echo("\n".join(_summary(pair, report) if len(pairs) > 1 else _lines(report)))
    if len(pairs) > 1 and not options.as_json:
        click.echo(f"{good} of {len(pairs)} pairs are good")
    if failed:
        raise SomeItemsFailed(f"{len(failed)} of {len(pairs)} pairs cannot be read: {', '.join(failed)}")
    return 0 if good == len(pairs) else 1


@dataclass(frozen=True, slots=True)
class _Pair:
    name: str
    sources: tuple[Path, ...]
    layout: Layout | Literal["auto"]


def _pairs(options: CheckOptions) -> Iterator[_Pair]:
    """What is to be checked; what is left out is named."""
    paths, layout = options.paths, options.layout
    if len(paths) <= 2 and not any(path.is_dir() for path in paths):
        yield _Pair(paths[0].stem, paths, layout)
        return
    inputs = find(paths, Naming(out=Path(), suffix=""), None if layout == "auto" else layout)
    for line in inputs.left_out:
        click.echo(line, err=True)
    for item in inputs.items:
        if detect_by_name(item.sources[0]).kind == "video":
            click.echo(f"{item.sources[0]} is a video: only pictures are checked", err=True)
        else:
            yield _Pair(item.name, item.sources, item.layout)


def _json_line(pair: _Pair, report: PairReport) -> dict[str, Any]:
    return {"name": pair.name, "input": list(map(str, pair.sources)), "good": report.good} | asdict(report)


def _summary(pair: _Pair, report: PairReport) -> Iterator[str]:
    """A line for a good pair; one for each fault of another."""
    if report.good:
        yield f"{pair.name}: good"
    elif not report.findings:
        yield f"{pair.name}: cannot tell, {report.unknown}"
    for finding in report.findings:
        yield f"{pair.name}: {finding.text}"


def _lines(report: PairReport) -> Iterator[str]:
    if report.measured is not None:
        yield from _measurements(report.measured, report)
    for finding in report.findings:
        yield f"{finding.kind}: {finding.text}"
    if report.good:
        yield "verdict: a rectified stereo pair"
    elif report.findings:
        yield "verdict: not a good stereo pair yet"
    else:
        yield f"verdict: cannot tell, {report.unknown}"


def _measurements(measured: PairMeasurements, report: PairReport) -> Iterator[str]:
    least, median, most = measured.disparity
    yield f"matches        {report.matches} points seen in both views"
    rows = {"aligned": "common", "alignable": f"can be aligned to {measured.row_error_aligned:.2f} px"}
    yield f"rows           {rows.get(report.rows, 'cannot be aligned')}; {measured.row_error:.2f} px off now"
    if abs(measured.order) < SURE_ORDER:
        yield "view order     not clear from this scene"
    else:
        yield f"view order     {'consistent' if measured.order > 0 else 'exchanged'}"
    yield f"disparity      {least:.1f} to {most:.1f} px, median {median:.1f}"
    if measured.exposure is not None and measured.colour is not None:
        names = zip(("red", "green", "blue"), measured.colour, strict=True)
        yield f"exposure       {_more(measured.exposure, 'brighter', 'darker')}"
        shades = [_more(value, f"more {name}", f"less {name}") for name, value in names if abs(value) >= _VISIBLE]
        yield f"colour         {', '.join(shades) or _ALIKE}"


_ALIKE, _VISIBLE = "alike", 0.01


def _more(value: float, more: str, less: str) -> str:
    """A difference of the right view in words."""
    return _ALIKE if abs(value) < _VISIBLE else f"right view {abs(value):.0%} {more if value > 0 else less}"
