"""The training loop: one process or several, on a CPU or on GPUs, resumable to the bit on a CPU."""

import io
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import cycle
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from stereosr.atomic import write_bytes
from stereosr.errors import StereosrError, UsageError
from stereosr_export.checkpoints import own_weights, read_state
from stereosr_export.training import history
from stereosr_export.training.config import TrainConfig, learning_rate
from stereosr_export.training.data import Patches
from stereosr_export.training.history import Progress
from stereosr_export.training.losses import PixelLoss, objective
from stereosr_export.training.processes import Team, pick_device, team, team_size, workers
from stereosr_export.training.scenes import Pictures, Scene
from stereosr_export.training.scoring import as_floats, score_scene
from stereosr_export.zoo import find

LOSSES: dict[str, PixelLoss] = {
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    "charbonnier": lambda a, b: torch.sqrt((a - b) ** 2 + 1e-6).mean(),
    # Mean over the pictures of log MSE, so that, as in the score, a picture that is easy counts as much as a hard one.
    "psnr": lambda a, b: ((a - b) ** 2).mean((1, 2, 3)).add(1e-6).log().mean(),
}
log = logging.getLogger("stereosr")

REPORT_EVERY = 50
"""Iterations from one row of the log to the next."""

NEVER = 10**9
"""Iterations of a run that ends by the clock, until its pace is known."""


def train(config: TrainConfig, report: Callable[[Progress], None]) -> Path:
    """Train, going on from ``out/last.pt`` if it is there; gives the best weights, ``out/best.safetensors``.

    Everything random is a function of the seed and the iteration. A run that was killed and started again is the
    same run; only ``iterations``, ``hours`` and ``cooldown`` may differ, which move the fall of the rate. So is
    one that torchrun starts in several processes, but for the order of sums; its first one alone writes and reports.

    Raises:
        UsageError: for a setting that does not exist, or a run folder of another configuration.
        StereosrError: if the loss is no longer finite.
    """
    zoo_model = find(config.model)
    if config.loss not in LOSSES:
        raise UsageError(f"no loss named {config.loss!r}; there are {', '.join(LOSSES)}")
    if config.precision not in ("fp32", "bf16"):
        raise UsageError(f"precision is fp32 or bf16, not {config.precision!r}")
    if config.batch % team_size():  # before the processes meet: one that leaves is an error to those that wait for it
        raise UsageError(f"{team_size()} processes cannot share a batch of {config.batch}: pass another --batch")
    device, out = pick_device(), Path(config.out)
    torch.backends.cudnn.deterministic = True
    torch.manual_seed(config.seed)
    model = zoo_model.create(config.scale)
    if config.init:
        warm_start(model, named_weights(config.init, config.scale))
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    patch = config.patch or zoo_model.patch
    pictures = Pictures.load(
        Path(config.data), config.scale, patch, Path(config.validation) if config.validation else None
    )
    with team(device) as processes:
        run = _Run(model, config, processes, device)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise StereosrError(f"cannot write {out}: {problem.strerror}") from problem
        run.resume(out)
        if processes.rank == 0:
            log.info(_what_is_trained(config, pictures, model, processes, device))
        if config.init and run.iteration == 0:
            before = run.validate(pictures.held_back)
            if processes.rank == 0:
                log.info(f"before training: held-back PSNR {before:.3f} dB")
        loader = DataLoader(
            Patches(pictures, config, patch),
            batch_size=config.batch // processes.size,
            sampler=run.samples(),
            num_workers=workers(device) if config.workers is None else config.workers,
            pin_memory=device.type == "cuda",
        )
        total, count, started = torch.zeros((), device=device), 0, time.monotonic()
        model.train()
        for lr, hr in loader:
            total += run.step(as_floats(lr, device), as_floats(hr, device))
            count += 1
            last = run.iteration == run.config.iterations
            validate = run.iteration % config.validate_every == 0 or last
            if run.iteration % REPORT_EVERY == 0 or validate:
                processes.average([total])
                mean, total, count = float(total) / count, torch.zeros((), device=device), 0
                if not math.isfinite(mean):
                    raise StereosrError(f"the loss is {mean} at iteration {run.iteration}; lower lr and start again")
                score = run.validate(pictures.held_back) if validate else None
                rate, seconds = learning_rate(run.config, run.iteration - 1), time.monotonic() - started
                if config.hours and not last:
                    run.end_after(3600 * config.hours, seconds)
                if processes.rank == 0:
                    row = Progress(run.iteration, run.config.iterations, mean, rate, seconds, score)
                    history.append(out / "log.csv", row)
                    if score is not None:
                        run.save(out, score)
                    report(row)
            if last:
                break
        if processes.rank == 0:
            history.plot(out / "log.csv")
    return out / "best.safetensors"


def _what_is_trained(
    config: TrainConfig, pictures: Pictures, model: nn.Module, processes: Team, device: torch.device
) -> str:
    parameters = sum(p.numel() for p in model.parameters())
    pairs = f"{len(pictures.stereo)} pairs" + (f" and {len(pictures.mono)} photographs" if pictures.mono else "")
    where = f"{processes.size} x {device.type}, {torch.get_num_threads()} threads"
    return (
        f"{config.model} x{config.scale}, {parameters:,} parameters, on {where}; "
        f"{pairs} to train on, {len(pictures.held_back)} held back to score"
    )


def named_weights(source: str, scale: int) -> Path:
    """A file, known by its suffix, or weights of this project by the name of their engine."""
    return Path(source) if Path(source).suffix else own_weights(source, scale)


def warm_start(model: nn.Module, weights: Path) -> list[str]:
    """Copy every tensor of a checkpoint that fits by name and shape; gives the names that were left."""
    own, (given, _) = model.state_dict(), read_state(weights)
    fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise UsageError(f"{weights} has no tensor that fits this model")
    model.load_state_dict(own | fitting)
    return [k for k in own if k not in fitting]


class _Run:
    """What a checkpoint holds: weights, their moving average, the optimizer, where we are, the best score."""

    def __init__(self, model: nn.Module, config: TrainConfig, processes: Team, device: torch.device) -> None:
        self.model, self.processes, self.device = model, processes, device
        self.config = replace(config, iterations=NEVER) if config.hours else config
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.iteration = self.first = 0
        self.best = -math.inf

    def samples(self) -> range:
        """The indices of this process's samples, from here to the end: every process takes its turn in each batch."""
        first, end = self.iteration * self.config.batch, self.config.iterations * self.config.batch
        return range(first + self.processes.rank, end, self.processes.size)

    def end_after(self, limit: float, seconds: float) -> None:
        """Set how many iterations there are, and with it the fall of the rate, by what was done in ``seconds``."""
        pace = (self.iteration - self.first) / seconds
        more = torch.tensor(max(1.0, (limit - seconds) * pace), dtype=torch.float64, device=self.device)
        self.processes.average([more])
        self.config = replace(self.config, iterations=self.iteration + int(more))

    def step(self, lr: Tensor, hr: Tensor) -> Tensor:
        """One iteration on N x 6 x rows x columns in [0, 1]; gives the loss."""
        left, right = lr.chunk(2, 1)
        torch.manual_seed(self.config.seed * 1_000_003 + self.iteration)  # stochastic depth
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            loss = objective(self.model, left, right, torch.cat(hr.chunk(2, 1)), LOSSES[self.config.loss])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.iteration)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.processes.average([p.grad for p in self.model.parameters() if p.grad is not None])
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.iteration += 1
        keep = min(self.config.ema, (1 + self.iteration) / (10 + self.iteration))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)
        return loss.detach()

    def validate(self, scenes: list[Scene]) -> float:
        """Mean PSNR of the averaged weights; the processes share the scenes."""
        now = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        self.model.eval()
        mine = list(zip(scenes, cycle(self.config.degrade.split(",")), strict=False))
        mine = mine[self.processes.rank :: self.processes.size]
        scores = [score_scene(self.model, scene, self.config.scale, self.device, recipe) for scene, recipe in mine]
        self.model.load_state_dict(now)
        self.model.train()
        mean = torch.tensor(sum(scores) / len(scenes), dtype=torch.float64, device=self.device)
        self.processes.average([mean])
        return float(mean) * self.processes.size

    def save(self, out: Path, score: float) -> None:
        if score > self.best:
            self.best = score
            weights = {k: v.detach().cpu().contiguous() for k, v in self.average.items()}
            write_bytes(out / "best.safetensors", save(weights))
        state = {
            "config": asdict(self.config),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "best": self.best,
        }
        checkpoint = io.BytesIO()
        torch.save(state, checkpoint)
        write_bytes(out / "last.pt", checkpoint.getbuffer())

    def resume(self, out: Path) -> None:
        path = out / "last.pt"
        if path.exists():
            state = torch.load(path, map_location="cpu", weights_only=True)
            may_differ = {
                "iterations",
                "hours",
                "cooldown",
                "out",
                "data",
                "init",
                "workers",
                "validate_every",
            }  # and what older files lack
            mine, theirs = asdict(self.config), state["config"]
            for key in mine.keys() - may_differ:
                if mine[key] != theirs.get(key, mine[key]):  # older files lack some
                    raise UsageError(
                        f"{path} is of a run with {key}={theirs.get(key)}, not {mine[key]}: choose another --out"
                    )
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average = {k: v.to(self.average[k].device) for k, v in state["average"].items()}
            self.iteration, self.best = state["iteration"], state["best"]
            self.first = self.iteration
        if self.processes.rank == 0:
            history.forget_after(out / "log.csv", self.iteration)
