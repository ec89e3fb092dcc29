import csv
import dataclasses
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stereosr_engines.degrade import degrade
from stereosr_engines.errors import UsageError
from stereosr_export.training.data import Patches, Pictures, Scene, _cut
from stereosr_export.training.loop import TrainConfig, learning_rate, train, warm_start
from stereosr_export.training.synthetic_stereo import render_pair
from stereosr_export.zoo import find


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
        "warmup": 2,
    }
    return TrainConfig(**(settings | changes))  # type: ignore[arg-type]


def quiet(_row: object) -> None:
    pass


@pytest.mark.parametrize("scale", [2, 4])
def test_a_patch_equals_a_cut_from_the_degraded_whole(scale):
    view = np.random.default_rng(1).integers(0, 256, (80, 120, 3), np.uint8)
    whole = degrade(view, scale)
    for top, left in ((0, 0), (3, 5), (whole.shape[0] - 8, whole.shape[1] - 12)):
        lr, hr = _cut(view, top, left, (8, 12), scale)
        np.testing.assert_array_equal(lr, whole[top : top + 8, left : left + 12])
        np.testing.assert_array_equal(hr, view[top * scale : (top + 8) * scale, left * scale : (left + 12) * scale])


def test_patches_are_a_function_of_seed_and_index(data):
    pictures = Pictures.load(data)
    first, again = (Patches(pictures, 2, (8, 16), 0.5, seed=3) for _ in range(2))
    other = Patches(pictures, 2, (8, 16), 0.5, seed=4)
    for index in (7, 0, 123_456):
        assert all(torch.equal(a, b) for a, b in zip(first[index], again[index], strict=True))
        assert not torch.equal(first[index][1], other[index][1])
    lr, hr = first[0]
    assert lr.shape == (6, 8, 16)
    assert hr.shape == (6, 16, 32)
    assert lr.dtype == torch.float32
    assert 0 <= float(hr.min()) <= float(hr.max()) <= 1


def test_a_horizontal_flip_exchanges_the_views():
    """Left view red, right view blue; the object moves left from left to right view in every augmentation."""
    left, right = np.zeros((32, 64, 3), np.uint8), np.zeros((32, 64, 3), np.uint8)
    left[:, 40], right[:, 30] = 255, 255
    patches = Patches(Pictures([Scene("s", left, right)], [], []), 2, (16, 32), 1.0, seed=0)
    for index in range(16):
        hr = patches[index][1]
        assert int(hr[0, 0].argmax()) - int(hr[3, 0].argmax()) == 10


def test_both_views_get_the_same_order_of_colours():
    view = np.zeros((16, 32, 3), np.uint8)
    view[...] = (10, 20, 30)
    patches = Patches(Pictures([Scene("s", view, view)], [], []), 2, (8, 16), 1.0, seed=0)
    orders = set()
    for index in range(64):
        hr = (patches[index][1][:, 0, 0] * 255).round().int().tolist()
        assert hr[:3] == hr[3:]
        orders.add(tuple(hr[:3]))
    assert len(orders) == 6


def test_held_back_scenes_are_never_trained_on(data):
    pictures = Pictures.load(data)
    assert [s.name for s in pictures.held_back] == ["a"]
    assert {s.name for s in pictures.stereo} == {"b", "c"}


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
    rows = list(csv.DictReader((data / "whole" / "log.csv").read_text().splitlines()))
    assert [r["iteration"] for r in rows] == ["2", "4"]
    assert all(float(r["psnr"]) > 5 for r in rows)


def stop_at_two(row):
    if row.iteration == 2:
        raise InterruptedError


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


def test_a_warm_start_takes_what_fits(tmp_path):
    x4, x2 = find("nafssr-t").create(4), find("nafssr-t").create(2)
    save_file(x4.state_dict(), tmp_path / "x4.safetensors")
    left = warm_start(x2, tmp_path / "x4.safetensors")
    assert left == ["up.0.weight", "up.0.bias"]
    assert torch.equal(x2.state_dict()["intro.weight"], x4.state_dict()["intro.weight"])


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
    with pytest.raises(UsageError, match="stereo/<scene>"):
        train(config(tmp_path), quiet)


def test_the_command_trains(data):
    toml = data / "run.toml"
    toml.write_text(f'model = "nafssr-t"\nscale = 2\ndata = "{data}"\nbatch = 2\npatch = [8, 16]\nwarmup = 1\n')
    arguments = ["train", str(toml), "-o", str(data / "cli"), "--iterations", "2", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "stereosr_cli", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2/2 · loss" in done.stderr
    assert (data / "cli" / "best.safetensors").exists()
