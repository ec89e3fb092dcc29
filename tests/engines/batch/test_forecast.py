"""What is said before a job, beside what the job then does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes import FakeBackend
from shared_data import ROOT
from stereosr.batch.forecast import forecast
from stereosr.batch.item import Item, Settings
from stereosr.batch.job import run
from stereosr.geometry.rectify import Alignment, move
from stereosr.inference.settings import TileSettings
from stereosr.inference.size import OutputSize
from stereosr.io.encode import write_picture
from stereosr.io.images import Picture, read_picture
from stereosr.types import Pixels
from video_files import Movie

RENDER = ROOT / "engines/stereosr/models/bundled/examples/render"


def item(folder: Path, left: Pixels, right: Pixels) -> Item:
    folder.mkdir()
    sources = folder / "left.png", folder / "right.png"
    for path, pixels in zip(sources, (left, right), strict=True):
        write_picture(path, Picture(pixels))
    return Item(folder.name, sources, tuple(path.with_stem(f"{path.stem}_x2") for path in sources))


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def views(offset: float = 0.0) -> tuple[Pixels, Pixels]:
    left, right = (read_picture(RENDER / f"hr{n}.png").pixels[:160, :240] for n in (0, 1))
    return left, move(right, Alignment(offset), back=True) if offset else right


SETTINGS = Settings(model="fake", tiles=TileSettings(tile=(50, 0)))


@pytest.mark.parametrize("offset", [0.0, 3.0, 2.5])
def test_sizes_and_tiles_are_those_of_the_job_and_nothing_is_written(tmp_path: Path, offset: float) -> None:
    """Aligned, moved by whole rows, and moved by parts of one, which takes three passes."""
    one = item(tmp_path / "a", *views(offset))
    (told,) = forecast([one], FakeBackend(), SETTINGS)
    assert {path.name for path in one.sources[0].parent.iterdir()} == {"left.png", "right.png"}
    (done,) = run([one], FakeBackend(), SETTINGS, None)
    assert (told.size, told.output_size) == (done.size, done.output_size) == ((160, 240), (320, 480))
    assert told.tiles == done.tiles > 3
    assert (told.error, told.frames) == (None, None)


def test_views_that_are_upscaled_apart_take_two_passes_and_a_size_that_is_asked_for_is_told(tmp_path: Path) -> None:
    one = item(tmp_path / "a", noise(60, 80), noise(60, 80)[::-1])
    settings = replace(SETTINGS, rectify="on", size=OutputSize(scale=1.5))
    (told,) = forecast([one], FakeBackend(), settings)
    (done,) = run([one], FakeBackend(), settings, None)
    assert told.output_size == done.output_size == (90, 120)
    assert told.tiles == done.tiles


def test_one_tile_is_tried_for_all_and_time_grows_with_the_pixels_that_are_computed(tmp_path: Path) -> None:
    small, large = (
        item(tmp_path / "a", noise(40, 80), noise(40, 80)),
        item(tmp_path / "b", noise(80, 80), noise(80, 80)),
    )
    backend = FakeBackend()
    first, second = forecast([small, large], backend, replace(SETTINGS, rectify="off"))
    assert backend.tiles == [(40, 80)]
    assert (first.tiles, second.tiles) == (1, 2)
    assert second.seconds == pytest.approx(first.seconds * 2 * 50 / 40)


def test_what_will_fail_is_told_and_ends_nothing(tmp_path: Path) -> None:
    bad, good = item(tmp_path / "a", noise(20, 30), noise(20, 31)), item(tmp_path / "b", noise(20, 30), noise(20, 30))
    first, second = forecast([bad, good], FakeBackend(), SETTINGS)
    assert "left is 30x20, right is 31x20" in str(first.error)
    assert second.error is None


def test_a_video_takes_its_tiles_for_each_frame(tmp_path: Path) -> None:
    pytest.importorskip("av")
    clip = Movie().write(tmp_path / "clip_SBS.mp4")
    one = Item("clip", (clip,), (tmp_path / "out.mp4",), "sbs", "sbs")
    (told,) = forecast([one], FakeBackend(), SETTINGS)
    (done,) = run([one], FakeBackend(), SETTINGS, None)
    assert (told.frames, told.tiles, told.size) == (done.frames, done.tiles, done.size)
    assert told.frames
    assert told.seconds > 0
    (preview,) = forecast([one], FakeBackend(), replace(SETTINGS, preview=2))
    assert preview.frames == 2
