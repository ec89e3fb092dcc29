"""The bar of a job."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from stereosr.batch.item import Item
from stereosr_cli.progress import Progress


def test_the_time_left_is_known_from_the_first_tile_on() -> None:
    """However long a tile takes."""
    for seconds in (1.0, 100.0):
        clock: Iterator[float] = count(0.0, seconds)
        progress = Progress(3, shown=True)
        progress._bar.get_time = clock.__next__
        progress.plan(Item("a", (Path("a"),), (Path("b"),)), 5)
        tiles = progress._bar.tasks[1]
        assert tiles.time_remaining is None
        progress.tile()
        assert tiles.time_remaining is not None
        assert tiles.time_remaining >= 4 * seconds
