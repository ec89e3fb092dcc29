"""What the authors' own code computes for weights that follow from the parameters' names (the files of ``goldens/``).

Each file holds ``left`` and ``right`` (1 x 3 x H x W in [0, 1]) and every third row and column of the outputs. The
names are those of the authors' state dicts, so that a match proves the architecture and the names at once.
"""

import zlib
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

FOLDER = Path(__file__).parent / "goldens"

Network = TypeVar("Network", bound=nn.Module)


def golden_weight(name: str, shape: tuple[int, ...]) -> Tensor:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    fan_in = int(np.prod(shape[1:])) if len(shape) == 4 and shape[0] > 1 else 0
    w = rng.standard_normal(shape) * ((1 / fan_in) ** 0.5 if fan_in else 0.1)
    return torch.from_numpy(np.asarray(1 + w if "norm" in name and name.endswith("weight") else w, np.float32))


def golden_state(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer of ``model`` by the rule; ``model`` may be on the meta device."""
    return {name: golden_weight(name, tuple(value.shape)) for name, value in model.state_dict().items()}


def with_golden_weights(model: Network) -> Network:
    model.load_state_dict(golden_state(model))
    return model.eval()


def read_golden(name: str) -> dict[str, Tensor]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def relative_error(actual: Tensor, golden: Tensor) -> float:
    """Largest difference of a full-size output from its golden, relative to the golden's largest value."""
    return float((actual[..., ::3, ::3] - golden).abs().max() / golden.abs().max())
