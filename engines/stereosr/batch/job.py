"""Many pairs, one after the other: the next one is read while the model works on one; what went wrong with one, and
what was done before, does not concern the others."""

import hashlib
import json
import logging
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import starmap
from pathlib import Path

from stereosr.atomic import write_all
from stereosr.backends.base import Backend
from stereosr.batch.clip import upscale_clip
from stereosr.batch.item import Item, Result, Settings
from stereosr.batch.manifest import Ledger, Manifest, file_sha256
from stereosr.batch.pictures import Views, encode_results, read_views, upscale_views
from stereosr.errors import OutOfMemory, StereosrError, UsageError, reason
from stereosr.inference.auto import AutoEngine
from stereosr.inference.choice import VIDEO, Choice
from stereosr.io.detect import detect_by_name
from stereosr.io.images import Picture

__all__ = ["Job", "Settings", "run"]

_log = logging.getLogger("stereosr")


def run(
    items: Iterable[Item],
    backend: Backend,
    settings: Settings,
    manifest: Path | None,
    on_plan: Callable[[Item, int], None] = lambda _item, _tiles: None,
    on_tile: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """Do the items in order. Whatever befalls one of them makes it a failed result, and the rest goes on.

    A result comes as soon as its files are written, and before the next item is begun; only reading goes one pair
    ahead. Who wants to stop at a failure stops iterating: nothing is worked on or written after it.

    Args:
        items: no two with a target in common, as ``collect`` gives them.
        backend: used in the calling thread alone. An ``AutoEngine`` needs settings that say ``auto``.
        manifest: the file by which a job resumes; None to remember nothing. What an earlier run did with the same
            input, model, settings and targets is skipped. A file that lies at a target, and was not written for the
            same, makes the item fail, unless settings say ``overwrite``.
        on_plan: is told how many tiles, or frames of a video, an item takes; again where that changes.
        on_tile: is called after each of them.

    Raises:
        StereosrError: if the manifest cannot be read.
    """
    job = Job(backend, settings, Manifest(manifest), on_plan, on_tile)
    with ThreadPoolExecutor(1, "stereosr-read") as reader:
        yield from starmap(job.finish, _prefetch(items, job.prepare, reader))


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An item that can be worked on: ``views`` are there unless it is a video, or was done before."""

    key: str
    done_before: bool = False
    views: Views | None = None


def _prefetch(
    items: Iterable[Item], prepare: Callable[[Item], _Prepared], reader: ThreadPoolExecutor
) -> Iterator[tuple[Item, Callable[[], _Prepared]]]:
    """Each item, handed on when the next one is being prepared."""
    ahead: deque[tuple[Item, Callable[[], _Prepared]]] = deque()
    for item in items:
        ahead.append((item, reader.submit(prepare, item).result))
        if len(ahead) == 2:
            yield ahead.popleft()
    while ahead:
        yield ahead.popleft()


@dataclass(frozen=True, slots=True)
class Job:
    """What the items have in common. ``prepare`` may run in another thread than the rest, one item ahead of it."""

    backend: Backend
    settings: Settings
    manifest: Ledger
    on_plan: Callable[[Item, int], None]
    on_tile: Callable[[], None]

    def do(self, item: Item) -> Result:
        """One item by itself, from reading to writing."""
        return self.finish(item, partial(self.prepare, item))

    def prepare(self, item: Item) -> _Prepared:
        key = self._key(item)
        if self.settings.preview is not None:
            return _Prepared(key)
        if not self.settings.overwrite and self.manifest.is_done(key, item):
            return _Prepared(key, done_before=True)
        self._check_targets(key, item)
        return _Prepared(key, views=None if is_video(item) else read_views(item, self.settings))

    def finish(self, item: Item, prepared: Callable[[], _Prepared]) -> Result:
        """The boundary: whatever befalls the item becomes its failed result here."""
        try:
            result = self._work(item, prepared())
        except Exception as error:
            result = Result(item, "failed", explained(item, error))
        del prepared  # a failure's traceback would keep this frame, and with it the pictures
        ran = self.backend.report()
        result = replace(result, model=self.backend.spec.name)
        return replace(result, device=ran.device, precision=ran.precision, warnings=[*result.warnings, *ran.warnings])

    def _work(self, item: Item, prepared: _Prepared) -> Result:
        if prepared.done_before:
            return Result(item, "skipped")
        if prepared.views is None:
            if self.settings.preview is not None and not is_video(item):
                raise UsageError(f"{item.name} is no video: there is no preview of it", settings=("preview",))
            choice = self._chosen(VIDEO)
            return replace(self._clip(item, prepared.key), choice=choice)
        choice = self._chosen(prepared.views.choice)
        return replace(self._pictures(item, prepared.key, prepared.views), choice=choice)

    def _chosen(self, choice: Choice | None) -> str:
        """Have the engine of this choice used; gives the reason, nothing where there is only one engine."""
        if choice is None or not isinstance(self.backend, AutoEngine):
            return ""
        self.backend.take(choice)
        return choice.why

    def _pictures(self, item: Item, key: str, views: Views) -> Result:
        pictures, result = upscale_views(
            item, views, self.backend, self.settings, lambda tiles: self.on_plan(item, tiles), self.on_tile
        )
        _make_folders(item)
        write_all(self._announced(item, key, pictures))
        self.manifest.finish(key, item)
        return result

    def _announced(self, item: Item, key: str, pictures: tuple[Picture, Picture]) -> Iterator[tuple[Path, bytes]]:
        """The files to write. ``write_all`` takes them all before it lets one appear, and so the manifest knows them
        first."""
        digests = {}
        for target, data in encode_results(item, pictures, self.settings.quality):
            digests[target] = hashlib.sha256(data).hexdigest()
            yield target, data
        self._claim(item, key, digests)

    def _clip(self, item: Item, key: str) -> Result:
        def claim(finished: Mapping[Path, Path]) -> None:
            self._claim(item, key, {target: file_sha256(file) for target, file in finished.items()})

        _make_folders(item)
        result = upscale_clip(
            item, key, self.backend, self.settings, claim, lambda frames: self.on_plan(item, frames), self.on_tile
        )
        if self.settings.preview is None:
            self.manifest.finish(key, item)
        return result

    def _claim(self, item: Item, key: str, digests: dict[Path, str]) -> None:
        """Just before the files appear: still nothing of somebody else's is in their place."""
        self._check_targets(key, item)
        self.manifest.start(key, item, digests)

    def _check_targets(self, key: str, item: Item) -> None:
        if not self.settings.overwrite and (others := self.manifest.strangers(key, item)):
            raise UsageError(f"{others[0]} exists: overwrite it, or give another folder", settings=("overwrite", "out"))

    def _key(self, item: Item) -> str:
        """What decides an output: the sources' contents, the model, the settings; and where it goes."""
        settings = replace(self.settings, overwrite=False, tiles=replace(self.settings.tiles, max_memory=None))
        decisive = {
            "sources": [file_sha256(source) for source in item.sources],
            "targets": [self.manifest.name(target) for target in item.targets],
            "layouts": [item.layout, item.out_layout],
            "settings": asdict(settings),
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def is_video(item: Item) -> bool:
    return detect_by_name(item.sources[0]).kind == "video"


def _make_folders(item: Item) -> None:
    """The folders of an item's targets. Raises StereosrError where that cannot be."""
    try:
        for folder in {target.parent for target in item.targets}:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StereosrError(f"cannot make {error.filename}: {reason(error)}") from error


def explained(item: Item, error: Exception) -> StereosrError:
    """What befell an item, as people are told; what nobody foresaw keeps its traceback as the ``__cause__``."""
    _log.debug("%s failed", item.name, exc_info=error)
    link: BaseException | None = error
    while link is not None:  # a traceback would keep alive what its functions held, the pictures
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    if isinstance(error, StereosrError):
        return error
    if isinstance(error, MemoryError):
        told: StereosrError = OutOfMemory(
            f"{item.name} does not fit into memory: close other programs, or cut it into parts"
        )
    else:
        told = StereosrError(
            f"{item.name}: {type(error).__name__}: {error}; debug messages show where that happened",
            settings=("verbose",),
        )
    told.__cause__ = error
    return told
