"""Both views in one file: MPO, JPS, spatial HEIC, side by side, over-under, anaglyph; told apart, read and written."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from stereosr.atomic import write_bytes
from stereosr.errors import StereosrError, UsageError
from stereosr.io.encode import check_side_limit, encode_picture
from stereosr.io.halves import join, split, stretch
from stereosr.io.heic import heic_views, read_heic
from stereosr.io.images import (
    SUFFIXES,
    Picture,
    UnreadableImage,
    decode_picture,
    open_image,
    read_bytes,
)
from stereosr.io.mpo_jps import disparity_frames, jps_bytes, jps_header, mpo_bytes, mpo_frames, read_jps
from stereosr.types import Image, Pixels, quantise, to_float

Layout = Literal["pair", "sbs", "sbs-half", "ou", "ou-half", "mpo", "jps", "heic", "anaglyph"]
"""How two views lie on disk: ``pair`` is two files, ``heic`` can only be read, ``anaglyph`` only written."""

STEREO_SUFFIXES: dict[str, Layout] = {".mpo": "mpo", ".jps": "jps", ".heic": "heic"}
"""Suffixes of files that hold both views, or may: many a HEIC file shows one."""

JPEG_LAYOUTS: tuple[Layout, ...] = ("mpo", "jps")

_AXIS: dict[Layout, int] = {"sbs": 1, "sbs-half": 1, "ou": 0, "ou-half": 0}
_HALF: dict[Layout, Layout] = {"sbs": "sbs-half", "ou": "ou-half"}

# Players' marks in a stem, between anything but letters and digits; they are believed only if the halves agree, for
# LR is also low resolution and "ou" a word.
_NAMES: tuple[tuple[str, Layout], ...] = (
    (r"(h|half)[-_. ]?(sbs|lr|rl)|sbs[-_. ]?half", "sbs-half"),
    (r"(h|half)[-_. ]?(ou|tab|tb|bt)|(ou|tab|tb)[-_. ]?half", "ou-half"),
    (r"sbs|lr|rl|3dh", "sbs"),
    (r"ou|tab|tb|bt|3dv", "ou"),
)
_RIGHT_FIRST = {1: "h?rl", 0: "h?bt"}

# Measured on 52 pairs, joined either way, squeezed or not, lossless and as poor JPEG (416 pictures), and on 476 single
# photographs cut either way: without a name 3 of 416 are missed and no photograph is taken for a pair; with a name
# none is missed, and 2 photographs are taken.
_ALIKE = 0.6
_SEAM, _SEAM_IF_NAMED = 1.75, 1.2

_SCREEN = 16 / 9  # the shape of a file whose views were squeezed to fit a screen

# Least-squares matrices for red-cyan glasses, for linear light (E. Dubois, "A projection method to generate anaglyph
# stereo images", ICASSP 2001).
_DUBOIS = (
    ((0.4561, 0.500484, 0.176381), (-0.0400822, -0.0378246, -0.0157589), (-0.0152161, -0.0205971, -0.00546856)),
    ((-0.0434706, -0.0879388, -0.00155529), (0.378476, 0.73364, -0.0184503), (-0.0721527, -0.112961, 1.2264)),
)


def detect_layout(path: Path) -> Layout | None:
    """How a file holds two views, by its headers, its suffix, its name and its halves; None if it shows one.

    A file that cannot be read is judged by its suffix alone: reading it will say what is wrong.

    Raises:
        UsageError: for HEIC without the extra that reads it.
    """
    try:
        return _detect(read_bytes(path), path)[0]
    except UnreadableImage:
        return STEREO_SUFFIXES.get(path.suffix.lower())


def _detect(data: bytes, path: Path) -> tuple[Layout | None, Picture | None]:
    """How a file holds two views, and the whole picture if it had to be decoded to see that."""
    by_suffix = STEREO_SUFFIXES.get(path.suffix.lower())
    if by_suffix == "heic":
        return ("heic" if heic_views(data, path) else None), None
    file = open_image(data, path)
    if len(disparity_frames(file)) >= 2:
        return "mpo", None
    if jps_header(file):
        return "jps", None
    if _png_stereo(data) is not None:
        return "sbs", None
    if by_suffix:
        return by_suffix, None
    picture = decode_picture(data, path)
    return detect_halves(picture.pixels, path.stem), picture


def read_stereo(path: Path, layout: Layout | Literal["auto"] = "auto") -> tuple[Picture, Picture]:
    """The left and the right view in a file, in full size: squeezed ones are stretched back.

    JPS is cross-eyed (the left half is the right view) unless its header says otherwise; elsewhere the left view comes
    first, unless the name is marked RL or BT (bottom-top), or a PNG's sTER chunk says so. What lies between the halves
    and belongs to neither is left out.

    Raises:
        UnreadableImage: as ``read_picture``; also if nothing shows that there are two views, or one is missing.
        UsageError: for a layout that no single file can be read in.
    """
    if layout in ("pair", "anaglyph"):
        raise UsageError(f"{path} cannot be read as {layout}: the layouts of one file are mpo, jps, {', '.join(_AXIS)}")
    data = read_bytes(path)
    chosen, picture = _detect(data, path) if layout == "auto" else (layout, None)
    if chosen is None:
        raise UnreadableImage(f"{path} does not look like two views in one file; if it is, say --layout sbs or ou")
    if chosen == "heic":
        return read_heic(data, path)
    if chosen == "mpo":
        first, second = mpo_frames(data, path)
        return decode_picture(first, path), decode_picture(second, path)
    if chosen == "jps":
        return read_jps(data, path)
    mode = _png_stereo(data)
    if chosen == "sbs" and mode is not None:
        return _read_png_stereo(decode_picture(data, path), mode, path)
    return split_halves(picture or decode_picture(data, path), chosen, path)


def write_stereo(path: Path, left: Picture, right: Picture, layout: Layout, quality: int | None = None) -> None:
    """Write both views into one file, whole or not at all. Everything else as ``encode_stereo``."""
    write_bytes(path, encode_stereo(left, right, layout, quality, path))


def encode_stereo(left: Picture, right: Picture, layout: Layout, quality: int | None, path: Path) -> bytes:
    """The bytes of a file of this name that holds both views; ``quality`` as in ``write_picture``.

    The format follows the suffix, except that MPO and JPS are JPEG. What is joined carries the left view's metadata,
    and has the right view first if its name is so marked; MPO keeps each view's own. Anaglyphs are red-cyan and have
    no alpha.

    Raises:
        StereosrError: if the views differ in size or depth, or as ``write_picture``.
        UsageError: for ``pair``, which is two files, ``heic``, and a suffix that contradicts the layout.
    """
    if (left.pixels.shape, left.pixels.dtype) != (right.pixels.shape, right.pixels.dtype):
        sizes = " and ".join(f"{p.pixels.shape[1]}x{p.pixels.shape[0]} {p.pixels.dtype}" for p in (left, right))
        raise StereosrError(f"cannot write {path}: the views are {sizes}; they must be alike")
    if layout in JPEG_LAYOUTS:
        if path.suffix.lower() not in (f".{layout}", ".jpg", ".jpeg"):
            raise UsageError(f"cannot write {path}: {layout} is JPEG inside; its suffix must be .{layout} or .jpg")
        return (mpo_bytes if layout == "mpo" else jps_bytes)(left, right, quality, path)
    if layout in ("pair", "heic"):
        raise UsageError(f"cannot write {path}: {layout} is {'two files' if layout == 'pair' else 'only read'}")
    return encode_picture(join_views(left, right, layout, path), SUFFIXES.get(path.suffix.lower(), ""), quality, path)


def check_fits_format(path: Path, height: int, width: int, layout: Layout) -> None:
    """Before the work: raises StereosrError where views of this size make a picture too large for the file's format."""
    rows, columns = {"sbs": (1, 2), "jps": (1, 2), "ou": (2, 1)}.get(layout, (1, 1))
    kind = "JPEG" if layout in JPEG_LAYOUTS else SUFFIXES.get(path.suffix.lower(), "")
    check_side_limit(rows * height, columns * width, kind, path)


# --- halves ----------------------------------------------------------------------------------------------------------


def detect_halves(pixels: Pixels, stem: str) -> Layout | None:
    """How the halves of a picture hold two views, None if they do not.

    They must show the same things and meet in an edge: a clear one, unless the name says what to expect.
    """
    green = np.ascontiguousarray(pixels[..., 1])
    if min(green.shape) < 32:
        return None
    named = next((layout for words, layout in _NAMES if _is_marked(stem, words)), None)
    candidates: tuple[Layout, ...] = ("sbs", "ou")
    for layout in candidates:
        axis = _AXIS[layout]
        if named is not None and _AXIS[named] != axis:
            continue
        if _likeness(green, axis) > _ALIKE and _seam(green, axis) > (_SEAM_IF_NAMED if named else _SEAM):
            squeezed = named in _HALF.values() or abs(green.shape[1] / green.shape[0] / _SCREEN - 1) < 0.02
            return _HALF[layout] if squeezed else layout
    return None


def split_halves(picture: Picture, layout: Layout, path: Path) -> tuple[Picture, Picture]:
    """The left and the right view of a side-by-side or over-under picture, stretched back if they were squeezed.

    The name of ``path`` may say that the right one comes first.

    Raises:
        UnreadableImage: if there is no room for two.
    """
    first, second = split(picture, _AXIS[layout], layout in _HALF.values(), path)
    return (second, first) if _is_right_first(path, layout) else (first, second)


def join_views(left: Picture, right: Picture, layout: Layout, path: Path) -> Picture:
    """Both views as one picture, for a file of this name: side by side, over-under or as an anaglyph."""
    if layout == "anaglyph":
        return _anaglyph(left, right)
    first, second = left, right
    if _is_right_first(path, layout):
        first, second = replace(right, metadata=left.metadata), left
    if layout in _HALF.values():
        first, second = (stretch(view, _AXIS[layout], 0.5) for view in (first, second))
    return join(first, second, _AXIS[layout])


def _is_right_first(path: Path, layout: Layout) -> bool:
    return _is_marked(path.stem, _RIGHT_FIRST[_AXIS[layout]])


def is_named(stem: str) -> bool:
    """Does a file's name say by a player's mark that both views are in it?"""
    return any(_is_marked(stem, words) for words, _ in _NAMES)


def _is_marked(stem: str, words: str) -> bool:
    return re.search(rf"(?<![^\W_])({words})(?![^\W_])", stem, re.IGNORECASE) is not None


def _likeness(green: Pixels, axis: int) -> float:
    """How well textured blocks of one half are found in the other, moved sideways: the median of their correlations."""
    size = green.shape[axis] // 2
    views = (green[:size], green[-size:]) if axis == 0 else (green[:, :size], green[:, -size:])
    first, second = (cv2.resize(v, (128, 96), interpolation=cv2.INTER_AREA).astype(np.float32) for v in views)
    block, reach, flat = 16, 16, 2 / 255 * np.iinfo(green.dtype).max
    best = []
    for y in range(0, 96, block):
        for x in range(0, 128, block):
            part = first[y : y + block, x : x + block]
            if part.std() > flat:
                around = second[max(0, y - 1) : y + block + 1, max(0, x - reach) : x + block + reach]
                best.append(cv2.matchTemplate(around, part, cv2.TM_CCOEFF_NORMED).max())
    return float(np.median(best)) if len(best) >= 4 else 0.0


def _seam(green: Pixels, axis: int) -> float:
    """How much stronger the step between the halves is than the steps beside it."""
    middle = green.shape[axis] // 2
    strip = (green if axis else green.T)[:, middle - 9 : middle + 9].astype(np.float32)
    steps = np.abs(np.diff(strip, axis=1)).mean(0)
    beside = np.delete(steps, [7, 8, 9])  # the seam is the ninth; resizing may have widened it
    return float(steps[8] / (np.median(beside) + 0.5 / 255 * np.iinfo(green.dtype).max))


# --- PNG -------------------------------------------------------------------------------------------------------------


def _png_stereo(data: bytes) -> int | None:
    """What the sTER chunk of a PNG says (Extensions to PNG 1.2): 0 cross-eyed, 1 parallel; None where there is none."""
    at = 8
    while data.startswith(b"\x89PNG") and at < len(data) and (name := data[at + 4 : at + 8]) != b"IDAT":
        size = int.from_bytes(data[at : at + 4])
        if name == b"sTER" and size == 1 and data[at + 8] in (0, 1):
            return data[at + 8]
        at += 12 + size
    return None


def _read_png_stereo(picture: Picture, mode: int, path: Path) -> tuple[Picture, Picture]:
    """Side by side; the second one begins at a multiple of eight columns, for the sake of interlacing."""
    first, second = split(picture, 1, False, path, between=15 - (picture.pixels.shape[1] - 1) % 16)
    return (first, second) if mode else (second, first)


# --- anaglyph --------------------------------------------------------------------------------------------------------


def _anaglyph(left: Picture, right: Picture) -> Picture:
    out = np.empty_like(left.pixels)
    for at in range(0, len(out), 256):
        band = np.zeros_like(left.pixels[at : at + 256], np.float32)
        for view, matrix in zip((left, right), _DUBOIS, strict=True):
            band += _linear(to_float(view.pixels[at : at + 256])) @ np.array(matrix, np.float32).T
        out[at : at + 256] = quantise(_companded(np.clip(band, 0, 1)), out.dtype)
    return Picture(out, metadata=left.metadata)


def _linear(image: Image) -> Image:
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _companded(image: Image) -> Image:
    return np.where(image <= 0.0031308, image * 12.92, 1.055 * image ** (1 / 2.4) - 0.055).astype(np.float32)
