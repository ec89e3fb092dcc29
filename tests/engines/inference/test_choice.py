"""Which engine a pair gets, and that each is opened once and used for what it was chosen for."""

import numpy as np
import pytest

from fakes import FakeBackend, random_pair
from stereosr.errors import UsageError
from stereosr.evaluation.degrade import corrupt, imresize, through_jpeg
from stereosr.inference.auto import AutoEngine
from stereosr.inference.choice import VIDEO, Choice, choose_engine, noise_level
from stereosr.inference.load import load_auto
from stereosr.io.images import Coding, Picture


def textured(seed: int = 0) -> np.ndarray:
    """Smooth shapes and fine grey texture, without noise of colour."""
    rng = np.random.default_rng(seed)
    shapes = imresize(rng.integers(0, 256, (12, 20, 3), np.uint8), 8).astype(float)
    return np.clip(shapes * 0.5 + 40 + 12 * rng.standard_normal((96, 160, 1)), 8, 247).astype(np.uint8)


VIEW = textured()


def chosen(pixels: np.ndarray, coding: Coding | None = None, layout: str = "pair") -> Choice:
    view = Picture(pixels, coding=coding)
    return choose_engine(view, view, layout)


@pytest.mark.parametrize(
    ("coding", "layout", "photo", "why"),
    [
        (None, "pair", False, "lossless, noise of 0"),
        (Coding("JPEG", 98), "pair", False, "JPEG of quality 98, noise of 0"),
        (Coding("JPEG", 95), "pair", True, "JPEG of quality 95"),
        (Coding("JPEG", 60), "sbs", True, "JPEG of quality 60"),
        (Coding("WebP"), "pair", True, "WebP"),
        (Coding("HEIC"), "heic", True, "HEIC"),
        (Coding("JPEG", 98), "mpo", True, "MPO, JPEG of quality 98"),
        (Coding("JPEG", 99), "jps", True, "JPS, JPEG of quality 99"),
    ],
)
def test_how_a_pair_was_stored_decides(coding, layout, photo, why):
    choice = chosen(VIEW, coding, layout)
    assert choice.photo is photo
    assert choice.why.startswith(why)


def test_the_worse_of_two_views_decides():
    pair = [Picture(VIEW, coding=coding) for coding in (None, Coding("JPEG", 80))]
    assert choose_engine(*pair, "pair").why == "JPEG of quality 80"
    assert choose_engine(*pair[::-1], "pair").why == "JPEG of quality 80"


def test_what_pixels_show_decides_where_the_file_says_nothing():
    assert chosen(through_jpeg(VIEW, 80, 2)) == Choice(True, "traces of JPEG of quality 80")
    assert chosen(through_jpeg(VIEW, 80, 2), Coding("JPEG", 98)).photo
    assert chosen(corrupt(VIEW, "noise5", "a")).why.startswith("noise of ")
    assert chosen(corrupt(VIEW, "noise5", "a")).photo
    assert not chosen(corrupt(VIEW, "noise1", "a")).photo


@pytest.mark.parametrize("deviation", [1, 2, 5, 10, 20])
def test_noise_is_measured_beside_texture(deviation):
    noisy = corrupt(VIEW, f"noise{deviation}", "a")
    assert noise_level(noisy) == pytest.approx(deviation, rel=0.15, abs=0.3)
    assert noise_level(noisy.astype(np.uint16) * 257) == pytest.approx(noise_level(noisy), rel=0.01)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (9, 9), (10, 10), (11, 40)])
def test_any_size_is_looked_at(size):
    pixels = np.zeros((*size, 3), np.uint8)
    assert noise_level(pixels) == 0
    assert not chosen(pixels).photo


def test_each_engine_is_opened_once_when_it_is_needed_and_all_are_closed():
    opened = []

    def opener(name: str):
        def open_engine() -> FakeBackend:
            opened.append(FakeBackend(name=name, memory=(100, 1)))
            return opened[-1]

        return open_engine

    pair, clean = random_pair(4, 5), Choice(False, "")
    with AutoEngine(FakeBackend().spec, [opener("clean"), opener("photo")]) as engine:
        assert not opened
        assert engine.report().device == ""
        with pytest.raises(UsageError, match="no engine"):
            engine.infer(pair)
        for choice, name, memory in ((VIDEO, "photo", 100), (clean, "clean", 200), (VIDEO, "photo", 200)):
            engine.take(choice)
            engine.infer(pair)
            engine.submit(pair)()
            assert (engine.spec.name, engine.spec.memory[0]) == (name, memory)
            assert engine.report().device == "fake"
        assert [(b.spec.name, len(b.tiles)) for b in opened] == [("photo", 4), ("clean", 2)]
    assert all(b.closed for b in opened)


def test_without_a_photo_engine_the_clean_one_does_all():
    engine = AutoEngine(FakeBackend().spec, [lambda: FakeBackend(name="clean")])
    engine.take(VIDEO)
    assert engine.spec.name == "clean"


def test_that_there_is_no_photo_engine_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr("stereosr.inference.load.photo_name", lambda name: f"{name}-absent")
    options = {"backend": "ort-cpu", "precision": "auto", "gpu": 0, "threads": 1, "ensemble": False}
    engine, digest = load_auto(2, **options)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "nafssr-t x2 is used for all pairs" in caplog.text
    assert len(digest.split()) == 1
    with engine:
        engine.take(VIDEO)
        engine.take(Choice(False, ""))
        assert engine.spec.title == "nafssr-t x2"
    assert len(caplog.records) == 1
