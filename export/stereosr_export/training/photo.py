"""From a scene to the photographs and films of it that people own: lens, sensor, in-camera processing, JPEG or H.264.

The order is a camera's: the lens blurs, the sensor samples and adds noise, the mosaic is interpolated, edges are
sharpened, the result is stored as JPEG or as a frame of a film. NTIRE 2023's track 3 and 2024's track 2 ("realistic
degradation") are the field's version of it, without films.
"""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stereosr.evaluation.degrade import imresize, through_jpeg
from stereosr_export.training.camera import RECONSTRUCTIONS, mosaic

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

CLEAN = 0.15
"""Of the samples that stay as the field's benchmarks have them: a network must not forget clean input."""
FILMED = 0.15
"""Of the others that are a frame of a film."""
FRAMES = 3
"""Of such a film: an intra frame, and others that were predicted."""
MACROBLOCK = 16
"""H.264's unit, pixels."""


def photograph(left: UInt8, right: UInt8, scale: int, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
    """Low-resolution views as one camera would store them.

    Args:
        left: H x W x 3, RGB, uint8, sides multiples of ``scale``.
        right: the same.
        scale: how much smaller the photographs are.
        rng: decides everything.

    Returns:
        Both views, H / scale x W / scale x 3. Lens, processing and quality are the same in both, the noise is not.

    Raises:
        ModuleNotFoundError: without PyAV, which stereosr[train] brings.
    """
    if rng.random() < CLEAN:
        return imresize(left, 1 / scale), imresize(right, 1 / scale)
    lens, sensor, sharpen = _lens(scale, rng), _Sensor(rng), _sharpening(rng)
    shrink = rng.choice(("bicubic", "area", "lanczos"), p=(0.8, 0.1, 0.1))
    views: list[UInt8] = [left, right]
    if lens is not None:
        views = [
            np.asarray(cv2.filter2D(v, -1, lens, borderType=cv2.BORDER_REFLECT_101), dtype=np.uint8) for v in views
        ]
    views = [_shrink(v, scale, shrink) for v in views]

    def expose() -> list[UInt8]:
        return [sharpen(sensor.expose(v, rng)) for v in views]

    if rng.random() < FILMED:
        left, right = _film([expose() for _ in range(FRAMES)], rng)
        return left, right
    views = expose()
    for _ in range(_times_stored(rng)):
        views = _store(views, rng)
    return views[0], views[1]


def _lens(scale: int, rng: np.random.Generator) -> Float | None:
    """A Gaussian blur of up to one LR pixel, slightly longer in one direction; None in half of the samples."""
    if rng.random() < 0.5:
        return None
    long = rng.uniform(0.2, 0.9) * scale
    short, angle = long * rng.uniform(0.7, 1.0), rng.uniform(0, np.pi)
    radius = int(np.ceil(2.5 * long))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-0.5 * ((u / long) ** 2 + (v / short) ** 2))
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def _shrink(view: UInt8, scale: int, how: str) -> UInt8:
    if how == "bicubic":
        return imresize(view, 1 / scale)
    size = view.shape[1] // scale, view.shape[0] // scale
    filters = {"area": Image.Resampling.BOX, "lanczos": Image.Resampling.LANCZOS}
    return np.asarray(Image.fromarray(view).resize(size, filters[how]), dtype=np.uint8)


class _Sensor:
    """Noise: Poisson-Gaussian, white or through mosaic and reconstruction, which makes it coarse and coloured."""

    def __init__(self, rng: np.random.Generator) -> None:
        noisy = rng.random() < 0.55
        self.read = rng.uniform(0, 8) * noisy  # of 255, the same in dark and light
        self.shot = rng.uniform(0, 4) * (noisy and rng.random() < 0.5)  # of 255, at full light
        self.reconstruct = RECONSTRUCTIONS[int(rng.integers(2))] if rng.random() < 0.35 else None

    def expose(self, view: UInt8, rng: np.random.Generator) -> UInt8:
        light: Float = view.astype(np.float32)
        if self.read or self.shot:
            deviation = np.sqrt(self.read**2 + self.shot**2 * light / 255, dtype=np.float32)
            light += deviation * rng.standard_normal(view.shape, dtype=np.float32)
        recorded = _to_uint8(light)
        if self.reconstruct is None:
            return recorded
        return np.asarray(cv2.cvtColor(mosaic(recorded), self.reconstruct), dtype=np.uint8)


class _sharpening:  # noqa: N801 - called like a function
    """An unsharp mask, in one of six samples."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.amount, self.radius = rng.uniform(0.1, 0.7) * (rng.random() < 1 / 6), rng.uniform(0.6, 1.2)

    def __call__(self, view: UInt8) -> UInt8:
        if not self.amount:
            return view
        light = view.astype(np.float32)
        return _to_uint8(light + self.amount * (light - cv2.GaussianBlur(light, (0, 0), self.radius)))


def _times_stored(rng: np.random.Generator) -> int:
    """How often the picture was saved as JPEG: three of four were, one of ten of those twice."""
    return int(rng.random() < 0.75) + int(rng.random() < 0.075)


def _store(views: list[UInt8], rng: np.random.Generator) -> list[UInt8]:
    """JPEG of quality 40 to 98, most often above 75, its blocks at any offset; one in seven holds both views."""
    quality = int(rng.integers(40, 99)) if rng.random() < 0.4 else int(rng.integers(75, 99))
    subsampling = int(rng.choice((0, 1, 2), p=(0.25, 0.1, 0.65)))  # 4:4:4, 4:2:2, 4:2:0
    down, across = (int(n) for n in rng.integers(0, 16, 2))

    def jpeg(picture: UInt8) -> UInt8:
        return through_jpeg(_extend(picture, down, 0, across, 0), quality, subsampling)[down:, across:]

    if rng.random() < 1 / 7:
        left, right = np.split(jpeg(np.concatenate(views, 1)), 2, 1)
        return [left, right]
    return [jpeg(view) for view in views]


def _film(frames: list[list[UInt8]], rng: np.random.Generator) -> list[UInt8]:
    """A frame of a side-by-side film of CRF 16 to 30, which covers cameras and what is shared; blocks at any offset."""
    crf, shown = int(rng.integers(16, 31)), int(rng.integers(len(frames)))
    down, across = (int(n) for n in rng.integers(0, MACROBLOCK, 2))
    height, width = frames[0][0].shape[:2]
    below, beside = -(down + height) % MACROBLOCK, -(across + width) % MACROBLOCK
    film = [np.concatenate([_extend(v, down, below, across, beside) for v in views], 1) for views in frames]
    return [v[down : down + height, across : across + width] for v in np.split(through_h264(film, crf)[shown], 2, 1)]


def through_h264(frames: list[UInt8], crf: int) -> list[UInt8]:
    """Frames as they are decoded from H.264: x264 ``medium``, 4:2:0, one thread, so that the same come out again.

    Args:
        frames: each H x W x 3, RGB, uint8; H and W multiples of 16, so that no pixel is made up at the borders.
        crf: constant rate factor, 0 (best) to 51.

    Raises:
        ModuleNotFoundError: without PyAV, which stereosr[train] brings.
    """
    import av  # only films need it

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as writer:
        stream = writer.add_stream("libx264", rate=25, options={"crf": str(crf)})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 1
        for frame in frames:
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        writer.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as reader:
        reader.streams.video[0].thread_type = "NONE"
        return [np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8) for frame in reader.decode(video=0)]


def _extend(view: UInt8, up: int, down: int, left: int, right: int) -> UInt8:
    extended = cv2.copyMakeBorder(view, up, down, left, right, cv2.BORDER_REFLECT_101)
    return np.asarray(extended, dtype=np.uint8)


def _to_uint8(light: Float) -> UInt8:
    rounded: UInt8 = np.clip(light + 0.5, 0, 255).astype(np.uint8)
    return rounded
