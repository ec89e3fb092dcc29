import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from golden import read_golden, relative_error, with_golden_weights
from stereosr_export.layers.tlsc import LocalMean, pooling_window
from stereosr_export.models.nafssr import NAFSSR, StochasticDepth
from stereosr_export.zoo import find

PARAMETERS = {
    ("t", 2): 445_068,
    ("t", 4): 460_656,
    ("s", 2): 1_538_572,
    ("s", 4): 1_559_344,
    ("b", 2): 6_765_324,
    ("b", 4): 6_796_464,
    ("l", 2): 23_790_604,
    ("l", 4): 23_832_112,
}


@pytest.mark.parametrize(("size", "scale"), PARAMETERS)
def test_parameter_counts_are_the_authors(size: str, scale: int) -> None:
    with torch.device("meta"):
        model = find(f"nafssr-{size}").create(scale)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[size, scale]


@pytest.mark.parametrize(
    ("size", "scale", "golden"),
    [("t", 4, "46x136"), ("t", 4, "30x90"), ("t", 2, "60x100"), ("s", 2, "46x140")],
    ids=["window inside by a pixel", "global pooling", "clipped window", "s"],
)
def test_output_is_the_authors(size: str, scale: int, golden: str) -> None:
    expected = read_golden(f"nafssr_{size}_x{scale}_{golden}")
    model = with_golden_weights(find(f"nafssr-{size}").create(scale))
    with torch.inference_mode():
        left_sr, right_sr = model(expected["left"], expected["right"])
    assert relative_error(left_sr, expected["left_sr"]) < 1e-5
    assert relative_error(right_sr, expected["right_sr"]) < 1e-5


def test_a_new_network_is_nearly_its_bilinear_shortcut_whatever_its_blocks() -> None:
    torch.manual_seed(0)
    model = NAFSSR(2, width=8, blocks=2, drop_path=0.0).eval()
    pair = torch.rand(2, 1, 3, 6, 10)
    with torch.inference_mode():
        before = model(*pair)
        model.body = nn.ModuleList()
        torch.testing.assert_close(model(*pair), before)


def window_mean(x: Tensor, rows: int, columns: int) -> Tensor:
    """TLSC pixel by pixel: the mean over a window that is clipped to the map and kept inside it. N x H x W x C."""
    height, width = x.shape[1:3]
    rows, columns = min(rows, height), min(columns, width)
    out = torch.empty_like(x)
    for i in range(height):
        for j in range(width):
            top = min(max(i - (rows - 1) // 2, 0), height - rows)
            left = min(max(j - (columns - 1) // 2, 0), width - columns)
            out[:, i, j] = x[:, top : top + rows, left : left + columns].mean((1, 2))
    return out


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 7), st.integers(1, 9))
def test_local_mean_is_the_mean_over_each_window(height: int, width: int, rows: int, columns: int) -> None:
    x = torch.rand(2, height, width, 3, generator=torch.Generator().manual_seed(height * width))
    torch.testing.assert_close(LocalMean((rows, columns))(x).expand_as(x), window_mean(x, rows, columns))


def test_window_is_the_authors_and_leaves_training_patches_to_the_global_mean() -> None:
    assert pooling_window((30, 90)) == (45, 135)
    x = torch.rand(1, 30, 90, 2)
    torch.testing.assert_close(LocalMean((45, 135))(x), x.mean((1, 2), keepdim=True))


class Halve(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[int, int]] = []

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        self.batches.append((len(left), len(right)))
        return left / 2, right / 4


def test_stochastic_depth_drops_or_rescales_the_whole_batch() -> None:
    torch.manual_seed(1)
    block = StochasticDepth(Halve(), rate=0.25)
    x, y = torch.rand(2, 2, 3, 5, 2)
    drops = 0
    for _ in range(400):
        a, b = block(x, y)
        dropped = torch.equal(a, x) and torch.equal(b, y)
        assert dropped or (torch.equal(a, x + (x / 2 - x) / 0.75) and torch.equal(b, y + (y / 4 - y) / 0.75))
        drops += dropped
    assert abs(drops / 400 - 0.25) < 0.07


def test_stochastic_depth_draws_once_a_block_for_both_views() -> None:
    torch.manual_seed(2)
    model = NAFSSR(2, width=4, blocks=3, drop_path=0.5)
    watched = [Halve() for _ in model.body]
    for block, watch in zip(model.body, watched, strict=True):
        block.module = watch
    runs = 60
    for _ in range(runs):
        model(torch.rand(2, 3, 4, 6), torch.rand(2, 3, 4, 6))
    for watch in watched:
        assert set(watch.batches) == {(2, 2)}  # two pairs, both views: all or nothing
        assert runs * 0.3 < len(watch.batches) < runs * 0.7
    assert len({len(w.batches) for w in watched}) > 1  # each block has its own draw


def test_stochastic_depth_is_off_in_evaluation() -> None:
    block = StochasticDepth(Halve(), rate=0.9).eval()
    x, y = torch.rand(2, 2, 3, 5, 2)
    torch.testing.assert_close(block(x, y), (x / 2, y / 4))
