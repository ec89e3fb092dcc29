"""GCSSR: what it is made of, what it starts as, how its views use each other, how far a pixel sees."""

import types
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from golden import with_golden_weights
from stereosr_export.models.gcssr import GCSSR, HALO, StereoMatch
from stereosr_export.to_onnx import trace


def pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    left, right = torch.rand(2, 1, 3, height, width, generator=torch.Generator().manual_seed(1))
    return left, right


def test_its_size() -> None:
    assert [sum(p.numel() for p in GCSSR(scale).parameters()) for scale in (2, 4)] == [515_246, 530_834]


def test_without_matches_a_new_network_is_its_shortcut_and_the_two_outer_convolutions() -> None:
    network, (left, right) = GCSSR(2).eval(), pair(9, 12)
    with torch.no_grad():
        for fusion in network.fusion.values():
            assert isinstance(fusion, StereoMatch)
            fusion.scale.zero_()
        for view, sr in zip((left, right), network(left, right), strict=True):
            shortcut = F.interpolate(view, scale_factor=2, mode="bilinear", align_corners=False)
            torch.testing.assert_close(sr, shortcut + network.up(network.intro(view)))


def test_training_and_inference_compute_the_same() -> None:
    network, (left, right) = with_golden_weights(GCSSR(2)), pair(11, 14)
    with torch.no_grad():
        expected = network.eval()(left, right)
        torch.testing.assert_close(network.train()(left, right), expected, rtol=1e-4, atol=1e-5)


def test_exchanging_the_views_exchanges_the_outputs() -> None:
    network, (left, right) = with_golden_weights(GCSSR(2)).eval(), pair(9, 20)
    with torch.no_grad():
        a, b = network(left, right)
        torch.testing.assert_close(network(right, left), (b, a))


def test_each_view_uses_the_other_from_the_start() -> None:
    torch.manual_seed(0)
    network, (left, right) = GCSSR(2).eval(), pair(9, 20)
    with torch.no_grad():
        a, b = network(left, right)
        assert (a - network(left, left)[0]).abs().max() > 1e-3
        assert (b - network(right, right)[1]).abs().max() > 1e-3


def test_a_new_match_finds_where_the_other_view_shows_the_same() -> None:
    torch.manual_seed(0)
    match, shift = StereoMatch(48), 5
    scene = torch.randn(1, 4, 60 + shift, 48) + 10 * torch.randn(48)  # most of a pixel is what all pixels share
    a, b = match._descriptions(scene[:, :, shift:], scene[:, :, :-shift])
    found = (a @ b.transpose(2, 3)).argmax(-1)[..., :-shift]
    assert torch.equal(found, (torch.arange(60 - shift) + shift).expand(1, 4, -1))


def test_a_pixel_depends_on_no_row_beyond_the_halo() -> None:
    network, (left, right) = with_golden_weights(GCSSR(2)).eval(), pair(HALO + 6, 10)
    changed = left.clone()
    changed[:, :, 0] = 1 - changed[:, :, 0]
    with torch.no_grad():
        before, after = network(left, right)[0], network(changed, right)[0]
    differs = (before != after).any(1).any(2)[0].nonzero().max().item() // 2
    assert 2 < differs <= HALO


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[GCSSR, onnxruntime.InferenceSession]:
    network = with_golden_weights(GCSSR(2)).eval()
    path: Path = tmp_path_factory.mktemp("gcssr") / "gcssr.onnx"
    path.write_bytes(trace(network, types.SimpleNamespace(name="gcssr", mean_window=None)).SerializeToString())
    return network, onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (31, 47)])
def test_its_graph_equals_torch_at_any_size(
    exported: tuple[GCSSR, onnxruntime.InferenceSession], size: tuple[int, int]
) -> None:
    network, session = exported
    left, right = pair(*size)
    with torch.no_grad():
        expected = torch.stack(network(left, right)).numpy()
    got = np.stack(session.run(None, {"left": left.numpy(), "right": right.numpy()}))
    assert np.abs(got - expected).max() < 1e-5 * np.abs(expected).max()
