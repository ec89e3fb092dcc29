"""``stereosr upscale --dry-run``: what would be done, how large, in how many tiles and in about which time."""

import json
from collections.abc import Sequence
from typing import Any

import click

from stereosr.backends.base import Backend
from stereosr.batch.forecast import Forecast, forecast
from stereosr.batch.item import Item, Settings
from stereosr.errors import SomeItemsFailed
from stereosr_cli.flags import with_flags


def dry_run(items: Sequence[Item], backend: Backend, settings: Settings, *, as_json: bool, quiet: bool) -> None:
    """Print a line for each item, and for several their time in all. Raises SomeItemsFailed if some cannot be done."""
    seconds, failed = 0.0, []
    for told in forecast(items, backend, settings):
        seconds += told.seconds
        if as_json:
            click.echo(json.dumps(_json_line(told, backend)))
        elif told.error is None:
            click.echo(_line(told))
        if told.error is not None:
            failed.append(told.item.name)
            click.echo(f"failed: {told.item.name}: {with_flags(told.error)}", err=True)
    if len(items) > 1 and not (as_json or quiet):
        click.echo(f"{len(items) - len(failed)} pairs, {about(seconds)}", err=True)
    if failed:
        raise SomeItemsFailed(f"{len(failed)} of {len(items)} pairs would fail: {', '.join(failed)}")


def _line(told: Forecast) -> str:
    sources, targets = (" + ".join(map(str, paths)) for paths in (told.item.sources, told.item.targets))
    sizes = " -> ".join(f"{width}x{height}" for height, width in (told.size, told.output_size))
    parts = [sizes, "1 tile" if told.tiles == 1 else f"{told.tiles} tiles"]
    if told.frames is not None:
        parts.append(f"{told.frames or 'an unknown number of'} frames")
    if told.seconds:
        parts.append(about(told.seconds))
    return f"{sources} -> {targets}: {', '.join(parts)}"


def about(seconds: float) -> str:
    """A time for people, no more exact than it is known."""
    units = ((3600, "hours"), (60, "minutes"))
    unit, name = next(((unit, name) for unit, name in units if seconds >= 1.5 * unit), (1, "s"))
    count = seconds / unit
    return f"about {count:.1f} {name}" if count < 10 else f"about {count:.0f} {name}"


def _json_line(told: Forecast, backend: Backend) -> dict[str, Any]:
    return {
        "name": told.item.name,
        "error": with_flags(told.error) if told.error else None,
        "input": [str(path) for path in told.item.sources],
        "output": [str(path) for path in told.item.targets],
        "size": list(told.size),
        "output_size": list(told.output_size),
        "scale": backend.spec.scale,
        "tiles": told.tiles,
        "frames": told.frames,
        "seconds": round(told.seconds, 3),
    }
