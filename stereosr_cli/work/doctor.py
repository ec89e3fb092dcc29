"""``stereosr doctor``: what runs on this machine, and what to install for more."""

import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import requires, version

import click

from stereosr.backends.base import installed_version
from stereosr.backends.nvidia import driver
from stereosr.backends.registry import available_backends
from stereosr.errors import install_hint


def report() -> None:
    """Print versions, GPUs, backends and extras."""
    click.echo(
        f"stereosr {version('stereosr')}, Python {platform.python_version()}, {sys.platform} {platform.machine()}"
    )
    for heading, lines in (("GPUs", _gpus()), ("Backends", _backends()), ("Extras", _extras())):
        click.echo(f"\n{heading}")
        for line in lines:
            click.echo(f"  {line}")


def _gpus() -> Iterator[str]:
    here = driver()
    if here is None:
        yield "no NVIDIA GPU: no driver answers"
        return
    yield f"NVIDIA driver {here.version}, for CUDA up to {here.cuda}"
    for index, gpu in enumerate(here.gpus):
        yield f"GPU {index}: {gpu.name}, {gpu.capability}, {gpu.memory / 2**30:.1f} GiB"


def _backends() -> Iterator[str]:
    best = True
    for kind in available_backends():
        missing = kind.missing()
        use = f"; only with -b {kind.name}" if not kind.automatic else "; used unless -b says otherwise" if best else ""
        yield f"{kind.name:14}{missing or f'works{use}'}"
        best = best and (missing is not None or not kind.automatic)


def _extras() -> Iterator[str]:
    """The optional parts of this package with what they need, as its own metadata lists them."""
    extras: dict[str, list[str]] = {}
    for line in requires("stereosr") or ():
        match = re.fullmatch(r"([\w.-]+)(?:\[.*?\])?[^;]*;\s*extra == ['\"]([\w-]+)['\"]", line)
        if match and match[1] != "stereosr" and match[2] != "dev":
            extras.setdefault(match[2], []).append(match[1])
    for extra, names in extras.items():
        versions = {name: installed_version(name) for name in names}
        here = ", ".join(f"{name} {found}" for name, found in versions.items() if found)
        lacking = ", ".join(name for name, found in versions.items() if not found)
        hint = f"{lacking} not installed: {install_hint(extra)}" if lacking else ""
        yield f"{extra:14}{'; '.join(part for part in (here, hint) if part)}"
