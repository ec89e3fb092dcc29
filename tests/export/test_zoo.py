"""What every model of the zoo keeps, whatever the network inside."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from golden import with_golden_weights
from stereosr.errors import UsageError
from stereosr.models.spec import read_spec
from stereosr_export.models.nafssr import NAFSSR
from stereosr_export.to_onnx import export, spec_of
from stereosr_export.zoo import ZooModel, find, zoo

LARGER = ("nafssr-s", "nafssr-b", "nafssr-l")
"""What is nafssr-t with more channels and blocks."""

SAME_BUT_IN_TRAINING = ("passrnet-sr-loss", "passrnet-photometric", "passrnet-photometric-smoothness")

EVERY = [
    pytest.param(
        model, scale, marks=pytest.mark.slow if name in ("nafssr-b", "nafssr-l") else [], id=f"{name}-x{scale}"
    )
    for name, model in zoo().items()
    for scale in model.scales
]

EXPORTED_QUICKLY = ("lapsrn", "passrnet", "srcnn", "vdsr")
"""drcn and drrn repeat vdsr's layers many times, and stereosr-net takes three times as long as the largest of these."""

SHALLOW = replace(find("nafssr-t"), build=lambda scale: NAFSSR(scale, width=48, blocks=2, drop_path=0.0))
"""nafssr-t with 2 of its 16 blocks, which are all alike: an export takes a minute and more for the whole."""

EXPORTED = [
    pytest.param(SHALLOW, id="nafssr-t, two blocks"),
    *(
        pytest.param(model, marks=[] if name in EXPORTED_QUICKLY else pytest.mark.slow, id=name)
        for name, model in zoo().items()
        if name not in (*LARGER, *SAME_BUT_IN_TRAINING)
    ),
]


@pytest.mark.parametrize(("model", "scale"), EVERY)
def test_shapes(model: ZooModel, scale: int) -> None:
    with torch.device("meta"):
        network = model.create(scale).eval()
        for sr in network(*torch.empty(2, 3, 3, 61, 203)):
            assert sr.shape == (3, 3, 61 * scale, 203 * scale)
            assert sr.dtype == torch.float32


@pytest.mark.parametrize(("model", "scale"), EVERY)
def test_pairs_of_a_batch_are_independent_and_runs_repeat(model: ZooModel, scale: int) -> None:
    network = with_golden_weights(model.create(scale))
    left, right = torch.rand(2, 2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together, again = network(left, right), network(left, right)
        alone = [network(left[i : i + 1], right[i : i + 1]) for i in range(2)]
    for view in range(2):
        assert together[view].isfinite().all()
        assert torch.equal(together[view], again[view])
        torch.testing.assert_close(together[view], torch.cat([a[view] for a in alone]), atol=1e-5, rtol=1e-4)
    assert not torch.equal(*together)


@pytest.mark.parametrize("model", EXPORTED)
def test_onnxruntime_equals_torch_at_any_size(model: ZooModel, tmp_path: Path) -> None:
    """``export`` proves it at sizes and batches other than the traced ones; the smallest scale stands for all."""
    scale = model.scales[0]
    network = with_golden_weights(model.create(scale))
    path = tmp_path / "a.onnx"
    assert export(model, network, spec_of(model, network, scale, "", ""), path) <= model.tolerance
    spec = read_spec(path)
    assert (spec.name, spec.scale, spec.halo, spec.memory) == (model.name, scale, model.halo, model.memory)


@pytest.mark.parametrize("model", zoo().values(), ids=zoo())
def test_a_model_says_what_its_users_need(model: ZooModel) -> None:
    assert model.name.startswith(model.family)
    assert model.scales == tuple(sorted(model.scales))
    assert model.halo > 0
    assert model.memory[0] > 0
    assert 0 < model.tolerance <= 1e-5
    assert model.mean_window is None or all(w >= p for w, p in zip(model.mean_window, model.patch, strict=True))
    assert model.source


def test_what_is_not_there_is_named_with_what_is() -> None:
    with pytest.raises(UsageError, match=r"no model named 'espcn'; the zoo has .*nafssr-t.*passrnet"):
        find("espcn")
    with pytest.raises(UsageError, match=r"nafssr-t has no x3; it has x2 and x4: pass -s 2 or -s 4"):
        find("nafssr-t").create(3)
