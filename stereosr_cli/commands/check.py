"""``stereosr check``: is this a rectified stereo pair?"""

from pathlib import Path
from typing import Any

import click

from stereosr_cli import options


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="LEFT RIGHT | FILE")
@options.layout
@click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout.")
def command(**chosen: Any) -> int:
    """Is this a rectified stereo pair?

    Measures row alignment, view order, disparity, exposure and colour, and names the fix for each fault. Ends with 0
    for a good pair, with 1 for one with faults, or with too little texture to tell.
    """
    from stereosr_cli.work.check import CheckOptions, check

    return check(CheckOptions(**chosen))
