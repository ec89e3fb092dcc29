"""The public Python API; ``stereosr`` exports what is in its ``__all__``, everything else is private."""

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from stereosr.backends.base import Backend
from stereosr.errors import BackendUnavailable, OutOfMemory, StereosrError, UsageError
from stereosr.geometry.pair_check import PairReport, check_pair_or_unknown
from stereosr.geometry.rectify import Alignment
from stereosr.geometry.resize import reduce
from stereosr.geometry.treatment import Rectify, Treatment, choose_treatment
from stereosr.inference.ensemble import SelfEnsemble
from stereosr.inference.load import load_scale
from stereosr.inference.memory import held_memory, plan_tiles
from stereosr.inference.settings import TileSettings
from stereosr.inference.size import OutputSize
from stereosr.inference.treated import upscale_treated
from stereosr.io import layouts
from stereosr.io.encode import write_pictures
from stereosr.io.images import Picture
from stereosr.io.layouts import STEREO_SUFFIXES, Layout, write_stereo
from stereosr.models.library import AUTO, available_models
from stereosr.models.spec import ModelSpec
from stereosr.types import Pixels, StereoPair, as_float, quantise

__all__ = [
    "BackendUnavailable",
    "Model",
    "ModelSpec",
    "OutOfMemory",
    "PairReport",
    "StereosrError",
    "UsageError",
    "check_pair",
    "list_models",
    "load_model",
    "read_pair",
    "write_pair",
]

Array = NDArray[Any]
"""H x W x 3 in RGB, or grey H x W; uint8, uint16, or float32 in [0, 1]."""

_log = logging.getLogger("stereosr")

PathLike = str | os.PathLike[str]


class Model:
    """A model, opened and ready; made by ``load_model``.

    It may be called from several threads, one of which works at a time. As a context manager it closes itself.

    >>> import stereosr
    >>> with stereosr.load_model(scale=2) as model:
    ...     model.spec.title, model.spec.scale, model.device
    ('nafssr-t x2', 2, 'onnxruntime CPUExecutionProvider')
    """

    def __init__(self, backend: Backend, scale: float | None = None) -> None:
        self._backend, self._scale = backend, scale
        self._lock = threading.Lock()  # a backend may be used from any thread, by one at a time

    @property
    def spec(self) -> ModelSpec:
        """What the model says about itself: name, scale, precision, size, licence."""
        return self._backend.spec

    @property
    def scale(self) -> float:
        """How many times larger results are: what ``load_model`` was asked for."""
        return self._scale or self.spec.scale

    @property
    def device(self) -> str:
        """What runs the model, as the library itself reports it: ``onnxruntime CPUExecutionProvider``."""
        return self._backend.device

    def upscale(
        self,
        left: Array,
        right: Array,
        *,
        rectify: Rectify | Alignment = "auto",
        keep_geometry: bool = False,
        tile: tuple[int, int] | None = None,
        overlap: int | None = None,
        max_disparity: int | None = None,
        max_memory: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> tuple[Array, Array]:
        """Super-resolve a stereo pair.

        The same files and settings give the same pixels as ``stereosr upscale -n NAME``.

        Args:
            left: H x W x 3 in RGB, or grey H x W; uint8, uint16, or float32 in [0, 1]. BGR, as OpenCV reads it, cannot
                be told from RGB and gives worse results: pass ``image[..., ::-1]``. Any strides will do.
            right: of the same shape and type. A point lies about on the same row as in ``left``, and not further right.
            rectify: whether the right view is brought onto the rows of the left one: ``auto`` where that wins a quarter
                of a row, ``on`` wherever it can be measured, ``off`` never. Views that cannot be aligned are upscaled
                each by itself, unless ``off``; what is done is logged. For the frames of one camera give what
                ``check_pair`` once measured, ``report.measured.alignment``: it then is the same for all of them.
            keep_geometry: align for the model only; the right result stays as it came.
            tile: rows and columns of a tile in input pixels, 0 for all; None for tiles that fit the memory.
            overlap: rows that tiles share, in input pixels; None for the model's own.
            max_disparity: the largest one, in input pixels, for the overlap where the width is split. None to estimate
                it from the pair. Where it is given, and ``rectify`` is ``off`` or an alignment, the pair is not looked
                at, which saves about a tenth of a second: for the frames of one camera.
            max_memory: bytes for all that is held at once, including the views and the results; None for what is free.
            size: rows and columns of each result, larger than the views' and at most ``model.spec.scale`` times those;
                None for ``model.scale`` times. What the model gives is reduced to it without aliasing.

        Returns:
            Both views in that size, of the type and the number of channels given. Values are
            clamped to the type's range, or to [0, 1].

        Raises:
            UsageError: if an argument is not as said above, or the model is closed.
            OutOfMemory: if the views, their results, or the smallest tile do not fit.
            StereosrError: if the model gives values that are not finite.

        >>> import numpy as np, stereosr
        >>> left = np.random.default_rng(0).random((30, 90), dtype=np.float32)
        >>> right = np.roll(left, -4, axis=1)
        >>> with stereosr.load_model(scale=2) as model:
        ...     left_sr, right_sr = model.upscale(left, right, max_disparity=8)
        >>> left_sr.shape, left_sr.dtype
        ((60, 180), dtype('float32'))
        """
        settings = TileSettings(
            tile=_checked_tile(tile),
            overlap=_checked_count("overlap", overlap, 0),
            max_memory=_checked_count("max_memory", max_memory, 1),
            max_disparity=_checked_count("max_disparity", max_disparity, 0),
        )
        if not isinstance(rectify, Alignment) and rectify not in get_args(Rectify):
            raise UsageError(
                f"rectify is {rectify!r}: pass 'auto', 'on', 'off', or an alignment that check_pair measured"
            )
        _check_view("left", left)
        _check_view("right", right)
        _check_alike(left, right)
        rows, columns = self._checked_size(size, left.shape[0], left.shape[1])
        try:
            pictures = _picture(left), _picture(right)
            looked = max_disparity is None or rectify in ("auto", "on")
            report = check_pair_or_unknown(*pictures) if looked else PairReport()
            if isinstance(rectify, Alignment):
                treatment = Treatment(alignment=rectify, keep_geometry=keep_geometry)
            else:
                treatment = choose_treatment(report, rectify, keep_geometry=keep_geometry)
            for note in treatment.notes:
                _log.info("%s", note)
            with self._lock:
                held = held_memory(pictures[0].pixels, self.spec.scale, left.dtype, treatment)
                plan = plan_tiles((left.shape[0], left.shape[1]), report, self.spec, settings, held)
                pair = StereoPair(_in_colour(as_float(left)), _in_colour(as_float(right)))
                results = [
                    reduce(result, rows, columns)
                    for result in upscale_treated(pair, self._backend, plan, left.dtype, treatment)
                ]
        except OutOfMemory:
            raise
        except MemoryError as error:
            raise OutOfMemory("the views and their results do not fit into memory: cut them into parts") from error
        if left.dtype == np.float32:
            results = [np.clip(result, 0, 1, out=result) for result in results]  # reducing overshoots at edges
        left_sr, right_sr = (np.ascontiguousarray(v[..., 0]) if left.ndim == 2 else v for v in results)
        return left_sr, right_sr

    def _checked_size(self, size: tuple[int, int] | None, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the results of views of this size. Raises UsageError for what the model does not give."""
        most = self.spec.scale
        if size is None:
            return OutputSize(scale=self.scale).of(height, width, most)
        if not (isinstance(size, Sequence) and len(size) == 2 and all(_is_count(side, 1) for side in size)):
            raise UsageError(f"size is {size!r}: pass (rows, columns) of each result, or None")
        if not (height < size[0] <= most * height and width < size[1] <= most * width):
            raise UsageError(
                f"size is {size!r}: views of {height} x {width} become larger, {most * height} x {most * width} at most"
            )
        return int(size[0]), int(size[1])

    def close(self) -> None:
        """Give back what the model holds, after the call that another thread may be in. Closing twice is fine."""
        with self._lock:
            self._backend.close()

    def __enter__(self) -> Self:
        with self._lock:
            self._backend.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<stereosr.Model {self.spec.title}, {self.spec.precision}, {self.device}>"


def load_model(
    model: PathLike | None = None,
    scale: float | None = None,
    *,
    backend: str = "auto",
    precision: Literal["auto", "fp16", "fp32"] = "auto",
    device: int | Literal["cpu"] = 0,
    threads: int | None = None,
    self_ensemble: bool = False,
) -> Model:
    """Open a model.

    Args:
        model: a name that ``list_models`` knows, or the path of an ``.onnx`` or ``.engine`` file; None for what
            ``stereosr upscale`` takes for clean pairs of this scale. Names with ``-photo`` are for JPEG, noise and
            video: an array does not say where it comes from, so that nothing is chosen here.
        scale: how many times larger results are, such as 2, 1.5 or 8; None for 4, or for that of the file. The next
            larger model gives them, or beyond 4 two in a row, reduced without aliasing.
        backend: what runs the model, as ``stereosr doctor`` lists it; never replaced by another one. ``auto`` takes the
            best that works, and logs a warning for each that it passed over though it was expected to work.
        precision: of the model file; ``auto`` takes what suits the backend.
        device: the number of the GPU, for backends that use one; ``cpu`` to use no GPU.
        threads: of the CPU; None for all cores that this process may use.
        self_ensemble: average the results of four flips: four times the work, a little better.

    Returns:
        The model. Close it, or use it in a ``with`` statement.

    Raises:
        UsageError: if there is no such model, file or backend, or the arguments contradict each other.
        BackendUnavailable: if the backend cannot be used on this machine; the message says what to install.
        OutOfMemory: if the model does not fit.

    >>> import stereosr
    >>> model = stereosr.load_model("nafssr-t", scale=4, device="cpu", threads=1)
    >>> model
    <stereosr.Model nafssr-t x4, fp32, onnxruntime CPUExecutionProvider>
    >>> model.close()
    """
    if precision not in ("auto", "fp16", "fp32"):
        raise UsageError(f"precision is {precision!r}: pass 'auto', 'fp16' or 'fp32'")
    if device != "cpu" and not _is_count(device, 0):
        raise UsageError(f"device is {device!r}: pass the number of a GPU, from 0, or 'cpu'")
    if scale is not None and not (_is_number(scale) and scale > 1):
        raise UsageError(f"scale is {scale!r}: pass a number above 1, or None")
    if model == AUTO:
        raise UsageError("model is 'auto', which looks at files: leave it out, or pass a name that list_models knows")
    opened = load_scale(
        AUTO if model is None else os.fspath(model),
        scale,
        backend=backend,
        precision=precision,
        gpu=None if device == "cpu" else int(device),
        threads=_checked_count("threads", threads, 1),
    )
    return Model(SelfEnsemble(opened) if self_ensemble else opened, scale)


def list_models() -> list[ModelSpec]:
    """What the models at hand say about themselves: those of the user's cache folder, then those of this package.

    Returns:
        One ModelSpec for each name, scale and precision that ``load_model`` finds.

    >>> import stereosr
    >>> {"nafssr-t x2", "nafssr-t x4"} <= {spec.title for spec in stereosr.list_models()}
    True
    """
    found: dict[tuple[str, int, str], ModelSpec] = {}
    for spec in available_models().values():
        found.setdefault((spec.name, spec.scale, spec.precision), spec)
    return list(found.values())


def check_pair(left: Array, right: Array) -> PairReport:
    """Is this a rectified stereo pair? Looks at rows, order, disparities, exposure and colour.

    Args:
        left: H x W x 3 in RGB, or grey H x W; uint8, uint16, or float32 in [0, 1].
        right: likewise; another size is reported as a problem.

    Returns:
        A report: ``good``, ``problems`` in words that name the fix, the measurements, and ``unknown``, which says why
        where there is too little to judge by.

    Raises:
        UsageError: if a view is not as said above.

    >>> import stereosr
    >>> left, right = stereosr.read_pair("examples/left.png", "examples/right.png")
    >>> stereosr.check_pair(left, right).problems
    []
    >>> stereosr.check_pair(left, left).problems
    ['both views are the same picture: the second cannot help; is one file given twice?']
    """
    _check_view("left", left)
    _check_view("right", right)
    return check_pair_or_unknown(_picture(left), _picture(right))


def read_pair(
    path: PathLike, right_path: PathLike | None = None, *, layout: Layout | Literal["auto"] = "auto"
) -> tuple[Pixels, Pixels]:
    """Read a stereo pair from two pictures, or from one file that holds both views.

    Args:
        path: of the left view, or of the one file: MPO, JPS, spatial HEIC, side by side or over-under.
        right_path: of the right view.
        layout: how the one file holds its views: ``auto``, ``mpo``, ``jps``, ``heic``, ``sbs``, ``sbs-half``, ``ou`` or
            ``ou-half``.

    Returns:
        The left and the right view, upright and in full size: H x W x 3, uint8 or uint16, RGB. Grey files give three
        equal channels; alpha and metadata are left out.

    Raises:
        StereosrError: if a file cannot be read, or does not hold two views.
        UsageError: if the arguments contradict each other, or the views differ in size or depth.

    >>> import stereosr
    >>> left, right = stereosr.read_pair("examples/left.png", "examples/right.png")
    >>> left.shape, left.dtype
    ((120, 160, 3), dtype('uint8'))
    """
    _check_layout(layout, ("auto", *get_args(Layout)))
    left, right = layouts.read_pair([Path(each) for each in (path, right_path) if each is not None], layout)
    _check_alike(left.pixels, right.pixels)
    return np.ascontiguousarray(left.pixels), np.ascontiguousarray(right.pixels)


def write_pair(
    left: Array,
    right: Array,
    path: PathLike,
    right_path: PathLike | None = None,
    *,
    layout: Layout | None = None,
    quality: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write a stereo pair as two pictures, or as one file that holds both views; whole, or not at all.

    The formats follow the suffixes: PNG, JPEG, WebP, TIFF, BMP, MPO, JPS. 16 bits become 8 where a format has no more.

    Args:
        left: H x W x 3 in RGB, or grey H x W; uint8 or uint16.
        right: of the same shape and type.
        path: of the left view, or of the one file.
        right_path: of the right view.
        layout: how the one file is to hold both views: ``mpo``, ``jps``, ``sbs``, ``sbs-half``, ``ou``,
            ``ou-half``, ``anaglyph`` or, as WebP or GIF, ``wiggle``. None if the suffix, ``.mpo`` or ``.jps``, says so.
        quality: 1 to 100; None for 95 in JPEG, and for lossless WebP.
        overwrite: replace files that exist.

    Raises:
        UsageError: if the arguments are not as said above, or a file exists.
        StereosrError: if a format cannot hold the views, or a file cannot be written.

    >>> import stereosr
    >>> left, right = stereosr.read_pair("examples/left.png", "examples/right.png")
    >>> stereosr.write_pair(left, right, "pair_SBS.png", layout="sbs")
    >>> stereosr.write_pair(left, right, "pair_L.png", "pair_R.png")
    """
    for name, view in (("left", left), ("right", right)):
        _check_view(name, view)
        if view.dtype == np.float32:
            raise UsageError(
                f"{name} is float32, and files hold uint8 or uint16: pass (255 * {name} + 0.5).astype(np.uint8)"
            )
    _check_alike(left, right)
    quality = _checked_count("quality", quality, 1)
    if quality is not None and quality > 100:
        raise UsageError(f"quality is {quality}: pass 1 to 100")
    targets = [Path(path)] if right_path is None else [Path(path), Path(right_path)]
    if len({target.resolve() for target in targets}) < len(targets):
        raise UsageError(f"{path} is named for both views: pass two names, or one with a layout")
    if len(targets) == 2 and layout not in (None, "pair"):
        raise UsageError(f"layout {layout!r} is for one file that holds both views, and two are given: leave one out")
    single = layout or STEREO_SUFFIXES.get(targets[0].suffix.lower())
    if len(targets) == 1 and single is None:
        raise UsageError(f"how is {path} to hold both views? Pass layout='sbs', say, or a second path")
    if existing := [target for target in targets if not overwrite and target.exists()]:
        raise UsageError(f"{existing[0]} exists: pass overwrite=True, or another name")
    pictures = _picture(left), _picture(right)
    if len(targets) == 1 and single is not None:
        _check_layout(single, get_args(Layout))
        write_stereo(targets[0], *pictures, single, quality)
    else:
        write_pictures(zip(targets, pictures, strict=True), quality)


# --- what is given, checked ------------------------------------------------------------------------------------------

_WANTED = "a view is H x W x 3 in RGB or grey H x W, uint8, uint16 or float32 in [0, 1]"


def _check_view(name: str, view: Array) -> None:
    """Raises UsageError that says what was given, what is wanted, and how to get there."""
    if not isinstance(view, np.ndarray):
        raise UsageError(f"{name} is a {type(view).__name__}, not a numpy array: {_WANTED}")
    given = f"{name} is {view.dtype} of shape {view.shape}"
    if view.dtype not in (np.uint8, np.uint16, np.float32):
        raise UsageError(f"{given}: {_WANTED}; convert it")
    if view.ndim not in (2, 3) or (view.ndim == 3 and view.shape[2] != 3) or 0 in view.shape:
        raise UsageError(f"{given}: {_WANTED}; {_remedy(name, view.shape)}")
    if view.dtype == np.float32 and not (view.min() >= 0 and view.max() <= 1):  # NaN is not >= 0
        least, most = float(view.min()), float(view.max())
        remedy = f"divide by {255 if most < 256 else 65535}" if least >= 0 and most > 2 else "clip it"
        if not np.isfinite([least, most]).all():
            remedy = "values that are not finite cannot be used"
        raise UsageError(f"{given} with values from {least:g} to {most:g}: {_WANTED}; {remedy}")


def _remedy(name: str, shape: tuple[int, ...]) -> str:
    if 0 in shape:
        return "it holds no pixels"
    if len(shape) == 4:
        return f"this looks like a batch: pass one pair at a time, {name}[0] first"
    if len(shape) != 3:
        return "pass one picture"
    if shape[2] == 4:
        return f"leave alpha out: {name}[..., :3]"
    if shape[2] == 1:
        return f"pass {name}[..., 0]"
    if shape[0] == 3:
        return f"this looks like channels first: pass {name}.transpose(1, 2, 0)"
    if shape[0] == 1:
        return f"pass {name}[0]"
    return "pass one picture"


def _check_alike(left: Array, right: Array) -> None:
    if (left.shape, left.dtype) != (right.shape, right.dtype):
        raise UsageError(
            f"left is {left.dtype} of shape {left.shape}, right is {right.dtype} of shape {right.shape}: the views of "
            "a stereo pair have one size and one type; crop, resize or convert one"
        )


def _check_layout(layout: str, known: Sequence[str]) -> None:
    if layout not in known:
        raise UsageError(f"layout is {layout!r}: pass one of {', '.join(known)}")


def _checked_tile(tile: tuple[int, int] | None) -> tuple[int, int] | None:
    if tile is None:
        return None
    if isinstance(tile, Sequence) and len(tile) == 2 and all(_is_count(side, 0) for side in tile):
        return int(tile[0]), int(tile[1])
    raise UsageError(f"tile is {tile!r}: pass (rows, columns) in input pixels, 0 for all of them, or None")


def _checked_count(name: str, value: int | None, least: int) -> int | None:
    if value is None or _is_count(value, least):
        return value if value is None else int(value)
    raise UsageError(f"{name} is {value!r}: pass a whole number from {least} on, or None")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= least


# --- arrays to pictures ----------------------------------------------------------------------------------------------


def _picture(view: Array) -> Picture:
    """As it would lie in a file; float32 with 8 bits."""
    pixels = quantise(view, np.uint8) if view.dtype == np.float32 else view
    return Picture(_in_colour(pixels), grey=view.ndim == 2)


def _in_colour(view: Array) -> Array:
    return np.repeat(view[..., None], 3, axis=2) if view.ndim == 2 else view
