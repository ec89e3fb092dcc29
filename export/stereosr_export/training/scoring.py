"""PSNR on held-back scenes, and how bytes become what a network takes."""

import numpy as np
import torch
from torch import Tensor, nn

from stereosr.evaluation.degrade import corrupt
from stereosr.evaluation.metrics import psnr
from stereosr_export.training.data import cut
from stereosr_export.training.scenes import Scene

LARGEST = (360, 720)
"""Rows and columns, at HR, of the middle of a scene that is scored."""


def as_floats(pictures: Tensor, device: torch.device) -> Tensor:
    """uint8 -> float32 in [0, 1], on the device."""
    return pictures.to(device, non_blocking=True).float() / 255


def score_scene(network: nn.Module, scene: Scene, scale: int, device: torch.device, recipe: str = "clean") -> float:
    """Mean PSNR in dB of both views of the scene's middle, by the benchmark's protocol, LR degraded by ``recipe``."""
    height, width = (side // scale for side in scene.left.shape[:2])
    rows, columns = min(height, LARGEST[0] // scale), min(width, LARGEST[1] // scale)
    views = cut(scene, (height - rows) // 2, (width - columns) // 2, (rows, columns), scale)
    degraded = [corrupt(small, recipe, f"{scene.name}/{view}") for view, (small, _) in enumerate(views)]
    lr = (torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))[None] for small in degraded)
    with torch.no_grad():
        sr = network(*(as_floats(view, device) for view in lr))
    found = [(v[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy() for v in sr]
    return float(np.mean([psnr(view, hr) for view, (_, hr) in zip(found, views, strict=True)]))
