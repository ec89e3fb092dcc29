"""The training loop: one process, one CPU or GPU, resumable to the bit."""

import csv
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from stereosr_engines.errors import StereosrError, UsageError
from stereosr_export.training.config import TrainConfig, learning_rate
from stereosr_export.training.data import Patches
from stereosr_export.training.losses import PixelLoss, objective
from stereosr_export.training.scenes import Pictures, Scene
from stereosr_export.training.scoring import as_floats, score_scene
from stereosr_export.zoo import find

LOSSES: dict[str, PixelLoss] = {
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    "charbonnier": lambda a, b: torch.sqrt((a - b) ** 2 + 1e-6).mean(),
}


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of the log. ``psnr`` is the mean over held-back scenes and both views, where it was measured."""

    iteration: int
    iterations: int
    loss: float
    lr: float
    seconds: float
    psnr: float | None


def train(config: TrainConfig, report: Callable[[Progress], None]) -> Path:
    """Train, going on from ``out/last.pt`` if it is there; gives the best weights, ``out/best.safetensors``.

    Everything random is a function of the seed and the iteration. A run that was killed and started again is the
    same run; only ``iterations`` may differ between the two, which moves the end of the cosine.

    Raises:
        UsageError: for a setting that does not exist, or a run folder of another configuration.
        StereosrError: if the loss is no longer finite.
    """
    zoo_model = find(config.model)
    if config.loss not in LOSSES:
        raise UsageError(f"no loss named {config.loss!r}; there are {', '.join(LOSSES)}")
    if config.precision not in ("fp32", "bf16"):
        raise UsageError(f"precision is fp32 or bf16, not {config.precision!r}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    model = zoo_model.create(config.scale)
    if config.init:
        warm_start(model, Path(config.init))
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = _State(model, config)
    if (out / "last.pt").exists():
        state.load(out / "last.pt")
    patch = config.patch or zoo_model.patch
    pictures = Pictures.load(
        Path(config.data), config.scale, patch, Path(config.validation) if config.validation else None
    )
    loader = DataLoader(
        Patches(pictures, config, patch),
        batch_size=config.batch,
        sampler=range(state.iteration * config.batch, config.iterations * config.batch),
        num_workers=_workers(device) if config.workers is None else config.workers,
        pin_memory=device.type == "cuda",
    )
    loss_of, mean_loss, count, started = LOSSES[config.loss], torch.zeros((), device=device), 0, time.monotonic()
    model.train()
    for lr_patch, hr_patch in loader:
        left, right = as_floats(lr_patch, device).chunk(2, 1)
        target = torch.cat(as_floats(hr_patch, device).chunk(2, 1))
        torch.manual_seed(config.seed * 1_000_003 + state.iteration)  # stochastic depth
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            loss = objective(model, left, right, target, loss_of)
        state.step(loss)
        mean_loss += loss.detach()
        count += 1
        last = state.iteration == config.iterations
        validate = state.iteration % config.validate_every == 0 or last
        if state.iteration % 50 == 0 or validate:
            mean = float(mean_loss) / count
            if not math.isfinite(mean):
                raise StereosrError(f"the loss is {mean} at iteration {state.iteration}; lower lr and start again")
            score = state.validate(pictures.held_back, device) if validate else None
            if validate:
                state.save(out, score)
            lr = state.optimizer.param_groups[0]["lr"]
            row = Progress(state.iteration, config.iterations, mean, lr, time.monotonic() - started, score)
            _log(out / "log.csv", row)
            report(row)
            mean_loss.zero_()
            count = 0
    return out / "best.safetensors"


def _workers(device: torch.device) -> int:
    return 1 if device.type == "cpu" else min(16, os.cpu_count() or 1)


def warm_start(model: nn.Module, weights: Path) -> list[str]:
    """Copy every tensor of a safetensors file that fits by name and shape; gives the names that were left."""
    own, given = model.state_dict(), load_file(weights)
    fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise UsageError(f"{weights} has no tensor that fits this model")
    model.load_state_dict(own | fitting)
    return [k for k in own if k not in fitting]


class _State:
    """What a checkpoint holds: weights, their moving average, the optimizer, where we are, the best score."""

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.model, self.config = model, config
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.iteration = 0
        self.best = -math.inf

    def step(self, loss: Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.iteration)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.iteration += 1
        keep = min(self.config.ema, (1 + self.iteration) / (10 + self.iteration))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    def validate(self, scenes: list[Scene], device: torch.device) -> float:
        now = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        self.model.eval()
        score = float(np.mean([score_scene(self.model, s, self.config.scale, device) for s in scenes]))
        self.model.load_state_dict(now)
        self.model.train()
        return score

    def save(self, out: Path, score: float | None) -> None:
        if score is not None and score > self.best:
            self.best = score
            weights = {k: v.detach().cpu().contiguous() for k, v in self.average.items()}
            _replace(out / "best.safetensors", lambda p: save_file(weights, p))
        state = {
            "config": asdict(self.config),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "best": self.best,
        }
        _replace(out / "last.pt", lambda p: torch.save(state, p))

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        may_differ = {"iterations", "out", "data", "init", "workers", "validate_every"}  # and what older files lack
        mine, theirs = asdict(self.config), state["config"]
        for key in mine.keys() - may_differ:
            if mine[key] != theirs.get(key, mine[key]):
                raise UsageError(
                    f"{path} is of a run with {key}={theirs.get(key)}, not {mine[key]}: choose another --out"
                )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = {k: v.to(self.average[k].device) for k, v in state["average"].items()}
        self.iteration, self.best = state["iteration"], state["best"]


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(path.name + ".part")
    write(partial)
    partial.replace(path)


def _log(path: Path, row: Progress) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, asdict(row).keys())
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))
