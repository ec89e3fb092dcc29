"""GCSSR: what it is made of, what it starts as, how far a pixel sees."""

import torch
from torch.nn import functional as F

from golden import with_golden_weights
from stereosr_export.models.gcssr import GCSSR, HALO


def pair(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    left, right = torch.rand(2, 1, 3, height, width, generator=torch.Generator().manual_seed(1))
    return left, right


def test_its_size() -> None:
    assert [sum(p.numel() for p in GCSSR(scale).parameters()) for scale in (2, 4)] == [410_028, 425_616]


def test_a_new_network_is_its_shortcut_and_the_two_outer_convolutions() -> None:
    network, (left, right) = GCSSR(2).eval(), pair(9, 12)
    with torch.no_grad():
        for view, sr in zip((left, right), network(left, right), strict=True):
            shortcut = F.interpolate(view, scale_factor=2, mode="bilinear", align_corners=False)
            torch.testing.assert_close(sr, shortcut + network.up(network.intro(view)))


def test_training_and_inference_compute_the_same() -> None:
    network, (left, right) = with_golden_weights(GCSSR(2)), pair(11, 14)
    with torch.no_grad():
        expected = network.eval()(left, right)
        torch.testing.assert_close(network.train()(left, right), expected, rtol=1e-4, atol=1e-5)


def test_each_view_uses_the_other() -> None:
    network, (left, right) = with_golden_weights(GCSSR(2)).eval(), pair(9, 20)
    with torch.no_grad():
        a, b = network(left, right)
        assert not torch.equal(a, network(left, left)[0])
        assert not torch.equal(b, network(right, right)[1])


def test_a_pixel_depends_on_no_row_beyond_the_halo() -> None:
    network, (left, right) = with_golden_weights(GCSSR(2)).eval(), pair(HALO + 6, 10)
    changed = left.clone()
    changed[:, :, 0] = 1 - changed[:, :, 0]
    with torch.no_grad():
        before, after = network(left, right)[0], network(changed, right)[0]
    differs = (before != after).any(1).any(2)[0].nonzero().max().item() // 2
    assert 2 < differs <= HALO
