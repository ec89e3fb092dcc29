"""An edited film: each of its shots is aligned by itself."""

from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from fakes import FakeBackend
from shared_data import ROOT
from stereosr.batch.inputs import Naming, collect
from stereosr.batch.item import Settings
from stereosr.batch.job import run
from stereosr.batch.shots import Shot, cuts, treatment_at
from stereosr.geometry.rectify import Alignment
from stereosr.geometry.treatment import Treatment
from stereosr.io.images import read_picture
from stereosr.types import StereoPair

av = pytest.importorskip("av", reason="needs PyAV")

RENDER = ROOT / "engines/stereosr/models/bundled/examples/render"
LEFT, RIGHT = (read_picture(RENDER / f"hr{i}.png").pixels for i in (0, 1))
RATE, SIZE = 10, (160, 320)


def shot(place, lower, length=8):
    """Side-by-side frames of the scene about ``place``; the right view lies ``lower`` rows too low."""
    frames = []
    for n in range(length):  # the camera moves a little
        top, left = place[0] + n // 8, place[1] + n
        columns = slice(left, left + SIZE[1])
        views = LEFT[top : top + SIZE[0], columns], RIGHT[top - lower : top - lower + SIZE[0], columns]
        frames.append(np.concatenate(views, 1))
    return frames


def film(path: Path, *shots):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"crf": "4", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = SIZE[0], 2 * SIZE[1], "yuv444p"
        for pixels in chain(*shots):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")))
        file.mux(stream.encode(None))
    return path


A, B, C = (60, 40), (200, 300), (310, 120)


def upscaled(path, out, operator=lambda pair: pair, **settings):
    (item,) = collect([path], Naming(out=out, suffix="_x2")).items
    (result,) = run([item], FakeBackend(operator), Settings(model="fake", **settings), None)
    assert result.error is None
    return result


def rows_off(path, at):
    """By how many rows of the result the right half lies too low in a frame."""
    from stereosr.geometry.matching import match

    with av.open(str(path)) as file:
        pixels = [f.to_ndarray(format="rgb24") for f in file.decode(video=0)][at]
    return float(np.median(match(*np.split(pixels, 2, 1)).vertical_offset))


def test_each_shot_is_aligned_by_itself(tmp_path):
    clip = film(tmp_path / "clip_SBS.mkv", shot(A, 3), shot(B, 0), shot(C, -2))
    result = upscaled(clip, tmp_path / "out")
    assert [each["start"] for each in result.shots] == [0, 0.8, 1.6]
    shifts = [each["alignment"] and each["alignment"]["shift"] for each in result.shots]
    assert shifts[0] == pytest.approx(-3, abs=0.2)
    assert shifts[1] is None
    assert shifts[2] == pytest.approx(2, abs=0.2)
    assert "what aligns the views changes at 2 cuts" in result.warnings
    for at in (0, 7, 8, 15, 16, 23):
        assert abs(rows_off(result.item.targets[0], at)) < 0.5, at


def test_nothing_moves_at_the_cuts_of_one_pair_of_cameras(tmp_path):
    clip = film(tmp_path / "clip_SBS.mkv", shot(A, 3), shot(B, 3), shot(C, 3))
    result = upscaled(clip, tmp_path / "out")
    (whole,) = result.shots
    assert whole["alignment"] == result.alignment
    assert not any("cut" in warning for warning in result.warnings)


def test_a_shot_that_shows_nothing_is_treated_as_the_rest(tmp_path):
    dark = [np.zeros((SIZE[0], 2 * SIZE[1], 3), np.uint8)] * 8
    clip = film(tmp_path / "clip_SBS.mkv", shot(A, 3), dark, shot(B, 3))
    (whole,) = upscaled(clip, tmp_path / "out").shots
    assert whole["alignment"]["shift"] == pytest.approx(-3, abs=0.2)


@pytest.mark.parametrize("settings", [{}, {"rectify": "off"}], ids=["aligned", "off"])
def test_a_film_that_needs_nothing_is_decoded_once(tmp_path, monkeypatch, settings):
    lower = 3 if settings else 0
    clip = film(tmp_path / "clip_SBS.mkv", shot(A, lower), shot(B, lower))
    monkeypatch.setattr("stereosr.io.video.Conversion.thumbnails", lambda _: pytest.fail("decoded for nothing"))
    assert upscaled(clip, tmp_path / "out", **settings).shots == []


def test_a_part_of_a_film_has_the_shots_of_that_part(tmp_path):
    clip = film(tmp_path / "clip_SBS.mkv", shot(A, 3), shot(B, 0), shot(C, -2))
    result = upscaled(clip, tmp_path / "out", trim=(1.0, 2.2))
    assert [each["start"] for each in result.shots] == [0, 1.6]
    assert abs(rows_off(result.item.targets[0], 0)) < 0.5
    assert abs(rows_off(result.item.targets[0], -1)) < 0.5


def test_a_run_that_was_stopped_goes_on_to_the_same_film(tmp_path):
    """The treatment of a frame depends on nothing but the film."""
    clip = film(tmp_path / "clip_SBS.mkv", shot(A, 3, 14), shot(B, 0, 14))
    whole = upscaled(clip, tmp_path / "whole").item.targets[0]
    calls = 0

    def stops(pair: StereoPair) -> StereoPair:
        nonlocal calls
        calls += 1
        if calls == 26:
            raise KeyboardInterrupt
        return pair

    with pytest.raises(KeyboardInterrupt):
        upscaled(clip, tmp_path / "out", stops)
    result = upscaled(clip, tmp_path / "out")
    assert result.frames == 28 - 24
    assert result.item.targets[0].read_bytes() == whole.read_bytes()


# --- cuts ------------------------------------------------------------------------------------------------------------


def moving(seed, frames, speed=1):
    """A textured scene that moves sideways."""
    rng = np.random.default_rng(seed)
    wide = rng.integers(0, 256, (9, 80)).astype(np.float32).repeat(4, 0).repeat(8, 1)
    smooth = np.mean([np.roll(wide, n, 1) for n in range(-8, 9)], 0)
    return [smooth[:, speed * n : speed * n + 64].astype(np.uint8) for n in range(frames)]


@pytest.mark.parametrize("speed", [0, 1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_cuts_are_found_and_nothing_else(speed, seed):
    lengths = [12, 7, 20, 9]
    shots = [moving(10 * seed + n, length, speed) for n, length in enumerate(lengths)]
    assert cuts(thumbnail for shot in shots for thumbnail in shot) == [12, 19, 39]


def test_a_flash_is_no_cut():
    frames = moving(1, 20)
    frames[10] = np.full_like(frames[10], 255)
    assert cuts(frames) == []


def test_a_fade_is_no_cut():
    frames = [(frame * (1 - n / 30)).astype(np.uint8) for n, frame in enumerate(moving(2, 30, 0))]
    assert cuts(frames) == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_shortest_films(count):
    assert cuts(moving(3, count)) == []


def test_a_shot_begins_with_its_first_frame():
    first, second = (Treatment(alignment=Alignment(n)) for n in (1.0, 2.0))
    shots = [Shot(Fraction(0), first), Shot(Fraction(1, 3), second)]
    times = [Fraction(-1, 30), Fraction(0), Fraction(1, 3) - Fraction(1, 90000), Fraction(1, 3), Fraction(99)]
    assert [treatment_at(shots, time) for time in times] == [first, first, first, second, second]
