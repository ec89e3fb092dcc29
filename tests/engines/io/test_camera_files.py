"""Files as cameras write them are told apart and read, without the photographs in ../shared."""

import io

import cv2
import numpy as np
import pytest
from PIL import ExifTags
from PIL import Image as Pil

from camera_files import DISPARITY, PREVIEW, jps, mpo, side_by_side
from stereosr.io.detect import detect
from stereosr.io.images import Picture
from stereosr.io.layouts import read_stereo

SIZE = (96, 128)


@pytest.fixture(scope="module")
def views() -> tuple[np.ndarray, np.ndarray]:
    """Smooth noise, 5 pixels further right in the left view."""
    noise = np.random.default_rng(3).integers(0, 256, (SIZE[0] // 6, SIZE[1] // 6 + 2, 3), np.uint8)
    wide = cv2.resize(noise, (SIZE[1] + 5, SIZE[0]), interpolation=cv2.INTER_CUBIC)
    return wide[:, :-5].copy(), wide[:, 5:].copy()


def shows(picture: Picture, view: np.ndarray) -> bool:
    """Nearer than the other view, which is 15 away, and than anything else."""
    return picture.pixels.shape == view.shape and bool(np.abs(picture.pixels.astype(int) - view).mean() < 6)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("preview_at", [None, 1, 2])
@pytest.mark.parametrize("padding", [0, 414])
@pytest.mark.parametrize("suffix", ["mpo", "jpg"])
def test_mpo(tmp_path, views, order, preview_at, padding, suffix):
    frames = [(DISPARITY, view) for view in views]
    if preview_at is not None:
        frames.insert(preview_at, (PREVIEW, np.full((48, 64, 3), 90, np.uint8)))
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(mpo(frames, order=order, padding=padding))
    assert detect(path).layout == "mpo"
    left, right = read_stereo(path)
    assert shows(left, views[0])
    assert shows(right, views[1])
    assert not shows(right, views[0])
    for picture in (left, right):
        block = Pil.Exif()
        block.load(picture.metadata.exif)
        assert block[0x010F] == "Twin Lens Co."


def test_a_photograph_with_a_preview_is_no_pair(tmp_path, views):
    path = tmp_path / "a.jpg"
    path.write_bytes(mpo([(DISPARITY, views[0]), (PREVIEW, views[1])]))
    assert detect(path).layout is None


@pytest.mark.parametrize("suffix", ["jps", "jpg"])
@pytest.mark.parametrize("comment", [b"", b"a comment of the program"])
def test_jps_with_a_header(tmp_path, views, suffix, comment):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(jps(*views, comment=comment))
    assert detect(path).layout == "jps"
    assert all(map(shows, read_stereo(path), views))


def test_jps_without_one(tmp_path, views):
    (tmp_path / "a.jps").write_bytes(jps(*views, header=False))
    assert detect(tmp_path / "a.jps").layout == "jps"
    assert all(map(shows, read_stereo(tmp_path / "a.jps"), views))


@pytest.mark.parametrize("name", ["a.jpg", "a_SBS.jpg"])
def test_side_by_side(tmp_path, views, name):
    (tmp_path / name).write_bytes(side_by_side(*views))
    assert detect(tmp_path / name).layout == "sbs"
    assert all(map(shows, read_stereo(tmp_path / name), views))


def test_the_files_are_what_other_programs_take_them_for(views):
    with Pil.open(io.BytesIO(mpo([(DISPARITY, view) for view in views], order=">"))) as file:
        assert (file.format, file.n_frames) == ("MPO", 2)  # type: ignore[attr-defined]
        assert [e["Size"] > 0 for e in file.mpinfo[0xB002]] == [True, True]  # type: ignore[attr-defined]
        for frame, view in enumerate(views):
            file.seek(frame)
            assert shows(Picture(np.asarray(file.convert("RGB"))), view)
        assert file.getexif().get_ifd(ExifTags.IFD.IFD1)[0x0103] == 6  # the thumbnail is JPEG
