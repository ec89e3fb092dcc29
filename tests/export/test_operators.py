"""Operators of our own: one node in the graph, the same numbers wherever it runs."""

import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from stereosr_export.layers.attention import Windows, centred, reach_of, row_attention, set_reach
from stereosr_export.layers.norm import Norm
from stereosr_export.operators import ATTENTION, NORM, add_function_bodies, expand_windows, replace_custom_norm
from stereosr_export.zoo import find

REACH = 4
WIDTHS = (1, 2, 7, 8, 9, 15, 16, 17, 24, 25, 31, 32, 33, 40, 57)
"""About the multiples of twice that reach, where the number of blocks changes."""


class Attention(nn.Module):
    def __init__(self, reach: int | None = None) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return row_attention(query, key, value, self.reach)


class Centred(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.cat(centred(left, right, REACH))


def inputs(width: int = 17) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = torch.randn(3, 2, 3, width, 5, generator=torch.Generator().manual_seed(width))
    return query, key, value


def test_each_row_attends_to_its_own_row_alone() -> None:
    query, key, value = inputs()
    expected = torch.empty_like(query)
    for n in range(2):
        for row in range(3):
            matches = (query[n, row] @ key[n, row].T).softmax(-1)
            expected[n, row] = matches @ value[n, row]
    torch.testing.assert_close(row_attention(query, key, value, None), expected)


def seen(width: int) -> Tensor:
    """W x W: whether a column sees another one, by the definition in words, column by column."""
    count = max(1, (width - 1) // (2 * REACH))
    block = -(-width // count)
    size = width if count == 1 else block + 2 * REACH
    allowed = torch.zeros(width, width, dtype=torch.bool)
    for column in range(width):
        start = min(max(column // block * block - REACH, 0), width - size)
        allowed[column, start : start + size] = True
    return allowed


@pytest.mark.parametrize("width", WIDTHS)
def test_a_column_sees_the_window_of_its_block(width: int) -> None:
    query, key, value = inputs(width)
    scores = torch.matmul(query, key.transpose(2, 3)).masked_fill(~seen(width), -torch.inf)
    expected = torch.matmul(scores.softmax(-1), value)
    torch.testing.assert_close(row_attention(query, key, value, REACH), expected)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_window_reaches_as_far_as_it_says_and_grows_no_more(width: int) -> None:
    columns = torch.arange(width)
    assert seen(width)[(columns[:, None] - columns).abs() <= REACH].all()
    assert width > 4 * REACH or seen(width).all()  # narrow rows are seen whole
    assert Windows.of(width, REACH).size <= 5 * REACH + 1


@pytest.mark.parametrize("width", WIDTHS)
def test_the_mean_that_is_removed_is_that_of_the_window(width: int) -> None:
    left, right, _ = inputs(width)
    share = seen(width).float() / seen(width).sum(1, keepdim=True)
    mean = torch.matmul(share, (left + right) / 2)
    for found, view in zip(centred(left, right, REACH), (left, right), strict=True):
        torch.testing.assert_close(found, view - mean, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("network", [Attention(REACH), Centred()], ids=["attention", "centred"])
def test_one_graph_has_the_windows_of_every_width(network: nn.Module) -> None:
    count = 3 if isinstance(network, Attention) else 2
    columns = torch.export.Dim("columns")
    program = torch.export.export(network, inputs()[:count], dynamic_shapes=({2: columns},) * count)
    names = [f"x{i}" for i in range(count)]
    result = torch.onnx.export(program, input_names=names, output_names=["y"], opset_version=18)
    assert result is not None
    graph = expand_windows(result.model_proto)
    assert not graph.functions
    add_function_bodies(graph)
    for width in WIDTHS:
        given = inputs(width)[:count]
        same_numbers(graph, given, network(*given))


def test_the_reach_of_a_network_is_one() -> None:
    network = find("gcssr").create(2)
    assert reach_of(network) == 128
    assert set_reach(network, None)
    assert reach_of(network) is None
    assert not set_reach(find("srcnn").create(2), 5)


@pytest.mark.parametrize("name", ["gcssr", "nafssr-t"])
def test_networks_attend_within_their_reach(name: str) -> None:
    network = find(name).create(2).eval()
    for parameter in network.parameters():  # at first nothing is taken from the other view
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
    pair = torch.rand(2, 1, 3, 4, 40, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        narrow, (whole, _) = network(*pair[..., :16])[0], network(*pair)
        set_reach(network, REACH)
        torch.testing.assert_close(network(*pair[..., :16])[0], narrow, rtol=0, atol=0)
        assert (network(*pair)[0] - whole).abs().max() > 1e-6


def exported(network: nn.Module, given: tuple[Tensor, ...]) -> onnx.ModelProto:
    program = torch.export.export(network, given)
    names = [f"x{i}" for i in range(len(given))]
    result = torch.onnx.export(program, input_names=names, output_names=["y"], opset_version=18)
    assert result is not None
    return result.model_proto


def same_numbers(graph: onnx.ModelProto, given: tuple[Tensor, ...], expected: Tensor) -> None:
    feeds = {f"x{i}": x.numpy() for i, x in enumerate(given)}
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    reference = ReferenceEvaluator(graph).run(None, feeds)
    assert isinstance(reference, list)
    for found in (reference[0], session.run(None, feeds)[0]):
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=2e-6)


@pytest.mark.filterwarnings("ignore")  # torch's exporter warns of its own deprecations
def test_onnxruntime_has_the_attention_and_other_runtimes_expand_it() -> None:
    given = inputs()
    graph = exported(Attention(), given)
    operators = [(node.domain, node.op_type) for node in graph.graph.node]
    assert ATTENTION in operators
    assert ("", "Softmax") not in operators  # whose map is what memory would grow by
    add_function_bodies(graph)
    same_numbers(graph, given, row_attention(*given, None))


class TwoLayers(nn.Module):
    """A norm that two layers read, one of them without a bias to speak of, on values far from zero."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(1)
        self.norm = Norm(12)
        self.norm.weight.data, self.norm.bias.data = torch.randn(2, 12, generator=rng)
        self.first = torch.randn(5, 12, generator=rng) / 12, torch.randn(5, generator=rng)
        self.second = torch.randn(5, 12, generator=rng) / 12, torch.zeros(5)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.norm.project(x, self.first, self.second)
        return a * b


def test_the_matrices_take_up_the_norms_factors_and_every_bias() -> None:
    network = TwoLayers()
    x = 3 + torch.randn(2, 4, 7, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network.eval()(x), network.train()(x), rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_the_norm_is_one_node_and_becomes_layer_normalization_again() -> None:
    network, given = TwoLayers().eval(), (0.5 + torch.randn(2, 4, 7, 12, generator=torch.Generator().manual_seed(0)),)
    graph = exported(network, given)
    operators = [(node.domain, node.op_type) for node in graph.graph.node]
    assert operators.count(NORM) == 1
    assert ("", "Add") not in operators  # no bias is left
    add_function_bodies(graph)
    same_numbers(graph, given, network(*given).detach())
    replace_custom_norm(graph)
    assert [node.op_type for node in graph.graph.node].count("LayerNormalization") == 1
    assert not graph.functions
    onnx.checker.check_model(graph, full_check=True)
    same_numbers(graph, given, network(*given).detach())
