"""Both views in one file: recognised, the right eyes in the right order, and back again."""

import base64
import io
import re
import shutil
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pil
from PIL import PngImagePlugin

from shared_data import shared
from stereosr.errors import StereosrError, UsageError
from stereosr.io.detect import detect
from stereosr.io.encode import encode_picture, write_picture
from stereosr.io.images import Picture, UnreadableImage, read_picture
from stereosr.io.layouts import Layout, _likeness, check_fits_format, read_stereo, write_stereo
from stereosr.io.metadata import Metadata

RNG = np.random.default_rng(3)


def texture(height: int, width: int, repeat: int = 1) -> np.ndarray:
    noise = np.random.default_rng(9).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(np.tile(noise, (1, repeat, 1)), (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)


def scene(height: int = 90, width: int = 120) -> tuple[Picture, Picture]:
    """A textured pair: what is below is nearer, so that its disparity is larger."""
    wide = texture(height, width + 12)
    shift = np.arange(height) * 10 // height
    columns = np.arange(width)
    left, right = (
        np.stack([row[columns + offset] for row, offset in zip(wide, offsets, strict=True)])
        for offsets in (shift * 0, shift)
    )
    return Picture(left), Picture(right)


def camera(make: str) -> bytes:
    exif = Pil.Exif()
    exif[0x010F] = make
    return exif.tobytes()


def jps_header(flags: int, layout: int = 2, kind: int = 1) -> bytes:
    return b"_JPSJPS_" + struct.pack(">HBBBB", 4, 0, flags, layout, kind) + b"\0\0"


def write_jpeg(path: Path, pixels: np.ndarray, header: bytes | None = None) -> Path:
    """A JPEG file, with an APP3 segment if there is a header."""
    jpeg = encode_picture(Picture(pixels), "JPEG", 100, path)
    segment = b"" if header is None else b"\xff\xe3" + struct.pack(">H", len(header) + 2) + header
    path.write_bytes(jpeg[:2] + segment + jpeg[2:])
    return path


def close(first: Picture, second: Picture, tolerance: float = 3) -> bool:
    return np.abs(first.pixels.astype(float) - second.pixels).mean() < tolerance


class TestRoundTrip:
    @settings(deadline=None, max_examples=40)
    @given(data=st.data(), layout=st.sampled_from(["sbs", "ou"]), suffix=st.sampled_from(["png", "tif"]))
    def test_full_layouts_are_lossless(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, layout: Layout, suffix: str
    ) -> None:
        dtype: Any = data.draw(st.sampled_from([np.uint8, np.uint16]))
        size = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
        views = [Picture(RNG.integers(0, np.iinfo(dtype).max, (*size, 3), dtype)) for _ in range(2)]
        path = tmp_path_factory.mktemp("trip") / f"a.{suffix}"
        write_stereo(path, *views, layout)
        for view, back in zip(views, read_stereo(path, layout), strict=True):
            assert back.pixels.dtype == dtype
            assert np.array_equal(back.pixels, view.pixels)

    @pytest.mark.parametrize("layout", ["sbs-half", "ou-half"])
    @pytest.mark.parametrize("size", [(8, 10), (7, 9), (1, 1)])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_half_layouts_keep_the_size(
        self, tmp_path: Path, layout: Layout, size: tuple[int, int], dtype: type
    ) -> None:
        views = [Picture(np.full((*size, 3), level, dtype), np.full(size, level, dtype)) for level in (40, 90)]
        write_stereo(tmp_path / "a.png", *views, layout)
        axis = 0 if layout == "ou-half" else 1
        assert read_picture(tmp_path / "a.png").pixels.shape[axis] == 2 * -(-size[axis] // 2)
        for view, back in zip(views, read_stereo(tmp_path / "a.png", layout), strict=True):
            assert back.pixels.dtype == dtype
            assert back.pixels.shape[axis] == 2 * -(-size[axis] // 2)
            assert back.pixels.shape[1 - axis] == size[1 - axis]
            assert (back.pixels == view.pixels[0, 0, 0]).all()
            assert (back.alpha == view.alpha[0, 0]).all()

    @pytest.mark.parametrize("layout", ["sbs-half", "ou-half"])
    def test_half_layouts_come_close(self, tmp_path: Path, layout: Layout) -> None:
        views = scene()
        write_stereo(tmp_path / "a.png", *views, layout)
        back = read_stereo(tmp_path / "a.png", layout)
        assert close(back[0], views[0])
        assert close(back[1], views[1])

    @pytest.mark.parametrize("layout", ["mpo", "jps"])
    def test_jpeg_layouts_come_close(self, tmp_path: Path, layout: Layout) -> None:
        views = scene()
        write_stereo(tmp_path / f"a.{layout}", *views, layout, quality=98)
        assert detect(tmp_path / f"a.{layout}").layout == layout
        back = read_stereo(tmp_path / f"a.{layout}")
        assert close(back[0], views[0])
        assert close(back[1], views[1])
        assert not close(back[0], views[1])

    def test_quality(self, tmp_path: Path) -> None:
        for layout in ("mpo", "jps"):
            sizes = []
            for quality in (20, 95, None):
                write_stereo(tmp_path / f"a.{layout}", *scene(), layout, quality)
                sizes.append((tmp_path / f"a.{layout}").stat().st_size)
            assert sizes[0] < sizes[1] == sizes[2]

    def test_one_view_with_alpha(self, tmp_path: Path) -> None:
        left, right = scene()
        write_stereo(tmp_path / "a.png", replace(left, alpha=left.pixels[..., 0]), right, "sbs")
        back = read_stereo(tmp_path / "a.png", "sbs")
        assert np.array_equal(back[0].alpha, left.pixels[..., 0])
        assert (back[1].alpha == 255).all()

    @pytest.mark.parametrize("layout", ["sbs", "ou", "mpo", "jps"])
    def test_grey_stays_grey(self, tmp_path: Path, layout: Layout) -> None:
        views = [Picture(view.pixels[..., :1].repeat(3, 2), grey=True) for view in scene()]
        path = tmp_path / ("a.png" if layout in ("sbs", "ou") else f"a.{layout}")
        write_stereo(path, *views, layout)
        assert all(view.grey for view in read_stereo(path, layout))

    def test_an_odd_middle_belongs_to_nobody(self, tmp_path: Path) -> None:
        pixels = RNG.integers(0, 256, (4, 7, 3), np.uint8)
        write_picture(tmp_path / "a.png", Picture(pixels))
        left, right = read_stereo(tmp_path / "a.png", "sbs")
        assert np.array_equal(left.pixels, pixels[:, :3])
        assert np.array_equal(right.pixels, pixels[:, 4:])

    @pytest.mark.parametrize(
        ("name", "layout"), [("a_RL", "sbs"), ("a.h-rl.x", "sbs-half"), ("BT", "ou"), ("a_hbt", "ou-half")]
    )
    def test_a_name_may_say_that_the_right_view_comes_first(self, tmp_path: Path, name: str, layout: Layout) -> None:
        left, right = scene()
        left = replace(left, metadata=Metadata(exif=camera("Left")))
        write_stereo(tmp_path / f"{name}_x4.png", left, right, layout)
        back = read_stereo(tmp_path / f"{name}_x4.png")
        assert close(back[0], left)
        assert close(back[1], right)
        assert back[0].metadata == left.metadata
        shutil.move(tmp_path / f"{name}_x4.png", tmp_path / "plain.png")
        assert close(read_stereo(tmp_path / "plain.png", layout)[0], right)

    @pytest.mark.parametrize(("name", "layout"), [("a_RL", "ou"), ("a_BT", "sbs"), ("curl", "sbs")])
    def test_a_mark_of_another_layout_says_nothing(self, tmp_path: Path, name: str, layout: Layout) -> None:
        write_stereo(tmp_path / f"{name}.png", *scene(), layout)
        shutil.move(tmp_path / f"{name}.png", tmp_path / "plain.png")
        assert close(read_stereo(tmp_path / "plain.png", layout)[0], scene()[0])


class TestPngThatSaysSo:
    @staticmethod
    def write(path: Path, pixels: np.ndarray, body: bytes) -> None:
        png, chunk = encode_picture(Picture(pixels), "PNG", None, path), io.BytesIO()
        PngImagePlugin.putchunk(chunk, b"sTER", body)
        path.write_bytes(png[:33] + chunk.getvalue() + png[33:])

    @pytest.mark.parametrize("width", [8, 30, 40, 41])
    @pytest.mark.parametrize("mode", [0, 1])
    def test_the_chunk_is_obeyed(self, tmp_path: Path, width: int, mode: int) -> None:
        first, second = RNG.integers(0, 256, (2, 20, width, 3), np.uint8)
        padding = np.zeros((20, -width % 8, 3), np.uint8)
        self.write(tmp_path / "a.png", np.hstack([first, padding, second]), bytes([mode]))
        assert detect(tmp_path / "a.png").layout == "sbs"
        left, right = read_stereo(tmp_path / "a.png")
        assert np.array_equal(left.pixels, first if mode else second)
        assert np.array_equal(right.pixels, second if mode else first)

    @pytest.mark.parametrize("body", [b"", b"\7", b"\0\0"])
    def test_a_chunk_that_says_nothing(self, tmp_path: Path, body: bytes) -> None:
        self.write(tmp_path / "a.png", scene()[0].pixels, body)
        assert detect(tmp_path / "a.png").layout is None


class TestMpo:
    def test_pillow_sees_two_frames_of_a_stereo_pair(self, tmp_path: Path) -> None:
        left, right = scene()
        write_stereo(tmp_path / "a.mpo", left, right, "mpo", quality=98)
        with Pil.open(tmp_path / "a.mpo") as file:
            assert (file.format, file.n_frames) == ("MPO", 2)  # type: ignore[attr-defined]
            entries = file.mpinfo[0xB002]  # type: ignore[attr-defined]
            assert all(e["Attribute"]["MPType"] == "Multi-Frame Image: (Disparity)" for e in entries)
            assert [e["Attribute"]["RepresentativeImageFlag"] for e in entries] == [True, False]
            assert sum(e["Size"] for e in entries) == (tmp_path / "a.mpo").stat().st_size
            for frame, view in enumerate((left, right)):
                file.seek(frame)
                assert close(Picture(np.asarray(file.convert("RGB"))), view)
            assert file.offset == entries[0]["Size"]  # type: ignore[attr-defined]

    def test_others_see_the_left_view(self, tmp_path: Path) -> None:
        left, right = scene()
        write_stereo(tmp_path / "a.mpo", left, right, "mpo", quality=98)
        seen = cv2.imdecode(np.fromfile(tmp_path / "a.mpo", np.uint8), cv2.IMREAD_COLOR)
        assert close(Picture(seen[..., ::-1]), left)
        assert close(read_picture(tmp_path / "a.mpo"), left)

    def test_cut_in_two_it_is_two_pictures(self, tmp_path: Path) -> None:
        left, right = scene()
        write_stereo(tmp_path / "a.mpo", left, right, "mpo", quality=98)
        data = np.fromfile(tmp_path / "a.mpo", np.uint8)
        at = data.tobytes().index(b"\xff\xd9\xff\xd8") + 2
        for part, view in ((data[:at], left), (data[at:], right)):
            assert close(Picture(cv2.imdecode(part, cv2.IMREAD_COLOR)[..., ::-1]), view)

    def test_each_view_keeps_its_metadata(self, tmp_path: Path) -> None:
        views = [
            replace(v, metadata=Metadata(exif=camera(m), xmp=m.encode())) for v, m in zip(scene(), "AB", strict=True)
        ]
        write_stereo(tmp_path / "a.mpo", *views, "mpo")
        assert [v.metadata for v in read_stereo(tmp_path / "a.mpo")] == [v.metadata for v in views]

    def test_angle_and_distance_of_the_cameras_stay(self, tmp_path: Path) -> None:
        """Also where the views went through other steps; what is unknown is written as that."""
        given = [struct.pack("<llLL", angle, 10, 77, 1000) for angle in (0, -12)]
        views = [replace(v, metadata=Metadata(parallax=p)) for v, p in zip(scene(), given, strict=True)]
        write_stereo(tmp_path / "a.mpo", *views, "mpo")
        back = read_stereo(tmp_path / "a.mpo")
        assert [view.metadata.parallax for view in back] == given
        write_stereo(tmp_path / "b.mpo", *(replace(v, metadata=v.metadata.scaled(2)) for v in back), "mpo")
        assert [view.metadata.parallax for view in read_stereo(tmp_path / "b.mpo")] == given
        write_stereo(tmp_path / "c.mpo", *scene(), "mpo")
        assert {v.metadata.parallax for v in read_stereo(tmp_path / "c.mpo")} == {None}

    def test_pillows_own(self, tmp_path: Path) -> None:
        views = [Pil.fromarray(v.pixels) for v in scene()]
        views[0].save(tmp_path / "a.mpo", save_all=True, append_images=views[1:], quality=98)
        assert detect(tmp_path / "a.mpo").layout == "mpo"
        back = read_stereo(tmp_path / "a.mpo")
        assert all(close(b, Picture(np.asarray(v)), 8) for b, v in zip(back, views, strict=True))
        assert not close(*back, 8)

    def test_frames_that_are_no_views_are_none(self, tmp_path: Path) -> None:
        """Phones keep previews and gain maps as further frames of a .jpg."""
        photo = Pil.fromarray(scene()[0].pixels)
        photo.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[photo.resize((60, 45))])
        assert detect(tmp_path / "a.jpg").layout is None

    def test_a_misnamed_one_is_recognised(self, tmp_path: Path) -> None:
        write_stereo(tmp_path / "a.jpg", *scene(), "mpo")
        assert detect(tmp_path / "a.jpg").layout == "mpo"

    @pytest.mark.parametrize("part", [0.3, 0.55, 0.9])
    def test_truncated(self, tmp_path: Path, part: float) -> None:
        write_stereo(tmp_path / "a.mpo", *scene(), "mpo")
        data = (tmp_path / "a.mpo").read_bytes()
        (tmp_path / "a.mpo").write_bytes(data[: int(len(data) * part)])
        assert detect(tmp_path / "a.mpo").layout == "mpo"
        with pytest.raises(UnreadableImage, match=r"cannot read .*a\.mpo"):
            read_stereo(tmp_path / "a.mpo")

    def test_one_picture_only(self, tmp_path: Path) -> None:
        write_jpeg(tmp_path / "a.mpo", scene()[0].pixels)
        with pytest.raises(UnreadableImage, match="it holds one picture"):
            read_stereo(tmp_path / "a.mpo")

    def test_mutated_files_are_read_or_refused(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(5)
        write_stereo(tmp_path / "a.mpo", *scene(), "mpo")
        whole = np.fromfile(tmp_path / "a.mpo", np.uint8)
        for _ in range(60):
            data = whole.copy()
            data[rng.integers(min(200, len(data)), size=3)] = rng.integers(256, size=3)
            (tmp_path / "b.mpo").write_bytes(data.tobytes())
            try:
                read_stereo(tmp_path / "b.mpo")
            except UnreadableImage as error:
                assert "b.mpo" in str(error)  # noqa: PT017


class TestJps:
    def test_is_cross_eyed_without_a_header(self, tmp_path: Path) -> None:
        left, right = scene()
        write_jpeg(tmp_path / "a.jps", np.hstack([right.pixels, left.pixels]))
        back = read_stereo(tmp_path / "a.jps")
        assert close(back[0], left)
        assert close(back[1], right)

    @pytest.mark.parametrize("suffix", ["jps", "jpg"])
    @pytest.mark.parametrize("flags", [0, 4])
    @pytest.mark.parametrize("layout", [2, 3])
    @pytest.mark.parametrize("half", [False, True])
    def test_the_header_is_obeyed(self, tmp_path: Path, suffix: str, flags: int, layout: int, half: bool) -> None:
        views = left, right = scene()
        parts = [v.pixels for v in (views if flags & 4 else (right, left))]
        if half:
            flags |= 2 if layout == 2 else 1
            size = (60, 90) if layout == 2 else (120, 45)
            parts = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in parts]
        path = write_jpeg(
            tmp_path / f"a.{suffix}", np.concatenate(parts, 1 if layout == 2 else 0), jps_header(flags, layout)
        )
        assert detect(path).layout == "jps"
        back = read_stereo(path)
        assert close(back[0], left)
        assert close(back[1], right)

    def test_ours_says_so_in_its_header(self, tmp_path: Path) -> None:
        left, right = scene()
        left = replace(left, metadata=Metadata(exif=camera("Left")))
        write_stereo(tmp_path / "a.jps", left, right, "jps", quality=98)
        with Pil.open(tmp_path / "a.jps") as file:
            assert ("APP3", jps_header(0)) in file.applist  # type: ignore[attr-defined]
        assert close(read_picture(tmp_path / "a.jps"), Picture(np.hstack([right.pixels, left.pixels])))
        assert read_stereo(tmp_path / "a.jps")[0].metadata.exif == camera("Left")

    @pytest.mark.parametrize("suffix", ["jps", "jpg"])
    def test_a_header_that_says_one_view(self, tmp_path: Path, suffix: str) -> None:
        path = write_jpeg(tmp_path / f"a.{suffix}", scene()[0].pixels, jps_header(0, kind=0))
        assert detect(path).layout is None
        if suffix == "jps":
            with pytest.raises(UnreadableImage, match="its JPS header says that it shows one view"):
                read_stereo(path)

    @pytest.mark.parametrize("layout", [1, 4])
    def test_interleaved_and_anaglyph_are_refused(self, tmp_path: Path, layout: int) -> None:
        path = write_jpeg(tmp_path / "a.jps", scene()[0].pixels, jps_header(0, layout))
        with pytest.raises(UnreadableImage, match="neither side by side nor over-under"):
            read_stereo(path)

    @pytest.mark.parametrize("header", [b"_JPSJPS_", b"_JPSJPS_\0\4", jps_header(0, kind=0)])
    def test_a_header_that_says_nothing(self, tmp_path: Path, header: bytes) -> None:
        path = write_jpeg(tmp_path / "a.jpg", scene()[0].pixels, header)
        assert detect(path).layout is None


class TestPns:
    def test_is_a_png_file_of_crossed_views(self, tmp_path: Path) -> None:
        left, right = scene(40, 50)
        write_stereo(tmp_path / "a.pns", left, right, "sbs")
        assert (tmp_path / "a.pns").read_bytes().startswith(b"\x89PNG")
        assert detect(tmp_path / "a.pns").layout == "sbs"
        read = read_stereo(tmp_path / "a.pns")
        assert all(np.array_equal(view.pixels, given.pixels) for view, given in zip(read, (left, right), strict=True))
        assert np.array_equal(read_picture(tmp_path / "a.pns").pixels, np.hstack([right.pixels, left.pixels]))


class TestVr180:
    @staticmethod
    def photo(left: Picture, right: bytes, extra: bytes = b"", pieces: int = 3) -> bytes:
        """The right eye in extended XMP, in several pieces, the last one first."""
        text = (
            b'<x GImage:Mime="image/jpeg"/><x '
            + extra
            + b'GImage:Data="'
            + base64.b64encode(right).rstrip(b"=")
            + b'"/>'
        )
        jpeg, size = encode_picture(left, "JPEG", 98, Path("a")), -(-len(text) // pieces)
        segments = b""
        for at in reversed(range(0, len(text), size)):
            body = b"http://ns.adobe.com/xmp/extension/\0" + b"9" * 32 + struct.pack(">LL", len(text), at)
            body += text[at : at + size]
            segments += b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
        return jpeg[:2] + segments + jpeg[2:]

    @pytest.mark.parametrize("pieces", [1, 3])
    def test_both_eyes(self, tmp_path: Path, pieces: int) -> None:
        left, right = scene()
        data = self.photo(left, encode_picture(right, "JPEG", 98, Path("a")), pieces=pieces)
        (tmp_path / "a.vr.jpg").write_bytes(data)
        assert detect(tmp_path / "a.vr.jpg").layout == "vr180"
        read = read_stereo(tmp_path / "a.vr.jpg")
        assert close(read[0], left)
        assert close(read[1], right)
        assert not close(read[1], left)

    def test_a_photograph_with_a_depth_map_is_none(self, tmp_path: Path) -> None:
        eye = encode_picture(scene()[1], "JPEG", 98, Path("a"))
        (tmp_path / "a.jpg").write_bytes(self.photo(scene()[0], eye, b'GDepth:Data="99" '))
        assert detect(tmp_path / "a.jpg").layout is None

    @pytest.mark.parametrize("part", [0, 40])
    def test_an_eye_that_is_cut_short(self, tmp_path: Path, part: int) -> None:
        eye = encode_picture(scene()[1], "JPEG", 98, Path("a"))[:part]
        (tmp_path / "a.vr.jpg").write_bytes(self.photo(scene()[0], eye, pieces=1))
        with pytest.raises(UnreadableImage, match=r"cannot read .*a\.vr\.jpg"):
            read_stereo(tmp_path / "a.vr.jpg")


class TestDetection:
    @pytest.mark.parametrize(
        ("name", "size", "layout", "expected"),
        [
            ("holiday", (90, 120), "sbs", "sbs"),
            ("holiday", (90, 120), "ou", "ou"),
            ("holiday", (90, 160), "sbs-half", "sbs-half"),
            ("holiday", (90, 160), "ou-half", "ou-half"),
            ("holiday_LR", (90, 120), "sbs", "sbs"),
            ("holiday_SBS", (90, 120), "sbs", "sbs"),
            ("holiday_SBS", (90, 160), "sbs-half", "sbs-half"),
            ("holiday_HSBS", (90, 120), "sbs-half", "sbs-half"),
            ("holiday.H-SBS.3D", (90, 120), "sbs-half", "sbs-half"),
            ("holiday half-sbs", (90, 120), "sbs-half", "sbs-half"),
            ("holiday_RL", (90, 120), "sbs", "sbs"),
            ("holiday_HRL", (90, 120), "sbs-half", "sbs-half"),
            ("holiday_TB", (90, 120), "ou", "ou"),
            ("holiday_BT", (90, 120), "ou", "ou"),
            ("holiday_OU_x4", (90, 120), "ou", "ou"),
            ("holiday_HOU", (90, 120), "ou-half", "ou-half"),
            ("holiday_HTAB", (90, 120), "ou-half", "ou-half"),
        ],
    )
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_by_name_and_halves(
        self, tmp_path: Path, name: str, size: tuple[int, int], layout: Layout, expected: Layout, dtype: type
    ) -> None:
        scale = np.iinfo(dtype).max // 255
        views = [Picture(view.pixels.astype(dtype) * dtype(scale)) for view in scene(*size)]
        write_stereo(tmp_path / f"{name}.png", *views, layout)
        assert detect(tmp_path / f"{name}.png").layout == expected

    @pytest.mark.parametrize("name", ["holiday", "low_resolution_LR", "noir ou blanc", "x_HSBS"])
    def test_one_picture_is_none_whatever_its_name(self, tmp_path: Path, name: str) -> None:
        write_picture(tmp_path / f"{name}.png", scene(96, 240)[0])
        assert detect(tmp_path / f"{name}.png").layout is None
        with pytest.raises(UnreadableImage, match="does not look like two views"):
            read_stereo(tmp_path / f"{name}.png")

    @pytest.mark.parametrize("size", [(64, 128), (20, 20)])
    def test_without_anything_to_go_by_a_name_is_believed_that_means_nothing_else(
        self, tmp_path: Path, size: tuple[int, int]
    ) -> None:
        for name, layout in (("a_SBS", "sbs"), ("a_TB", None), ("a_LR", None), ("a_over-under", "ou"), ("a", None)):
            write_picture(tmp_path / f"{name}.png", Picture(np.zeros((*size, 3), np.uint8)))
            assert detect(tmp_path / f"{name}.png").layout == layout
        write_picture(tmp_path / "a_SBS.png", Picture(np.zeros((1, 1, 3), np.uint8)))
        assert detect(tmp_path / "a_SBS.png").layout is None

    @pytest.mark.parametrize(
        ("name", "layout", "right_first"),
        [
            ("a_2x1", "sbs", False),
            ("a_FSBS", "sbs", False),
            ("a FullSBS", "sbs", False),
            ("a-left-right", "sbs", False),
            ("a_parallel", "sbs", False),
            ("a_sidebyside", "sbs", False),
            ("a_crosseye", "sbs", True),
            ("a (cross-eyed)", "sbs", True),
            ("a.top-bottom", "ou", False),
            ("a_over-under", "ou", False),
            ("a_FOU", "ou", False),
        ],
    )
    def test_marks_that_players_know(self, tmp_path: Path, name: str, layout: Layout, right_first: bool) -> None:
        """On views that together are 16:9, which are squeezed ones where nothing says that they are not."""
        left, right = scene(144, 128) if layout == "sbs" else scene(72, 256)
        write_stereo(tmp_path / f"{name}.png", left, right, layout)
        squeezed = "-half" if not re.search("F", name) else ""
        assert detect(tmp_path / f"{name}.png").layout == layout + squeezed
        read = read_stereo(tmp_path / f"{name}.png", layout)
        assert np.array_equal(read[0].pixels, left.pixels)
        shutil.move(tmp_path / f"{name}.png", tmp_path / "plain.png")
        assert np.array_equal(read_stereo(tmp_path / "plain.png", layout)[right_first].pixels, left.pixels)

    def test_views_that_are_little_alike_are_believed_by_name(self, tmp_path: Path) -> None:
        """Two of eight real files have a likeness of .43 and .54."""
        left, right = scene(120, 160)
        hidden = texture(120, 160 * 3)[:, 200:360]
        right = Picture((0.35 * right.pixels + 0.65 * hidden).astype(np.uint8))
        assert 0.4 < _likeness(np.hstack([left.pixels[..., 1], right.pixels[..., 1]]), 1) < 0.6
        for name, layout in (("a", None), ("a_LR", "sbs"), ("a_SBS", "sbs")):
            write_stereo(tmp_path / f"{name}.png", left, right, "sbs")
            assert detect(tmp_path / f"{name}.png").layout == layout

    def test_a_jpeg_is_not_decoded_whole_to_see_what_a_draft_shows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_picture(tmp_path / "a.jpg", scene(384, 512)[0])
        write_stereo(tmp_path / "b.jpg", *scene(384, 512), "sbs")
        assert detect(tmp_path / "b.jpg").layout == "sbs"
        write_stereo(tmp_path / "c_SBS.jpg", *scene(384, 512), "sbs")
        monkeypatch.setattr("stereosr.io.layouts.decode_picture", None)
        assert detect(tmp_path / "a.jpg").layout is None
        assert detect(tmp_path / "c_SBS.jpg").layout == "sbs"

    def test_a_repeated_pattern_without_a_seam(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "facade.png", Picture(texture(90, 60, repeat=4)))
        assert detect(tmp_path / "facade.png").layout is None

    @pytest.mark.parametrize(("suffix", "expected"), [("mpo", "mpo"), ("jps", "jps"), ("png", None), ("jpg", None)])
    def test_what_cannot_be_read_is_judged_by_its_suffix(
        self, tmp_path: Path, suffix: str, expected: Layout | None
    ) -> None:
        path = tmp_path / f"a_SBS.{suffix}"
        assert detect(path).layout == expected
        path.write_bytes(b"not a picture")
        assert detect(path).layout == expected


class TestBadInput:
    @pytest.mark.parametrize("layout", ["sbs", "sbs-half", "ou", "ou-half", "mpo", "jps"])
    def test_no_picture(self, tmp_path: Path, layout: Layout) -> None:
        for name, content in (("missing", None), ("empty", b""), ("text", b"hello")):
            if content is not None:
                (tmp_path / name).write_bytes(content)
            with pytest.raises(UnreadableImage, match=f"cannot read .*{name}"):
                read_stereo(tmp_path / name, layout)
        with pytest.raises(UnreadableImage, match="directory"):
            read_stereo(tmp_path, layout)

    @pytest.mark.parametrize("layout", ["pair", "anaglyph", "wiggle"])
    def test_layouts_that_are_not_one_readable_file(self, tmp_path: Path, layout: Layout) -> None:
        with pytest.raises(UsageError, match=f"cannot be read as {layout}"):
            read_stereo(tmp_path / "a.png", layout)

    @pytest.mark.parametrize("layout", ["sbs", "ou", "sbs-half", "ou-half", "jps"])
    def test_one_pixel(self, tmp_path: Path, layout: Layout) -> None:
        write_picture(tmp_path / "a.png", Picture(np.zeros((1, 1, 3), np.uint8)))
        with pytest.raises(UnreadableImage, match="no room for two views"):
            read_stereo(tmp_path / "a.png", layout)

    def test_not_mpo(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "a.png", scene()[0])
        with pytest.raises(UnreadableImage, match="one picture"):
            read_stereo(tmp_path / "a.png", "mpo")


class TestBadOutput:
    @pytest.mark.parametrize("layout", [name for name in get_args(Layout) if name != "pair"])
    def test_views_that_differ(self, tmp_path: Path, layout: Layout) -> None:
        left, right = scene()
        for other in (Picture(right.pixels[1:]), Picture(right.pixels.astype(np.uint16))):
            with pytest.raises(StereosrError, match="must be alike"):
                write_stereo(tmp_path / "a.png", left, other, layout)
        assert not list(tmp_path.iterdir())

    def test_a_pair_is_two_files(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="two files"):
            write_stereo(tmp_path / "a.png", *scene(), "pair")

    @pytest.mark.parametrize("layout", ["mpo", "jps"])
    def test_a_suffix_that_lies(self, tmp_path: Path, layout: Layout) -> None:
        with pytest.raises(UsageError, match=rf"suffix must be \.{layout}"):
            write_stereo(tmp_path / "a.png", *scene(), layout)

    @pytest.mark.parametrize("layout", ["sbs", "anaglyph"])
    def test_an_unknown_suffix(self, tmp_path: Path, layout: Layout) -> None:
        with pytest.raises(StereosrError, match=r"suffix must be one of"):
            write_stereo(tmp_path / "a.mpo", *scene(), layout)

    @pytest.mark.parametrize("layout", ["sbs", "mpo"])
    def test_no_folder(self, tmp_path: Path, layout: Layout) -> None:
        with pytest.raises(StereosrError, match="No such file"):
            write_stereo(tmp_path / "nowhere" / "a.jpg", *scene(), layout)


class TestAnaglyph:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_left_is_red_and_right_is_cyan(self, tmp_path: Path, dtype: type) -> None:
        top = np.iinfo(dtype).max
        black, white = (Picture(np.full((4, 4, 3), level, dtype)) for level in (0, top))
        for left, right, colour in ((white, black, [1, 0, 0]), (black, white, [0, 1, 1]), (white, white, [1, 1, 1])):
            write_stereo(tmp_path / "a.png", left, right, "anaglyph")
            written = read_picture(tmp_path / "a.png").pixels
            assert written.dtype == dtype
            assert np.allclose(written / top, colour, atol=0.02)

    def test_equal_greys_stay_grey(self, tmp_path: Path) -> None:
        ramp = Picture(np.arange(0, 250, dtype=np.uint8).reshape(10, 25, 1).repeat(3, 2))
        write_stereo(tmp_path / "a.png", ramp, ramp, "anaglyph")
        assert np.abs(read_picture(tmp_path / "a.png").pixels.astype(int) - ramp.pixels).max() <= 3


class TestWiggle:
    @pytest.mark.parametrize("suffix", [".webp", ".gif"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_both_views_come_in_turn_for_ever(self, tmp_path: Path, suffix: str, dtype: type) -> None:
        left, right = scene()
        views = [Picture(view.pixels.astype(dtype) * (257 if dtype == np.uint16 else 1)) for view in (left, right)]
        path = tmp_path / f"a{suffix}"
        write_stereo(path, *views, "wiggle")
        with Pil.open(path) as file:
            assert file.info["loop"] == 0
            for number, view in enumerate((left, right)):
                file.seek(number)
                difference = np.asarray(file.convert("RGB")).astype(int) - view.pixels
                assert np.abs(difference).mean() < (1 if suffix == ".webp" else 12)
                assert file.info["duration"] == 200
            with pytest.raises(EOFError):
                file.seek(2)

    def test_colour_profile_and_alpha_stay_in_webp_and_gif_is_laid_on_white(self, tmp_path: Path) -> None:
        left, right = scene()
        alpha = np.zeros(left.pixels.shape[:2], np.uint8)
        views = [replace(view, alpha=alpha) for view in (left, right)]
        for suffix, channels in ((".webp", 4), (".gif", 3)):
            write_stereo(tmp_path / f"a{suffix}", *views, "wiggle")
            with Pil.open(tmp_path / f"a{suffix}") as file:
                shown = np.asarray(file.convert("RGBA" if channels == 4 else "RGB"))
            assert (shown[..., -1] == (0 if channels == 4 else 255)).all()

    def test_it_is_an_animation_and_of_a_size_that_the_format_has(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"a wiggle is an animation, \.webp or \.gif"):
            write_stereo(tmp_path / "a.png", *scene(), "wiggle")
        with pytest.raises(StereosrError, match="WEBP's limit of 16383"):
            check_fits_format(tmp_path / "a.webp", 10, 20000, "wiggle")
        check_fits_format(tmp_path / "a.gif", 10, 20000, "wiggle")


class TestHeic:
    @staticmethod
    def spatial(left: Picture, right: Picture, order: tuple[int, ...]) -> bytes:
        """A HEIC file of two pictures, and a stereo pair group, which the library cannot write, of these."""
        heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif")
        exif = Pil.Exif()
        exif[0x0112], exif[0x010F] = 6, "Twin Lens Co."
        file = heif.from_pillow(Pil.fromarray(left.pixels))
        file.add_from_pillow(Pil.fromarray(right.pixels))
        for view in file:
            view.info["exif"] = exif.tobytes()
        buffer = io.BytesIO()
        file.save(buffer, quality=95)
        data = bytearray(buffer.getvalue())
        items = (1 + 2 * n for n in order)  # each picture is followed by its EXIF block
        group = struct.pack(">L4sL4s5L", 36, b"grpl", 28, b"ster", 0, 99, 2, *items) if order else b""
        meta, places = data.index(b"meta") - 4, data.index(b"iloc") + 12
        size = int.from_bytes(data[meta : meta + 4])
        data[meta : meta + 4] = (size + len(group)).to_bytes(4)
        for item in range(int.from_bytes(data[places - 2 : places])):
            at = places + 4 + 18 * item  # id, reference, offset, number of extents, its offset and length
            data[at : at + 4] = (int.from_bytes(data[at : at + 4]) + len(group)).to_bytes(4)
        return bytes(data[: meta + size] + group + data[meta + size :])

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_the_group_says_which_view_is_left_and_both_are_upright(
        self, tmp_path: Path, order: tuple[int, int]
    ) -> None:
        views = scene(48, 64)
        path = tmp_path / "a.heic"
        path.write_bytes(self.spatial(*views, order))
        assert detect(path).layout == "heic"
        read = read_stereo(path)
        upright = [replace(view, pixels=np.rot90(view.pixels, -1)) for view in views]
        assert all(close(read[i], upright[order[i]], 6) for i in range(2))  # the other one is 21 away
        exif = Pil.Exif()
        exif.load(read[0].metadata.exif)
        assert (exif[0x0112], exif[0x010F]) == (1, "Twin Lens Co.")  # the decoder has turned it

    def test_one_picture_alone_is_none_and_read_as_one_view(self, tmp_path: Path) -> None:
        path = tmp_path / "a.heic"
        path.write_bytes(self.spatial(*scene(48, 64), ()))
        assert detect(path).layout is None
        assert close(read_picture(path), replace(scene(48, 64)[0], pixels=np.rot90(scene(48, 64)[0].pixels, -1)), 6)
        with pytest.raises(UnreadableImage, match="one picture, not two"):
            read_stereo(path, "heic")

    def test_without_the_library_the_extra_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a.heic").touch()
        with pytest.raises(UnreadableImage, match="empty"):
            read_stereo(tmp_path / "a.heic")
        (tmp_path / "a.heic").write_bytes(b"anything")
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(UsageError, match=r"stereosr\[heic\]"):
            detect(tmp_path / "a.heic")


class TestCameraFiles:
    # Somewhere near and somewhere far, as parts of the width and the height.
    FILES = (
        ("panasonic_gx8.mpo", "mpo", (1368, 1824), (0.41, 0.86), (0.66, 0.1)),
        ("super_mario.jps", "jps", (720, 522), (0.54, 0.39), (0.85, 0.7)),
        ("calf_sbs.jpg", "sbs", (1080, 1920), (0.27, 0.8), (0.5, 0.1)),
    )

    @staticmethod
    def views(name: str) -> tuple[Picture, Picture]:
        return read_stereo(shared(f"formats/{name}"))

    @staticmethod
    def disparity(views: tuple[Picture, Picture], at: tuple[float, float]) -> int:
        """How much further right something is in the left view than in the right one, at a width of 640."""
        left, right = (
            cv2.resize(
                v.pixels[..., 1].copy(),
                (640, 640 * v.pixels.shape[0] // v.pixels.shape[1]),
                interpolation=cv2.INTER_AREA,
            )
            for v in views
        )
        x, y = int(at[0] * 640), int(at[1] * left.shape[0])
        part, around = left[y - 14 : y + 14, x - 14 : x + 14], right[y - 18 : y + 18, x - 54 : x + 54]
        return 40 - int(cv2.minMaxLoc(cv2.matchTemplate(around, part, cv2.TM_CCOEFF_NORMED))[3][0])

    @pytest.mark.parametrize(("name", "layout", "size", "near", "far"), FILES)
    def test_the_right_eyes_in_the_right_order(
        self, name: str, layout: Layout, size: tuple[int, int], near: tuple[float, float], far: tuple[float, float]
    ) -> None:
        views = self.views(name)
        assert detect(shared(f"formats/{name}")).layout == layout
        assert [v.pixels.shape[:2] for v in views] == [size, size]
        assert self.disparity(views, near) > self.disparity(views, far)

    def test_mpo_to_pair_to_mpo_keeps_exif(self, tmp_path: Path) -> None:
        views = self.views("panasonic_gx8.mpo")
        for side, view in zip("LR", views, strict=True):
            write_picture(tmp_path / f"a_{side}.png", view)
        pair = [read_picture(tmp_path / f"a_{side}.png") for side in "LR"]
        write_stereo(tmp_path / "a.mpo", *pair, "mpo")
        back = read_stereo(tmp_path / "a.mpo")
        with Pil.open(shared("formats/panasonic_gx8.mpo")) as file:
            assert back[0].metadata.exif == file.info["exif"]
        assert back[1].metadata.exif == views[1].metadata.exif is not None
        assert close(back[0], views[0])
        assert close(back[1], views[1])
        assert self.disparity(back, (0.41, 0.86)) == self.disparity(views, (0.41, 0.86))
