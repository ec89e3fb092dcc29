"""Proof of an export: onnxruntime against torch, at sizes other than the traced one."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stereosr.backends.ort_session import load_onnxruntime
from stereosr.errors import StereosrError
from stereosr_export.layers.attention import reach_of
from stereosr_export.zoo import ZooModel

DRAWS = 5
WIDE = 256
"""The longest reach of which windows are tried: those of longer ones differ in nothing, and take long."""
ROUNDING = 1e-6
"""What two computations of one thing in single precision may differ by, relative to its size."""


def verify(path: Path, network: nn.Module, model: ZooModel) -> float:
    """The largest difference between the file and ``network``, relative to the output's largest value.

    Sizes: the least that the model takes, odd ones, one wider than high, a batch of three, rows of several windows of
    the attention; left and right differ.
    PASSRnet has a threshold (eq. 4), where rounding alone decides between two outputs: a pair for which the network
    itself jumps when its input is changed by rounding proves nothing, and another one is drawn.

    Raises:
        StereosrError: if the difference exceeds ``model.tolerance`` or a value is not finite.
    """
    session = load_onnxruntime().InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows, columns = model.mean_window or (8, 8)
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    sizes = [(1, rows, columns), (3, rows + 2, columns + 1), (1, rows + 18, columns + 101)]
    if (reach := reach_of(network)) is not None and reach <= WIDE:
        sizes.append((1, rows, max(columns, 7 * reach + 5)))
    for batch, height, width in sizes:
        for _ in range(DRAWS):
            left, right = torch.rand(2, batch, 3, height, width, generator=generator)
            expected = _outputs(network, left, right)
            got = np.stack(session.run(["left_sr", "right_sr"], {"left": left.numpy(), "right": right.numpy()}))
            error = _difference(expected, got)
            if error <= model.tolerance or not _jumps(network, left, right, expected, model.tolerance, generator):
                break
        if not error <= model.tolerance:  # also true for nan
            raise StereosrError(
                f"{model.name}: the exported graph differs from torch by {error:.1e} at {batch}x3x{height}x{width} "
                f"(allowed {model.tolerance:.0e}); nothing was written"
            )
        worst = max(worst, error)
    return worst


def _outputs(network: nn.Module, left: Tensor, right: Tensor) -> NDArray[np.float32]:
    with torch.no_grad():
        return torch.stack(network(left, right)).numpy()


def _difference(expected: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    return float(np.abs(expected - got).max() / np.abs(expected).max())


def _jumps(
    network: nn.Module,
    left: Tensor,
    right: Tensor,
    expected: NDArray[np.float32],
    tolerance: float,
    generator: torch.Generator,
) -> bool:
    """Whether one of a few changes of the input by no more than rounding changes the output by far more than that."""
    for _ in range(DRAWS):
        a, b = (v * (1 + ROUNDING * (2 * torch.rand(v.shape, generator=generator) - 1)) for v in (left, right))
        if _difference(expected, _outputs(network, a, b)) > 10 * tolerance:
            return True
    return False
