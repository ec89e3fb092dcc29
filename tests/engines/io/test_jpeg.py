"""What JPEG left in pixels, and how a file was stored."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from shared_data import ROOT
from stereosr.evaluation.degrade import corrupt, through_jpeg
from stereosr.io.images import Coding, decode_picture, read_picture
from stereosr.io.jpeg import quality_of_pixels, quality_of_table

PICTURE = ROOT / "engines/stereosr/models/bundled/examples/render/hr0.png"
VIEW = read_picture(PICTURE).pixels.astype(np.uint8)[:160, :240]


@pytest.mark.parametrize("quality", [95, 90, 85, 70, 50])
def test_pixels_that_were_jpeg_show_its_quality_wherever_its_grid_begins(quality):
    stored = through_jpeg(VIEW, quality, subsampling=2)
    assert quality_of_pixels(stored) == quality
    assert quality_of_pixels(stored[3:, 5:]) == quality
    assert quality_of_pixels(stored.astype(np.uint16) * 257) == quality


@pytest.mark.parametrize("recipe", ["clean", "noise1", "noise5"])
def test_other_pixels_show_none(recipe):
    assert quality_of_pixels(corrupt(VIEW, recipe, "a")) is None


def test_the_stronger_of_two_passes_is_seen_and_resizing_hides_all():
    twice = through_jpeg(through_jpeg(VIEW, 70, 2), 95, 2)
    assert quality_of_pixels(twice) == 70
    smaller = np.asarray(Pil.fromarray(through_jpeg(VIEW, 70, 2)).resize((200, 130), Pil.Resampling.BICUBIC))
    assert quality_of_pixels(smaller) is None


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 8, 3), (23, 400, 3), (64, 64, 3)])
def test_too_few_pixels_or_none_but_one_colour_tell_nothing(shape):
    assert quality_of_pixels(np.full(shape, 90, np.uint8)) is None


@pytest.mark.parametrize(
    ("kind", "options", "coding"),
    [
        ("JPEG", {"quality": 85}, Coding("JPEG", 85)),
        ("JPEG", {"quality": 40, "progressive": True}, Coding("JPEG", 40)),
        ("WEBP", {"quality": 80}, Coding("WebP")),
        ("WEBP", {"quality": 80, "exif": b"Exif\0\0"}, Coding("WebP")),
        ("WEBP", {"lossless": True}, None),
        ("WEBP", {"lossless": True, "exif": b"Exif\0\0"}, None),
        ("PNG", {}, None),
        ("TIFF", {}, None),
    ],
)
def test_a_picture_knows_by_which_coding_it_lost_something(kind, options, coding):
    file = io.BytesIO()
    Pil.fromarray(VIEW).save(file, kind, **options)
    assert decode_picture(file.getvalue(), Path("a")).coding == coding


def test_tables_of_other_makers_count_by_the_nearest_of_libjpeg():
    assert quality_of_table(np.full(64, 1)) == 100
    assert quality_of_table(np.full(64, 12)) in range(85, 95)
