"""Both views in one file: MPO, JPS, spatial HEIC, VR180, side by side and so on; told apart, read and written."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, JpegImagePlugin
from PIL import Image as Pil

from stereosr.atomic import write_bytes
from stereosr.errors import StereosrError, UsageError
from stereosr.io.encode import ANIMATED, check_side_limit, encode_animation, encode_picture
from stereosr.io.halves import join, split, stretch
from stereosr.io.heic import heic_views, is_heic, read_heic
from stereosr.io.images import (
    SUFFIXES,
    Picture,
    UnreadableImage,
    decode_picture,
    open_image,
    read_bytes,
    read_picture,
)
from stereosr.io.marks import Layout as Layout
from stereosr.io.marks import Mark, read_mark
from stereosr.io.mpo_jps import (
    disparity_frames,
    is_mono_jps,
    jps_bytes,
    jps_header,
    mpo_bytes,
    mpo_frames,
    read_jps,
)
from stereosr.io.vr180 import has_right_eye, right_eye
from stereosr.types import Image, Pixels, quantise, to_float

STEREO_SUFFIXES: dict[str, Layout] = {
    ".mpo": "mpo",
    ".jps": "jps",
    ".pns": "sbs",
    ".heic": "heic",
    ".heif": "heic",
    ".hif": "heic",
}
"""Suffixes of files that hold both views, or may: many a HEIC file shows one. PNS is a PNG file, cross-eyed."""

JPEG_LAYOUTS: tuple[Layout, ...] = ("mpo", "jps")

_AXIS: dict[Layout, int] = {"sbs": 1, "sbs-half": 1, "ou": 0, "ou-half": 0}
_HALF: dict[Layout, Layout] = {"sbs": "sbs-half", "ou": "ou-half"}

# Measured on 52 pairs, joined either way, squeezed or not, lossless and as poor JPEG (416 pictures), and on 476 single
# photographs cut either way: without a name 3 of 416 are missed and no photograph is taken for a pair. With a name that
# may mean something else, likeness is 0.43 at least in 111 pairs, and 1 % of 150 photographs would be taken. A name
# that means nothing else is believed also where the picture has but the likeness, or but the seam.
_ALIKE, _ALIKE_IF_NAMED = 0.6, 0.4
_SEAM, _SEAM_IF_NAMED = 1.75, 1.2
_UNLIKE = 0.5  # on a draft, which differs from the picture by less than that

_SMALLEST = 32  # pixels a side, to judge by
_SCREEN = 16 / 9  # the shape of a file whose views were squeezed to fit a screen

# Least-squares matrices for red-cyan glasses, for linear light (E. Dubois, "A projection method to generate anaglyph
# stereo images", ICASSP 2001).
_DUBOIS = (
    ((0.4561, 0.500484, 0.176381), (-0.0400822, -0.0378246, -0.0157589), (-0.0152161, -0.0205971, -0.00546856)),
    ((-0.0434706, -0.0879388, -0.00155529), (0.378476, 0.73364, -0.0184503), (-0.0721527, -0.112961, 1.2264)),
)


class Look(NamedTuple):
    """What a look into a file gave.

    Attributes:
        layout: how it holds both views; None if it shows one.
        picture: the whole picture, if it had to be decoded to see that.
        why: why it shows one view, if that is known.
    """

    layout: Layout | None
    picture: Picture | None = None
    why: str = ""


def look(data: bytes, path: Path) -> Look:
    """How a file holds two views, by its headers, its suffix, its name and its halves.

    Args:
        data: the whole file.
        path: its name.

    Raises:
        UnreadableImage: as ``read_picture``.
        UsageError: for HEIC without the extra that reads it.
    """
    by_suffix, mark = STEREO_SUFFIXES.get(path.suffix.lower()), read_mark(path.stem)
    if by_suffix == "heic" or is_heic(data):
        return Look("heic" if heic_views(data, path) else None)
    file = open_image(data, path)
    if len(disparity_frames(file)) >= 2:
        return Look("mpo")
    if jps_header(file):
        return Look("jps")
    if has_right_eye(data):
        return Look("vr180")
    if _png_stereo(data) is not None:
        return Look("sbs")
    if by_suffix == "jps" and is_mono_jps(file):
        return Look(None, why="its JPS header says that it shows one view")
    if by_suffix and (by_suffix in JPEG_LAYOUTS or mark is None or not mark.ours):
        return Look(by_suffix)
    if mark and mark.layout == "anaglyph":
        return Look(None, why="it is an anaglyph, whose views cannot be told apart: give those it was made of")
    if mark and mark.layout == "wiggle":
        return Look(None, why="it is an animation to look at: give the views it was made of")
    if mark and mark.ours:
        return Look(mark.layout)
    if mark is None and min(file.size) < _SMALLEST:
        return Look(None)
    draft = _draft(file)
    if draft is not None and mark is None and not any((_likeness(draft, axis) or 0) > _UNLIKE for axis in (0, 1)):
        return Look(None)
    if draft is not None and mark is not None and mark.sure and (_likeness(draft, _AXIS[mark.layout]) or 0) > _ALIKE:
        return Look(_full_or_half(mark.layout, file.size, mark))
    picture = decode_picture(data, path)
    return Look(detect_halves(picture.pixels, path.stem), picture)


def read_pair(
    paths: Sequence[Path], layout: Layout | Literal["auto"] = "auto", decoded: Picture | None = None
) -> tuple[Picture, Picture]:
    """The left and the right view: of two files, or of one file as ``read_stereo``.

    Args:
        paths: two files, or one that holds both views.
        layout: of the one file.
        decoded: the picture of the one file, where ``detect`` decoded it.

    Returns:
        The left and the right view, upright, each in full size.

    Raises:
        UnreadableImage: as ``read_picture`` and ``read_stereo``.
        UsageError: for a layout of one file where two are given, and as ``read_stereo``.
    """
    if decoded is not None and layout != "auto":
        return split_halves(decoded, layout, paths[0])
    if len(paths) == 1:
        return read_stereo(paths[0], layout)
    if layout not in ("auto", "pair"):
        raise UsageError(f"layout {layout!r} is for one file that holds both views, and two are given: leave one out")
    left, right = map(read_picture, paths)
    return left, right


def read_stereo(path: Path, layout: Layout | Literal["auto"] = "auto") -> tuple[Picture, Picture]:
    """Read both views from one file; squeezed ones are stretched back.

    JPS is cross-eyed (the left half is the right view) unless its header says otherwise; elsewhere the left view comes
    first, unless the name is marked RL, BT (bottom-top) or cross-eyed, or ends in .pns, or a PNG's sTER chunk says so.
    What lies between the halves and belongs to neither is left out.

    Args:
        path: of the file.
        layout: how it holds the views; ``auto`` to detect that.

    Returns:
        The left and the right view, upright, each in full size.

    Raises:
        UnreadableImage: as ``read_picture``; also if nothing shows that there are two views, or one is missing.
        UsageError: for a layout that no single file can be read in.
    """
    if layout in ("pair", "anaglyph", "wiggle"):
        raise UsageError(f"{path} cannot be read as {layout}: the layouts of one file are mpo, jps, {', '.join(_AXIS)}")
    data = read_bytes(path)
    chosen, picture, why = look(data, path) if layout == "auto" else Look(layout)
    if chosen is None:
        how = f": {why}" if why else " in one file; if it is, name its layout: sbs or ou"
        raise UnreadableImage(f"{path} does not look like two views{how}", settings=() if why else ("layout",))
    if chosen == "heic":
        return read_heic(data, path)
    if chosen == "vr180":
        eyes = (decode_picture(eye, path) for eye in (data, right_eye(data, path)))
        left, right = (replace(eye, notes=()) for eye in eyes)  # what was left out of the left one is the right one
        return left, right
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
    """Write both views into one file, whole or not at all; arguments and errors as for ``encode_stereo``."""
    write_bytes(path, encode_stereo(left, right, layout, quality, path))


def encode_stereo(left: Picture, right: Picture, layout: Layout, quality: int | None, path: Path) -> bytes:
    """Encode both views as one file.

    The format follows the suffix, except that MPO and JPS are JPEG. What is joined carries the left view's metadata,
    and has the right view first if its name is so marked; MPO keeps each view's own. Anaglyphs are red-cyan and have
    no alpha.

    Args:
        left: of the same size and type as the right one.
        right: likewise.
        layout: how the file holds them.
        quality: as for ``write_pictures``.
        path: the file's name.

    Returns:
        The bytes of the file.

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
    if layout in ("pair", "heic", "vr180"):
        raise UsageError(f"cannot write {path}: {layout} is {'two files' if layout == 'pair' else 'only read'}")
    if layout == "wiggle":
        if path.suffix.lower() not in ANIMATED:
            raise UsageError(f"cannot write {path}: a wiggle is an animation, {' or '.join(ANIMATED)}")
        return encode_animation((left, right), quality, path)
    return encode_picture(join_views(left, right, layout, path), SUFFIXES.get(path.suffix.lower(), ""), quality, path)


def check_fits_format(path: Path, height: int, width: int, layout: Layout) -> None:
    """Raises StereosrError if views of this size make a picture too large for the file's format: asked before work."""
    rows, columns = {"sbs": (1, 2), "jps": (1, 2), "ou": (2, 1)}.get(layout, (1, 1))
    kinds = ANIMATED if layout == "wiggle" else SUFFIXES
    kind = "JPEG" if layout in JPEG_LAYOUTS else kinds.get(path.suffix.lower(), "")
    check_side_limit(rows * height, columns * width, kind, path)


# --- halves ----------------------------------------------------------------------------------------------------------


def detect_halves(pixels: Pixels, stem: str) -> Layout | None:
    """How the halves of a picture hold two views, None if they do not.

    They must show the same things and meet in an edge: a clear one, unless the name says what to expect. A name that
    can mean nothing else is believed where the picture does not speak against it.
    """
    green, mark = np.ascontiguousarray(pixels[..., 1]), read_mark(stem)
    candidates: tuple[Layout, ...] = ("sbs", "ou")
    for layout in candidates:
        axis = _AXIS[layout]
        if mark is None and min(green.shape) < _SMALLEST:
            continue
        if mark is not None and _AXIS.get(mark.layout) != axis:
            continue
        if _shows_two(green, axis, mark):
            return _full_or_half(layout, green.shape[::-1], mark)
    return None


def _full_or_half(layout: Layout, size: tuple[int, ...], mark: Mark | None) -> Layout:
    """What is side by side or over-under: squeezed if its name says so, or without a clear word if it fits a screen."""
    if mark is not None and mark.exact:
        return mark.layout
    return _HALF[layout] if abs(size[0] / size[1] / _SCREEN - 1) < 0.02 else layout


def _shows_two(green: Pixels, axis: int, mark: Mark | None) -> bool:
    if min(green.shape) < 2:
        return False
    if min(green.shape) < _SMALLEST:
        return mark is not None and mark.sure
    alike, seam = _likeness(green, axis), _seam(green, axis)
    if alike is None:
        return mark is not None and mark.sure
    if mark is None:
        return alike > _ALIKE and seam > _SEAM
    agrees = alike > _ALIKE_IF_NAMED and seam > _SEAM_IF_NAMED
    return agrees or (mark.sure and (alike > _ALIKE or seam > _SEAM))


def _draft(file: Pil.Image) -> Pixels | None:
    """A JPEG file's green or grey in a small size, which takes a fraction of the time; None for others."""
    if not isinstance(file, JpegImagePlugin.JpegImageFile) or file.mode not in ("L", "RGB"):
        return None
    try:
        if file.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            return None
        file.draft("L", (256, 256))
        return np.asarray(file.convert("L"))
    except Exception:  # as in decode_picture, which says what is wrong
        return None


def split_halves(picture: Picture, layout: Layout, path: Path) -> tuple[Picture, Picture]:
    """Cut a side-by-side or over-under picture in two; squeezed views are stretched back.

    Args:
        picture: both views.
        layout: ``sbs``, ``sbs-half``, ``ou`` or ``ou-half``.
        path: the file's name, which may say that the right view comes first.

    Returns:
        The left and the right view.

    Raises:
        UnreadableImage: if there is no room for two.
    """
    first, second = split(picture, _AXIS[layout], layout in _HALF.values(), path)
    return (second, first) if is_right_first(path, layout) else (first, second)


def join_views(left: Picture, right: Picture, layout: Layout, path: Path) -> Picture:
    """Both views as one picture, for a file of this name: side by side, over-under or as an anaglyph."""
    if layout == "anaglyph":
        return _anaglyph(left, right)
    first, second = left, right
    if is_right_first(path, layout):
        first, second = replace(right, metadata=left.metadata), left
    if layout in _HALF.values():
        first, second = (stretch(view, _AXIS[layout], 0.5) for view in (first, second))
    return join(first, second, _AXIS[layout])


def is_right_first(path: Path, layout: Layout) -> bool:
    """Whether a file's name says that the right view comes first."""
    mark = read_mark(path.stem)
    if mark is not None and _AXIS.get(mark.layout) == _AXIS[layout] and mark.right_first:
        return True
    return path.suffix.lower() == ".pns" and _AXIS[layout] == 1


def _likeness(green: Pixels, axis: int) -> float | None:
    """How well textured blocks of one half are found in the other, moved sideways: the median of their correlations;
    None where there are next to none."""
    size = green.shape[axis] // 2
    views = (green[:size], green[-size:]) if axis == 0 else (green[:, :size], green[:, -size:])
    first, second = (cv2.resize(v, (128, 96), interpolation=cv2.INTER_AREA).astype(np.float32) for v in views)
    block, reach, flat = 16, 16, 2 / 255 * np.iinfo(green.dtype).max
    best = []
    for y in range(0, 96, block):
        for x in range(0, 128, block):
            part = first[y : y + block, x : x + block]
            if cv2.meanStdDev(part)[1][0, 0] > flat:
                around = second[max(0, y - 1) : y + block + 1, max(0, x - reach) : x + block + reach]
                best.append(cv2.matchTemplate(around, part, cv2.TM_CCOEFF_NORMED).max())
    return float(np.median(best)) if len(best) >= 4 else None


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
