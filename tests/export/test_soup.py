from pathlib import Path
from subprocess import CompletedProcess

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from command import failed, stereosr
from stereosr_export.training import soup
from stereosr_export.training.scenes import Scene
from stereosr_export.zoo import find


def weights(path: Path, seed: int, last: float, scale: int = 2) -> dict[str, torch.Tensor]:
    """Of a NAFSSR-T that adds noise of the strength ``last`` to its bilinear shortcut."""
    torch.manual_seed(seed)
    state = find("nafssr-t").create(scale).state_dict()
    state["up.0.weight"] *= last
    state["up.0.bias"] *= last
    save_file(state, path)
    return state


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three: a good one, a bad one, a good one."""
    paths = [tmp_path / f"{name}.safetensors" for name in ("good", "bad", "fair")]
    for seed, (path, last) in enumerate(zip(paths, (0.0, 1.0, 0.01), strict=True)):
        weights(path, seed, last)
    scene = tmp_path / "data/stereo/a"
    scene.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (8, 16, 3), np.uint8)
    for name in ("left", "right"):
        cv2.imwrite(str(scene / f"{name}.png"), cv2.resize(noise, (64, 32), interpolation=cv2.INTER_CUBIC))
    return paths


def cook(*arguments: object) -> CompletedProcess[str]:
    return stereosr("soup", *arguments, OMP_NUM_THREADS="1")


def mean(*paths: Path) -> dict[str, torch.Tensor]:
    states = [load_file(path) for path in paths]
    return {name: sum(state[name] for state in states) / len(states) for name in states[0]}


def assert_holds(path: Path, wanted: dict[str, torch.Tensor]) -> None:
    found = load_file(path)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value)


def test_a_uniform_soup_is_the_mean(files, tmp_path):
    out = tmp_path / "soup.safetensors"
    done = cook(*files, "-o", out)
    assert done.returncode == 0, done.stderr
    assert "nafssr-t x2" in done.stderr
    assert_holds(out, mean(*files))
    failed(cook(*files, "-o", out), 2, "exists: pass --overwrite")


def test_a_greedy_soup_leaves_out_what_harms(files, tmp_path):
    good, bad, fair = files
    out = tmp_path / "soup.safetensors"
    done = cook(bad, good, fair, "-o", out, "--greedy", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert f"{bad}: " in lines[2]
    assert lines[2].endswith("left out")
    kept = [good, fair] if lines[1].endswith("kept") else [good if f"{good}: " in lines[0] else fair]
    assert_holds(out, mean(*kept))


def test_only_weights_of_one_network_are_mixed(files, tmp_path):
    weights(tmp_path / "x4.safetensors", 0, 0.0, scale=4)
    done = cook(files[0], tmp_path / "x4.safetensors", "-o", tmp_path / "soup.safetensors")
    failed(done, 2, "x4.safetensors is not nafssr-t x2: up.0.weight")


def test_the_same_weights_twice_are_kept():
    model, lines = find("nafssr-t"), []
    torch.manual_seed(0)
    state = model.create(2).state_dict()
    view = np.zeros((32, 64, 3), np.uint8)
    scenes = [Scene("s", view, view)]
    mixed = soup.greedy(model, 2, {"a": state, "b": state}, scenes, lines.append)
    assert "kept" in lines[1]
    assert all(torch.equal(mixed[name], state[name]) for name in state)
