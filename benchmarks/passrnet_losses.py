"""What PASSRnet's losses and its second view are worth, after equal and short training on one CPU thread.

    OMP_NUM_THREADS=1 nice python benchmarks/passrnet_losses.py DATA [--runs runs/passrnet] [--until 500 1500] [-o FILE]

Trains PASSRnet x4 with all losses, with the super-resolution loss alone, with a replicated and with a single input, by
one seed and recipe, and measures each at the iterations named. A run that was stopped goes on when the same command is
given again; FILE, a Markdown table, is written anew after every measurement.

Measured on the scenes that training holds back:

- PSNR: mean of both views.
- pixels attended: exp of the attention's entropy, mean over all rows of the maps between real views at LR: 1 is a
  single pixel, as many as the picture is wide is no attention at all.
- disparity found, mask agreement: on pairs made of the same pictures, a background 3 LR px and a block in front of it
  9 LR px apart, whose disparity and visibility are known. Found: the share of the visible pixels whose largest weight
  lies within a pixel of the truth. Agreement: the share of pixels whose valid mask is right, mean of visible and hidden
  ones, so that "all are visible" scores a half.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stereosr.evaluation.degrade import degrade, modcrop
from stereosr_export.layers.parallax import Parallax
from stereosr_export.models.passrnet import PASSRnet
from stereosr_export.training.config import TrainConfig
from stereosr_export.training.loop import train
from stereosr_export.training.scenes import Scene, find_scenes, hold_back, read_scene
from stereosr_export.training.scoring import score_scene
from stereosr_export.zoo import find

SCALE = 4
MODELS = ("passrnet", "passrnet-sr-loss", "passrnet-replicated-inputs", "passrnet-single-input")
FAR, NEAR = 3, 9
"""Disparities of the pairs made, in LR pixels."""

CPU = torch.device("cpu")


def recipe(model: str, data: Path, runs: Path, iterations: int) -> TrainConfig:
    return TrainConfig(
        model=model,
        scale=SCALE,
        data=str(data),
        out=str(runs / model),
        iterations=iterations,
        batch=4,
        patch=(24, 72),
        loss="mse",
        lr=5e-4,
        halve_every=10**9,  # never, so that a run may go on
        warmup=100,
        betas=(0.9, 0.999),
        clip=1.0,
        ema=0.99,
        shuffle_colours=False,
        workers=0,
        validate_every=250,
    )


def known_pair(picture: NDArray[np.uint8]) -> tuple[list[Tensor], NDArray[np.int64], NDArray[np.bool_]]:
    """LR views, 1 x 3 x H x W, of a block before a background; the left one's disparity, and what both views show."""
    height, width = 24 * SCALE, 96 * SCALE
    reach = NEAR * SCALE
    texture = modcrop(picture, 2 * SCALE)
    far, near = texture[:height, : width + reach], texture[-height:, -(width + reach) :]
    rows = slice(height // 4, 3 * height // 4)
    block = slice(width // 3, width // 2)
    left, right = far[:, :width].copy(), far[:, FAR * SCALE : FAR * SCALE + width].copy()
    left[rows, block] = near[rows, block]
    right[rows, block.start - reach : block.stop - reach] = near[rows, block]
    disparity = np.full((height // SCALE, width // SCALE), FAR)
    disparity[rows.start // SCALE : rows.stop // SCALE, block.start // SCALE : block.stop // SCALE] = NEAR
    column = np.arange(disparity.shape[1])
    seen_at = column - disparity
    in_block = (seen_at >= block.start // SCALE - NEAR) & (seen_at < block.stop // SCALE - NEAR)
    hidden = (disparity == FAR) & in_block & (disparity == NEAR).any(1, keepdims=True)
    return [low_resolution(left), low_resolution(right)], disparity, (seen_at >= 0) & ~hidden


def low_resolution(view: NDArray[np.uint8]) -> Tensor:
    """HR, H x W x 3 -> LR, 1 x 3 x H/s x W/s in [0, 1]."""
    return torch.from_numpy(degrade(modcrop(view, SCALE), SCALE)).permute(2, 0, 1)[None] / 255


def parallax(network: PASSRnet, views: list[Tensor]) -> Parallax:
    with torch.inference_mode():
        found = network.super_resolve(views[0], views[0] if network.replicated else views[1])[1]
    assert found is not None
    return found


def attended(found: Parallax) -> float:
    entropy = -(found.to_reference * (found.to_reference + 1e-12).log()).sum(-1)
    return float(entropy.exp().mean())


def measure(network: PASSRnet, scenes: list[Scene]) -> dict[str, float]:
    result = {"PSNR, dB": float(np.mean([score_scene(network, scene, SCALE, CPU) for scene in scenes]))}
    if network.pam is None or network.replicated:
        return result
    widths, hits, right = [], [], []
    for scene in scenes:
        top = scene.left.shape[0] // 2 - 48
        middle = [low_resolution(view[top : top + 96]) for view in (scene.left, scene.right)]
        widths.append(attended(parallax(network, middle)))
        views, disparity, visible = known_pair(scene.left)
        found = parallax(network, views)
        place = found.to_reference[0].argmax(-1).numpy()
        hits.append((np.abs(np.arange(place.shape[1]) - place - disparity) <= 1)[visible].mean())
        valid = found.valid[0, 0].numpy() > 0.5
        right.append((valid[visible].mean() + (~valid[~visible]).mean()) / 2)
    names = ("pixels attended", "disparity found", "mask agreement")
    return result | {name: float(np.mean(v)) for name, v in zip(names, (widths, hits, right), strict=True)}


def table(results: dict[str, dict[str, float]]) -> str:
    columns = list(dict.fromkeys(name for row in results.values() for name in row))
    lines = [f"| iterations | model | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for key, row in results.items():
        iterations, model = key.split(" ")
        cells = (f"{row[name]:.3f}" if name in row else "-" for name in columns)
        lines.append(f"| {iterations} | {model} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/passrnet"))
    parser.add_argument("--until", type=int, nargs="+", default=[500, 1500])
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/results/passrnet.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    scenes = [read_scene(files, SCALE) for files in hold_back(find_scenes(chosen.data, SCALE))[1]]
    known = chosen.runs / "results.json"
    results: dict[str, dict[str, float]] = json.loads(known.read_text()) if known.exists() else {}
    for iterations in chosen.until:
        for model in MODELS:
            if f"{iterations} {model}" in results:
                continue
            config = recipe(model, chosen.data, chosen.runs, iterations)
            train(config, lambda row: print(row, flush=True))  # noqa: T201
            network = find(model).create(SCALE)
            assert isinstance(network, PASSRnet)
            state = torch.load(Path(config.out) / "last.pt", map_location="cpu", weights_only=True)
            network.load_state_dict(state["average"])
            results[f"{iterations} {model}"] = measure(network.eval(), scenes)
            known.write_text(json.dumps(results, indent=1))
            chosen.out.parent.mkdir(parents=True, exist_ok=True)
            chosen.out.write_text(table(results), encoding="utf-8")


if __name__ == "__main__":
    main()
