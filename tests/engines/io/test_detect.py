"""What a file is, by its name and by its content; and how often that takes decoding it."""

from pathlib import Path

import numpy as np
import pytest

from camera_files import jps, side_by_side
from stereosr.io import layouts
from stereosr.io.detect import FileType, detect, detect_by_name
from stereosr.io.encode import write_picture
from stereosr.io.images import Picture, decode_picture

VIEWS = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("name", "kind", "claims_both"),
    [
        ("a.png", "picture", False),
        ("A.JPG", "picture", False),
        ("a_SBS.webp", "picture", True),
        ("a.mpo", "stereo", True),
        ("a.HEIC", "stereo", True),
        ("a.mkv", "video", True),
        ("notes.txt", "other", False),
        ("a_sbs.txt", "other", False),
    ],
)
def test_by_name(tmp_path, name, kind, claims_both):
    assert detect_by_name(tmp_path / name) == FileType(kind, claims_both)


def test_by_content(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jps(*VIEWS))
    assert detect(tmp_path / "a.jpg") == FileType("picture", False, "jps")
    write_picture(tmp_path / "one_LR.png", Picture(VIEWS[0]))
    assert detect(tmp_path / "one_LR.png") == FileType("picture", True, None)


def test_a_broken_file_is_what_its_suffix_says(tmp_path):
    for name, layout in (("a.mpo", "mpo"), ("a_SBS.png", None)):
        (tmp_path / name).write_bytes(b"broken")
        assert detect(tmp_path / name).layout == layout


def test_what_is_decoded_to_be_told_apart_is_not_decoded_again(tmp_path, monkeypatch):
    row = np.linspace(40, 200, 64)
    views = [
        (row + 30 * np.sin(row / 5 + shift) + np.arange(48)[:, None] / 4).astype(np.uint8)[..., None].repeat(3, 2)
        for shift in (0, 0.3)
    ]
    (tmp_path / "a_SBS.jpg").write_bytes(side_by_side(*views))
    decoded = []

    def decode(data: bytes, path: Path) -> Picture:
        decoded.append(path)
        return decode_picture(data, path)

    monkeypatch.setattr(layouts, "decode_picture", decode)
    left, _ = layouts.read_stereo(tmp_path / "a_SBS.jpg")
    assert left.pixels.shape == (48, 64, 3)
    assert len(decoded) == 1
