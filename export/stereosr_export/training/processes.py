"""Training by several processes at once, as torchrun starts them: one a GPU, or a few on a CPU.

Each takes its share of every batch, and gradients are averaged before the step. That is what DistributedDataParallel
does; by hand it is shorter, because that wants to know beforehand which parameters get a gradient, which stochastic
depth decides anew each time, and warns of the strides of 1 x 1 convolutions kept channels last.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist


def rank() -> int:
    """Which process this is; the first, or the only one, is 0."""
    return int(os.environ.get("RANK", 0))


def pick_device() -> torch.device:
    """This process's GPU, else the CPU."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    return torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")


def workers(device: torch.device) -> int:
    """How many workers should prepare patches: one keeps up with a CPU, a GPU takes this process's share of cores."""
    if device.type == "cpu":
        return 1
    return max(1, min(16, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


@dataclass(frozen=True, slots=True)
class Team:
    """All processes of a run: this one's number, and how many there are."""

    rank: int
    size: int

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, of one type and device, by their means over the processes."""
        if self.size > 1 and tensors:
            flat = torch.cat([t.flatten() for t in tensors])
            dist.all_reduce(flat)
            parts = torch.split(flat / self.size, [t.numel() for t in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))


def team_size() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """Meet the other processes; alone, if torchrun started none."""
    size = team_size()
    if size > 1:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(rank(), size)
    finally:
        if size > 1:
            dist.destroy_process_group()
