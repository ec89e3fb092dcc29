"""Read broken files, and bombs: FOLDER COUNT. Prints how many were read and refused, and the peak of memory."""

import io
import json
import resource
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image as Pil
from PIL import PngImagePlugin

from stereosr.io.detect import detect
from stereosr.io.encode import encode_picture
from stereosr.io.images import Picture, UnreadableImage, read_picture
from stereosr.io.layouts import STEREO_SUFFIXES, read_stereo, write_stereo
from stereosr.io.metadata import Metadata

warnings.filterwarnings("ignore", module=r"PIL\.")  # of what is odd in a file
folder, count = Path(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(1)
y, x = np.mgrid[:40, :56]
pixels = np.dstack([128 + 90 * np.sin(x / 9), 128 + 90 * np.cos(y / 7), (x + y) * 2]).astype(np.uint8)
exif = Pil.Exif()
exif[0x010F], exif[0x0112], exif[0x8769] = "Twin Lens Co.", 6, {0x829A: 0.004, 0x927C: b"maker's own"}
metadata = Metadata(exif=exif.tobytes(), xmp=b"<x:xmpmeta/>")
picture = Picture(pixels, metadata=metadata)
wide = Picture(pixels.astype(np.uint16) * 257, pixels[..., 0].astype(np.uint16) * 257, metadata=metadata)


def written(suffix, kind, view):
    return suffix, np.frombuffer(encode_picture(view, kind, None, Path("a")), np.uint8)


def pillow(suffix, kind, image, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return suffix, np.frombuffer(buffer.getvalue(), np.uint8)


def stereo(suffix):
    write_stereo(folder / f"whole.{suffix}", picture, picture, suffix)
    return suffix, np.fromfile(folder / f"whole.{suffix}", np.uint8)


image = Pil.fromarray(pixels)
whole = [
    *(written(kind.lower(), kind, picture) for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP")),
    *(written(kind.lower(), kind, wide) for kind in ("PNG", "TIFF")),
    pillow("png", "PNG", image.quantize(16), transparency=3),
    pillow("jpg", "JPEG", image.convert("CMYK"), icc_profile=b"no profile"),
    pillow("jpg", "JPEG", image, progressive=True),
    pillow("tif", "TIFF", image, compression="tiff_lzw"),
    pillow("webp", "WEBP", image, quality=60),
    stereo("mpo"),
    stereo("jps"),
]
SIZES = [0, 1, 255, 4096, 32768, 65535, 2**24, 2**31 - 1, 2**32 - 1]


def absurd(data, suffix):
    size = int(rng.choice(SIZES)), int(rng.choice(SIZES))
    raw = bytearray(data.tobytes())
    if suffix == "png":
        raw[16:24] = struct.pack(">LL", *size)
        raw[29:33] = struct.pack(">L", zlib.crc32(raw[12:29]))
    elif suffix == "bmp":
        raw[18:26] = struct.pack("<LL", *size)
    elif suffix == "webp":
        raw[20:30] = rng.integers(256, size=10).astype(np.uint8).tobytes()
    elif suffix.startswith("tif"):
        at = struct.unpack("<L", raw[4:8])[0] + 2
        for tag in range(3):
            raw[at + 12 * tag + 8 : at + 12 * tag + 12] = struct.pack("<L", size[tag % 2])
    else:
        at = max(raw.find(b"\xff\xc0"), raw.find(b"\xff\xc2"))
        raw[at + 5 : at + 9] = struct.pack(">HH", size[0] & 65535, size[1] & 65535)
    return np.frombuffer(bytes(raw), np.uint8)


def mutated(data, suffix):
    data, kind = data.copy(), rng.integers(6)
    if kind == 0:
        return data[: rng.integers(len(data))]
    if kind == 1:
        for at in rng.integers(len(data), size=4):
            data[at] ^= 1 << rng.integers(8)
    elif kind == 2:
        data[rng.integers(min(400, len(data)), size=3)] = rng.integers(256, size=3)
    elif kind == 3:
        at, length = rng.integers(len(data)), rng.integers(1, 64)
        data[at : at + length] = 0 if rng.random() < 0.5 else 255
    elif kind == 4:
        at, to = np.sort(rng.integers(len(data), size=2))
        return np.delete(data, np.s_[at : min(to, at + 50)])
    else:
        return absurd(data, suffix)
    return data


def bomb(side, mode):
    """A PNG of so many zeros; with 0.2 % of the size."""
    row, packer, chunks = bytes(1 + side * (4 if mode == 6 else 1)), zlib.compressobj(1), io.BytesIO()
    packed = b"".join(packer.compress(row) for _ in range(min(side, 15000))) + packer.flush()
    chunks.write(b"\x89PNG\r\n\x1a\n")
    PngImagePlugin.putchunk(chunks, b"IHDR", struct.pack(">LLBBBBB", side, side, 8, mode, 0, 0, 0))
    PngImagePlugin.putchunk(chunks, b"IDAT", packed)
    PngImagePlugin.putchunk(chunks, b"IEND", b"")
    return "png", np.frombuffer(chunks.getvalue(), np.uint8)


def attempt(number, suffix, data):
    path = folder / f"file{number}.{suffix}"
    path.write_bytes(data.tobytes())
    try:
        detect(path)
        read_stereo(path) if f".{suffix}" in STEREO_SUFFIXES else read_picture(path)
    except UnreadableImage as error:
        if path.name not in str(error) or "\n" in str(error):
            raise
        return "refused"
    finally:
        path.unlink()
    return "read"


outcomes = {"read": 0, "refused": 0}
for number in range(count):
    suffix, data = whole[number % len(whole)]
    outcomes[attempt(number, suffix, mutated(data, suffix))] += 1
bombs = [attempt("bomb", *bomb(side, mode)) for side, mode in ((65535, 0), (14142, 6))]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
sys.stdout.write(json.dumps(outcomes | {"bombs": bombs, "peak": peak}))
