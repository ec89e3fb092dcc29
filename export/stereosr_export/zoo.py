"""The zoo: every model under ``models/``, found, never listed. Adding a model is adding one file with ``MODELS``."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from torch import nn

from stereosr.errors import UsageError


@dataclass(frozen=True, slots=True)
class ZooModel:
    """One architecture of one size.

    ``build(scale)`` gives a module that maps (left, right), each N x 3 x H x W in [0, 1], to (left_sr, right_sr).
    ``patch`` is the LR size (rows, columns) of its training patches, ``mean_window`` the TLSC window (None without
    TLSC), ``halo`` the LR rows that a band needs beside itself, ``tolerance`` the largest error relative to the output
    range that an exported graph may show against torch.
    """

    name: str
    family: str
    scales: tuple[int, ...]
    build: Callable[[int], nn.Module]
    patch: tuple[int, int]
    mean_window: tuple[int, int] | None
    halo: int
    memory: tuple[int, int]
    tolerance: float
    source: str

    def create(self, scale: int) -> nn.Module:
        """A new network for this scale.

        Raises:
            UsageError: if the architecture has no such scale.
        """
        if scale not in self.scales:
            has = " and ".join(f"x{s}" for s in self.scales)
            raise UsageError(
                f"{self.name} has no x{scale}; it has {has}: pass -s {' or -s '.join(map(str, self.scales))}"
            )
        return self.build(scale)


@cache
def zoo() -> dict[str, ZooModel]:
    """Every model by name, in the order of the files and of ``MODELS`` in each."""
    from stereosr_export import models

    found: dict[str, ZooModel] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(models.__path__)):
        for model in importlib.import_module(f"{models.__name__}.{module}").MODELS:
            found[model.name] = model
    return found


def find(name: str) -> ZooModel:
    """The model of this name.

    Raises:
        UsageError: if there is none; the message lists those there are.
    """
    if name not in zoo():
        raise UsageError(f"no model named {name!r}; the zoo has {', '.join(zoo())}")
    return zoo()[name]
