"""``stereosr check``: is this a rectified stereo pair?"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stereosr_cli import options

if TYPE_CHECKING:
    from stereosr.geometry.pair_check import PairMeasurements, PairReport


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="LEFT RIGHT | FILE")
@options.layout
@click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout.")
def command(paths: tuple[Path, ...], layout: str, as_json: bool) -> int:
    """Is this a rectified stereo pair?

    Looks at rows, order, disparities, exposure and colour, and says what to do about what is wrong. Ends with 0 for a
    good pair, with 1 for one with faults, or too little texture to tell.
    """
    from dataclasses import asdict

    from stereosr.errors import UsageError
    from stereosr.geometry.pair_check import examine
    from stereosr.io.images import read_picture
    from stereosr.io.layouts import read_stereo

    if len(paths) > 2:
        raise UsageError("give LEFT RIGHT, or one file that holds both views")
    left, right = map(read_picture, paths) if len(paths) == 2 else read_stereo(paths[0], layout)  # type: ignore[arg-type]
    seen = examine(left, right)
    if as_json:
        click.echo(json.dumps({"input": list(map(str, paths)), "good": seen.good} | asdict(seen)))
    else:
        for line in _report(seen):
            click.echo(line)
    return 0 if seen.good else 1


def _report(seen: "PairReport") -> Iterator[str]:
    if seen.measured is not None:
        yield from _measurements(seen.measured, seen.matches)
    for finding in seen.findings:
        yield f"{finding.kind}: {finding.text}"
    if seen.good:
        yield "verdict: a rectified stereo pair"
    elif seen.findings:
        yield "verdict: not a good stereo pair yet"
    else:
        yield f"verdict: cannot tell, {seen.unknown}"


def _measurements(seen: "PairMeasurements", points: int) -> Iterator[str]:
    least, median, most = seen.disparity
    yield f"points in both views  {points}"
    yield f"rows                  {seen.row_error:.2f} px off; the right view lies {seen.vertical_offset:+.2f} px lower"
    yield f"disparity             {least:.1f} to {most:.1f} px, median {median:.1f}"
    yield f"left is left          {seen.order:+.1f} standard deviations"
    if seen.exposure is not None and seen.colour is not None:
        shades = ", ".join(f"{name} {v:+.0%}" for name, v in zip(("red", "green", "blue"), seen.colour, strict=True))
        yield f"light of the right    {seen.exposure:+.0%}; {shades}"
