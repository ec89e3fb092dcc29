"""What travels with a picture fits its new size, and what cannot fit is left out and said."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags
from PIL import Image as Pil

from stereosr.io.encode import encode_picture
from stereosr.io.images import Picture, decode_picture
from stereosr.io.metadata import Metadata, upright_xmp

PIXELS = np.full((12, 20, 3), 90, np.uint8)
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x07\x1c\x02\x19\0\x02hi\0"


def exif(order: str, kind: int = 5) -> bytes:
    """A block with sizes and a sensor's pixels an inch, and bytes of a camera's own at its end."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}LH", 8, 1)
    head += struct.pack(f"{order}HHLL", 0x8769, 4, 1, 26) + bytes(4)
    rows = (
        struct.pack(f"{order}HHLHH", 0xA002, 3, 1, 20, 0)
        if order == "<"
        else struct.pack(">HHLHH", 0xA002, 3, 1, 20, 0)
    )
    rows += struct.pack(f"{order}HHLL", 0xA003, 4, 1, 12) + struct.pack(f"{order}HHLL", 0xA20E, kind, 1, 68)
    value = struct.pack(f"{order}LL", 4_000_000_000, 800_001) if kind == 5 else struct.pack(f"{order}d", 1000)
    return b"Exif\0\0" + head + struct.pack(f"{order}H", 3) + rows + bytes(4) + value + b"a camera's own"


def numbers(block: bytes) -> dict[int, float]:
    read = Pil.Exif()
    read.load(block)
    return {tag: float(value) for tag, value in read.get_ifd(ExifTags.IFD.Exif).items()}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [5, 12])
def test_sizes_in_exif_are_those_of_the_new_picture_and_the_rest_stays(order: str, kind: int) -> None:
    block = exif(order, kind)
    before = numbers(block)
    new = Metadata(exif=block).scaled(4).of_size(48, 80).exif
    assert new is not None
    after = numbers(new)
    assert (after[0xA002], after[0xA003]) == (80, 48)
    assert after[0xA20E] == pytest.approx(4 * before[0xA20E], rel=1e-6)
    assert new.endswith(b"a camera's own")
    assert len(new) == len(block)
    assert Metadata(exif=block).of_size(70_000, 80_000).exif is not None
    assert numbers(Metadata(exif=block).of_size(70_000, 80_000).exif or b"")[0xA002] == 80_000


@pytest.mark.parametrize("block", [b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", exif("<")[:40], exif(">")[:75], b"x"])
def test_a_broken_block_stays_as_it_is(block: bytes) -> None:
    assert Metadata(exif=block).scaled(2).of_size(1, 2).exif is not None


def test_numbers_in_xmp_are_those_of_the_new_picture() -> None:
    packet = (
        b'<x GPano:FullPanoWidthPixels="320" GPano:CroppedAreaLeftPixels="80" GPano:PoseHeadingDegrees="20" '
        b'tiff:ImageWidth="160"><exif:PixelYDimension>120</exif:PixelYDimension></x>'
    )
    assert Metadata(xmp=packet).scaled(2).of_size(240, 320).xmp == (
        b'<x GPano:FullPanoWidthPixels="640" GPano:CroppedAreaLeftPixels="160" GPano:PoseHeadingDegrees="20" '
        b'tiff:ImageWidth="320"><exif:PixelYDimension>240</exif:PixelYDimension></x>'
    )


def test_what_does_not_fit_is_left_out_and_said() -> None:
    packet = (
        b'<x xmlns:hdrgm="http://a/" hdrgm:Version="1.0" xmpNote:HasExtendedXMP="99" dc:title="kept">'
        b'<Container:Directory><rdf:Seq Item:Mime="image/jpeg"/></Container:Directory><hdrgm:Gamma/></x>'
    )
    kept, said = upright_xmp(packet)
    assert kept == b'<x xmlns:hdrgm="http://a/" dc:title="kept"></x>'
    assert said == ["gain map or motion picture", "gain map", "extended XMP"]
    buffer = io.BytesIO()
    Pil.fromarray(PIXELS).save(buffer, "JPEG", xmp=packet)
    picture = decode_picture(buffer.getvalue(), Path("a.jpg"))
    assert picture.metadata.xmp == kept
    assert picture.notes[0].startswith("a.jpg: left out, as it fits the old pixels only: gain map")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_dots_per_inch_travel(kind: str) -> None:
    data = encode_picture(Picture(PIXELS, metadata=Metadata(dpi=(300, 200))), kind, None, Path("a"))
    with Pil.open(io.BytesIO(data)) as file:
        assert [round(float(value)) for value in file.info["dpi"]] == [300, 200]
    if kind != "TIFF":  # which has it as EXIF does
        assert decode_picture(data, Path("a")).metadata.dpi == pytest.approx((300, 200), abs=0.1)


def test_a_jpegs_comment_and_captions_travel() -> None:
    picture = Picture(PIXELS, metadata=Metadata(comment=b"hello", iptc=IPTC))
    data = encode_picture(picture, "JPEG", None, Path("a"))
    assert decode_picture(data, Path("a")).metadata == picture.metadata
    assert decode_picture(encode_picture(Picture(PIXELS), "JPEG", None, Path("a")), Path("a")).metadata == Metadata()
    assert decode_picture(encode_picture(picture, "PNG", None, Path("a")), Path("a")).metadata == Metadata()
