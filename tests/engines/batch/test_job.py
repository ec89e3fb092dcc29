"""Folders of pairs: nothing lost, nothing half-written, nothing done twice; pictures stay what they are."""

import math
import os
import random
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image as Pil

from fakes import FakeBackend
from shared_data import ROOT
from stereosr.backends.base import RunOptions
from stereosr.backends.ort_cpu import OrtCpu
from stereosr.batch import pictures
from stereosr.batch.inputs import Naming, collect
from stereosr.batch.item import Item, Settings
from stereosr.batch.job import run
from stereosr.batch.manifest import MANIFEST
from stereosr.errors import OutOfMemory
from stereosr.geometry.pair_check import check_pair_or_unknown
from stereosr.inference.memory import TAKEN_BY_TILES
from stereosr.inference.settings import TileSettings
from stereosr.inference.size import OutputSize
from stereosr.io.encode import write_picture
from stereosr.io.images import Picture, decode_picture, read_picture
from stereosr.io.layouts import write_stereo
from stereosr.io.metadata import Metadata
from stereosr.models.library import find_model
from stereosr.types import StereoPair

RENDER = ROOT / "engines/stereosr/models/bundled/examples/render"


def noise(height: int, width: int, seed: int = 0) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def twice(picture: Picture) -> np.ndarray:
    """What FakeBackend makes of a picture."""
    return picture.pixels.repeat(2, 0).repeat(2, 1)


def pair_item(folder: Path, left: Picture, right: Picture, suffix: str = "png") -> Item:
    folder.mkdir(exist_ok=True)
    sources = tuple(folder / f"{side}.{suffix}" for side in ("left", "right"))
    for path, picture in zip(sources, (left, right), strict=True):
        write_picture(path, picture)
    return Item(folder.name, sources, tuple(path.with_stem(f"{path.stem}_x2") for path in sources))


def results(item: Item, backend: FakeBackend | OrtCpu | None = None, **settings: object) -> list[Picture]:
    (result,) = run([item], backend or FakeBackend(), Settings(model="fake", **settings), None)
    assert result.error is None, result.error
    return [read_picture(target) for target in item.targets]


def held(view: Picture) -> int:
    """What a job at x2 with 8 bits holds beside the work on tiles: four views read, two results, two encoded."""
    return 4 * view.pixels.size + 2 * 4 * view.pixels.size + 2 * 2 * 4 * view.pixels.size


def tile_work(rows: int, columns: int, width: int) -> int:
    """What FakeBackend takes for a tile, with what an allocator wastes, and three tiles' results as float32 take."""
    return math.ceil(rows * columns * ((100 + width) * TAKEN_BY_TILES + 3 * 2 * 3 * 4 * 2**2))


class TestMemory:
    @staticmethod
    def scarce(pixels: int) -> FakeBackend:
        def operator(pair: StereoPair) -> StereoPair:
            if pair.height * pair.width > pixels:
                raise MemoryError
            return pair

        return FakeBackend(operator)

    def test_out_of_memory_is_survived_and_counted(self, tmp_path):
        item, plans = pair_item(tmp_path, noise(100, 40), noise(100, 40, 1)), []
        (result,) = run([item], self.scarce(1200), Settings(model="fake"), None, lambda _, tiles: plans.append(tiles))
        assert result.status == "done"
        assert plans[0] == 1
        assert plans[-1] == result.tiles > 3
        assert np.array_equal(read_picture(item.targets[0]).pixels, twice(noise(100, 40)))

    def test_at_the_smallest_tile_it_is_an_error_and_the_rest_goes_on(self, tmp_path):
        items = [pair_item(tmp_path / str(n), noise(n, n), noise(n, n, 1)) for n in (40, 6)]
        first, second = run(items, self.scarce(40), Settings(model="fake"), None)
        assert isinstance(first.error, OutOfMemory)
        assert "does not fit" in str(first.error)
        assert second.status == "done"

    def test_pixels_that_do_not_fit_by_themselves_are_an_error_that_says_how_much(self, tmp_path, monkeypatch):
        def empty(*_: object) -> None:
            raise MemoryError

        item = pair_item(tmp_path, noise(10, 10), noise(10, 10, 1))
        monkeypatch.setattr("stereosr.batch.pictures.to_float", empty)
        (result,) = run([item], FakeBackend(), Settings(model="fake"), None)
        assert isinstance(result.error, OutOfMemory)
        assert "need 5 KiB beside the model" in str(result.error)

    def test_what_the_job_holds_beside_the_tiles_counts(self, tmp_path):
        """The budget is for all of it, not for the tiles alone. 270 rows are whole bands of 50 or 30, which share 6."""
        item = pair_item(tmp_path, noise(270, 40), noise(270, 40, 1))
        budget = held(noise(270, 40)) + tile_work(50, 40, 40)
        backend = FakeBackend()
        results(item, backend, tiles=TileSettings(max_memory=budget))
        assert {rows for rows, _ in backend.tiles} == {50}
        settings = Settings(model="fake", overwrite=True, tiles=TileSettings(max_memory=held(noise(270, 40))))
        (result,) = run([item], FakeBackend(), settings, None)
        assert isinstance(result.error, OutOfMemory)
        assert "KiB beside the model" in str(result.error)
        assert "max_memory" in result.error.settings

    def test_of_free_memory_tiles_take_half_at_most(self, tmp_path, monkeypatch):
        """And less where the job needs the rest."""
        item = pair_item(tmp_path, noise(270, 40), noise(270, 40, 1))
        beside = held(noise(270, 40))
        for rows, free in ((50, 2 * tile_work(50, 40, 40)), (30, beside + tile_work(30, 40, 40))):
            monkeypatch.setattr("psutil.virtual_memory", lambda free=free: SimpleNamespace(available=free))
            backend = FakeBackend()
            results(item, backend, overwrite=True)
            assert {height for height, _ in backend.tiles} == {rows}

    def test_no_more_than_two_pairs_are_held(self, tmp_path, monkeypatch):
        """The one at work, and the next one, read ahead."""
        alive: list[weakref.ref[np.ndarray]] = []

        def read(path: Path) -> Picture:
            picture = read_picture(path)
            alive.append(weakref.ref(picture.pixels))
            return picture

        def count(pair: StereoPair) -> StereoPair:
            most.append(sum(view() is not None for view in alive))
            ahead.append(len(taken))
            return pair

        def one_by_one() -> Iterator[Item]:
            for n in range(6, 12):
                taken.append(n)
                yield pair_item(tmp_path / str(n), noise(n, 9), noise(n, 9, 1))

        most: list[int] = []
        taken: list[int] = []
        ahead: list[int] = []
        monkeypatch.setattr("stereosr.io.layouts.read_picture", read)
        results = run(one_by_one(), FakeBackend(count), Settings(model="fake"), None)
        assert [r.status for r in results] == ["done"] * 6
        assert len(most) == 6
        assert max(most) <= 4
        assert ahead == [2, 3, 4, 5, 6, 6]

    def test_where_the_width_is_split_it_is_by_the_disparity_that_the_pair_shows(self, tmp_path):
        left, right = (read_picture(RENDER / f"hr{i}.png") for i in (0, 1))
        largest = check_pair_or_unknown(left, right).largest_disparity(left.pixels.shape[1])
        assert 20 < largest < 80
        assert check_pair_or_unknown(left, left).largest_disparity(400) == 50  # unknown
        assert check_pair_or_unknown(left, right).largest_disparity(40) == 10  # such matches would be false
        item = pair_item(tmp_path, left, right)
        tiles = {}
        for disparity in (None, 0):
            backend = FakeBackend(min_tile=(10, 10))
            budget, width = 12 * 300 * (100 + 300), left.pixels.shape[1]
            rest = budget * tile_work(1, 1, width) // (100 + width) + 1
            settings = TileSettings(max_memory=rest + held(left), max_disparity=disparity)
            results(item, backend, tiles=settings, overwrite=True)
            assert all(rows * columns * (100 + columns) <= budget for rows, columns in backend.tiles)
            tiles[disparity] = len(backend.tiles)
        assert tiles[None] > tiles[0]  # which shares fewer columns


class TestPixels:
    """What goes in comes out, whatever the format, through the whole of a job."""

    def test_a_sixteen_bit_ramp_keeps_its_levels(self, tmp_path):
        """By the bundled network: 4096 levels in, far more than 256 out."""
        ramp = np.linspace(0, 65535, 48 * 140).astype(np.uint16).reshape(48, 140, 1).repeat(3, 2)
        item = pair_item(tmp_path, Picture(ramp), Picture(ramp))
        left, _ = results(item, OrtCpu(find_model("nafssr-t", 2), RunOptions(threads=1)))
        assert left.pixels.dtype == np.uint16
        assert len(np.unique(left.pixels)) > 4096

    @pytest.mark.parametrize(("depth", "dtype"), [(None, np.uint8), (8, np.uint8), (16, np.uint16)])
    def test_the_depth_can_be_chosen(self, tmp_path, depth, dtype):
        left, _ = results(pair_item(tmp_path, noise(8, 9), noise(8, 9, 1)), depth=depth)
        assert left.pixels.dtype == dtype
        assert np.array_equal(left.pixels // (257 if depth == 16 else 1), twice(noise(8, 9)))

    def test_alpha_keeps_its_silhouette(self, tmp_path):
        y, x = np.mgrid[:60, :80]
        inside = (y - 30) ** 2 + (x - 40) ** 2 < 22**2
        picture = Picture(noise(60, 80).pixels, np.where(inside, 255, 0).astype(np.uint8))
        left, right = results(pair_item(tmp_path, picture, Picture(noise(60, 80, 1).pixels)))
        assert right.alpha is None
        assert ((left.alpha > 127) != inside.repeat(2, 0).repeat(2, 1)).mean() < 0.01
        assert (left.alpha[:10] == 0).all()

    def test_grey_stays_grey(self, tmp_path):
        grey = [Picture(noise(20, 30, seed).pixels[..., :1].repeat(3, 2), grey=True) for seed in (0, 1)]
        item = pair_item(tmp_path, *grey)
        assert all(view.grey for view in results(item))

    def test_orientation_6_comes_out_upright(self, tmp_path):
        exif = Pil.Exif()
        exif[0x0112], exif[0x010F] = 6, "Twin Lens Co."
        for side in ("left", "right"):  # as a camera held upright stores it: turned by 90 degrees
            turned = cv2.GaussianBlur(np.rot90(noise(40, 30).pixels).copy(), (0, 0), 4)
            Pil.fromarray(turned).save(tmp_path / f"{side}.jpg", exif=exif, quality=100)
        sources = (tmp_path / "left.jpg", tmp_path / "right.jpg")
        left, _ = results(Item("a", sources, (tmp_path / "l.jpg", tmp_path / "r.jpg")))
        expected = cv2.GaussianBlur(noise(40, 30).pixels, (0, 0), 4).repeat(2, 0).repeat(2, 1)
        assert np.abs(left.pixels.astype(int) - expected).mean() < 4
        written = Pil.Exif()
        written.load(left.metadata.exif)
        assert (written.get(0x0112, 1), written[0x010F]) == (1, "Twin Lens Co.")

    @pytest.mark.parametrize("suffix", ["jpg", "webp"])
    def test_the_quality_can_be_chosen(self, tmp_path, suffix):
        sizes = []
        for quality in (20, 90):
            item = pair_item(tmp_path, noise(60, 80), noise(60, 80, 1), suffix)
            results(item, quality=quality, overwrite=True)
            sizes.append(item.targets[0].stat().st_size)
        assert sizes[0] < 0.7 * sizes[1]

    @pytest.mark.parametrize(("width", "layout", "count"), [(8192, "pair", 2), (4096, "sbs", 1)])
    def test_what_the_format_cannot_hold_is_said_before_the_work(self, tmp_path, width, layout, count):
        item = pair_item(tmp_path, noise(1, width), noise(1, width, 1))
        targets = tuple(tmp_path / f"{n}.webp" for n in range(count))
        backend = FakeBackend()
        (result,) = run([Item("a", item.sources, targets, "pair", layout)], backend, Settings(model="fake"), None)
        assert "16384x2 is more than WEBP" in str(result.error)
        assert "use PNG" in str(result.error)
        assert backend.tiles == []

    def test_exchanged_files_keep_their_names_and_exchanged_halves_do_not(self, tmp_path):
        seen = []

        def look(pair: StereoPair) -> StereoPair:
            seen.append(pair)
            return pair

        backend = FakeBackend(look)
        left, right = noise(8, 9), noise(8, 9, 1)
        results_of_files = results(pair_item(tmp_path / "a", left, right), backend, swap=True)
        assert np.allclose(seen[0].left * 255, right.pixels)
        assert all(np.array_equal(a.pixels, twice(b)) for a, b in zip(results_of_files, (left, right), strict=True))
        write_picture(tmp_path / "a_SBS.png", Picture(np.concatenate([left.pixels, right.pixels], 1)))
        item = Item("a", (tmp_path / "a_SBS.png",), (tmp_path / "L.png", tmp_path / "R.png"), "sbs")
        results_of_halves = results(item, swap=True)
        assert all(np.array_equal(a.pixels, twice(b)) for a, b in zip(results_of_halves, (right, left), strict=True))

    def test_metadata_travels(self, tmp_path):
        picture = Picture(noise(8, 9).pixels, metadata=Metadata(xmp=b"<x:xmpmeta/>"))
        assert results(pair_item(tmp_path, picture, picture))[0].metadata == picture.metadata


class TestAJobThatDies:
    PAIRS, BROKEN, KILLS = 200, 10, 10

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        folder = tmp_path / "photos"
        for n in range(self.PAIRS):
            for side in "LR":
                path = folder / str(n % 7) / f"{n:03}_{side}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_picture(path, noise(40, 60, 2 * n + (side == "R")))
        broken = [path for path in sorted(folder.rglob("*_R.png")) if int(path.stem[:3]) % 20 == 3]
        assert len(broken) == self.BROKEN
        for n, path in enumerate(broken):
            whole = path.read_bytes()
            if n == 0:
                write_picture(path, noise(40, 61))  # a view of another size
            else:
                path.write_bytes((b"", b"no picture", whole[: len(whole) // 2], whole[:40] + whole[60:])[n % 4])
        return folder

    @staticmethod
    def start(source: Path, out: Path) -> "subprocess.Popen[str]":
        environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
        command = [sys.executable, str(ROOT / "tests/workers/run_job.py"), str(source), str(out)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    @staticmethod
    def files(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def test_killed_ten_times_it_ends_the_same(self, source, tmp_path):
        calm, out = tmp_path / "calm", tmp_path / "out"
        items = collect([source], Naming(out=calm, suffix="_x2")).items
        undisturbed = list(run(items, FakeBackend(), Settings(model="fake"), calm / MANIFEST))
        chance = random.Random(0)
        for _ in range(self.KILLS):
            process = self.start(source, out)
            fresh = (line for line in process.stdout if line.startswith("done"))
            for _ in range(chance.randint(1, 15)):
                next(fresh)
            try:
                process.wait(chance.uniform(0, 0.02))
            except subprocess.TimeoutExpired:
                process.kill()
            process.stdout.close()
            assert process.wait(60) == -9
        last, _ = self.start(source, out).communicate(timeout=240)
        rows = [line.split() for line in last.splitlines()]
        assert {name for status, name in rows if status == "failed"} == {
            r.item.name for r in undisturbed if r.status == "failed"
        }
        assert len([status for status, _ in rows if status == "failed"]) == self.BROKEN
        assert len([status for status, _ in rows if status == "skipped"]) >= self.KILLS
        expected, found = self.files(calm), self.files(out)
        del expected[MANIFEST], found[MANIFEST]
        assert len(expected) == 2 * (self.PAIRS - self.BROKEN)
        assert found == expected


@pytest.mark.parametrize("suffix", ["png", "jpg", "mpo"])
@pytest.mark.parametrize("stem", ["d", "d_SBS"])
def test_a_file_with_both_views_is_decoded_once(tmp_path, monkeypatch, suffix, stem):
    """Where nothing but its pixels shows what it is, too; of an MPO each picture."""
    path = tmp_path / f"{stem}.{suffix}"
    views = [Picture(read_picture(RENDER / f"hr{i}.png").pixels[:200, :300]) for i in (0, 1)]
    write_stereo(path, *views, "mpo" if suffix == "mpo" else "sbs")
    decoded: list[Path] = []

    def counts(data: bytes, path: Path) -> Picture:
        decoded.append(path)
        return decode_picture(data, path)

    monkeypatch.setattr("stereosr.io.layouts.decode_picture", counts)
    (item,) = collect([path], Naming(out=tmp_path / "out", suffix="_x2")).items
    (result,) = run([item], FakeBackend(), Settings(model="fake"), None)
    assert result.error is None
    assert result.size == (200, 300)
    assert len(decoded) == (2 if suffix == "mpo" else 1)


class TestWhatIsKept:
    def test_each_view_keeps_its_own_depth(self, tmp_path: Path) -> None:
        left, right = noise(12, 16), noise(12, 16, 1)
        wide = Picture((right.pixels.astype(np.uint16) << 8) + 7)
        item = pair_item(tmp_path / "a", left, wide)
        first, second = results(item)
        assert np.array_equal(first.pixels, twice(left))
        assert np.array_equal(second.pixels, twice(wide))
        joined = replace(item, targets=(tmp_path / "a/SBS.png",), out_layout="sbs")
        (both,) = results(joined)
        assert np.array_equal(both.pixels, np.hstack([twice(left).astype(np.uint16) * 257, twice(wide)]))

    def test_what_lies_unseen_does_not_show_at_the_edges(self, tmp_path: Path) -> None:
        """The colour under transparent pixels is that of the nearest visible one, before anything is blurred."""
        colour, alpha = noise(24, 30), np.full((24, 30), 255, np.uint8)
        alpha[:, 11:19], colour.pixels[:, 11:19] = 0, 0
        given: list[StereoPair] = []

        def note(pair: StereoPair) -> StereoPair:
            given.append(pair)
            return pair

        backend = FakeBackend(note)
        shown, _ = results(pair_item(tmp_path / "a", replace(colour, alpha=alpha), colour), backend)
        seen = np.rint(given[0].left * 255)
        assert np.array_equal(seen[:, :11], colour.pixels[:, :11])
        assert np.array_equal(seen[:, 11:15], colour.pixels[:, 10:11].repeat(4, 1))
        assert np.array_equal(seen[:, 15:19], colour.pixels[:, 19:20].repeat(4, 1))
        assert (shown.alpha[:, 24:36] == 0).all()
        invisible = replace(colour, alpha=np.zeros_like(alpha))
        assert np.array_equal(results(pair_item(tmp_path / "b", invisible, colour))[0].pixels, twice(colour))

    def test_what_was_not_read_is_said_once(self, tmp_path: Path) -> None:
        frames = [Pil.fromarray(noise(12, 16, seed).pixels) for seed in range(3)]
        item = pair_item(tmp_path / "a", noise(12, 16), noise(12, 16, 1), "webp")
        frames[0].save(item.sources[1], save_all=True, append_images=frames[1:], lossless=True)
        (result,) = run([item], FakeBackend(), Settings(model="fake"), None)
        assert [line for line in result.warnings if "frames" in line] == [
            "right.webp holds 3 pictures, frames or pages: only the first is done"
        ]

    def test_a_panorama_is_as_wide_as_its_picture(self, tmp_path: Path) -> None:
        view = replace(noise(12, 16), metadata=Metadata(xmp=b'<x GPano:FullPanoWidthPixels="32"/>'))
        assert b'"64"' in results(pair_item(tmp_path / "a", view, noise(12, 16, 1)))[0].metadata.xmp


def test_large_results_are_told_before_the_work_unless_a_size_was_asked_for(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "stereosr")
    monkeypatch.setattr(pictures, "_LARGE", 1000)
    item = pair_item(tmp_path / "pair", noise(20, 30), noise(20, 30, 1))
    told = []
    list(run([item], FakeBackend(), Settings(model="fake"), None, lambda *_: told.append(caplog.text)))
    assert "the result has 2 x 0 megapixels; a scale or a largest side makes it smaller" in told[0]
    caplog.clear()
    assert [r.pixels.shape for r in results(item, size=OutputSize(largest=50), overwrite=True)] == [(33, 50, 3)] * 2
    assert caplog.text == ""
