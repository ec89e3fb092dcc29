import csv
import dataclasses
import json
import math
import re
import signal
import socket
import subprocess
import sys
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from safetensors.torch import load_file, save_file

from command import failed, in_process, stereosr
from shared_data import ROOT
from stereosr.errors import UsageError
from stereosr.evaluation.degrade import degrade
from stereosr_export.training import loop
from stereosr_export.training.camera import record
from stereosr_export.training.config import TrainConfig, complete, learning_rate, presets, read_settings
from stereosr_export.training.data import Patches, cut
from stereosr_export.training.loop import LOSSES, train, warm_start
from stereosr_export.training.scenes import MANY, Pictures, Scene, SceneFiles, find_scenes, hold_back, read_scene
from stereosr_export.training.synthetic_stereo import render_pair
from stereosr_export.zoo import find, zoo


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three small scenes and one photograph, smooth enough that a step of training helps."""
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        (tmp_path / "stereo" / name).mkdir(parents=True)
        wide = cv2.resize(rng.integers(0, 256, (20, 40, 3), np.uint8), (220, 100), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / "stereo" / name / "left.png"), wide[:, 6:206])
        cv2.imwrite(str(tmp_path / "stereo" / name / "right.png"), wide[:, :200])
    (tmp_path / "mono").mkdir()
    picture = cv2.resize(rng.integers(0, 256, (20, 40, 3), np.uint8), (400, 200), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "mono" / "photo.png"), picture)
    return tmp_path


def patches(pictures: Pictures, size: tuple[int, int], **changes: object) -> Patches:
    return Patches(pictures, config(Path(), real_share=1.0, **changes), size)


def config(data: Path, **changes: object) -> TrainConfig:
    settings = {
        "model": "nafssr-t",
        "scale": 2,
        "data": str(data),
        "out": str(data / "run"),
        "iterations": 4,
        "batch": 2,
        "patch": (8, 16),
        "precision": "fp32",
        "validate_every": 2,
        "workers": 0,
        "warmup": 2,
    }
    return TrainConfig(**(settings | changes))  # type: ignore[arg-type]


def quiet(_row: object) -> None:
    pass


@pytest.mark.parametrize("scale", [2, 4])
def test_a_patch_equals_a_cut_from_the_degraded_whole(scale):
    views = np.random.default_rng(1).integers(0, 256, (2, 81, 123, 3), np.uint8)
    whole = [degrade(view, scale) for view in views]
    made, given = Scene("s", *views), Scene("s", *views, lr=(whole[0], whole[1]))
    for top, left in ((0, 0), (3, 5), (whole[0].shape[0] - 8, whole[0].shape[1] - 12)):
        for side, found in enumerate(cut(made, top, left, (8, 12), scale)):
            hr = views[side, top * scale : (top + 8) * scale, left * scale : (left + 12) * scale]
            np.testing.assert_array_equal(found[0], whole[side][top : top + 8, left : left + 12])
            np.testing.assert_array_equal(found[1], hr)
            for a, b in zip(found, cut(given, top, left, (8, 12), scale)[side], strict=True):
                np.testing.assert_array_equal(a, b)


def test_patches_are_a_function_of_seed_and_index(data):
    pictures = Pictures.load(data, 2, (8, 16))
    first, again, other = (Patches(pictures, config(data, real_share=0.5, seed=s), (8, 16)) for s in (3, 3, 4))
    for index in (7, 0, 123_456):
        assert all(torch.equal(a, b) for a, b in zip(first[index], again[index], strict=True))
        assert not torch.equal(first[index][1], other[index][1])
    lr, hr = first[0]
    assert lr.shape == (6, 8, 16)
    assert hr.shape == (6, 16, 32)
    assert lr.dtype == hr.dtype == torch.uint8


def test_a_horizontal_flip_exchanges_the_views():
    """Left view red, right view blue; the object moves left from left to right view in every augmentation."""
    left, right = np.zeros((32, 64, 3), np.uint8), np.zeros((32, 64, 3), np.uint8)
    left[:, 40], right[:, 30] = 255, 255
    pictures = Pictures([Scene("s", left, right)], [], [])
    for swap in (True, False):
        found = patches(pictures, (16, 32), swap_on_flip=swap)
        moves = {int(hr[0, 0].int().argmax() - hr[3, 0].int().argmax()) for _, hr in (found[i] for i in range(16))}
        assert moves == ({10} if swap else {10, -10})


class Still:
    """A generator of no noise; ``integer`` chooses reconstruction and resampling, ``uniform`` says where."""

    def __init__(self, integer: int, share: float, shift: float) -> None:
        self.integers = lambda _: integer
        self.random = lambda: share
        self.uniform = lambda low, _: low if low < -1 else shift
        self.standard_normal = lambda shape, dtype: np.zeros(shape, dtype)


@pytest.mark.parametrize("method", [0, 1])
def test_a_rig_records_colours_and_places_as_they_are(method):
    """Broad waves come through mosaic and resampling, each colour in its place; a shift moves them by as much."""
    x, y = np.arange(96.0) / 9, np.arange(64.0)[:, None] / 7

    def scene(dx: float, dy: float) -> np.ndarray:
        waves = [np.sin(x + dx / 9 + c) * np.cos(y + dy / 7 - c) for c in range(3)]
        return (128 + 60 * np.stack(waves, -1)).astype(np.uint8)

    for share, shift in ((0.9, 0.0), (0.1, 0.0), (0.1, 0.5)):
        left, right = record(scene(0, 0), scene(4, 0), Still(method, share, shift))
        inner = np.s_[4:-4, 4:-4]
        for found, wanted in ((left, scene(-shift, -shift)), (right, scene(4 - shift, -shift))):
            assert np.abs(found[inner].astype(int) - wanted[inner]).max() <= 3


def test_each_view_of_a_rig_has_its_own_noise():
    sensor, grey = Still(0, 0.9, 0.0), np.full((64, 96, 3), 128, np.uint8)
    np.testing.assert_array_equal(record(grey, grey, sensor), [grey, grey])
    sensor.uniform, sensor.standard_normal = lambda *_: 2.0, np.random.default_rng(2).standard_normal
    left, right = record(grey, grey, sensor)
    assert all(1 < view.std() < 2 for view in (left, right))  # interpolation evens 2 out
    assert not np.array_equal(left, right)


def test_camera_share_is_the_share_of_patches_as_of_a_rig():
    """LR is made of the recorded picture, but where it is given, the pair stays as it is."""
    views = np.random.default_rng(1).integers(0, 256, (2, 60, 90, 3), np.uint8)
    lr = (degrade(views[0], 2), degrade(views[1], 2))
    for scene, recorded in ((Scene("s", *views), True), (Scene("s", *views, lr=lr), False)):
        plain, rig, some = (patches(Pictures([scene], [], []), (30, 45), camera_share=c) for c in (0.0, 1.0, 0.25))
        values = plain[0][1].flatten().sort().values  # as flips leave them
        changed = [
            sum(not torch.equal(p[i][1].flatten().sort().values, values) for i in range(200)) for p in (some, rig)
        ]
        assert 30 < changed[0] < 70 < changed[1] == 200 if recorded else changed == [0, 0]
        for small, large in (rig[i] for i in range(8)):
            made = degrade(np.ascontiguousarray(large.permute(1, 2, 0).numpy()), 2)
            np.testing.assert_array_equal(small.permute(1, 2, 0).numpy(), made)


def test_both_views_get_the_same_order_of_colours():
    view = np.zeros((16, 32, 3), np.uint8)
    view[...] = (10, 20, 30)
    pictures = Pictures([Scene("s", view, view)], [], [])
    for shuffle in (True, False):
        found, orders = patches(pictures, (8, 16), shuffle_colours=shuffle), set()
        for index in range(64):
            hr = found[index][1][:, 0, 0].tolist()
            assert hr[:3] == hr[3:]
            orders.add(tuple(hr[:3]))
        assert len(orders) == 6 if shuffle else orders == {(10, 20, 30)}


def test_held_back_scenes_are_never_trained_on(data):
    pictures = Pictures.load(data, 2, (8, 16))
    assert [s.name for s in pictures.held_back] == ["a"]
    assert {pictures.stereo[i].name for i in range(len(pictures.stereo))} == {"b", "c"}


def test_of_very_many_scenes_the_last_ones_are_held_back():
    """Of the official patches, neighbours in number overlap in what they show."""
    files = [SceneFiles(f"{i:06}", (Path(), Path()), None) for i in range(MANY + 1)]
    training, scored = hold_back(files)
    assert training + scored == files
    assert len(scored) == 64
    assert hold_back(files[:1]) == (files[:1], files[:1])


LAYOUTS = {
    "official patches": "patches_x2/{n}/hr0.png patches_x2/{n}/hr1.png patches_x2/{n}/lr0.png patches_x2/{n}/lr1.png",
    "patches themselves": "{n}/hr0.png {n}/hr1.png {n}/lr0.png {n}/lr1.png",
    "trees": "hr/{n}/hr0.png hr/{n}/hr1.png lr_x2/{n}/lr0.png lr_x2/{n}/lr1.png",
    "stereo": "stereo/{n}/left.png stereo/{n}/right.png",
    "whole pictures": "{n}_L.png {n}_R.png",
    "folders of views": "image_2/{n}.png image_3/{n}.png",
    "LR of another scale": "hr/{n}/hr0.png hr/{n}/hr1.png",
}


def write_layout(folder: Path, layout: str, lr_scale: int = 2) -> list[np.ndarray]:
    """Two scenes; gives the left views."""
    lefts = []
    for name, views in zip("ab", np.random.default_rng(2).integers(0, 256, (2, 2, 40, 80, 3), np.uint8), strict=True):
        small = (degrade(view, lr_scale) for view in views)
        for path, picture in zip(LAYOUTS[layout].format(n=name).split(), (*views, *small), strict=False):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / path), picture[..., ::-1])
        lefts.append(views[0])
    return lefts


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("many", [1, MANY], ids=["from disk", "in memory"])
def test_every_layout_gives_the_same_patches(tmp_path, monkeypatch, layout, many):
    folder = tmp_path / "data"
    lefts = write_layout(folder, layout)
    if layout == "LR of another scale":
        (folder / "lr_x4").mkdir()
    assert [f.name for f in find_scenes(folder, 2)] == ["a", "b"]
    monkeypatch.setattr("stereosr_export.training.scenes.MANY", many)
    monkeypatch.setattr("stereosr_export.training.scenes.HELD_BACK_OF_MANY", 0)
    write_layout(tmp_path / "val", "stereo")
    pictures = Pictures.load(folder, 2, (20, 40), validation=tmp_path / "val")
    assert [s.name for s in pictures.held_back] == ["a", "b"]
    assert isinstance(pictures.stereo, list) == (many == MANY)
    whole = [pictures.stereo[i] for i in range(2)]
    for scene, left in zip(whole, lefts, strict=True):
        np.testing.assert_array_equal(scene.left, left)
        assert (scene.lr is not None) == ("lr0" in LAYOUTS[layout])
        np.testing.assert_array_equal(cut(scene, 0, 0, (20, 40), 2)[0][0], degrade(left, 2))
    lr, hr = patches(pictures, (20, 40), shuffle_colours=False)[0]
    assert (lr.shape, hr.shape) == ((6, 20, 40), (6, 40, 80))


def test_pictures_are_read_as_upscale_reads_them(tmp_path):
    """16 bits are rounded to 8, EXIF orientation is applied, and 8 bits are OpenCV's to the last."""
    deep = np.random.default_rng(3).integers(0, 65536, (8, 12, 3), np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray((deep >> 8).astype(np.uint8)).save(tmp_path / "turned.jpg", exif=exif)
    cv2.imwrite(str(tmp_path / "plain.webp"), (deep >> 8).astype(np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 101])
    read = {}
    for name in ("deep.png", "turned.jpg", "plain.webp"):
        read[name] = read_scene(SceneFiles(name, (tmp_path / name, tmp_path / name), None), 2).left
    np.testing.assert_array_equal(read["deep.png"], np.rint(deep / 257))
    assert read["turned.jpg"].shape == (12, 8, 3)
    np.testing.assert_array_equal(read["plain.webp"], cv2.imread(str(tmp_path / "plain.webp"))[..., ::-1])


def test_lr_that_does_not_belong_to_its_hr_is_refused(tmp_path):
    write_layout(tmp_path, "trees", lr_scale=4)
    with pytest.raises(UsageError, match=r"scene b: LR is 20x10, HR 80x40: that is not x2"):
        Pictures.load(tmp_path, 2, (8, 16))
    (tmp_path / "lr_x2/b/lr1.png").unlink()
    with pytest.raises(UsageError, match=r"lr_x2 has no pair b"):
        find_scenes(tmp_path, 2)


def test_a_rendered_pair_is_consistent_where_nothing_is_hidden():
    """With one layer, the right view shows at x what the left shows at x + disparity: never a negative shift alone."""
    rng = np.random.default_rng(5)
    texture = cv2.resize(rng.integers(0, 256, (30, 60, 3), np.uint8), (240, 120), interpolation=cv2.INTER_CUBIC)
    left, right = render_pair(texture, [], 2, np.random.default_rng(0))
    np.testing.assert_array_equal(left, texture)
    errors = []
    for shift in range(-20, 45):
        cut = slice(50, 180)
        moved = left[:, 50 + shift : 180 + shift].astype(float)
        errors.append(np.abs(moved - right[:, cut]).mean())
    assert min(errors) < 0.5 * np.median(errors)


def test_a_stopped_run_goes_on_to_the_same_weights(data):
    whole = load_file(train(config(data, out=str(data / "whole")), quiet))
    with pytest.raises(InterruptedError):
        train(config(data, out=str(data / "parts")), stop_at_two)
    parts = load_file(train(config(data, out=str(data / "parts")), quiet))
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    rows = read_log(data / "whole/log.csv")
    assert [r["iteration"] for r in rows] == ["2", "4"]
    assert all(float(r["psnr"]) > 5 for r in rows)


def stop_at_two(row):
    if row.iteration == 2:
        raise InterruptedError


KILLED = """
import os, signal, sys
import torch
from stereosr_export.training import loop
from stereosr_export.training.config import complete, read_settings

class Deadly(loop.Patches):
    def __getitem__(self, index):
        if index == 11:  # of the sixth iteration; the last checkpoint is of the fourth, the last row of the fifth
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)

loop.Patches, loop.REPORT_EVERY = Deadly, 1
torch.set_num_threads(1)
loop.train(complete(read_settings(sys.argv[1])), lambda row: None)
"""


def test_a_run_killed_in_the_middle_goes_on_to_the_same_weights(data, monkeypatch):
    """``kill -9``, with stochastic depth and half precision; nothing half-written is taken up again."""
    monkeypatch.setattr("stereosr_export.training.loop.REPORT_EVERY", 1)
    run = config(data, model="nafssr-s", iterations=8, precision="bf16", out=str(data / "killed"))
    killed = subprocess.run([sys.executable, "-W", "error", "-c", KILLED, write_toml(run)], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    log = data / "killed/log.csv"
    assert log.read_text().splitlines()[-1].startswith("5,8,")
    with log.open("a") as file:
        file.write("6,8,0.1")
    again = load_file(train(run, quiet))
    whole = load_file(train(dataclasses.replace(run, out=str(data / "whole")), quiet))
    assert all(torch.equal(whole[k], again[k]) for k in whole)
    logs = [read_log(data / name / "log.csv") for name in ("killed", "whole")]
    assert [r["iteration"] for r in logs[0]] == [str(i + 1) for i in range(8)]
    assert [{**r, "seconds": ""} for r in logs[0]] == [{**r, "seconds": ""} for r in logs[1]]


def write_toml(run: TrainConfig) -> Path:
    path = Path(run.data) / "run.toml"
    settings = {key: value for key, value in dataclasses.asdict(run).items() if value is not None}
    path.write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items()))
    return path


def read_log(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def processes(count: int, *arguments: object) -> list[subprocess.CompletedProcess[str]]:
    """``stereosr train`` in several processes, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    with ThreadPool(count) as pool:
        return pool.map(lambda r: stereosr("train", *arguments, **places, RANK=str(r), LOCAL_RANK=str(r)), range(count))


def test_two_processes_are_one_with_twice_the_batch(data):
    """With stochastic depth, so that some parameters have no gradient."""
    run = config(data, model="nafssr-s", batch=4, validate_every=4, out=str(data / "one"))
    first, second = processes(2, write_toml(run), "-o", data / "two")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "4/4 · loss" in first.stderr
    assert second.stderr == ""
    rows = []
    one, two = load_file(train(run, rows.append)), load_file(data / "two/best.safetensors")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-4)
    (log,) = read_log(data / "two/log.csv")
    assert float(log["psnr"]) == pytest.approx(rows[-1].psnr, abs=1e-3)


def test_a_batch_that_processes_cannot_share_is_refused(data):
    for done in processes(2, "nafssr-t-x2", "--data", data, "-o", data / "two", "--batch", 3):
        failed(done, 2, "2 processes cannot share a batch of 3")


def test_a_finished_run_has_a_plot(data):
    pytest.importorskip("matplotlib")
    train(config(data), quiet)
    assert cv2.imread(str(data / "run/log.png")).std() > 10


def test_a_run_ends_by_the_clock_with_its_rate_at_the_end(data, monkeypatch):
    seconds = iter(range(0, 1000, 10))  # of a clock that is looked at every second iteration
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setattr(loop, "REPORT_EVERY", 2)
    rows = []
    train(config(data, iterations=4, hours=61 / 3600, validate_every=10), rows.append)
    assert rows[-1].iteration == rows[-1].iterations == 12  # five seconds each
    assert rows[-1].psnr is not None
    assert rows[-1].lr < rows[1].lr / 10
    train(config(data, iterations=14, validate_every=10), rows.append)  # and goes on like any other
    assert rows[-1].iteration == 14


def test_a_run_does_not_end_twice():
    failed(in_process("train", "nafssr-t-x2", "--hours", 1, "--iterations", 5), 2, "--hours or after --iterations")


def test_another_configuration_does_not_go_on_in_the_same_folder(data):
    train(config(data, iterations=2), quiet)
    with pytest.raises(UsageError, match="lr="):
        train(config(data, iterations=4, lr=1e-4), quiet)


def test_the_loss_falls(data):
    losses = []
    train(config(data, iterations=40, batch=4, validate_every=10, lr=2e-3), lambda row: losses.append(row.loss))
    assert losses[-1] < losses[0]


def test_a_network_that_brings_its_own_loss_is_trained_with_it(data):
    """Of two PASSRnets with the same weights, the one with losses on its attention starts with the larger loss."""
    losses = {}
    for model in ("passrnet", "passrnet-sr-loss"):
        run = config(data, model=model, out=str(data / model), iterations=1, batch=1, precision="bf16")
        train(run, lambda row, model=model: losses.update({model: row.loss}))
    assert losses["passrnet"] > losses["passrnet-sr-loss"] > 0


def test_learning_rate_warms_up_then_follows_a_cosine(data):
    c = config(data, iterations=102, warmup=2, lr=1.0, min_lr=0.0)
    assert learning_rate(c, 0) == 0.5
    assert learning_rate(c, 2) == 1.0
    assert learning_rate(c, 52) == pytest.approx(0.5)
    assert learning_rate(c, 102) == pytest.approx(0.0)


def test_learning_rate_is_constant_until_the_cooldown(data):
    c = config(data, iterations=100, warmup=10, lr=1.0, min_lr=0.0, cooldown=20)
    assert [learning_rate(c, i) for i in (10, 50, 80)] == [1.0, 1.0, 1.0]
    assert [learning_rate(c, i) for i in (90, 100)] == pytest.approx([0.5, 0.0])


def test_learning_rate_is_halved_in_steps(data):
    c = config(data, iterations=80, warmup=0, lr=1.0, halve_every=30)
    assert [learning_rate(c, i) for i in (0, 29, 30, 59, 60, 79)] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_the_presets_of_nafssr_are_the_official_settings():
    """Section 1.3 of the authors' option files: one table for all sizes but for the number of iterations."""
    official = {"batch": 32, "patch": (30, 90), "loss": "mse", "lr": 3e-3, "min_lr": 1e-7, "warmup": 0, "clip": 0.01}
    official |= {"betas": (0.9, 0.9), "weight_decay": 0.0, "halve_every": 0, "ema": 0.0, "real_share": 1.0}
    official |= {"shuffle_colours": True, "swap_on_flip": True, "seed": 10, "precision": "fp32"}
    for size, iterations in (("t", 400_000), ("s", 100_000), ("b", 100_000), ("l", 100_000)):
        for scale in (2, 4):
            found = complete({"data": "d", "out": "o"} | read_settings(f"nafssr-{size}-x{scale}"))
            wanted = official | {"model": f"nafssr-{size}", "scale": scale, "iterations": iterations}
            assert {key: getattr(found, key) for key in wanted} == wanted


@pytest.mark.parametrize(("scale", "epoch"), [(2, 9_317), (4, 1_532)])
def test_the_presets_of_passrnet_are_the_authors_settings(scale, epoch):
    found = complete({"data": "d", "out": "o"} | read_settings(f"passrnet-x{scale}"))
    wanted = {"model": "passrnet", "scale": scale, "iterations": 80 * epoch, "halve_every": 30 * epoch, "batch": 32}
    wanted |= {"lr": 2e-4, "betas": (0.9, 0.999), "weight_decay": 0.0, "clip": float("inf"), "loss": "mse", "ema": 0.0}
    wanted |= {"shuffle_colours": False, "swap_on_flip": False, "warmup": 0, "precision": "fp32", "patch": (30, 90)}
    assert {key: getattr(found, key) for key in wanted} == wanted


def test_every_network_of_the_papers_has_a_preset():
    trained = {find(read_settings(name)["model"]).family for name in presets()}
    assert trained == {model.family for model in zoo().values()}
    for name in presets():
        complete({"data": "d", "out": "o"} | read_settings(name))


def test_the_model_card_makes_the_bundled_weights_by_presets_that_are_there():
    card = (ROOT / "engines/stereosr/models/bundled/README.md").read_text(encoding="utf-8")
    commands = re.findall(r"stereosr_cli train (\S+) (?:-s (\d) )?", card)
    made = [
        complete({"data": "d", "out": "o"} | read_settings(n) | ({"scale": int(s)} if s else {})) for n, s in commands
    ]
    assert [(c.model, c.scale, c.iterations, c.seed, c.camera_share) for c in made] == [
        ("gcssr", 4, 40_000, 10, 0.3),
        ("gcssr", 4, 2_100, 177, 0.0),
        ("nafssr-t", 4, 10_000, 10, 0.3),
        ("nafssr-t", 2, 7_000, 11, 0.0),
        ("nafssr-t", 2, 1_500, 42, 0.3),
        ("nafssr-t", 4, 1_600, 77, 0.0),
        ("nafssr-t", 2, 1_600, 77, 0.0),
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nafssr-xxl", "presets are drcn"),
        ("nafssr-t-x", "presets are"),
        ("no.toml", "no preset or TOML file 'no.toml'"),
    ],
)
def test_settings_that_are_not_there_name_the_presets(source, message):
    with pytest.raises(UsageError, match=message):
        read_settings(source)


def test_a_configuration_says_what_is_strange_or_missing(tmp_path):
    with pytest.raises(UsageError, match=r"no setting named batch_size; there are model, scale, .*batch"):
        complete({"batch_size": 3})
    with pytest.raises(UsageError, match=r"not said: data, out; pass --data and --out"):
        complete(read_settings("srcnn-x2"))
    for name, value in (("lr", "fast"), ("batch", 2.5), ("patch", [30]), ("init", 3), ("shuffle_colours", 1)):
        with pytest.raises(UsageError, match=rf"^{name} = .*: it should be "):
            complete({"model": "srcnn", "data": "d", "out": "o", name: value})
    assert complete({"model": "srcnn", "data": "d", "out": "o", "lr": 1, "patch": [12, 12]}).patch == (12, 12)
    (tmp_path / "bad.toml").write_text("lr = ")
    with pytest.raises(UsageError, match=r"bad\.toml: "):
        read_settings(str(tmp_path / "bad.toml"))


def test_a_warm_start_takes_what_fits(tmp_path):
    x4, x2 = find("nafssr-t").create(4), find("nafssr-t").create(2)
    save_file(x4.state_dict(), tmp_path / "x4.safetensors")
    left = warm_start(x2, tmp_path / "x4.safetensors")
    assert left == ["up.0.weight", "up.0.bias"]
    assert torch.equal(x2.state_dict()["intro.weight"], x4.state_dict()["intro.weight"])
    (tmp_path / "none.safetensors").write_text("no weights")
    with pytest.raises(UsageError, match=r"none\.safetensors is damaged or no checkpoint"):
        warm_start(x2, tmp_path / "none.safetensors")


def test_a_run_says_what_is_trained_and_from_where_it_starts(data, caplog):
    """Weights of ours by their name; on one process. Nothing of ours there: a wheel, and what to do is said."""
    caplog.set_level("INFO", "stereosr")
    train(config(data, model="srcnn", scale=4, patch=(12, 12), iterations=1, batch=1, init="srcnn"), quiet)
    assert "srcnn x4, 57,281 parameters, on 1 x cpu, " in caplog.text
    assert "2 pairs and 1 photographs to train on, 1 held back to score" in caplog.text
    assert re.search(r"before training: held-back PSNR \d+\.\d{3} dB", caplog.text)
    with pytest.raises(UsageError, match="drcn x4 was not trained here: name a file"):
        train(config(data, model="srcnn", scale=4, init="drcn"), quiet)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "l3"}, "no loss named"),
        ({"precision": "fp8"}, "fp32 or bf16"),
        ({"model": "nafssr-xxl"}, "no model named"),
        ({"scale": 3}, "no x3"),
        ({"patch": (200, 300)}, "smaller than a patch"),
    ],
)
def test_settings_that_do_not_exist_are_named(data, changes, message):
    with pytest.raises(UsageError, match=message):
        train(dataclasses.replace(config(data), **changes), quiet)


def test_a_folder_without_pairs_says_what_it_wants(tmp_path):
    with pytest.raises(UsageError, match="no pairs for x2: it should hold stereo/<scene>"):
        train(config(tmp_path), quiet)
    write_layout(tmp_path, "official patches")
    with pytest.raises(UsageError, match="no pairs for x4"):
        find_scenes(tmp_path, 4)


def test_the_command_trains(data):
    toml = data / "run.toml"
    toml.write_text(f'model = "nafssr-t"\nscale = 2\ndata = "{data}"\nbatch = 2\npatch = [8, 16]\nwarmup = 1\n')
    done = stereosr("train", toml, "-o", data / "cli", "--iterations", 2, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "2/2 · loss" in done.stderr
    assert (data / "cli" / "best.safetensors").exists()
    failed(in_process("train", toml, "--preset", "nafssr-t"), 2, "No such option")


def test_the_psnr_loss_counts_an_easy_picture_as_much_as_a_hard_one():
    error = torch.tensor([0.02, 0.2]).reshape(2, 1, 1, 1).expand(2, 3, 4, 4)
    target = torch.zeros_like(error)
    worse = [LOSSES["psnr"](error * torch.tensor(by).reshape(2, 1, 1, 1), target) for by in ([2.0, 1.0], [1.0, 2.0])]
    before = LOSSES["psnr"](error, target)
    assert worse[0] - before == pytest.approx(math.log(4) / 2, abs=0.01)
    assert worse[1] - before == pytest.approx(math.log(4) / 2, abs=0.01)
