"""Model soups (Wortsman et al., ICML 2022): the mean of several trainings' weights is one network, as fast as one."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stereosr_export.checkpoints import load_weights
from stereosr_export.training.processes import pick_device
from stereosr_export.training.scenes import Scene
from stereosr_export.training.scoring import score_scene
from stereosr_export.zoo import ZooModel

State = dict[str, Tensor]
Report = Callable[[str], None]


def load_ingredients(paths: Sequence[Path], scale: int | None) -> tuple[ZooModel, int, list[State]]:
    """The weights of these files, and the model and the scale that they are of.

    Raises:
        UsageError: if a file cannot be read, fits no model, or another than the first.
    """
    model, scale, first = load_weights(paths[0], scale=scale)
    return model, scale, [first, *(load_weights(path, model=model, scale=scale)[2] for path in paths[1:])]


def uniform(states: Sequence[State]) -> State:
    """The mean of all weights."""
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}


def greedy(
    model: ZooModel, scale: int, ingredients: dict[str, State], scenes: Sequence[Scene], report: Report
) -> State:
    """The mean of those weights that help (recipe 1): tried from the best down, kept if the PSNR does not fall.

    Args:
        model: what the weights are of.
        scale: the same.
        ingredients: weights by a name for the report.
        scenes: to score on; not among those trained on.
        report: takes a line for each score.
    """
    device = pick_device()
    network = model.create(scale).to(device).eval()

    def score(state: State) -> float:
        network.load_state_dict(state)
        return float(np.mean([score_scene(network, scene, scale, device) for scene in scenes]))

    alone = {name: score(state) for name, state in ingredients.items()}
    first, *others = sorted(alone, key=alone.__getitem__, reverse=True)
    kept, best = [ingredients[first]], alone[first]
    report(f"{first}: {best:.3f} dB, the best alone")
    for name in others:
        together = score(uniform([*kept, ingredients[name]]))
        verdict = "kept" if together >= best else "left out"
        report(f"{name}: {alone[name]:.3f} dB alone, {together:.3f} dB in the soup: {verdict}")
        if together >= best:
            kept, best = [*kept, ingredients[name]], together
    return uniform(kept)
