"""A job on a Ray cluster: workers do the items, the driver alone hands them out and keeps the manifest.

A worker is an actor with one model opened. It does an item as a local job does; what that asks of the manifest, it asks
the driver: each call of a worker ends with a question, which the driver's next call answers, or with the item's result.
So no file appears that the driver did not note before, and a worker that was given up can make none appear.
"""

import hashlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from stereosr.backends.base import Backend, installed_version
from stereosr.batch.item import Item, Result, Settings
from stereosr.batch.job import Job
from stereosr.batch.manifest import Ledger, Manifest, target_name
from stereosr.errors import StereosrError, UsageError
from stereosr.system import available_memory

_log = logging.getLogger("stereosr")

TRIES = 3
"""Workers that may die of an item before it is a failed one, or before they do anything on a node."""
_GLANCE, _PATIENCE = 2.0, 60.0
"""Seconds between two looks at the cluster's nodes; and for which no node may be of use."""
_STOPPING, _ANSWER = 10.0, 5.0
"""Seconds that workers have to end what they are at, a tile as a rule; and a cluster, to take a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where the work is done, and what a worker takes.

    Attributes:
        address: of a cluster that runs, ``auto`` for the one of this machine, ``local`` to start one here.
        gpu: where any node has a GPU, have one worker a GPU and none elsewhere.
        threads: CPUs of a worker; None for all of its node, on a GPU for one.
    """

    address: str
    gpu: bool
    threads: int | None

    def shares(self, nodes: Iterable[Mapping[str, float]]) -> list["_Share"]:
        """What a worker takes of each node, and how many of them it has room for, by the nodes' resources."""
        found = list(nodes)
        if self.gpu and any(node.get("GPU", 0) >= 1 for node in found):
            return [_Share(self.threads or 1, 1, int(node.get("GPU", 0))) for node in found]
        cpus = [int(node.get("CPU", 0)) for node in found]
        return [_Share(self.threads or have, 0, have // (self.threads or have or 1)) for have in cpus]


@dataclass(frozen=True, slots=True)
class _Share:
    """CPUs and GPUs of a worker; how many there are on its node."""

    cpus: int
    gpus: int
    workers: int


class Work(Protocol):
    """What a worker does, once opened. ``Job`` is one."""

    def do(self, item: Item) -> Result: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker opens its work.

    Attributes:
        manifest: the driver's.
        on_tile: to be called between tiles; ends the work when the job is stopped.
        threads: of the CPU.
        workers: on this node, which share its memory.
    """

    manifest: Ledger
    on_tile: Callable[[], None]
    threads: int
    workers: int


def run(
    items: Iterable[Item], opener: Callable[[Place], Work], manifest: Path | None, where: Cluster
) -> Generator[Result]:
    """As ``job.run``, by the workers of a cluster; results come in the order in which they happen.

    An item whose worker dies is given to another one; after three it is a failed one. A node that joins is used, one
    that does not have this very stereosr, this model or these files is not, which is logged.

    Args:
        items: as for ``job.run``; their paths lead to the same files on every node.
        opener: opens the work of a worker; sent there, so that all of it can be pickled.
        manifest: as for ``job.run``.
        where: the cluster, which has been running unless it is ``local``.

    Raises:
        StereosrError: if there is no such cluster, no node can be used, or the manifest cannot be read.
    """
    todo = deque(items)
    ledger = Manifest(manifest)
    with _connected(where.address) as ray, ExitStack() as stack:
        driver = _Driver(ray, todo, manifest, ledger, _payload(opener, manifest, todo), where)
        stack.callback(driver.stop)
        yield from driver.results()


def open_job(open_backend: Callable[[int], tuple[Backend, str]], settings: Settings, place: Place) -> Job:
    """The opener of a job's work.

    Args:
        open_backend: with so many threads; gives the backend, and the sha256 of the model.
        settings: of the job.
        place: the worker's.

    Raises:
        UsageError: if that is not the model of the settings.
    """
    backend, digest = open_backend(place.threads)
    if digest != settings.model:
        raise UsageError(
            f"its model is not that of this machine, by sha256 {digest[:12]} and {settings.model[:12]}: have the same "
            "file on all nodes, and ask for one backend and precision where GPUs differ"
        )
    if place.workers > 1 and settings.tiles.max_memory is None:  # each would take half of what is free
        memory = available_memory() * 3 // 4 // place.workers
        settings = replace(settings, tiles=replace(settings.tiles, max_memory=memory))
    return Job(backend, settings, place.manifest, lambda _item, _tiles: None, place.on_tile)


# --- the worker ------------------------------------------------------------------------------------------------------


class _Stopped(BaseException):
    """The job was stopped: nothing that befell an item."""


@dataclass(frozen=True, slots=True)
class _Reply:
    """What a call of a worker ends with, and what was logged meanwhile; of ``open``, a reason to be of no use.

    ``finished`` is the key of an item whose files are there: it is noted as done when its result has come, not before,
    or a worker that dies between the two would leave an item that is done by nobody.
    """

    question: tuple[str, tuple[Any, ...]] | None = None
    result: Result | None = None
    finished: str | None = None
    refusal: str = ""
    logged: tuple[logging.LogRecord, ...] = ()


class _Worker:
    """The actor. Its methods are called one at a time, but for ``stop``."""

    def __init__(self) -> None:
        self._replies: SimpleQueue[_Reply] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, StereosrError | None]] = SimpleQueue()
        self._logged: SimpleQueue[logging.LogRecord] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread()
        self._finished: str | None = None

    def open(self, stereosr: str, payload: bytes, level: int, share: _Share) -> _Reply:
        """Open the work, unless this is another stereosr, whose pickles would be misread."""
        log = logging.getLogger("stereosr")
        log.handlers, log.propagate = [QueueHandler(self._logged)], False
        log.setLevel(level)
        try:
            if stereosr != (own := _identity()):
                raise UsageError(f"it has stereosr {own}, this machine has {stereosr}: install the same on all nodes")
            self._open(payload, share)
        except Exception as error:
            log.debug("a worker cannot be opened", exc_info=error)
            told = str(error) if isinstance(error, StereosrError) else f"{type(error).__name__}: {error}"
            return self._with_log(_Reply(refusal=told))
        return self._with_log(_Reply())

    def do(self, item: Item) -> _Reply:
        """Begin an item."""
        self._thread = threading.Thread(target=self._do, args=(item,), daemon=True)
        self._thread.start()
        return self._with_log(self._replies.get())

    def answer(self, value: Any, error: StereosrError | None) -> _Reply:
        """Go on with the item: the answer to a question, or why there is none."""
        self._answers.put((value, error))
        return self._with_log(self._replies.get())

    def stop(self) -> None:
        """End what is at work, within a tile; nothing half-written is left."""
        self._stopping.set()
        self._answers.put((None, None))
        self._thread.join()

    def _open(self, payload: bytes, share: _Share) -> None:
        from ray import cloudpickle

        what: _Payload = cloudpickle.loads(payload)
        for folder in what.folders:
            if not folder.is_dir():
                raise UsageError(
                    f"it does not have {folder}: the nodes of a cluster share the files, by the same paths"
                )
        os.chdir(what.folders[0])  # paths mean what they mean where the job was started
        ledger = _DriversManifest(what.manifest, self._ask, self._finish)
        self._work = what.opener(Place(ledger, self._check, share.cpus, share.workers))

    def _do(self, item: Item) -> None:
        self._finished = None
        try:
            result = self._work.do(item)
            reply = _Reply(result=result, finished=self._finished)
        except _Stopped:
            reply = _Reply()
        except BaseException as error:  # whoever waits for the reply would wait for ever
            told = StereosrError(f"{item.name}: {type(error).__name__}: {error}")
            reply = _Reply(result=Result(item, "failed", told))
        self._replies.put(reply)

    def _finish(self, key: str) -> None:
        self._finished = key

    def _ask(self, question: str, *arguments: Any) -> Any:
        self._check()
        self._replies.put(_Reply(question=(question, arguments)))
        value, error = self._answers.get()
        self._check()
        if error is not None:
            raise error
        return value

    def _check(self) -> None:
        if self._stopping.is_set():
            raise _Stopped

    def _with_log(self, reply: _Reply) -> _Reply:
        records = []
        while not self._logged.empty():
            records.append(self._logged.get())
        return replace(reply, logged=tuple(records))


@dataclass(frozen=True, slots=True)
class _DriversManifest:
    """The ledger of a worker. See ``Manifest``."""

    path: Path | None
    ask: Callable[..., Any]
    on_finish: Callable[[str], None]

    def name(self, target: Path) -> str:
        return target_name(self.path, target)

    def is_done(self, key: str, item: Item) -> bool:
        return bool(self.ask("is_done", key, item))

    def strangers(self, key: str, item: Item) -> list[Path]:
        return list(self.ask("strangers", key, item))

    def start(self, key: str, item: Item, digests: Mapping[Path, str]) -> None:
        self.ask("start", key, item, digests)

    def finish(self, key: str, item: Item) -> None:  # noqa: ARG002 - goes with the result
        self.on_finish(key)


# --- the driver ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Payload:
    """What is sent to a worker that opens; ``folders`` are those it must have, the working folder first."""

    opener: Callable[[Place], Work]
    manifest: Path | None
    folders: tuple[Path, ...]


def _payload(opener: Callable[[Place], Work], manifest: Path | None, items: Iterable[Item]) -> bytes:
    from ray import cloudpickle

    first = next(iter(items), None)
    folders = [Path.cwd(), *(source.absolute().parent for source in (first.sources if first else ()))]
    payload: bytes = cloudpickle.dumps(_Payload(opener, manifest, tuple(dict.fromkeys(folders))))
    return payload


@dataclass(slots=True, eq=False)
class _Member:
    """A worker, as the driver knows it.

    Attributes:
        node: its identity.
        host: what people call it.
        item: what it is at; None while it opens or waits.
    """

    actor: Any
    node: str
    host: str
    item: Item | None = None


@dataclass(slots=True)
class _Driver:
    """Hands items to workers, one at a time each: a slow one holds up nobody's item but its own."""

    ray: Any
    todo: deque[Item]
    manifest: Path | None
    ledger: Ledger
    payload: bytes
    where: Cluster
    _waited_for: dict[Any, _Member] = field(default_factory=dict)
    _idle: list[_Member] = field(default_factory=list)
    _tries: Counter[Item] = field(default_factory=Counter)
    _died_opening: Counter[str] = field(default_factory=Counter)
    _refused: dict[str, str] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)
    _looked: float = -_GLANCE
    _of_use: float = field(default_factory=time.monotonic)

    def results(self) -> Generator[Result, None, None]:
        while self.todo or any(member.item for member in self._waited_for.values()):
            self._hire()
            while self.todo and self._idle:
                member = self._idle.pop()
                member.item = self.todo.popleft()
                self._waited_for[member.actor.do.remote(member.item)] = member
            if not self._waited_for:
                time.sleep(_GLANCE)
                continue
            ready, _ = self.ray.wait(list(self._waited_for), timeout=_GLANCE)
            for reference in ready:
                yield from self._hear(reference)

    def stop(self) -> None:
        """Have nothing at work any more, and nothing half-written."""
        if not self.ray.is_initialized():  # it would start anew
            return
        members = [*self._waited_for.values(), *self._idle]
        try:
            ending = [member.actor.stop.remote() for member in members if member.item]
            if ending:
                self.ray.wait(ending, num_returns=len(ending), timeout=_STOPPING)
        finally:
            for member in members:
                self.ray.kill(member.actor)

    def _hire(self) -> None:
        """As many workers as the nodes have room for, and as there is work for."""
        if time.monotonic() < self._looked + _GLANCE:
            return
        self._looked = time.monotonic()
        nodes = [node for node in self.ray.nodes() if node["Alive"] and node["NodeID"] not in self._refused]
        members = [*self._waited_for.values(), *self._idle]
        there = Counter(member.node for member in members)
        wanted = len(self.todo) + sum(member.item is not None for member in members) - len(members)
        for node, share in zip(nodes, self.where.shares(node["Resources"] for node in nodes), strict=True):
            for _ in range(min(wanted, share.workers - there[node["NodeID"]])):
                self._start(node, share)
                wanted -= 1
        if self._waited_for or self._idle:
            self._of_use = self._looked
        elif self._looked > self._of_use + (_PATIENCE if not self._refused else 0):
            why = "; ".join(dict.fromkeys(self._refused.values())) or "no node has the CPUs or GPUs of a worker"
            raise StereosrError(f"no node of the cluster can be used: {why}")

    def _start(self, node: Mapping[str, Any], share: _Share) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        actor = (
            self.ray.remote(_Worker)
            .options(
                num_cpus=share.cpus,
                num_gpus=share.gpus,
                max_concurrency=2,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            )
            .remote()
        )
        opening = actor.open.remote(_identity(), self.payload, _log.getEffectiveLevel(), share)
        self._waited_for[opening] = _Member(actor, node["NodeID"], node["NodeManagerHostname"])

    def _hear(self, reference: Any) -> Iterator[Result]:
        member = self._waited_for.pop(reference)
        try:
            reply: _Reply = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            yield from self._lost(member, error)
            return
        self._log(reply)
        if reply.question is not None:
            self._waited_for[member.actor.answer.remote(*self._answered(*reply.question))] = member
        elif reply.refusal:
            self._refuse(member, reply.refusal)
        else:
            member.item = None
            self._idle.append(member)
            if reply.result is not None:
                yield self._noted(reply.result, reply.finished)

    def _noted(self, result: Result, finished: str | None) -> Result:
        """The result, once the manifest has it."""
        if finished is None:
            return result
        _, error = self._answered("finish", (finished, result.item))
        return result if error is None else replace(result, status="failed", error=error)

    def _answered(self, question: str, arguments: tuple[Any, ...]) -> tuple[Any, StereosrError | None]:
        try:
            return getattr(self.ledger, question)(*arguments), None
        except StereosrError as error:
            return None, error
        except Exception as error:  # as in a local job, it is this item's
            return None, StereosrError(f"{type(error).__name__}: {error}")

    def _lost(self, member: _Member, error: Exception) -> Iterator[Result]:
        """A worker is no more, or out of reach."""
        self.ray.kill(member.actor)
        self._looked = -_GLANCE  # another one may be there for it
        why = str(error).strip().splitlines()[-1]
        _log.debug("a worker on %s died: %s", member.host, error)
        if member.item is None:
            self._died_opening[member.node] += 1
            if self._died_opening[member.node] == TRIES:
                self._refuse(member, f"workers die there as they open: {why}")
            return
        self.ledger = Manifest(self.manifest)  # which now knows what it wrote, too
        self._tries[member.item] += 1
        if self._tries[member.item] < TRIES:
            _log.warning("%s is done again: its worker on %s died", member.item.name, member.host)
            self.todo.append(member.item)
        else:
            told = f"{member.item.name}: {TRIES} workers died at it, the last one on {member.host}"
            yield Result(
                member.item, "failed", StereosrError(f"{told}; debug messages show why", settings=("verbose",))
            )

    def _refuse(self, member: _Member, why: str) -> None:
        self.ray.kill(member.actor)
        if member.node not in self._refused:
            _log.warning("%s is not used: %s", member.host, why)
            self._refused[member.node] = f"{member.host}: {why}"

    def _log(self, reply: _Reply) -> None:
        """What workers logged, as if it had been logged here; what several have to say is said once."""
        for record in reply.logged:
            if record.getMessage() not in self._said and _log.isEnabledFor(record.levelno):
                self._said.add(record.getMessage())
                _log.handle(record)


def _identity() -> str:
    """Which stereosr this is: its version, and its sources, as a checkout keeps its version for long."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    return f"{installed_version('stereosr') or 'from a folder'} ({digest.hexdigest()[:12]})"


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, which keeps quiet, reports to nobody, and leaves nothing behind."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] = ".*"  # all that it would print on our standard output of others' deaths
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with ExitStack() as stack:
        try:
            if address == "local":
                folder = stack.enter_context(
                    TemporaryDirectory(prefix="ray-", dir=_short_folder(), ignore_cleanup_errors=True)
                )
                stack.callback(ray.shutdown)
                ray.init(address, include_dashboard=False, _temp_dir=folder, **quiet)
            else:
                stack.callback(ray.shutdown)
                _check_answers(address)
                ray.init(address, **quiet)
        except Exception as error:  # a start that takes too long is no more than that
            why = "" if isinstance(error, ConnectionError) else f" ({str(error).strip().splitlines()[0]})"
            raise UsageError(
                f"no Ray cluster at {address}{why}: start one with 'ray start', or have a local one started",
                settings=("cluster",),
            ) from error
        if threading.current_thread() is threading.main_thread():
            stack.enter_context(_sigterm_interrupts())
        yield ray


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """As Ctrl-C does: by default it would leave Ray's processes, and Ray's own way is to dump the stack."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_answers(address: str) -> None:
    """Ray itself would try for minutes. Raises OSError."""
    host, _, port = address.rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=_ANSWER).close()


def _short_folder() -> str | None:
    """Ray's folder holds sockets, whose paths have a hundred characters at most: a user's own may be too long."""
    return None if sys.platform == "win32" else "/tmp"
