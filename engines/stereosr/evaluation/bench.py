"""Benchmark rows, their measurements, and the resumable results log.

Quality is that of the pictures ``stereosr upscale`` writes: the same tiles, rounded to uint8. Latency is from LR pixels
in memory to SR pixels in memory, tiles and rounding included. Quality may also be measured on LR degraded by recipes
(``stereosr.evaluation.degrade.corrupt``).
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stereosr.backends.base import Backend, RunOptions
from stereosr.backends.registry import available_backends, open_backend
from stereosr.errors import StereosrError, UsageError
from stereosr.evaluation.consistency import consistency, disparity
from stereosr.evaluation.datasets import Dataset, Scene, UInt8, Views
from stereosr.evaluation.degrade import CLEAN, corrupt_pair, imresize
from stereosr.evaluation.metrics import LEFT_BORDER, psnr, ssim
from stereosr.evaluation.timing import in_turn
from stereosr.geometry.pair_check import check_pair_or_unknown
from stereosr.inference.ensemble import FLIPS, SelfEnsemble
from stereosr.inference.memory import make_plan
from stereosr.inference.settings import TileSettings
from stereosr.inference.tiling import TilePlan
from stereosr.inference.upscale import upscale_pixels
from stereosr.io.images import Picture
from stereosr.models.spec import ModelSpec
from stereosr.types import StereoPair, to_float

BICUBIC = "bicubic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is measured: a model file on a backend.

    Attributes:
        parameters: None where they are not known.
        gmacs: 10^9 multiply-accumulates for both views of 320 x 180 at low resolution, None where not known.
        sha256: of the file, in hex; empty for bicubic.
    """

    model: str
    backend: str
    precision: str
    ensemble: bool
    parameters: int | None
    gmacs: float | None
    sha256: str = ""

    @property
    def title(self) -> str:
        return self.model + " + ensemble" * self.ensemble

    @property
    def label(self) -> str:
        """What stays the same when a model is trained anew: ``nafssr-t + ensemble · ort-cpu · fp32``."""
        return f"{self.title} · {self.backend} · {self.precision}"

    @property
    def key(self) -> str:
        """Names the row in the log."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


class Method(Protocol):
    """A row that can run.

    Attributes:
        device: what really runs.
    """

    row: Row
    device: str

    def __call__(self, lr: Views) -> Views:
        """Super-resolve both views: H x W x 3, RGB, uint8, to sH x sW x 3."""
        ...


class Bicubic:
    """MATLAB's imresize, in numpy on one thread: the row that every other one is compared with."""

    device = "numpy"

    def __init__(self, scale: int) -> None:
        self._scale = scale
        self.row = Row(model=BICUBIC, backend="numpy", precision="uint8", ensemble=False, parameters=0, gmacs=0.0)

    def __call__(self, lr: Views) -> Views:
        return imresize(lr[0], self._scale), imresize(lr[1], self._scale)


class Model:
    """A model file on an opened backend, as ``stereosr upscale`` runs it."""

    def __init__(self, backend: Backend, kind: str, file: Path, ensemble: bool) -> None:
        spec = backend.spec
        self._backend: Backend = SelfEnsemble(backend) if ensemble else backend
        self.file, self.device = file, backend.device
        self._planned: tuple[Views, TilePlan] | None = None
        runs = len(FLIPS) if ensemble else 1
        self.row = Row(
            model=spec.name,
            backend=kind,
            precision=backend.report().precision,
            ensemble=ensemble,
            parameters=spec.parameters,
            gmacs=None if spec.gmacs is None else runs * spec.gmacs,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        )

    def __call__(self, lr: Views) -> Views:
        left, right = upscale_pixels(
            StereoPair(to_float(lr[0]), to_float(lr[1])), self._backend, self._plan(lr), np.dtype(np.uint8)
        )
        return left.astype(np.uint8, copy=False), right.astype(np.uint8, copy=False)

    def _plan(self, lr: Views) -> TilePlan:
        """Made once for the same images: examining them takes a tenth of a second, which is no part of the latency."""
        if self._planned is None or self._planned[0] is not lr:
            seen, (rows, columns) = check_pair_or_unknown(Picture(lr[0]), Picture(lr[1])), lr[0].shape[:2]
            self._planned = (
                lr,
                make_plan((rows, columns), seen.largest_disparity(columns), self._backend.spec, TileSettings()),
            )
        return self._planned[1]


def open_models(
    files: Mapping[Path, ModelSpec],
    backends: Sequence[str],
    ensemble: bool,
    options: RunOptions,
    opened: contextlib.ExitStack,
) -> Iterator[Model | StereosrError]:
    """Every file on every backend, if asked for with the self-ensemble as well; an error for what cannot be opened.

    Args:
        files: the model files, each with its specification.
        backends: their names; empty for all that ``auto`` may take on this machine.
        ensemble: also give each model with its self-ensemble.
        options: how to open the models.
        opened: the models are closed when it is.
    """
    for file in files:
        for kind in backends or [k.name for k in available_backends() if k.automatic and k.missing() is None]:
            try:
                backend = opened.enter_context(open_backend(file, kind, options))
            except StereosrError as error:
                yield error if backends else StereosrError(f"{file.name} on {kind}: {error}")
                continue
            for with_ensemble in (False, True)[: 1 + ensemble]:
                yield Model(backend, kind, file, with_ensemble)


# --- records ---------------------------------------------------------------------------------------------------------


class Log:
    """Records in a file of JSON lines, written as they come; a later run goes on from what a stopped one left.

    Raises:
        UsageError: if the file exists and holds no such records.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = read_log(path) if path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if (text := path.read_bytes()) and not text.endswith(b"\n"):  # the last line was cut short by a stop
                path.write_bytes(text + b"\n")

    def add(self, kind: str, **values: Any) -> None:
        """Append a record to the file. Raises StereosrError if it cannot be written."""
        record = {"kind": kind} | values
        self.records.append(record)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise StereosrError(f"cannot write {self.path}: {error.strerror}") from error

    def find(self, kind: str, **values: Any) -> list[dict[str, Any]]:
        """The records of a kind with these values, in their order."""
        wanted = ({"kind": kind} | values).items()
        return [record for record in self.records if wanted <= record.items()]


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a file; scores without a recipe, of earlier versions, are of clean LR.

    Raises:
        UsageError: if it is missing, or holds no such records.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path} as results of stereosr bench: {error}") from error
    records = []
    for line in lines:
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and "kind" in record:
                records.append({"recipe": CLEAN} | record if record["kind"] == "scene" else record)
    if lines and not any(record["kind"] == "run" for record in records):
        raise UsageError(f"{path} holds no results of stereosr bench: give another file")
    return records


# --- measuring -------------------------------------------------------------------------------------------------------


def measure_quality(
    methods: Sequence[Method],
    dataset: Dataset,
    log: Log,
    recipes: Sequence[str] = (CLEAN,),
    on_scene: Callable[[str], None] = lambda _text: None,
) -> Iterator[StereosrError]:
    """Score what the log lacks, scene by scene, with LR degraded by each recipe; gives an error for each failure."""
    for scene in dataset.scenes:
        todo = [
            (recipe, method)
            for recipe in recipes
            for method in methods
            if not log.find("scene", row=method.row.key, scene=scene.key, recipe=recipe)
        ]
        done = len(recipes) * len(methods) - len(todo)
        if todo:
            hr, clean = scene.views()
            truth = disparity(*hr)
            own = consistency(*hr, truth).warp
        for recipe, group in groupby(todo, key=itemgetter(0)):
            lr = corrupt_pair(clean, recipe, scene.name)
            for _, method in group:
                on_scene(_with_recipe(f"{scene.name} · {method.row.title}", recipe))
                try:
                    sr = method(lr)
                except (StereosrError, MemoryError) as error:
                    yield _failure(f"{scene.name}: {_with_recipe(method.row.label, recipe)}", error)
                    continue
                found = score(sr, hr) | asdict(consistency(*sr, truth)) | {"hr_warp": own}
                finite = {name: value if np.isfinite(value) else None for name, value in found.items()}
                log.add("scene", row=method.row.key, scene=scene.key, name=scene.name, recipe=recipe, **finite)
        for _ in range(done):
            on_scene(scene.name)


def _failure(where: str, error: StereosrError | MemoryError) -> StereosrError:
    return StereosrError(f"{where}: {error}", settings=error.settings if isinstance(error, StereosrError) else ())


def _with_recipe(name: str, recipe: str) -> str:
    return name if recipe == CLEAN else f"{name} · {recipe}"


def score(sr: Views, hr: Views) -> dict[str, float]:
    """PSNR in dB and SSIM: ``avg`` of both whole views, ``left`` without the left view's first 64 columns."""
    whole = [(psnr(a, b), ssim(a, b)) for a, b in zip(sr, hr, strict=True)]
    cut: list[UInt8] = [view[:, LEFT_BORDER:] for view in (sr[0], hr[0])]
    return {
        "psnr_avg": (whole[0][0] + whole[1][0]) / 2,
        "ssim_avg": (whole[0][1] + whole[1][1]) / 2,
        "psnr_left": psnr(*cut),
        "ssim_left": ssim(*cut),
    }


def measure_latency(
    methods: Sequence[Method],
    scene: Scene,
    rounds: int,
    where: str,
    log: Log,
    on_run: Callable[[str], None] = lambda _text: None,
) -> Iterator[StereosrError]:
    """Time every method ``rounds`` times on one scene, in turn, after a warm-up; gives an error for each that failed.

    Bicubic runs before each, so that every time has a yardstick of the same moment, even if rounds are hours apart.
    ``where`` names the machine and its threads: times measured elsewhere do not count.
    """
    lr, yardstick = scene.views()[1], Bicubic(scene.scale)
    mark = {"size": list(scene.size), "where": where}
    missing = {m.row.key: rounds - len(log.find("time", row=m.row.key, **mark)) for m in methods}
    calls: dict[str, Callable[[], object]] = {}
    ready = []
    for m in methods:
        if missing[m.row.key] <= 0:
            continue
        on_run(m.row.title)
        try:
            m(lr)
        except (StereosrError, MemoryError) as error:
            yield _failure(f"latency: {m.row.label}", error)
            continue
        ready.append(m)
        if m.row.model != BICUBIC:
            calls[f"before {m.row.key}"] = lambda: yardstick(lr)
        calls[m.row.key] = partial(m, lr)
    for times in in_turn(calls, max((missing[m.row.key] for m in ready), default=0)):
        for m in ready:
            on_run(m.row.title)
            took = times[m.row.key]
            log.add("time", row=m.row.key, **mark, seconds=took, bicubic=times.get(f"before {m.row.key}", took))


def describe(methods: Iterable[Method], log: Log) -> None:
    """Write into the log what its rows are."""
    for method in methods:
        if not log.find("row", row=method.row.key):
            log.add("row", row=method.row.key, device=method.device, **asdict(method.row))


# --- summing up ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A line of the table: one row on LR of one recipe.

    Means over scenes, medians over runs; None for what was not measured.

    Attributes:
        recipe: what LR was degraded by; the latency is of clean LR whatever it is.
        psnr_avg: in dB; this and the next three as ``score`` gives them.
        disparity: this and the next two as in ``Consistency``.
        hr_warp: HR's own ``warp``.
        where: size of LR, machine and threads that the latency is of.
        latency: median seconds a pair; ``p95`` likewise.
        speed: median over runs of bicubic's time just before, divided by the row's time.
        megapixels: of SR, both views, a second.
        first: seconds from the start of ``stereosr upscale`` to the written pictures, median.
        memory: peak resident bytes of that process.
    """

    row: Row
    device: str
    recipe: str = CLEAN
    scenes: int = 0
    psnr_avg: float | None = None
    ssim_avg: float | None = None
    psnr_left: float | None = None
    ssim_left: float | None = None
    disparity: float | None = None
    lost: float | None = None
    warp: float | None = None
    hr_warp: float | None = None
    runs: int = 0
    where: str | None = None
    latency: float | None = None
    p95: float | None = None
    speed: float | None = None
    megapixels: float | None = None
    first: float | None = None
    memory: int | None = None

    @property
    def title(self) -> str:
        """``nafssr-t · jpeg85``."""
        return _with_recipe(self.row.title, self.recipe)

    @property
    def label(self) -> str:
        """What stays the same when a model is trained anew: ``nafssr-t · ort-cpu · fp32 · jpeg85``."""
        return _with_recipe(self.row.label, self.recipe)


MEANS = ("psnr_avg", "ssim_avg", "psnr_left", "ssim_left", "disparity", "lost", "warp", "hr_warp")


def summarise(
    log: Sequence[Mapping[str, Any]],
    scale: int,
    keys: Sequence[str] | None = None,
    recipes: Sequence[str] | None = None,
) -> list[Summary]:
    """The lines of the table, recipe by recipe; a row without any score has one line all the same.

    Args:
        log: its records.
        scale: that SR is of.
        keys: of the rows; None for all, in the order in which the log describes them.
        recipes: None for all that the log has scores of, in its order.
    """
    described = {r["row"]: r for r in log if r["kind"] == "row"}
    scores: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for r in log:
        if r["kind"] == "scene":
            scores.setdefault((r["recipe"], r["row"]), {})[r["scene"]] = r
    keys = list(described) if keys is None else keys
    recipes = list(dict.fromkeys(recipe for recipe, _ in scores)) or [CLEAN] if recipes is None else recipes
    rows = {key: _row_summary([r for r in log if r.get("row") == key], scale) for key in keys}
    summaries = []
    for recipe in recipes:
        for key in keys:
            scenes = list(scores.get((recipe, key), {}).values())
            if scenes:
                means: dict[str, Any] = {name: _mean([r[name] for r in scenes]) for name in MEANS}
                summaries.append(replace(rows[key], recipe=recipe, scenes=len(scenes), **means))
            elif recipe == recipes[0] and not any((other, key) in scores for other in recipes):
                summaries.append(replace(rows[key], recipe=recipe))
    return summaries


def _row_summary(log: Sequence[Mapping[str, Any]], scale: int) -> Summary:
    """Of the records of one row, what does not depend on the recipe: what it is, latency, first picture."""
    described = next(r for r in log if r["kind"] == "row")
    summary = Summary(
        row=Row(**{k: v for k, v in described.items() if k not in ("kind", "row", "device")}),
        device=described["device"],
    )
    times = [r for r in log if r["kind"] == "time"]
    times = [r for r in times if (r["size"], r["where"]) == (times[-1]["size"], times[-1]["where"])]
    if times:
        taken = np.array([r["seconds"] for r in times])
        pixels = 2 * scale**2 * times[0]["size"][0] * times[0]["size"][1]
        summary = replace(
            summary,
            runs=len(times),
            where=f"LR {times[0]['size'][1]}x{times[0]['size'][0]}, {times[0]['where']}",
            latency=float(np.median(taken)),
            p95=float(np.percentile(taken, 95)),
            speed=float(np.median([r["bicubic"] for r in times] / taken)),
            megapixels=pixels / 1e6 / float(np.median(taken)),
        )
    starts = [r for r in log if r["kind"] == "start"]
    if starts:
        summary = replace(
            summary,
            first=float(np.median([r["seconds"] for r in starts])),
            memory=max(r["memory"] for r in starts),
        )
    return summary


def _mean(values: Sequence[float | None]) -> float | None:
    """Over the scenes that have the number at all."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


# --- comparing -------------------------------------------------------------------------------------------------------

QUALITY_TOLERANCE = 0.01
"""dB by which a score may be lower before it counts as fallen."""


def regressions(now: Sequence[Summary], before: Sequence[Summary], slowdown: float) -> list[str]:
    """What is worse than before, one line each.

    A score that fell by more than ``QUALITY_TOLERANCE``, a line of the table that is missing, and a row that takes more
    than ``slowdown`` times as much of bicubic's time. What one of the two has not measured is not compared.
    """
    lines = []
    have = {s.label: s for s in now}
    for old in before:
        new = have.get(old.label)
        if new is None:
            lines.append(f"{old.label}: not in this run")
            continue
        for name, text in (("psnr_avg", "avg"), ("psnr_left", "left")):
            a, b = getattr(new, name), getattr(old, name)
            if a is not None and b is not None and a < b - QUALITY_TOLERANCE:
                lines.append(f"{old.label}: {text} fell from {b:.3f} to {a:.3f} dB")
        if new.speed is not None and old.speed is not None and new.speed * slowdown < old.speed:
            lines.append(
                f"{old.row.label}: was {1 / old.speed:.1f} times bicubic's time, is {1 / new.speed:.1f} times, "
                f"more than {slowdown:g} times as much"
            )
    return list(dict.fromkeys(lines))  # the time of a row, once
