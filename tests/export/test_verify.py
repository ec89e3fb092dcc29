"""An export is proven by numbers, and refused by them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stereosr.errors import StereosrError
from stereosr_export.to_onnx import export, spec_of
from stereosr_export.verify import verify
from stereosr_export.zoo import find

MODEL = replace(find("srcnn"), name="step")


class Step(nn.Module):
    """A network with a threshold on one pixel, as PASSRnet has on its attention's sums."""

    def __init__(self, threshold: float, gain: float = 1.0) -> None:
        super().__init__()
        self.threshold, self.gain = threshold, gain

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        corner = (left[:, :1, :1, :1] > self.threshold).to(left.dtype)
        return self.gain * left + corner, right + 0.5


def first_corner() -> float:
    """The pixel that the first pair of ``verify`` has there."""
    return float(torch.rand(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0))[0, 0, 0, 0, 0])


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exported with its threshold a little below the pixel that will be looked at first."""
    path = tmp_path_factory.mktemp("graph") / "step.onnx"
    network = Step(first_corner() * (1 - 3e-7))
    assert export(MODEL, network, spec_of(MODEL, network, 2, "", ""), path) < 1e-6
    return path


def test_where_rounding_decides_another_pair_is_drawn(graph: Path) -> None:
    assert verify(graph, Step(first_corner() * (1 + 3e-7)), MODEL) < 1e-6


@pytest.mark.parametrize("network", [Step(0.01), Step(first_corner(), gain=1.001), Step(0.5, gain=float("nan"))])
def test_a_graph_that_differs_is_refused(graph: Path, network: Step) -> None:
    with pytest.raises(StereosrError, match="differs from torch by"):
        verify(graph, network, MODEL)


def test_what_is_refused_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> float:
        raise StereosrError("differs")

    monkeypatch.setattr("stereosr_export.to_onnx.verify", refuse)
    with pytest.raises(StereosrError, match="differs"):
        export(MODEL, Step(0.5), spec_of(MODEL, Step(0.5), 2, "", ""), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
