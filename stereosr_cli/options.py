"""Options and parameter types that several commands share."""

import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


class Size(click.ParamType[int]):
    """An amount of memory: ``800M``, ``4G``, ``1.5GiB``; gives bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
        size = int(float(match[1]) * UNITS[match[2].upper()]) if match else 0
        if size < 1:
            self.fail(f"invalid size {value!r}: write 800M or 4G", param, ctx)
        return size


class Tile(click.ParamType[tuple[int, int] | None]):
    """``auto`` gives None, ``none`` (0, 0), ``N`` bands of N rows (N, 0), ``HxW`` (H, W)."""

    name = "tile"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int] | None:
        if value is None or isinstance(value, tuple):
            return value
        if value in ("auto", "none"):
            return None if value == "auto" else (0, 0)
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", value)
        if not match or int(match[1]) < 1:
            self.fail(f"invalid tile {value!r}: write auto, none, N (rows of a band) or HxW, in LR pixels", param, ctx)
        return int(match[1]), int(match[2] or 0)


class Shard(click.ParamType[tuple[int, int]]):
    """``2/8``, the second of eight parts; gives (2, 8)."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)/(\d+)", value)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            self.fail(f"invalid shard {value!r}: write 1/8 to 8/8", param, ctx)
        return int(match[1]), int(match[2])


class Gpu(click.ParamType[int | None]):
    """The number of a GPU; ``cpu`` gives None."""

    name = "N|cpu"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if not re.fullmatch(r"\d+|cpu", str(value)):
            self.fail(f"invalid GPU {value!r}: write its number, as 'stereosr doctor' lists it, or cpu", param, ctx)
        return None if value == "cpu" else int(value)


class Span(click.ParamType[tuple[float, float | None]]):
    """``START:END`` in seconds, either may be empty; or in hours, minutes and seconds, ``1h02m03.5s``."""

    name = "span"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float | None]:
        if isinstance(value, tuple):
            return value
        time = r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d*)?)s?)?"
        match = re.fullmatch(f"{time}:{time}", str(value))
        if not match:
            self.fail(f"invalid part {value!r}: write START:END, e.g. 90:120 or 1m30s:2m", param, ctx)
        start, end = (
            sum(float(number or 0) * unit for number, unit in zip(part, (3600, 60, 1), strict=True))
            for part in (match.groups()[:3], match.groups()[3:])
        )
        open_end = not any(match.groups()[3:])
        if not open_end and end <= start:
            self.fail(f"invalid part {value!r}: it ends before it starts", param, ctx)
        return start, None if open_end else end


def complete_model(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from stereosr.models.library import available_models

    return sorted({spec.name for spec in available_models().values() if spec.name.startswith(incomplete)})


def complete_scale(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from stereosr.models.library import available_models

    scales = sorted({spec.scale for spec in available_models().values()})
    return [str(scale) for scale in scales if str(scale).startswith(incomplete)]


def _complete_backend(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from stereosr.backends.registry import available_backends

    return [name for name in ("auto", *(info.name for info in available_backends())) if name.startswith(incomplete)]


LAYOUTS = ("pair", "sbs", "sbs-half", "ou", "ou-half", "mpo", "jps")
"""How views lie in what is read."""

CODECS = ("h264", "hevc", "av1", "prores", "ffv1", "hevc_nvenc")
"""What videos are written in."""

layout = click.option(
    "--layout",
    type=click.Choice(["auto", *LAYOUTS]),
    default="auto",
    show_default=True,
    help="How a file holds its views.",
)
backend = click.option(
    "-b",
    "--backend",
    default="auto",
    show_default=True,
    shell_complete=_complete_backend,
    help="What runs the model; see 'stereosr doctor'.",
)


def scale(default: str = "4") -> Callable[[Command], Command]:
    return click.option(
        "-s",
        "--scale",
        type=click.IntRange(2),
        shell_complete=complete_scale,
        help=f"How many times larger: 2 or 4.  [default: {default}]",
    )


def _log_debug(_ctx: click.Context, _param: click.Parameter, verbose: bool) -> None:
    if verbose:
        logging.getLogger("stereosr").setLevel(logging.DEBUG)


verbose = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_log_debug,
    help="Also print debug messages, and the traceback of an internal error.",
)
threads = click.option("--threads", type=click.IntRange(1), help="Threads of the CPU.  [default: all cores]")
target = click.option(
    "--for",
    "target",
    multiple=True,
    metavar="SM",
    help="Compute capability of the GPU, as sm89; may be given again.  [default: the GPU here]",
)
engine_size = click.option(
    "--size", type=Tile(), metavar="HxW", help="A fixed tile in LR pixels.  [default: any size up to 540x960]"
)
