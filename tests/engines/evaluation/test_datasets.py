"""Benchmark folders in every layout, and what is said about those that are not in order."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared_data import ROOT, shared
from stereosr.errors import UsageError
from stereosr.evaluation import datasets
from stereosr.evaluation.datasets import open_dataset
from stereosr.evaluation.degrade import degrade
from stereosr.models.library import BUNDLED


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STEREOSR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def write(path: Path, height: int = 40, width: int = 80, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *path.name.encode()])
    cv2.imwrite(str(path), rng.integers(0, 256, (height, width, 3), np.uint8))


def write_all(root: Path, names: list[str], **size: int) -> Path:
    for seed, name in enumerate(names):
        write(root / name, seed=seed, **size)
    return root


@pytest.mark.parametrize(
    ("files", "scenes"),
    [
        (["hr/a/hr0.png", "hr/a/hr1.png", "hr/b/hr0.png", "hr/b/hr1.png"], ["a", "b"]),
        (["HR/0001_L.png", "HR/0001_R.png"], ["0001"]),
        (["0001_L.png", "0001_R.png", "0002_L.png", "0002_R.png"], ["0001", "0002"]),
        (["image_2/000000_10.png", "image_3/000000_10.png", "image_2/000000_11.png", "image_3/000000_11.png"], None),
        (["testing/colored_0/000000_10.png", "testing/colored_1/000000_10.png", "disp_occ/000000_10.png"], None),
        (["Motorcycle-perfect/im0.png", "Motorcycle-perfect/im1.png"], ["Motorcycle-perfect"]),
        (["Cloth2/view1.png", "Cloth2/view5.png", "Cloth2/view0.png", "Cloth2/disp1.png"], ["Cloth2"]),
    ],
    ids=["field", "ntire", "flat", "kitti2015", "kitti2012", "middlebury2014", "middlebury2006"],
)
def test_layouts(tmp_path, files, scenes):
    found = open_dataset(write_all(tmp_path / "set", files), 4)
    assert found.problems == ()
    names = [scene.name for scene in found.scenes]
    assert names == scenes if scenes else [Path(name).name for name in names] == ["000000_10"]


def test_lr_is_made_by_the_fields_degradation_and_kept(tmp_path, cache):
    root = write_all(tmp_path / "set", ["a_L.png", "a_R.png"], height=43, width=81)
    scene = open_dataset(root, 4).scenes[0]
    assert (scene.size, scene.lr, scene.faithful) == ((10, 20), None, True)
    kept = sorted(cache.rglob("*.png"))
    assert len(kept) == 2
    (left, right), lr = scene.views()
    assert left.shape == (40, 80, 3)
    for view, small in zip((left, right), lr, strict=True):
        np.testing.assert_array_equal(degrade(view, 4), small)
    kept[0].write_bytes(b"")  # a broken cache is made anew
    np.testing.assert_array_equal(scene.views()[1][0], lr[0])
    assert kept[0].stat().st_size > 0


def test_lr_that_is_there_is_taken_and_compared(tmp_path):
    root = write_all(tmp_path / "set", ["hr/a/hr0.png", "hr/a/hr1.png"])
    write_all(root, ["lr_x4/a/lr0.png", "lr_x4/a/lr1.png"], height=10, width=20)
    scene = open_dataset(root, 4).scenes[0]
    assert scene.lr is not None
    assert not scene.faithful
    np.testing.assert_array_equal(scene.views()[1][0][..., ::-1], cv2.imread(str(root / "lr_x4/a/lr0.png")))
    assert open_dataset(root, 2).scenes[0].lr is None


def test_every_bad_scene_is_one_line_and_the_rest_goes_on(tmp_path):
    root = tmp_path / "set"
    for scene in ("good", "mixed", "lr", "nolr", "broken", "small"):
        size = {"height": 24, "width": 24} if scene == "small" else {}
        write_all(root, [f"hr/{scene}/hr0.png", f"hr/{scene}/hr1.png"], **size)
        if scene not in ("lr", "nolr"):
            write_all(root, [f"lr_x4/{scene}/lr0.png", f"lr_x4/{scene}/lr1.png"], height=10, width=20)
    write_all(root, ["lr_x4/lr/lr0.png", "lr_x4/lr/lr1.png"], height=10, width=21)
    write(root / "hr/mixed/hr1.png", width=84)
    write(root / "hr/alone/hr0.png")
    (root / "hr/broken/hr1.png").write_bytes((root / "hr/broken/hr1.png").read_bytes()[:200])
    found = open_dataset(root, 4)
    assert [scene.name for scene in found.scenes] == ["good"]
    for scene, reason in {
        "mixed": "hr0.png is 80x40, hr1.png is 84x40",
        "lr": "LR is 21x10 where x4 of HR 80x40 is 20x10",
        "nolr": "no LR in lr_x4",
        "broken": "hr1.png",
        "small": "24x24 is too small to score",
        "hr/alone": "no partner",
    }.items():
        lines = [line for line in found.problems if line.startswith(scene)]
        assert len(lines) == 1, (scene, found.problems)
        assert reason in lines[0]
        assert "\n" not in lines[0]
    assert len(found.problems) == 6


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no stereo pairs"),
        (["photo.png"], "no stereo pairs"),
        (["lr_x4/a/lr0.png", "lr_x4/a/lr1.png"], "no hr folder"),
        (["K/hr/a/hr0.png", "K/hr/a/hr1.png", "K/lr_x4/a/lr0.png", "K/lr_x4/a/lr1.png"], "several data sets"),
        (["hr/a/hr0.png"], r"no stereo pairs.*hr0.png: no partner"),
    ],
)
def test_a_wrong_folder_says_what_is_wanted(tmp_path, files, message):
    (tmp_path / "set").mkdir()
    with pytest.raises(UsageError, match=message):
        open_dataset(write_all(tmp_path / "set", files), 4)


def test_a_missing_folder(tmp_path):
    with pytest.raises(UsageError, match="is not a folder"):
        open_dataset(tmp_path / "nowhere", 4)


def test_middlebury_at_full_size_is_named(tmp_path):
    root = tmp_path / "Middlebury"
    for size, scene in ((90, "Piano-perfect"), (100, "Motorcycle-perfect")):
        write_all(root, [f"{scene}/im0.png", f"{scene}/im1.png"], height=size, width=30 * size)
    found = open_dataset(root, 4)
    assert found.name == "Middlebury (full size)"
    assert found.benchmark is None
    assert "halved" in found.about


def test_a_set_named_like_a_benchmark_with_other_pictures_is_not_it(tmp_path):
    root = write_all(tmp_path / "KITTI2015", ["hr/a/hr0.png", "hr/a/hr1.png"])
    found = open_dataset(root, 4)
    assert found.benchmark is None
    assert found.about.startswith("not the published benchmark")


def test_the_hash_is_of_the_pictures_wherever_they_lie(tmp_path):
    field = write_all(tmp_path / "field", ["hr/a/hr0.png", "hr/a/hr1.png", "hr/b/hr0.png", "hr/b/hr1.png"])
    flat = tmp_path / "flat"
    flat.mkdir()
    for scene, name in (("a", "x"), ("b", "w")):
        for view, side in enumerate("LR"):
            shutil.copy(field / f"hr/{scene}/hr{view}.png", flat / f"{name}_{side}.png")
    assert open_dataset(field, 4).digest == open_dataset(flat, 2).digest
    write(field / "hr/a/hr0.png", seed=9)
    assert open_dataset(field, 4).digest != open_dataset(flat, 4).digest


def test_the_published_kitti_2015_is_recognised():
    found = open_dataset(shared("bench/KITTI2015"), 4)
    assert found.benchmark == "KITTI2015"
    assert len(found.scenes) == 20
    assert all(scene.lr and scene.faithful for scene in found.scenes)


def test_four_of_middlebury_are_not_the_published_five():
    found = open_dataset(shared("bench/Middlebury4"), 2)
    assert found.digest == datasets.MIDDLEBURY4
    assert found.benchmark is None
    assert "sword2" in found.about


def test_the_bundled_example_is_a_data_set():
    assert BUNDLED.is_relative_to(ROOT)
    assert [scene.name for scene in open_dataset(BUNDLED / "examples", 4).scenes] == ["render"]
