"""Photographs for training: what a camera, a JPEG and a film do to a view."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")

from stereosr.evaluation.degrade import imresize
from stereosr_export.training import photo
from stereosr_export.training.photo import photograph, through_h264


@pytest.fixture
def views():
    """Two views of 120 x 192 with edges, slopes and texture; the right one is shifted."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:120, :200]
    waves = 128 + 60 * np.sin(x / 9) + 40 * np.cos(y / 7) + rng.normal(0, 4, (120, 200))
    wide = np.clip(np.stack([waves, np.roll(waves, 3, 0), 255 - waves], -1), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(wide[:, :192]), np.ascontiguousarray(wide[:, 8:])


def _with(monkeypatch, clean, filmed):
    monkeypatch.setattr(photo, "CLEAN", clean)
    monkeypatch.setattr(photo, "FILMED", filmed)


@pytest.mark.parametrize("filmed", [0, 1])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [2, 4])
def test_seed_decides_everything(views, monkeypatch, seed, filmed, scale):
    _with(monkeypatch, 0, filmed)
    once, again = (photograph(*views, scale, np.random.default_rng(seed)) for _ in range(2))
    assert [v.shape for v in once] == [(120 // scale, 192 // scale, 3)] * 2
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a, b)
    other, _ = photograph(*views, scale, np.random.default_rng(seed + 100))
    assert (other != once[0]).any()


def test_a_share_stays_clean(views, monkeypatch):
    _with(monkeypatch, 1, 1)
    for view, lr in zip(views, photograph(*views, 4, np.random.default_rng(1)), strict=True):
        np.testing.assert_array_equal(lr, imresize(view, 1 / 4))


@pytest.mark.parametrize("size", [(15, 23), (16, 32), (31, 90)])
@pytest.mark.parametrize("seed", range(4))
def test_a_film_keeps_each_view_in_its_place(size, seed):
    """Smooth views come back nearly as they were: offsets and borders of the film are taken away again."""
    height, width = size
    slope = np.linspace(40, 200, width)[None, :, None] + np.zeros((height, 1, 3))
    left, right = slope.astype(np.uint8), (240 - slope).astype(np.uint8)
    result = photo._film([[left, right]] * photo.FRAMES, np.random.default_rng(seed))
    for view, original in zip(result, (left, right), strict=True):
        assert view.shape == original.shape
        assert np.abs(view.astype(int) - original).mean() < 4


def test_a_film_loses_more_at_a_higher_crf(views):
    film = [views[0][:112]] * photo.FRAMES
    errors = [np.abs(through_h264(film, crf)[0].astype(int) - film[0]).mean() for crf in (10, 20, 30, 40)]
    assert errors == sorted(errors)
    assert errors[-1] > errors[0] + 1


def test_all_frames_of_a_film_are_there_in_order():
    film = [np.full((32, 48, 3), 40 * n, np.uint8) for n in range(1, 6)]
    levels = [int(frame.mean()) for frame in through_h264(film, 18)]
    assert len(levels) == 5
    assert np.abs(np.array(levels) - 40 * np.arange(1, 6)).max() <= 3


def test_later_frames_differ_from_the_first(views, monkeypatch):
    """Each frame has its own noise, so that a network sees what prediction between frames leaves of it."""
    shown = []

    def keep(frames, _crf):
        shown.extend(frames)
        return frames

    monkeypatch.setattr(photo, "through_h264", keep)
    _with(monkeypatch, 0, 1)
    monkeypatch.setattr(photo._Sensor, "__init__", _noisy)
    photograph(*views, 4, np.random.default_rng(3))
    assert len(shown) == photo.FRAMES
    assert (shown[0] != shown[1]).mean() > 0.5


def _noisy(sensor, _rng):
    sensor.read, sensor.shot, sensor.reconstruct = 8.0, 0.0, None
