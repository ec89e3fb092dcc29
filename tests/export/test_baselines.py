import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stereosr.evaluation.degrade import _resize_rows
from stereosr_export.layers.luminance import Bicubic, OnLuminance, luminance
from stereosr_export.models.drcn import DRCN
from stereosr_export.models.lapsrn import LapSRN
from stereosr_export.models.stereosr_net import StereoSR
from stereosr_export.training.losses import objective
from stereosr_export.zoo import find

PARAMETERS = {
    ("srcnn", 4): 57_281,
    ("vdsr", 4): 664_704,
    ("drcn", 4): 1_774_080 + 16,
    ("lapsrn", 2): 406_672,
    ("lapsrn", 4): 812_768,
    ("drrn", 4): 297_216,
    ("stereosr-net", 4): 1_075_753,
}


@pytest.mark.parametrize(("name", "scale"), PARAMETERS)
def test_parameter_counts_are_the_published(name: str, scale: int) -> None:
    with torch.device("meta"):
        model = find(name).create(scale)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name, scale]


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 3), (7, 10)])
def test_bicubic_is_matlabs_in_double_precision(scale: int, size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).random((*size, 3))
    expected = _resize_rows(_resize_rows(x, scale).swapaxes(0, 1), scale).swapaxes(0, 1)
    enlarged = Bicubic(scale)(torch.from_numpy(x.transpose(2, 0, 1))[None])
    np.testing.assert_allclose(enlarged[0].permute(1, 2, 0).numpy(), expected, atol=1e-12)


def test_bicubic_keeps_full_precision_under_autocast() -> None:
    x = torch.rand(1, 3, 5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Bicubic(2)(x), Bicubic(2)(x.float()))
        assert Bicubic(2)(x).dtype == torch.float32


class Brighten(nn.Module):
    def forward(self, y: Tensor) -> Tensor:
        return y + 0.1


def test_only_the_luminance_changes_by_what_the_network_changes() -> None:
    left, right = torch.rand(2, 2, 3, 5, 6)
    for view, sr in zip((left, right), OnLuminance(2, Brighten())(left, right), strict=True):
        interpolated = Bicubic(2)(view)
        torch.testing.assert_close(sr, interpolated + 0.1)
        torch.testing.assert_close(luminance(sr), luminance(interpolated) + 0.1)


@pytest.mark.parametrize("name", ["vdsr", "drcn", "drrn"])
def test_residual_networks_start_as_interpolation(name: str) -> None:
    left, right = torch.rand(2, 1, 3, 4, 5)
    with torch.inference_mode():
        torch.testing.assert_close(find(name).create(2)(left, right)[1], Bicubic(2)(right))


@pytest.mark.parametrize("name", ["srcnn", "vdsr", "drcn", "lapsrn", "drrn", "stereosr-net"])
def test_a_few_steps_lower_the_loss(name: str) -> None:
    torch.manual_seed(0)
    model = find(name).create(2)
    left, right, target = torch.rand(1, 3, 4, 8), torch.rand(1, 3, 4, 8), torch.rand(2, 3, 8, 16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    losses = []
    for _ in range(4):
        loss = objective(model, left, right, target, F.mse_loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_drcn_supervises_every_recursion() -> None:
    torch.manual_seed(0)
    model = DRCN(2)
    left, right, target = torch.rand(1, 3, 3, 4), torch.rand(1, 3, 3, 4), torch.rand(2, 3, 6, 8)
    with torch.inference_mode():
        views = Bicubic(2)(torch.cat([left, right]))
        y = luminance(views)
        each = [F.l1_loss(views + (p - y), target) for p in model.net.passes(y)]
        assert len(each) == 16
        expected = 0.5 * torch.stack(each).mean() + 0.5 * F.l1_loss(torch.cat(model(left, right)), target)
        torch.testing.assert_close(model.objective(left, right, target, F.l1_loss), expected)


def test_lapsrn_supervises_every_level() -> None:
    torch.manual_seed(0)
    left, right, target = torch.rand(1, 3, 3, 4), torch.rand(1, 3, 3, 4), torch.rand(2, 3, 12, 16)
    sizes: list[torch.Size] = []

    def record(prediction: Tensor, aim: Tensor) -> Tensor:
        assert prediction.shape == aim.shape
        sizes.append(prediction.shape[-2:])
        return F.l1_loss(prediction, aim)

    LapSRN(4).objective(left, right, target, record)
    assert sizes == [(6, 8), (12, 16)]


def test_lapsrn_starts_from_bilinear_interpolation() -> None:
    model = LapSRN(2)
    left, right = torch.rand(2, 1, 3, 4, 5)
    with torch.inference_mode():
        expected = F.interpolate(luminance(left), scale_factor=2, mode="bilinear")
        inside = (..., slice(2, -2), slice(2, -2))
        torch.testing.assert_close(luminance(model(left, right)[0])[inside], expected[inside])


def test_stereosr_compares_with_the_other_view_shifted_by_0_to_63() -> None:
    model = StereoSR(2)
    seen: list[Tensor] = []
    model.luminance[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    reference, other = torch.rand(2, 1, 3, 4, 80)
    with torch.inference_mode():
        model.super_resolve(reference, other)
    torch.testing.assert_close(seen[0][:, :1], luminance(reference))
    for d in range(64):
        rolled = luminance(other).roll(d, -1)
        torch.testing.assert_close(seen[0][:, 1 + d : 2 + d, :, 63:], rolled[..., 63:])


def test_stereosr_starts_as_interpolation_but_for_its_first_stage() -> None:
    model = StereoSR(2)
    nn.init.zeros_(model.luminance[-1].weight)
    left, right = 0.3 + 0.4 * torch.rand(2, 1, 3, 5, 9, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for view, sr in zip((left, right), model(left, right), strict=True):
            torch.testing.assert_close(sr, Bicubic(2)(view))
