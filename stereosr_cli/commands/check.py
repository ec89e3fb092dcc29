"""``stereosr check``: is this a rectified stereo pair?"""

from pathlib import Path
from typing import Any

import click

from stereosr_cli import options


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="LEFT RIGHT | PATH...")
@options.layout
@click.option("--json", "as_json", is_flag=True, help="One JSON line a pair on stdout.")
def command(**chosen: Any) -> int:
    """Is this a rectified stereo pair?

    Measures row alignment, view order, disparity, exposure and colour, and names the fix for each fault. PATH may be a
    file that holds both views, or a folder of pairs: one line for each then. Ends with 0 if all pairs are good, with 1
    for faults or too little texture to tell, with 3 if some of several pairs cannot be read.
    """
    from stereosr_cli.work.check import CheckOptions, check

    return check(CheckOptions(**chosen))
