"""Pictures go in and out with everything they carry, or not at all."""

import errno
import io
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image as Pil
from PIL import ImageCms, PngImagePlugin

from stereosr.errors import StereosrError
from stereosr.io import images
from stereosr.io.encode import encode_picture, write_picture, write_pictures
from stereosr.io.images import SUFFIXES, Picture, UnreadableImage, decode_picture, read_picture
from stereosr.io.metadata import Metadata
from stereosr.types import quantise, to_float

RNG = np.random.default_rng(6)
LOSSLESS = ["png", "tif", "webp", "bmp"]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def photo(height: int = 40, width: int = 56) -> np.ndarray:
    """Smooth enough for JPEG to come close."""
    y, x = np.mgrid[:height, :width]
    return np.dstack([128 + 90 * np.sin(x / 9), 128 + 90 * np.cos(y / 7), (x + y) * 2]).astype(np.uint8)


@cache
def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # it carries the second it was made in


def grey_profile() -> bytes:
    return srgb()[:16] + b"GRAY" + srgb()[20:]


def camera(orientation: int = 1) -> bytes:
    exif = Pil.Exif()
    exif[0x010F], exif[0x0112] = "Twin Lens Co.", orientation
    exif[0x8769] = {0x829A: 0.004, 0x927C: b"maker's own"}
    exif[0x8825] = {1: "N"}
    return exif.tobytes()


def saved(image: Pil.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> Picture:
    return decode_picture(data, Path("photo"))


def png16(samples: np.ndarray, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A 16-bit PNG of any colour type: no library writes grey with alpha or a transparent key."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    file.seek(8)
    PngImagePlugin.putchunk(file, b"IHDR", struct.pack(">LLBBBBB", width, height, 16, colour_type, 0, 0, 0))
    for name, body in (*chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        PngImagePlugin.putchunk(file, name, body)
    return file.getvalue()


def planar_tiff(samples: np.ndarray, order: str) -> bytes:
    """A TIFF of separate planes, two strips each, without compression."""
    height, width, channels = samples.shape
    half = height // 2 + 1
    strips = [
        part.astype(f"{order}u2").tobytes() for c in range(channels) for part in np.split(samples[..., c], [half])
    ]
    at = 8 + 2 + 12 * 10 + 4
    bits, offsets, counts = at, at + 2 * channels, at + 2 * channels + 4 * len(strips)
    first = counts + 4 * len(strips)
    places = np.cumsum([first, *map(len, strips)])[:-1].tolist()
    rows = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, bits), (259, 3, 1, 1), (262, 3, 1, 2)]
    rows += [(273, 4, len(strips), offsets), (277, 3, 1, channels), (278, 3, 1, half), (279, 4, len(strips), counts)]
    rows += [(284, 3, 1, 2)]
    data = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}LH", 8, len(rows))
    for tag, kind, count, value in rows:
        inline = struct.pack(f"{order}HH", value, 0) if kind == 3 and count == 1 else struct.pack(f"{order}L", value)
        data += struct.pack(f"{order}HHL", tag, kind, count) + inline
    data += bytes(4) + struct.pack(f"{order}{channels}H", *[16] * channels)
    data += struct.pack(f"{order}{len(strips)}L", *places) + struct.pack(f"{order}{len(strips)}L", *map(len, strips))
    return data + b"".join(strips)


class TestNumbers:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_every_level_survives_float(self, dtype: type) -> None:
        levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(1, -1, 1)
        assert np.array_equal(quantise(to_float(levels), dtype), levels)

    @pytest.mark.parametrize(
        ("dtype", "expected"), [(np.uint8, [0, 0, 1, 255, 255]), (np.uint16, [0, 128, 257, 65535, 65535])]
    )
    def test_quantise_clamps_and_rounds_half_up(self, dtype: type, expected: list[int]) -> None:
        image = np.array([-0.2, 0.498 / 255, 1 / 255, 1, 1.7], np.float32).reshape(-1, 1, 1)
        assert quantise(image, dtype).ravel().tolist() == expected
        assert quantise(np.full((1, 1, 1), 0.5, np.float32), np.uint8).item() == 128

    def test_quantise_leaves_its_input_alone_and_works_band_by_band(self) -> None:
        image = RNG.random((700, 3, 3), np.float32) * 1.2 - 0.1
        before = image.copy()
        assert np.array_equal(
            quantise(image, np.uint8), np.floor(np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5))
        )
        assert np.array_equal(image, before)

    def test_sixteen_bits_become_eight_to_the_nearest(self) -> None:
        levels = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, 2)
        written = decoded(encode_picture(Picture(levels), "BMP", None, Path("a.bmp"))).pixels
        assert np.array_equal(written, np.rint(levels / 257).astype(np.uint8))


class TestRoundTrip:
    @settings(deadline=None, max_examples=60)
    @given(data=st.data(), kind=st.sampled_from(["PNG", "TIFF", "WEBP"]))
    def test_lossless_formats_give_back_every_sample(self, data: st.DataObject, kind: str) -> None:
        dtype = data.draw(st.sampled_from([np.uint8] if kind == "WEBP" else [np.uint8, np.uint16]))
        size = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
        grey, with_alpha = data.draw(st.booleans()), data.draw(st.booleans())
        pixels = data.draw(arrays(dtype, (*size, 1 if grey else 3))).repeat(3 if grey else 1, 2)
        alpha = data.draw(arrays(dtype, size)) if with_alpha else None
        back = decoded(encode_picture(Picture(pixels, alpha, grey), kind, None, Path("a")))
        assert back.pixels.dtype == dtype
        assert np.array_equal(back.pixels, pixels)
        if with_alpha and not (kind == "WEBP" and (alpha == 255).all()):
            assert np.array_equal(back.alpha, alpha)
        if kind != "WEBP" and not (with_alpha and dtype == np.uint16):
            assert back.grey == grey

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_each_suffix_is_written_in_its_format(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"photo{suffix.upper()}"
        write_picture(path, Picture(photo()))
        with Pil.open(path) as file:
            assert file.format == SUFFIXES[suffix]
        difference = np.abs(read_picture(path).pixels.astype(int) - photo())
        assert difference.max() <= (0 if suffix.strip(".") in LOSSLESS or suffix == ".tiff" else 8)

    def test_a_tiff_of_many_strips(self, tmp_path: Path) -> None:
        pixels = noise(500, 900, 3, dtype=np.uint16)
        write_picture(tmp_path / "a.tif", Picture(pixels))
        assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, pixels)

    @pytest.mark.parametrize(
        ("dtype", "channels"), [(np.uint8, 1), (np.uint8, 2), (np.uint8, 3), (np.uint8, 4), (np.uint16, 1)]
    )
    def test_pillow_reads_our_tiff(self, dtype: type, channels: int) -> None:
        samples = noise(9, 13, channels, dtype=dtype)
        alpha = samples[..., -1] if channels in (2, 4) else None
        colour = samples[..., :3] if channels > 2 else samples[..., :1].repeat(3, 2)
        data = encode_picture(Picture(colour, alpha, grey=channels < 3), "TIFF", None, Path("a.tif"))
        assert np.array_equal(np.asarray(Pil.open(io.BytesIO(data))), samples.squeeze())

    def test_sixteen_bits_in_png_are_what_opencv_sees(self) -> None:
        pixels = noise(9, 13, 3, dtype=np.uint16)
        data = encode_picture(Picture(pixels, metadata=Metadata(srgb(), camera(), XMP)), "PNG", None, Path("a.png"))
        assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1], pixels)

    def test_a_sixteen_bit_ramp_keeps_its_levels(self, tmp_path: Path) -> None:
        ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64, 1).repeat(3, 2)
        write_picture(tmp_path / "ramp.png", Picture(ramp))
        assert len(np.unique(read_picture(tmp_path / "ramp.png").pixels)) == 4096

    def test_dark_sixteen_bits_stay_sixteen(self) -> None:
        dark = np.full((4, 4, 3), 9, np.uint16)
        assert decoded(encode_picture(Picture(dark), "PNG", None, Path("a"))).pixels.dtype == np.uint16

    def test_quality(self) -> None:
        picture = Picture(photo())
        sizes = {q: len(encode_picture(picture, "JPEG", q, Path("a"))) for q in (30, 95, None)}
        assert sizes[30] < sizes[95] == sizes[None]
        assert not np.array_equal(decoded(encode_picture(picture, "WEBP", 50, Path("a"))).pixels, photo())

    def test_jpeg_colour_is_not_subsampled(self) -> None:
        file = Pil.open(io.BytesIO(encode_picture(Picture(photo()), "JPEG", 60, Path("a"))))
        assert {layer[1:3] for layer in file.layer} == {(1, 1)}  # type: ignore[attr-defined]

    @pytest.mark.parametrize("kind", ["JPEG", "BMP"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_without_alpha_the_picture_lies_on_white(self, kind: str, dtype: type) -> None:
        alpha = np.zeros((16, 16), dtype)
        alpha[:, 8:] = np.iinfo(dtype).max
        back = decoded(encode_picture(Picture(np.zeros((16, 16, 3), dtype), alpha), kind, None, Path("a")))
        assert back.alpha is None
        assert (back.pixels[:, :8] > 250).all()
        assert (back.pixels[:, 8:] < 5).all()

    def test_non_ascii_and_long_names(self, tmp_path: Path) -> None:
        folder = tmp_path / "Bäume 日本 🌲" / ("d" * 200) / ("e" * 200)
        folder.mkdir(parents=True)
        path = folder / f"{'ß' * 120}.png"
        write_picture(path, Picture(photo()))
        assert np.array_equal(read_picture(path).pixels, photo())


class TestKindsOfFile:
    @pytest.mark.parametrize("mode", ["1", "L"])
    def test_grey(self, mode: str) -> None:
        image = Pil.fromarray(noise(8, 9)).convert(mode)
        picture = decoded(saved(image, "PNG"))
        assert picture.grey
        assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))

    def test_grey_jpeg_stays_grey(self) -> None:
        picture = decoded(saved(Pil.fromarray(photo()[..., 0]), "JPEG"))
        assert picture.grey
        assert Pil.open(io.BytesIO(encode_picture(picture, "JPEG", None, Path("a")))).mode == "L"

    def test_equal_channels_are_not_grey(self) -> None:
        assert not decoded(saved(Pil.fromarray(noise(8, 9)).convert("RGB"), "PNG")).grey

    def test_palette(self) -> None:
        image = Pil.fromarray(photo()).quantize(16)
        picture = decoded(saved(image, "PNG"))
        assert picture.alpha is None
        assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))

    @pytest.mark.parametrize("transparency", [3, bytes(range(0, 160, 10))])
    def test_palette_with_transparency(self, transparency: int | bytes) -> None:
        image = Pil.fromarray(photo()).quantize(16)
        picture = decoded(saved(image, "PNG", transparency=transparency))
        index = np.asarray(image)
        opacity = np.full(256, 255, np.uint8)
        opacity[:16] = (
            list(transparency)
            if isinstance(transparency, bytes)
            else [0 if i == transparency else 255 for i in range(16)]
        )
        assert np.array_equal(picture.alpha, opacity[index])
        assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))

    @pytest.mark.parametrize(("mode", "key"), [("L", 7), ("RGB", (7, 7, 7))])
    def test_a_transparent_colour(self, mode: str, key: object) -> None:
        grey = noise(8, 9)
        grey[2, 3] = 7
        picture = decoded(saved(Pil.fromarray(grey).convert(mode), "PNG", transparency=key))
        assert np.array_equal(picture.alpha, np.where(grey == 7, 0, 255))
        assert picture.grey == (mode == "L")

    @pytest.mark.parametrize("channels", [1, 3])
    def test_a_transparent_colour_of_sixteen_bits(self, channels: int) -> None:
        samples = noise(8, 9, channels, dtype=np.uint16)
        samples[2, 3] = 700
        key = struct.pack(f">{channels}H", *[700] * channels)
        picture = decoded(png16(samples, channels - channels % 2 if channels == 3 else 0, (b"tRNS", key)))
        assert picture.alpha is not None
        assert picture.alpha[2, 3] == 0
        assert (picture.alpha == 65535).sum() >= 71
        assert np.array_equal(picture.pixels[..., :channels], samples)

    def test_sixteen_bits_of_grey_and_alpha(self) -> None:
        samples = noise(8, 9, 2, dtype=np.uint16)
        picture = decoded(png16(samples, 4))
        assert np.array_equal(picture.pixels, samples[..., [0, 0, 0]])
        assert np.array_equal(picture.alpha, samples[..., 1])

    def test_cmyk_jpeg(self) -> None:
        picture = decoded(saved(Pil.fromarray(photo()).convert("CMYK"), "JPEG", quality=100))
        assert np.abs(picture.pixels.astype(int) - photo()).max() < 20

    def test_cmyk_with_a_profile_that_is_none(self) -> None:
        data = saved(Pil.fromarray(photo()).convert("CMYK"), "JPEG", quality=100, icc_profile=b"no profile at all")
        picture = decoded(data)
        assert np.abs(picture.pixels.astype(int) - photo()).max() < 20
        assert b"no profile" not in encode_picture(picture, "PNG", None, Path("a"))

    def test_the_first_of_several_frames(self) -> None:
        frames = [Pil.fromarray(noise(8, 9, 3)) for _ in range(2)]
        for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
            data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
            assert np.array_equal(decoded(data).pixels, np.asarray(frames[0]))

    def test_white_is_zero(self) -> None:
        samples = noise(6, 7, dtype=np.uint16)
        data = bytearray(encode_picture(Picture(samples[..., None].repeat(3, 2), grey=True), "TIFF", None, Path("a")))
        at = data.index(struct.pack("<HHL", 262, 3, 1))
        data[at + 8] = 0
        assert np.array_equal(decoded(bytes(data)).pixels[..., 0], 65535 - samples)

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("channels", [3, 4])
    def test_sixteen_bits_in_separate_planes(self, order: str, channels: int) -> None:
        samples = noise(9, 13, channels, dtype=np.uint16)
        picture = decoded(planar_tiff(samples, order))
        assert np.array_equal(picture.pixels, samples[..., :3])
        assert channels == 3 or np.array_equal(picture.alpha, samples[..., 3])

    def test_sixteen_bit_colour_that_was_multiplied_by_its_opacity(self) -> None:
        colour, alpha = noise(9, 13, 3, dtype=np.uint16), noise(9, 13, dtype=np.uint16) | 0x4000
        multiplied = np.rint(colour * (alpha[..., None] / 65535)).astype(np.uint16)
        data = encode_picture(Picture(multiplied, alpha), "TIFF", None, Path("a"))
        assert data.count(struct.pack("<HHLL", 338, 3, 1, 2)) == 1
        picture = decoded(data.replace(struct.pack("<HHLL", 338, 3, 1, 2), struct.pack("<HHLL", 338, 3, 1, 1)))
        assert np.abs(picture.pixels.astype(int) - colour).max() <= 4
        assert np.array_equal(picture.alpha, alpha)

    @pytest.mark.parametrize(("magic", "channels"), [(b"P5", 1), (b"P6", 3)])
    @pytest.mark.parametrize("maximum", [31, 255, 1023, 4095, 65535])
    def test_ppm_of_any_depth(self, magic: bytes, channels: int, maximum: int) -> None:
        depth = np.uint8 if maximum < 256 else np.uint16
        samples = (noise(6, 7, channels, dtype=np.uint16).astype(int) % (maximum + 1)).astype(depth)
        data = (
            b"%s\n# a comment\n7 6\n%d\n" % (magic, maximum) + samples.astype(samples.dtype.newbyteorder(">")).tobytes()
        )
        picture = decoded(data)
        assert picture.pixels.dtype == depth
        assert picture.grey == (channels == 1)
        whole = samples.astype(float) * np.iinfo(depth).max / maximum
        assert np.abs(picture.pixels - whole).max() <= 0.5
        if maximum in (255, 65535):
            again = encode_picture(picture, "PPM", None, Path("a.ppm"))
            assert np.array_equal(decoded(again).pixels, picture.pixels)

    @pytest.mark.parametrize("data", [b"P6\n7 6\n255\n" + bytes(20), b"P6\n7 6\n65535\n" + bytes(20), b"P6\n7 x\n"])
    def test_ppm_that_is_cut_short(self, data: bytes) -> None:
        with pytest.raises(UnreadableImage, match="cannot read photo"):
            decoded(data)

    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
    def test_of_several_frames_it_is_said_that_one_is_done(self, kind: str) -> None:
        frames = [Pil.fromarray(noise(8, 9, 3)) for _ in range(3)]
        assert decoded(saved(frames[0], kind, save_all=True, append_images=frames[1:])).notes == (
            "photo holds 3 pictures, frames or pages: only the first is done",
        )
        assert decoded(saved(frames[0], kind)).notes == ()

    def test_a_lying_suffix(self, tmp_path: Path) -> None:
        path = tmp_path / "photo.png"
        path.write_bytes(saved(Pil.fromarray(photo()), "BMP"))
        assert np.array_equal(read_picture(path).pixels, photo())


# What lies in the file for a picture that is upright: the inverse of what the number asks for.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


class TestOrientation:
    @pytest.mark.parametrize("orientation", STORED)
    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "PNG16", "TIFF", "TIFF16"])
    def test_is_applied_once(self, orientation: int, kind: str) -> None:
        dtype = np.uint16 if kind.endswith("16") else np.uint8
        upright, alpha = noise(5, 8, 3, dtype=dtype), noise(5, 8, dtype=dtype)
        stored = [np.ascontiguousarray(STORED[orientation](a)) for a in (upright, alpha)]
        kind = kind.removesuffix("16")
        data = encode_picture(Picture(*stored, metadata=Metadata(exif=camera(orientation))), kind, None, Path("a"))
        if kind == "TIFF":  # its orientation is a tag of its own: put it in the place of one that says nothing here
            data = data.replace(struct.pack("<HHLL", 284, 3, 1, 1), struct.pack("<HHLL", 274, 3, 1, orientation))
        picture = decoded(data)
        assert np.array_equal(picture.pixels, upright)
        assert np.array_equal(picture.alpha, alpha)
        again = decoded(encode_picture(picture, kind, None, Path("a")))
        assert np.array_equal(again.pixels, upright)

    def test_of_a_jpeg_and_its_exif(self) -> None:
        stored = np.rot90(photo(), 1)
        picture = decoded(saved(Pil.fromarray(stored), "JPEG", quality=95, exif=camera(6)))
        assert picture.pixels.shape == photo().shape
        assert np.abs(picture.pixels.astype(int) - photo()).mean() < 4
        exif = Pil.Exif()
        exif.load(picture.metadata.exif)
        assert (exif[0x0112], exif[0x010F]) == (1, "Twin Lens Co.")

    def test_in_xmp_alone(self) -> None:
        picture = decoded(saved(Pil.fromarray(np.rot90(photo(), 1)), "JPEG", xmp=XMP))
        assert picture.pixels.shape == photo().shape
        assert b'tiff:Orientation="1"' in picture.metadata.xmp


class TestMetadata:
    @pytest.mark.parametrize("kind", ["PNG", "PNG16", "JPEG", "WEBP", "TIFF", "TIFF16"])
    @pytest.mark.parametrize("target", ["PNG", "PNG16", "JPEG", "WEBP", "TIFF", "TIFF16"])
    def test_travels_from_any_format_to_any(self, kind: str, target: str) -> None:
        pixels = photo().astype(np.uint16) * 257
        meta = Metadata(srgb(), camera(), XMP)
        for name in (kind, target):
            picture = Picture(pixels if name.endswith("16") else photo(), metadata=meta)
            meta = decoded(encode_picture(picture, name.removesuffix("16"), None, Path("a"))).metadata
        assert meta.icc == srgb()
        assert meta.xmp in (XMP.replace(b"6", b"1"), XMP.replace(b'tiff:Orientation="6"', b""))
        exif = Pil.Exif()
        exif.load(meta.exif)
        assert exif[0x010F] == "Twin Lens Co."
        assert exif.get_ifd(0x8769)[0x829A] == pytest.approx(0.004)
        assert exif.get_ifd(0x8769)[0x927C] == b"maker's own"
        assert exif.get_ifd(0x8825)[1] == "N"

    def test_exif_that_needs_no_change_is_not_touched(self) -> None:
        for kind in ("PNG", "JPEG", "WEBP"):
            assert decoded(saved(Pil.fromarray(photo()), kind, exif=camera())).metadata.exif == camera()

    @pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0garbage", camera()[:60], b"Exif\0\0II*\0\xff\xff\xff\xff"])
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    def test_broken_exif_does_not_cost_the_picture(self, kind: str, exif: bytes) -> None:
        picture = decoded(saved(Pil.fromarray(photo()), kind, exif=exif))
        assert picture.pixels.shape == photo().shape
        for target in ("PNG", "JPEG", "WEBP", "TIFF"):
            assert decoded(encode_picture(picture, target, None, Path("a"))).pixels.shape == photo().shape

    def test_threads_do_not_let_warnings_through(self, request: pytest.FixtureRequest) -> None:
        """Warnings and the limit on pixels are the process's: here they are errors, and must be so afterwards."""
        tiff = encode_picture(Picture(photo(), metadata=Metadata(exif=camera())), "TIFF", None, Path("a"))
        at = tiff.index(struct.pack("<H", 0x927C)) + 8  # where its value lies
        files = [
            tiff[:at] + b"\xff\xff\xff\x7f" + tiff[at + 4 :],
            saved(Pil.fromarray(photo()), "PNG", exif=camera()[:60]),
        ]
        before = list(warnings.filters), Pil.MAX_IMAGE_PIXELS
        request.addfinalizer(partial(sys.setswitchinterval, sys.getswitchinterval()))
        sys.setswitchinterval(1e-6)
        for _ in range(8):
            with ThreadPoolExecutor(8) as pool:
                for picture in pool.map(decoded, files * 40):
                    assert picture.pixels.shape == photo().shape
            assert (list(warnings.filters), Pil.MAX_IMAGE_PIXELS) == before

    def test_tags_that_say_how_pixels_are_stored_stay_behind(self) -> None:
        exif = Pil.Exif()
        exif[256], exif[259], exif[273], exif[0x010F] = 7, 5, 99, "Twin Lens Co."
        data = encode_picture(Picture(photo(), metadata=Metadata(exif=exif.tobytes())), "TIFF", None, Path("a"))
        assert np.array_equal(decoded(data).pixels, photo())

    def test_a_profile_of_another_colour_space_is_left_out(self) -> None:
        grey = Picture(photo()[..., :1].repeat(3, 2), grey=True, metadata=Metadata(icc=grey_profile()))
        assert decoded(encode_picture(grey, "PNG", None, Path("a"))).metadata.icc == grey_profile()
        assert decoded(encode_picture(grey, "WEBP", None, Path("a"))).metadata.icc is None

    def test_blocks_too_large_for_jpeg_are_left_out(self) -> None:
        meta = Metadata(exif=camera() + bytes(70000), xmp=XMP + bytes(70000))
        written = decoded(encode_picture(Picture(photo(), metadata=meta), "JPEG", None, Path("a"))).metadata
        assert written == Metadata()


class TestBadInput:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableImage, match=r"cannot read .*nowhere\.png: No such file"):
            read_picture(tmp_path / "nowhere.png")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableImage, match=r"cannot read .*: Is a directory"):
            read_picture(tmp_path)

    def test_a_null_in_the_name(self) -> None:
        with pytest.raises(UnreadableImage, match="null"):
            read_picture(Path("a\0b.png"))

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").touch()
        with pytest.raises(UnreadableImage, match=r"a\.png: it is empty"):
            read_picture(tmp_path / "a.png")

    @pytest.mark.parametrize("data", [b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"II*\0", b"GIF89a" + bytes(99)])
    def test_no_picture(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(UnreadableImage, match=r"cannot read .*a\.png: "):
            read_picture(tmp_path / "a.png")

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "PNG16", "TIFF16"])
    @pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
    def test_truncated(self, kind: str, part: float, capfd: pytest.CaptureFixture[str]) -> None:
        pixels = noise(64, 64, 3, dtype=np.uint16 if kind.endswith("16") else np.uint8)
        data = encode_picture(Picture(pixels), kind.removesuffix("16"), None, Path("a"))
        with pytest.raises(UnreadableImage, match="cannot read photo"):
            decoded(data[: int(len(data) * part)])
        assert kind.startswith("TIFF") or capfd.readouterr().err == ""  # Pillow's libtiff speaks for itself

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "PNG16"])
    def test_mutated_files_are_read_or_refused(self, kind: str) -> None:
        rng = np.random.default_rng(7)
        wide = kind.endswith("16")
        picture = Picture(
            photo().astype(np.uint16) * 257 if wide else photo(), metadata=Metadata(srgb(), camera(), XMP)
        )
        whole = np.frombuffer(encode_picture(picture, kind.removesuffix("16"), None, Path("a")), np.uint8)
        for _ in range(40):
            data = whole.copy()
            data[rng.integers(len(data), size=3)] = rng.integers(256, size=3)
            data[rng.integers(min(64, len(data)))] ^= 1 << rng.integers(8)
            try:
                decoded(data.tobytes())
            except UnreadableImage as error:
                assert str(error).startswith("cannot read photo: ")  # noqa: PT017

    def test_absurd_sizes_are_refused_before_memory_is_touched(self) -> None:
        data = bytearray(saved(Pil.fromarray(photo()), "BMP"))
        data[18:26] = struct.pack("<ll", 65535, 65535)
        with pytest.raises(UnreadableImage, match=r"65535x65535 is more than the 200 megapixels"):
            decoded(bytes(data))

    def test_large_honest_pictures_are_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Pil, "MAX_IMAGE_PIXELS", 100)
        assert decoded(saved(Pil.fromarray(photo()), "PNG")).pixels.shape == photo().shape
        assert Pil.MAX_IMAGE_PIXELS == 100

    def test_floating_point(self) -> None:
        with pytest.raises(UnreadableImage, match="convert it"):
            decoded(saved(Pil.fromarray(np.ones((4, 4), np.float32)), "TIFF"))


class TestBadOutput:
    def test_unknown_suffix(self, tmp_path: Path) -> None:
        with pytest.raises(StereosrError, match=r"one of \.png"):
            write_picture(tmp_path / "a.gif", Picture(photo()))

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StereosrError, match="No such file"):
            write_picture(tmp_path / "nowhere" / "a.png", Picture(photo()))

    def test_the_target_is_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").mkdir()
        with pytest.raises(StereosrError, match=r"cannot write .*a\.png"):
            write_picture(tmp_path / "a.png", Picture(photo()))
        assert [p.name for p in tmp_path.iterdir()] == ["a.png"]

    def test_a_name_too_long(self, tmp_path: Path) -> None:
        with pytest.raises(StereosrError, match="File name too long"):
            write_picture(tmp_path / f"{'a' * 300}.png", Picture(photo()))
        assert not list(tmp_path.iterdir())

    def test_disk_full_leaves_the_old_file_and_no_part(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(b"old")

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(StereosrError, match="No space left"):
            write_picture(path, Picture(photo()))
        assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
        assert path.read_bytes() == b"old"

    @pytest.mark.parametrize("second", ["nowhere/b.png", "b.gif"])
    def test_of_two_pictures_none_is_written_if_one_cannot_be(self, tmp_path: Path, second: str) -> None:
        (tmp_path / "a.png").write_bytes(b"old")
        with pytest.raises(StereosrError, match=second):
            write_pictures([(tmp_path / "a.png", Picture(photo())), (tmp_path / second, Picture(photo()))])
        assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
        assert (tmp_path / "a.png").read_bytes() == b"old"

    def test_interruption_leaves_no_part(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_picture(tmp_path / "a.png", Picture(photo()))
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(("suffix", "side"), [("webp", 16384), ("jpg", 65501)])
    def test_wider_than_the_format_allows(self, tmp_path: Path, suffix: str, side: int) -> None:
        with pytest.raises(StereosrError, match=rf"{side}x1 is more than .* use PNG"):
            write_picture(tmp_path / f"a.{suffix}", Picture(np.zeros((1, side, 3), np.uint8)))

    def test_permissions_follow_the_umask(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "a.png", Picture(photo()))
        (tmp_path / "b").touch()
        assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_no_temporary_name_is_a_picture() -> None:
    assert ".part" not in images.SUFFIXES


def test_reading_leaves_the_hosts_warnings_and_limits_alone(tmp_path: Path) -> None:
    """Warnings and Pillow's limit belong to the process: other threads must not see them change."""
    path = tmp_path / "a.png"
    write_picture(path, Picture(photo()))
    arrived, limits = [], set()
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as readers:
        warnings.simplefilter("always")
        warnings.showwarning = lambda *_args, **_kw: arrived.append(1)  # type: ignore[assignment]
        reading = [readers.submit(read_picture, path) for _ in range(200)]
        count = 0
        while not all(future.done() for future in reading):
            warnings.warn("of the host", UserWarning, stacklevel=1)
            limits.add(Pil.MAX_IMAGE_PIXELS)
            count += 1
    assert len(arrived) == count > 0
    assert len(limits) == 1


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("PNG", "1"), ("JPEG", "CMYK"), ("BMP", "RGB")],
)
def test_the_limit_that_the_host_set_for_pillow_is_not_ours(
    kind: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor its standard one, which a band of 256 rows passes where a picture has 350,000 columns."""
    data = saved(Pil.fromarray(photo(300, 40)).convert(mode), kind)
    expected = np.asarray(Pil.open(io.BytesIO(data)).convert("RGB"))
    monkeypatch.setattr(Pil, "MAX_IMAGE_PIXELS", 100)
    np.testing.assert_array_equal(decoded(data).pixels, expected)
