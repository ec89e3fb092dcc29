"""Jobs of the service: a bounded queue, one worker, and results that are kept for a while and within bounds."""

import io
import logging
import secrets
import tempfile
import threading
import time
import zipfile
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from stereosr.backends.base import Backend
from stereosr.batch.inputs import Naming, collect
from stereosr.batch.item import Item, Settings
from stereosr.batch.job import run
from stereosr.errors import StereosrError, UsageError
from stereosr.inference.load import load, load_auto
from stereosr.io.detect import detect_by_name
from stereosr.io.images import UnreadableImage
from stereosr.io.layouts import Layout
from stereosr.models.library import AUTO

log = logging.getLogger("stereosr")

KEPT_SECONDS = 600.0
KEPT_BYTES = 1 << 30
OPEN_MODELS = 2
FORMATS = ("png", "jpg", "webp", "tiff")
MEDIA_TYPES = {f".{name}": f"image/{name}" for name in ("png", "jpeg", "webp", "tiff", "bmp")} | {".jpg": "image/jpeg"}

State = Literal["queued", "running", "done", "failed", "cancelled"]


class QueueFull(Exception):
    """As many jobs wait as may."""


class _Cancelled(StereosrError):
    """The client does not want the result any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks for.

    Attributes:
        files: the bytes of two views, or of one file that holds both, each with its suffix (``.png``).
        format: of the results, None as in the file.
    """

    files: tuple[tuple[str, bytes], ...]
    model: str
    scale: int
    layout: Layout | None = None
    out_layout: Layout | None = None
    format: str | None = None


@dataclass(slots=True)
class Job:
    """A request and what became of it so far. Tiles are counted for both views together."""

    id: str
    request: Request
    state: State = "queued"
    tiles: int = 0
    done: int = 0
    error: str | None = None
    is_clients_fault: bool = False
    result: bytes = b""
    media_type: str = ""
    name: str = ""
    warnings: list[str] = field(default_factory=list)
    engine: str = ""
    choice: str = ""
    seconds: float = 0.0
    ended: float = 0.0
    finished: threading.Event = field(default_factory=threading.Event)
    unwanted: bool = False

    def describe(self) -> dict[str, object]:
        """For the client, as JSON."""
        facts: dict[str, object] = {"id": self.id, "state": self.state, "tiles": self.tiles, "done": self.done}
        if self.state == "done":
            facts |= {"seconds": round(self.seconds, 3), "warnings": self.warnings, "type": self.media_type}
            facts |= {"model": self.engine} | ({"choice": self.choice} if self.choice else {})
        return facts | ({"error": self.error} if self.error else {})


@dataclass(slots=True)
class Counters:
    """For ``/metrics``."""

    jobs: dict[State, int] = field(default_factory=lambda: {"done": 0, "failed": 0, "cancelled": 0})
    refused: int = 0
    seconds: float = 0.0


class Jobs:
    """A queue and its worker, a thread that alone uses the models."""

    def __init__(self, backend: str, gpu: int | None, threads: int | None, waiting: int) -> None:
        self._open: dict[str, Any] = {"backend": backend, "precision": "auto", "gpu": gpu, "threads": threads}
        self._most_waiting = waiting
        self._waiting: deque[Job] = deque()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._change = threading.Condition()
        self._models: OrderedDict[tuple[str, int], Backend] = OrderedDict()
        self._closing = False
        self.counters = Counters()
        self._worker = threading.Thread(target=self._work, name="stereosr-jobs", daemon=True)
        self._worker.start()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def submit(self, request: Request) -> Job:
        """Put a request into the queue. Raises QueueFull."""
        with self._change:
            if len(self._waiting) >= self._most_waiting or self._closing:
                self.counters.refused += 1
                raise QueueFull
            job = Job(secrets.token_urlsafe(16), request)
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._forget()
            self._change.notify()
        return job

    def find(self, job_id: str) -> Job | None:
        with self._change:
            self._forget()
            return self._jobs.get(job_id)

    def cancel(self, job: Job) -> None:
        """End a job as soon as may be: at once if it waits, after its present tile if it runs."""
        with self._change:
            job.unwanted = True
            if job in self._waiting:
                self._waiting.remove(job)
                self._end(job, "cancelled")
            elif job.finished.is_set():
                self._jobs.pop(job.id, None)

    def close(self) -> None:
        """End the worker after its present tile, and close the models."""
        with self._change:
            self._closing = True
            for job in self._jobs.values():
                job.unwanted = True
            self._change.notify()
        self._worker.join()
        for model in self._models.values():
            model.close()

    def _forget(self) -> None:
        """Old results go, and as many as it takes to stay within bounds, the oldest first."""
        ended = [job for job in self._jobs.values() if job.finished.is_set()]
        held = sum(len(job.result) for job in ended)
        for job in ended:
            if held > KEPT_BYTES or job.ended < time.monotonic() - KEPT_SECONDS:
                del self._jobs[job.id]
                held -= len(job.result)

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    for job in self._waiting:
                        self._end(job, "cancelled")
                    return
                job = self._waiting.popleft()
                job.state = "running"
            try:
                self._do(job)
            except _Cancelled:
                self._end(job, "cancelled")
            except StereosrError as error:
                job.error, job.is_clients_fault = str(error), isinstance(error, UsageError | UnreadableImage)
                self._end(job, "failed")
            except Exception:
                log.exception("a job failed")
                job.error = "internal error"
                self._end(job, "failed")
            else:
                self._end(job, "done")

    def _end(self, job: Job, state: State) -> None:
        job.state, job.ended = state, time.monotonic()
        job.request = replace(job.request, files=())  # the result is kept for a while, what it was made of is not
        self.counters.jobs[state] += 1
        self.counters.seconds += job.seconds
        job.finished.set()

    def _do(self, job: Job) -> None:
        """The same as ``stereosr upscale`` does with these files, in a folder of the job's own."""
        request = job.request
        backend = self._model(request.model, request.scale)
        with tempfile.TemporaryDirectory(prefix="stereosr-serve-") as name:
            folder = Path(name)
            names = ("left", "right") if len(request.files) == 2 else ("pair",)
            paths = [folder / f"{stem}{suffix}" for stem, (suffix, _) in zip(names, request.files, strict=True)]
            for path, (_, data) in zip(paths, request.files, strict=True):
                path.write_bytes(data)
            item = self._item(paths, folder / "out", request)

            def plan(_item: Item, tiles: int) -> None:
                job.tiles, job.done = tiles, 0

            def tile() -> None:
                job.done += 1
                if job.unwanted:
                    raise _Cancelled

            settings = Settings(model="", auto=request.model == AUTO)
            (result,) = run([item], backend, settings, None, plan, tile)
            if job.unwanted:
                raise _Cancelled
            if result.error:
                raise result.error
            job.seconds, job.warnings = result.seconds, result.warnings
            job.engine, job.choice = result.model, result.choice
            job.result, job.media_type, job.name = _packed(item.targets)

    def _item(self, paths: list[Path], out: Path, request: Request) -> Item:
        naming = Naming(
            out=out,
            suffix=f"_x{request.scale}",
            format=f".{request.format}" if request.format else None,
            layout=request.out_layout,
        )
        (item,) = collect(paths, naming, request.layout).items
        return item

    def _model(self, name: str, scale: int) -> Backend:
        """Opened once; the one that was used longest ago is closed for another."""
        key = (name, scale)
        if key not in self._models:
            if len(self._models) >= OPEN_MODELS:
                self._models.popitem(last=False)[1].close()
            auto = partial(load_auto, scale, ensemble=False)
            self._models[key], _ = (auto if name == AUTO else partial(load, name, scale))(**self._open)
        self._models.move_to_end(key)
        return self._models[key]


def suffix_of(name: str) -> str:
    """Of a client's file name the suffix alone is used, and only one that pictures have.

    Raises:
        UsageError: for any other; videos are for the command.
    """
    suffix = Path(name.replace("\\", "/")).suffix.lower()
    if detect_by_name(Path(f"a{suffix}")).kind in ("picture", "stereo"):
        return suffix
    raise UsageError(f"{suffix or 'a name without a suffix'} is no picture that is read here: send PNG, JPEG, MPO, ...")


def _packed(targets: tuple[Path, ...]) -> tuple[bytes, str, str]:
    """The bytes of one file, or of a ZIP with both; their media type, and a name."""
    if len(targets) == 1:
        kind = MEDIA_TYPES.get(targets[0].suffix.lower(), "application/octet-stream")
        return targets[0].read_bytes(), kind, targets[0].name
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for target in targets:
            archive.write(target, target.name)
    return packed.getvalue(), "application/zip", "stereosr.zip"
