"""A stopped job resumes, and nothing that it did not write is replaced."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fakes import FakeBackend
from stereosr import atomic
from stereosr.batch import job
from stereosr.batch.item import Item, Result, Settings
from stereosr.batch.job import run
from stereosr.batch.manifest import MANIFEST, Manifest
from stereosr.errors import StereosrError
from stereosr.io.encode import write_picture
from stereosr.io.images import Picture, read_picture
from stereosr.types import StereoPair

STRANGE = b"somebody else's"


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """Two pairs of equal pixels in two folders, whose results go to two folders below ``out``."""
    made = []
    for name in "ab":
        sources = tuple(tmp_path / name / f"{side}.png" for side in ("left", "right"))
        sources[0].parent.mkdir()
        for seed, path in enumerate(sources):
            write_picture(path, Picture(np.random.default_rng(seed).integers(0, 256, (8, 9, 3), np.uint8)))
        targets = tuple(tmp_path / "out" / name / path.name for path in sources)
        made.append(Item(name, sources, targets))
    return made


def upscaled(
    items: list[Item], tmp_path: Path, backend: FakeBackend | None = None, **settings: bool
) -> Iterator[Result]:
    return run(items, backend or FakeBackend(), Settings(model="fake", **settings), tmp_path / "out" / MANIFEST)


def statuses(items: list[Item], tmp_path: Path, **settings: bool) -> list[str]:
    return [result.status for result in upscaled(items, tmp_path, **settings)]


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(STRANGE)


def killed(
    items: list[Item],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    renames: int,
    backend: FakeBackend | None = None,
) -> None:
    """Run a job that dies when so many files have got their names."""
    real, left = Path.replace, [None] * renames

    def replace(path: Path, target: Path) -> Path:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            list(upscaled(items, tmp_path, backend))


def test_items_of_equal_pixels_are_told_apart(items, tmp_path, monkeypatch):
    """A run that was killed, or finished, with one of them says nothing of the other one's files."""
    for target in items[1].targets:
        put(target)
    killed(items[:1], tmp_path, monkeypatch, renames=1)
    for status in ("done", "skipped"):
        assert statuses(items, tmp_path) == [status, "failed"]
        assert [target.read_bytes() for target in items[1].targets] == [STRANGE] * 2


@pytest.mark.parametrize("renames", [0, 1])
def test_a_strangers_file_at_a_target_survives_the_run_after_a_killed_one(items, tmp_path, monkeypatch, renames):
    killed(items[:1], tmp_path, monkeypatch, renames)
    put(items[0].targets[renames])
    (result,) = upscaled(items[:1], tmp_path)
    assert f"{items[0].targets[renames]} exists: overwrite it" in str(result.error)
    assert items[0].targets[renames].read_bytes() == STRANGE
    assert statuses(items[:1], tmp_path, overwrite=True) == ["done"]
    assert items[0].targets[renames].read_bytes() != STRANGE


@pytest.mark.parametrize("renames", [0, 1])
def test_a_killed_run_goes_on(items, tmp_path, monkeypatch, renames):
    killed(items, tmp_path, monkeypatch, renames)
    assert [t.exists() for t in items[0].targets] == [renames > 0, False]
    assert statuses(items, tmp_path) == ["done", "done"]
    assert statuses(items, tmp_path) == ["skipped", "skipped"]


def test_killed_again_and_again_with_other_bits_it_still_knows_its_files(items, tmp_path, monkeypatch):
    """A GPU does not give the same bits twice: what was announced and what was written may be of different runs."""
    killed(items[:1], tmp_path, monkeypatch, renames=1)
    brighter = FakeBackend(lambda pair: StereoPair(pair.left * 0.9, pair.right * 0.9))
    killed(items[:1], tmp_path, monkeypatch, renames=0, backend=brighter)
    assert statuses(items[:1], tmp_path) == ["done"]


def test_a_file_that_appears_during_the_work_is_not_replaced(items, tmp_path):
    def meanwhile(pair: StereoPair) -> StereoPair:
        put(items[0].targets[1])
        return pair

    (result,) = upscaled(items[:1], tmp_path, FakeBackend(meanwhile))
    assert f"{items[0].targets[1]} exists" in str(result.error)
    assert items[0].targets[1].read_bytes() == STRANGE
    assert [p.name for p in items[0].targets[0].parent.iterdir()] == ["right.png"]


def test_the_files_are_announced_before_the_first_one_appears(items, tmp_path, monkeypatch):
    """What ``write_all`` must hold: it takes all files before it gives the first one its name."""
    seen = []
    real = atomic.write_all

    def look(files: Iterator[tuple[Path, bytes]]) -> None:
        def noted() -> Iterator[tuple[Path, bytes]]:
            yield from files
            lines = (tmp_path / "out" / MANIFEST).read_text().splitlines()
            seen.append((json.loads(lines[-1])["state"], [t.exists() for t in items[0].targets]))

        real(noted())

    monkeypatch.setattr(job, "write_all", look)
    assert statuses(items[:1], tmp_path) == ["done"]
    assert seen == [("started", [False, False])]


def test_what_is_missing_of_a_finished_item_is_done_again(items, tmp_path):
    assert statuses(items, tmp_path) == ["done", "done"]
    items[0].targets[0].unlink()
    items[1].targets[0].unlink()
    put(items[1].targets[1])
    assert statuses(items, tmp_path) == ["done", "failed"]
    assert items[1].targets[1].read_bytes() == STRANGE


def test_other_settings_or_pixels_are_another_item(items, tmp_path):
    assert statuses(items[:1], tmp_path) == ["done"]
    assert statuses(items[:1], tmp_path, swap=True) == ["failed"]
    write_picture(items[0].sources[0], read_picture(items[0].sources[1]))
    assert statuses(items[:1], tmp_path) == ["failed"]


def test_how_much_memory_there_is_does_not_matter(items, tmp_path):
    assert statuses(items[:1], tmp_path) == ["done"]
    settings = Settings(model="fake")
    scarce = Settings(model="fake", tiles=type(settings.tiles)(max_memory=2**20))
    (result,) = run(items[:1], FakeBackend(), scarce, tmp_path / "out" / MANIFEST)
    assert result.status == "skipped"


def test_a_folder_can_be_moved_with_its_manifest(items, tmp_path):
    assert statuses(items, tmp_path) == ["done", "done"]
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    moved = [
        Item(i.name, i.sources, tuple(tmp_path / "elsewhere" / t.relative_to(tmp_path / "out") for t in i.targets))
        for i in items
    ]
    again = run(moved, FakeBackend(), Settings(model="fake"), tmp_path / "elsewhere" / MANIFEST)
    assert [r.status for r in again] == ["skipped", "skipped"]


def test_lines_that_say_nothing_do_not_matter(items, tmp_path):
    """Cut short by a stop, of another program, or of another version."""
    manifest = tmp_path / "out" / MANIFEST
    manifest.parent.mkdir()
    junk = ["5", "[]", "null", '{"key": "k"}', '{"key": "k", "state": "started", "files": {"a": []}}', "\ufffd"]
    manifest.write_text("\n".join([*junk, '{"key": "cut sho']), encoding="utf-8")
    for status in ("done", "skipped"):
        assert statuses(items[:1], tmp_path) == [status]
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()[len(junk) + 1 :]]
    assert [row["state"] for row in rows] == ["started", "done"]
    assert list(rows[0]["files"]) == ["a/left.png", "a/right.png"]


def test_a_manifest_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(StereosrError, match=str(tmp_path)):
        Manifest(tmp_path)
