"""Proof of an export: onnxruntime against torch, at sizes other than the traced one."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from stereosr_engines.errors import StereosrError
from stereosr_export.zoo import ZooModel


def verify(path: Path, network: nn.Module, model: ZooModel) -> float:
    """The largest difference between the file and ``network``, relative to the output's largest value.

    Sizes: the least that the model takes, odd ones, one wider than high, a batch of three; left and right differ.

    Raises:
        StereosrError: if it exceeds ``model.tolerance`` or a value is not finite.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows, columns = model.mean_window or (8, 8)
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch, height, width in ((1, rows, columns), (3, rows + 2, columns + 1), (1, rows + 18, columns + 101)):
        left, right = torch.rand(2, batch, 3, height, width, generator=generator)
        with torch.no_grad():
            expected = [v.numpy() for v in network(left, right)]
        got = session.run(["left_sr", "right_sr"], {"left": left.numpy(), "right": right.numpy()})
        for a, b in zip(expected, got, strict=True):
            error = float(np.abs(a - b).max() / np.abs(a).max())
            if not error <= model.tolerance:  # also true for nan
                raise StereosrError(
                    f"{model.name}: the exported graph differs from torch by {error:.1e} at {batch}x3x{height}x{width} "
                    f"(allowed {model.tolerance:.0e}); nothing was written"
                )
            worst = max(worst, error)
    return worst
