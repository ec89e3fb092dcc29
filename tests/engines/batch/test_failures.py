"""Results are reported when they happen; what befalls one item is its failed result, and nobody else's."""

import logging
import traceback
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fakes import FakeBackend
from stereosr.atomic import write_all
from stereosr.backends.base import RunReport
from stereosr.batch import job, pictures
from stereosr.batch.item import Item, Result, Settings
from stereosr.batch.job import run
from stereosr.errors import OutOfMemory, StereosrError
from stereosr.io import layouts
from stereosr.io.encode import write_picture
from stereosr.io.images import Picture
from stereosr.types import StereoPair, to_float

NAMES = ("first", "second", "third")
BAD = 6
"""Rows of the item that something befalls; the others have 7."""


def make_items(folder: Path, bad: int | None = None) -> list[Item]:
    """Three pairs; the ``bad`` one has another size."""
    items = []
    for n, name in enumerate(NAMES):
        (folder / name).mkdir()
        sources = (folder / name / "left.png", folder / name / "right.png")
        for side, path in enumerate(sources):
            pixels = np.random.default_rng(2 * n + side).integers(0, 256, (BAD if n == bad else 7, 9, 3), np.uint8)
            write_picture(path, Picture(pixels))
        items.append(Item(name, sources, tuple(path.with_stem(f"{path.stem}_x2") for path in sources)))
    return items


def is_bad(argument: object) -> bool:
    """Whether anything of the bad item is in what a function is called with."""
    match argument:
        case StereoPair():
            return argument.height == BAD
        case Picture():
            return is_bad(argument.pixels)
        case np.ndarray():
            return argument.shape[0] in (BAD, 2 * BAD)
        case Path():
            return argument.parent.name == "second"
        case pictures.Views():
            return is_bad(argument.left)
        case Item():
            return argument.name == "second"
    return False


STAGES = {
    "hash": (job, "file_sha256"),
    "read": (layouts, "read_picture"),
    "check": (pictures, "check_pair_or_unknown"),
    "plan": (pictures, "held_memory"),
    "infer": (pictures, "to_float"),
    "encode": (pictures, "encode_picture"),
    "folders": (job, "_make_folders"),
}
"""Where a job can fail: what is called there."""


def failing(monkeypatch: pytest.MonkeyPatch, stage: str, error: BaseException) -> None:
    """Let a stage fail for the second item."""
    module, name = STAGES[stage]
    real: Callable[..., object] = getattr(module, name)

    def fails(*arguments: object) -> object:
        if any(map(is_bad, arguments)):
            raise error
        return real(*arguments)

    monkeypatch.setattr(module, name, fails)


def done(items: list[Item], backend: FakeBackend | None = None) -> Iterator[Result]:
    return run(items, backend or FakeBackend(), Settings(model="fake"), None)


@pytest.mark.parametrize("stage", STAGES)
def test_lack_of_memory_fails_one_item_by_name_and_the_rest_goes_on(tmp_path, monkeypatch, stage):
    fault = MemoryError()
    failing(monkeypatch, stage, fault)
    items = make_items(tmp_path, bad=1)
    results = list(done(items))
    assert [(r.item.name, r.status) for r in results] == list(zip(NAMES, ("done", "failed", "done"), strict=True))
    assert isinstance(results[1].error, OutOfMemory)
    assert results[1].error.__cause__ is fault
    assert stage == "infer" or "second" in str(results[1].error)
    assert [all(t.exists() for t in item.targets) for item in items] == [True, False, True]
    assert [p.name for p in tmp_path.rglob("*") if p.name.startswith(".")] == []


@pytest.mark.parametrize("stage", STAGES)
def test_an_error_that_nobody_foresaw_keeps_its_kind_and_place(tmp_path, monkeypatch, caplog, stage):
    fault = ValueError("operands could not be broadcast")
    failing(monkeypatch, stage, fault)
    with caplog.at_level(logging.DEBUG, "stereosr"):
        results = list(done(make_items(tmp_path, bad=1)))
    assert [r.status for r in results] == ["done", "failed", "done"]
    assert str(results[1].error).startswith("second: ValueError: operands could not be broadcast")
    assert results[1].error.__cause__ is fault
    assert "in fails" in "".join(traceback.format_exception(results[1].error))
    (record,) = [r for r in caplog.records if r.levelno == logging.DEBUG and r.exc_info]
    assert record.exc_info[1] is fault


def test_an_interrupt_is_nobodys_result(tmp_path, monkeypatch):
    failing(monkeypatch, "infer", KeyboardInterrupt())
    results = done(make_items(tmp_path, bad=1))
    assert next(results).status == "done"
    with pytest.raises(KeyboardInterrupt):
        next(results)


def test_a_failed_result_does_not_hold_its_pictures(tmp_path, monkeypatch):
    """A thousand failures, kept to be listed at the end, must not fill the memory."""
    seen: list[weakref.ref[np.ndarray]] = []

    def look(pixels: np.ndarray) -> np.ndarray:
        seen.append(weakref.ref(pixels))
        return to_float(pixels)

    def fails(_pair: StereoPair) -> StereoPair:
        raise ValueError("no")

    monkeypatch.setattr(pictures, "to_float", look)
    results = list(done(make_items(tmp_path), FakeBackend(fails)))
    assert [r.status for r in results] == ["failed"] * 3
    assert len(seen) == 6
    assert not [view for view in seen if view() is not None]


def test_results_are_reported_when_they_happen(tmp_path, monkeypatch):
    events: list[str] = []

    def write(files: Iterator[tuple[Path, bytes]]) -> None:
        write_all(files)
        events.append("written")

    def infer(pair: StereoPair) -> StereoPair:
        events.append("inferred")
        return pair

    monkeypatch.setattr(job, "write_all", write)
    for result in done(make_items(tmp_path), FakeBackend(infer)):
        assert all(target.exists() for target in result.item.targets)
        events.append(result.item.name)
    assert events == [event for name in NAMES for event in ("inferred", "written", name)]


@pytest.mark.parametrize("stage", STAGES)
def test_whoever_stops_at_a_failure_gets_no_more_work(tmp_path, monkeypatch, stage):
    failing(monkeypatch, stage, StereosrError("no"))
    items, backend = make_items(tmp_path, bad=1), FakeBackend()
    for result in done(items, backend):
        if result.error is not None:
            break
    assert result.item.name == "second"
    assert backend.tiles in ([(7, 9)], [(7, 9), (BAD, 9)])
    assert not any(target.exists() for target in items[2].targets)


def test_a_result_says_what_ran_for_it(tmp_path):
    """Asked for once an item, after its work; what ran for a failed one is not said of the next."""

    class Falling(FakeBackend):
        """Falls back to another precision for the tiles of the second item."""

        ran: list[str]

        def report(self) -> RunReport:
            self.ran, ran = [], self.ran
            return RunReport("a GPU", "+".join(sorted(set(ran))) or "none", tuple(x for x in ran if x == "fp32"))

    def infer(pair: StereoPair) -> StereoPair:
        backend.ran.append("fp16")
        if is_bad(pair):
            backend.ran.append("fp32")
        if fails:
            raise ValueError("no")
        return pair

    items, backend = make_items(tmp_path, bad=1), Falling(infer)
    backend.ran = []
    for fails in (True, False):
        results = list(done(items, backend))
        assert [r.error is None for r in results] == [not fails] * 3
        assert [(r.device, r.precision) for r in results] == [("a GPU", p) for p in ("fp16", "fp16+fp32", "fp16")]
        assert [r.warnings[-1:] == ["fp32"] for r in results] == [False, True, False]
