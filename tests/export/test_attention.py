"""Row attention: one operator in the graph, the same numbers wherever it runs."""

import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from stereosr_export.layers.attention import DOMAIN, OPERATOR, in_plain_operators, row_attention


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


@pytest.mark.filterwarnings("ignore")  # torch's exporter warns of its own deprecations
def test_onnxruntime_has_the_operator_and_other_runtimes_expand_it() -> None:
    given = inputs()
    program = torch.export.export(Attention(), given)
    exported = torch.onnx.export(program, input_names=["q", "k", "v"], output_names=["y"], opset_version=18)
    assert exported is not None
    graph = exported.model_proto
    operators = [(node.domain, node.op_type) for node in graph.graph.node]
    assert (DOMAIN, OPERATOR) in operators
    assert ("", "Softmax") not in operators  # whose map is what memory would grow by
    graph.functions.append(in_plain_operators())
    feeds = {name: x.numpy() for name, x in zip("qkv", given, strict=True)}
    expected = row_attention(*given)
    plain = ReferenceEvaluator(graph).run(None, feeds)[0]
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    for found in (plain, session.run(None, feeds)[0]):
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-6)
