"""A progress bar on stderr: tiles, frames and pairs done, their rate, time left. Silent where stderr is no terminal."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from stereosr.batch.item import Item


_PERIOD = 600
"""Seconds whose steps tell the time left; a tile may take many."""


class _Shown:
    """A bar that is there inside a ``with``."""

    _bar: "RichProgress"

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class BuildProgress(_Shown):
    """The phases of an engine's build: a bar for the one at work."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar

        self._bar = Bar(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
        self._task = self._bar.add_task("")

    def step(self, phase: str, done: int, total: int) -> None:
        self._bar.update(self._task, description=phase, completed=done, total=total)


class Download(_Shown):
    """Bytes that have come, of how many."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
        self._task = self._bar.add_task("", total=None)

    def show(self, done: int, whole: int | None) -> None:
        self._bar.update(self._task, completed=done, total=whole)


class Progress(_Shown):
    """Counts in pairs; the pair at work counts by its tiles, a video by its frames."""

    def __init__(self, items: int, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            ProgressColumn,
            Task,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.speed:.2f}/s" if task.speed else "")

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not (shown and sys.stderr.isatty()),
            transient=True,
            speed_estimate_period=_PERIOD,
        )
        self._pairs = self._bar.add_task("pairs", total=items)
        self._bar.advance(self._pairs, 0)  # from here on: else the time left is known from the second step on only
        self._tiles = self._bar.add_task("tiles", total=None)

    def say(self, text: str) -> None:
        """A line on stderr, above the bar and not cut where the terminal ends."""
        if self._bar.disable:
            click.echo(text, err=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def plan(self, item: "Item", tiles: int) -> None:
        self._bar.reset(self._tiles, total=tiles, description=item.name)
        self._bar.advance(self._tiles, 0)

    def tile(self) -> None:
        self._bar.advance(self._tiles)

    def item_done(self) -> None:
        self._bar.advance(self._pairs)


class Steps(_Shown):
    """Counts steps of known number, each with a word on what it is."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
        self._task = self._bar.add_task("", total=None)

    def begin(self, steps: int) -> None:
        self._bar.reset(self._task, total=steps)

    def step(self, text: str) -> None:
        self._bar.update(self._task, advance=1, description=text)
