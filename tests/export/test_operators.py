"""Operators of our own: one node in the graph, the same numbers wherever it runs."""

import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from stereosr_export.layers.attention import row_attention
from stereosr_export.layers.norm import Norm
from stereosr_export.operators import ATTENTION, NORM, add_function_bodies, replace_custom_norm


class Attention(nn.Module):
    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return row_attention(query, key, value)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = torch.randn(3, 2, 3, 17, 5, generator=torch.Generator().manual_seed(0))
    return query, key, value


def test_each_row_attends_to_its_own_row_alone() -> None:
    query, key, value = inputs()
    expected = torch.empty_like(query)
    for n in range(2):
        for row in range(3):
            matches = (query[n, row] @ key[n, row].T).softmax(-1)
            expected[n, row] = matches @ value[n, row]
    torch.testing.assert_close(row_attention(query, key, value), expected)


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
    same_numbers(graph, given, row_attention(*given))


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
