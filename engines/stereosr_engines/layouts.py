"""Both views in one file: MPO, JPS, spatial HEIC, side by side, over-under, anaglyph; told apart, read and written."""

import io
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image as Pil

from stereosr_engines.errors import StereosrError, UsageError
from stereosr_engines.images import (
    SUFFIXES,
    Metadata,
    Picture,
    Pixels,
    UnreadableImage,
    decode_picture,
    encode_picture,
    open_image,
    quantise,
    quiet_pillow,
    read_bytes,
    refuse_too_large,
    refuse_too_long,
    to_float,
    write_bytes,
    write_picture,
)
from stereosr_engines.types import Image

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

_MPF_ENTRIES = 0xB002
_DISPARITY = 0x020002
_UNKNOWN = b"\xff" * 8


def detect_layout(path: Path) -> Layout | None:
    """How a file holds two views, by its headers, its suffix, its name and its halves; None if it shows one.

    A file that cannot be read is judged by its suffix alone: reading it will say what is wrong.

    Raises:
        UsageError: for HEIC without the extra that reads it.
    """
    by_suffix = STEREO_SUFFIXES.get(path.suffix.lower())
    try:
        data = read_bytes(path)
        if by_suffix == "heic":
            return "heic" if _heic_views(data, path) else None
        file = open_image(data, path)
        if len(_disparity_frames(file)) >= 2:
            return "mpo"
        if _jps_header(file):
            return "jps"
        if _png_stereo(data) is not None:
            return "sbs"
        return by_suffix or detect_halves(decode_picture(data, path).pixels, path.stem)
    except UnreadableImage:
        return by_suffix


def read_stereo(path: Path, layout: Layout | Literal["auto"] = "auto") -> tuple[Picture, Picture]:
    """The left and the right view in a file, in full size: squeezed ones are stretched back.

    JPS is cross-eyed (the left half is the right view) unless its header says otherwise; elsewhere the left view comes
    first, unless the name is marked RL or BT (bottom-top), or a PNG's sTER chunk says so. What lies between the halves
    and belongs to neither is left out.

    Raises:
        UnreadableImage: as ``read_picture``; also if nothing shows that there are two views, or one is missing.
        UsageError: for a layout that no single file can be read in.
    """
    chosen = detect_layout(path) if layout == "auto" else layout
    if chosen is None:
        raise UnreadableImage(f"{path} does not look like two views in one file; if it is, say --layout sbs or ou")
    if chosen in ("pair", "anaglyph"):
        raise UsageError(f"{path} cannot be read as {chosen}: the layouts of one file are mpo, jps, {', '.join(_AXIS)}")
    data = read_bytes(path)
    if chosen == "heic":
        return _read_heic(data, path)
    if chosen == "mpo":
        first, second = _mpo_frames(data, path)
        return decode_picture(first, path), decode_picture(second, path)
    if chosen == "jps":
        return _read_jps(data, path)
    mode = _png_stereo(data)
    if chosen == "sbs" and mode is not None:
        return _read_png_stereo(decode_picture(data, path), mode, path)
    return split_halves(decode_picture(data, path), chosen, path)


def write_stereo(path: Path, left: Picture, right: Picture, layout: Layout, quality: int | None = None) -> None:
    """Write both views into one file, whole or not at all; ``quality`` as in ``write_picture``.

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
        write_bytes(path, (_mpo if layout == "mpo" else _jps)(left, right, quality, path))
    elif layout in ("pair", "heic"):
        raise UsageError(f"cannot write {path}: {layout} is {'two files' if layout == 'pair' else 'only read'}")
    else:
        write_picture(path, join_views(left, right, layout, path), quality)


def refuse_what_no_file_holds(path: Path, height: int, width: int, layout: Layout) -> None:
    """Before the work: raises StereosrError where views of this size make a picture too large for the file's format."""
    rows, columns = {"sbs": (1, 2), "jps": (1, 2), "ou": (2, 1)}.get(layout, (1, 1))
    kind = "JPEG" if layout in JPEG_LAYOUTS else SUFFIXES.get(path.suffix.lower(), "")
    refuse_too_long(rows * height, columns * width, kind, path)


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
    first, second = _split(picture, _AXIS[layout], layout in _HALF.values(), path)
    return (second, first) if _is_right_first(path, layout) else (first, second)


def join_views(left: Picture, right: Picture, layout: Layout, path: Path) -> Picture:
    """Both views as one picture, for a file of this name: side by side, over-under or as an anaglyph."""
    if layout == "anaglyph":
        return _anaglyph(left, right)
    first, second = left, right
    if _is_right_first(path, layout):
        first, second = replace(right, metadata=left.metadata), left
    if layout in _HALF.values():
        first, second = (_stretch(view, _AXIS[layout], 0.5) for view in (first, second))
    return _join(first, second, _AXIS[layout])


def _is_right_first(path: Path, layout: Layout) -> bool:
    return _is_marked(path.stem, _RIGHT_FIRST[_AXIS[layout]])


def is_named(stem: str) -> bool:
    """Does a file's name say by a player's mark that both views are in it?"""
    return any(_is_marked(stem, words) for words, _ in _NAMES)


def _is_marked(stem: str, words: str) -> bool:
    return re.search(rf"(?<![^\W_])({words})(?![^\W_])", stem, re.IGNORECASE) is not None


def _split(picture: Picture, axis: int, half: bool, path: Path, between: int = 0) -> tuple[Picture, Picture]:
    """The first and the second half along an axis, with so many pixels between them that belong to neither."""
    size = (picture.pixels.shape[axis] - between) // 2
    if size <= 0:
        raise UnreadableImage(f"cannot read {path}: there is no room for two views in one pixel")
    first, second = ((slice(None),) * axis + (part,) for part in (slice(size), slice(-size, None)))
    views = tuple(
        replace(picture, pixels=picture.pixels[at], alpha=None if picture.alpha is None else picture.alpha[at])
        for at in (first, second)
    )
    if half:
        views = tuple(_stretch(view, axis, 2) for view in views)
    return views[0], views[1]


def _stretch(picture: Picture, axis: int, factor: float) -> Picture:
    """Resize along one axis: bicubic where it grows, else by area."""
    height, width = picture.pixels.shape[:2]
    size = (round(width * factor + 0.1), height) if axis else (width, round(height * factor + 0.1))
    how = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA

    def resize(samples: Pixels) -> Pixels:
        return cv2.resize(np.ascontiguousarray(samples), size, interpolation=how).astype(samples.dtype, copy=False)

    alpha = None if picture.alpha is None else resize(picture.alpha)
    return replace(picture, pixels=resize(picture.pixels), alpha=alpha)


def _join(first: Picture, second: Picture, axis: int) -> Picture:
    views = (first, second)
    alpha = None
    if any(view.alpha is not None for view in views):
        opaque = np.full(first.pixels.shape[:2], np.iinfo(first.pixels.dtype).max, first.pixels.dtype)
        alpha = np.concatenate([opaque if view.alpha is None else view.alpha for view in views], axis)
    pixels = np.concatenate([view.pixels for view in views], axis)
    return Picture(pixels, alpha, first.grey and second.grey, first.metadata)


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


# --- JPS and MPO -----------------------------------------------------------------------------------------------------


def _jps_header(file: Pil.Image) -> tuple[int, int] | None:
    """Layout and flags of a stereoscopic ``_JPSJPS_`` descriptor (JPEG Stereo 1.2), None without one."""
    for marker, body in getattr(file, "applist", []):
        if marker == "APP3" and body.startswith(b"_JPSJPS_") and len(body) >= 14 and body[13] == 1:
            return body[12], body[11]
    return None


def _read_jps(data: bytes, path: Path) -> tuple[Picture, Picture]:
    layout, flags = _jps_header(open_image(data, path)) or (2, 0)
    if layout not in (2, 3):
        raise UnreadableImage(
            f"cannot read {path}: its header says that the views are neither side by side nor over-under"
        )
    axis = 1 if layout == 2 else 0
    first, second = _split(decode_picture(data, path), axis, bool(flags & (2 if axis else 1)), path)
    return (first, second) if flags & 4 else (second, first)


def _jps(left: Picture, right: Picture, quality: int | None, path: Path) -> bytes:
    jpeg = encode_picture(_join(replace(right, metadata=left.metadata), left, 1), "JPEG", quality, path)
    descriptor = struct.pack(">8sHBBBBH", b"_JPSJPS_", 4, 0, 0, 2, 1, 0)  # side by side, the right view first
    return _with_segment(jpeg, 3, descriptor)


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
    first, second = _split(picture, 1, False, path, between=15 - (picture.pixels.shape[1] - 1) % 16)
    return (first, second) if mode else (second, first)


def _disparity_frames(file: Pil.Image) -> list[int]:
    entries = (getattr(file, "mpinfo", None) or {}).get(_MPF_ENTRIES, [])
    return [i for i, entry in enumerate(entries) if "Disparity" in str(entry["Attribute"]["MPType"])]


def _mpo_frames(data: bytes, path: Path) -> tuple[bytes, bytes]:
    """The two JPEG files of the views: those marked as such, else the first two."""
    file = open_image(data, path)
    frames = _disparity_frames(file)
    chosen = frames[:2] if len(frames) >= 2 else range(min(2, getattr(file, "n_frames", 1)))
    if len(chosen) < 2:
        raise UnreadableImage(f"cannot read {path}: it holds one picture, not two views")
    starts: list[int] = []
    try:
        with quiet_pillow():
            for frame in chosen:
                file.seek(frame)
                starts.append(file.offset)  # type: ignore[attr-defined]
    except Exception as error:  # as in decode_picture
        raise UnreadableImage(f"cannot read {path}: its second view is missing or broken ({error})") from error
    return data[starts[0] : starts[1]], data[starts[1] :]


def _mpo(left: Picture, right: Picture, quality: int | None, path: Path) -> bytes:
    """Two JPEG files in a row and the directories that join them (CIPA DC-007, Multi-Picture Format)."""
    first, second = (encode_picture(view, "JPEG", quality, path) for view in (left, right))
    second = _with_segment(second, 2, b"MPF\0II*\0" + struct.pack("<L", 8) + _view_directory(8, 2, version=True))
    length = len(first) + 4 + len(_mpf_index(0, 0, 0))
    head = _end_of_exif(first) + 8  # offsets count from behind the marker, the length and the name of the segment
    return _with_segment(first, 2, _mpf_index(length, len(second), length - head)) + second


def _mpf_index(first: int, second: int, offset: int) -> bytes:
    """The first view's segment: a directory of both, then its own."""
    entries = struct.pack("<LLLHH", _DISPARITY | 1 << 29, first, 0, 0, 0) + struct.pack(
        "<LLLHH", _DISPARITY, second, offset, 0, 0
    )
    return (
        b"MPF\0II*\0"
        + struct.pack("<LH", 8, 3)
        + struct.pack("<HHL4s", 0xB000, 7, 4, b"0100")
        + struct.pack("<HHLL", 0xB001, 4, 1, 2)
        + struct.pack("<HHLL", _MPF_ENTRIES, 7, len(entries), 50)
        + struct.pack("<L", 50 + len(entries))
        + entries
        + _view_directory(50 + len(entries), 1, version=False)
    )


def _view_directory(at: int, number: int, version: bool) -> bytes:
    """Which view this is, counted from the left, the first being the base; angle and distance are unknown."""
    rows = [struct.pack("<HHL4s", 0xB000, 7, 4, b"0100")] if version else []
    values = at + 2 + 12 * (len(rows) + 4) + 4
    rows += [
        struct.pack("<HHLL", 0xB101, 4, 1, number),
        struct.pack("<HHLL", 0xB204, 4, 1, 1),
        struct.pack("<HHLL", 0xB205, 10, 1, values),
        struct.pack("<HHLL", 0xB206, 5, 1, values + 8),
    ]
    return struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4) + _UNKNOWN * 2


def _with_segment(jpeg: bytes, number: int, body: bytes) -> bytes:
    """A JPEG file with an application segment put where cameras put it, behind JFIF, EXIF and XMP."""
    at = _end_of_exif(jpeg)
    return jpeg[:at] + struct.pack(">BBH", 0xFF, 0xE0 + number, len(body) + 2) + body + jpeg[at:]


def _end_of_exif(jpeg: bytes) -> int:
    at = 2
    while jpeg[at : at + 2] in (b"\xff\xe0", b"\xff\xe1"):
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return at


# --- HEIC ------------------------------------------------------------------------------------------------------------


def _heic_views(data: bytes, path: Path) -> list[Any]:
    """The left and the right picture of a spatial photograph, not decoded yet; nothing if the file has no such pair.

    In a group of type ``ster`` the left view comes first (ISO/IEC 23008-12).
    """
    try:
        import pillow_heif
    except ImportError:
        raise UsageError(f'{path}: to read HEIC, pip install "stereosr[heic]"') from None
    try:
        file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
        pairs = [group["images"] for group in file.info.get("entity_groups", ()) if group["type"] == "ster"]
        return [file[number] for number in pairs[0] if number is not None] if pairs else []
    except Exception as error:  # as in decode_picture
        raise UnreadableImage(f"cannot read {path}: {error}") from error


def _read_heic(data: bytes, path: Path) -> tuple[Picture, Picture]:
    views = _heic_views(data, path)
    if len(views) != 2:
        raise UnreadableImage(f"cannot read {path}: it holds one picture, not two views")
    left, right = (_heic_picture(view, path) for view in views)
    return left, right


def _heic_picture(view: Any, path: Path) -> Picture:
    """One view; the decoder turns it upright."""
    import pillow_heif

    width, height = view.size
    refuse_too_large(width, height, view.info["bit_depth"] > 8, path)
    try:
        samples: Pixels = np.atleast_3d(np.asarray(view))
        pillow_heif.set_orientation(view.info)  # to 1, in the metadata
    except Exception as error:  # as in decode_picture
        raise UnreadableImage(f"cannot read {path}: {error}") from error
    grey, alpha = samples.shape[2] < 3, samples.shape[2] in (2, 4)
    metadata = Metadata(*(view.info.get(name) for name in ("icc_profile", "exif", "xmp")))
    pixels = samples[..., :1].repeat(3, 2) if grey else np.ascontiguousarray(samples[..., :3])
    return Picture(pixels, samples[..., -1].copy() if alpha else None, grey, metadata)


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
