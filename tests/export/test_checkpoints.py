import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from golden import golden_state, read_golden, relative_error
from stereosr.errors import UsageError
from stereosr_export.checkpoints import load_network, load_weights, own_weights, provenance, trained_scales
from stereosr_export.zoo import find


def state_of(name: str, scale: int) -> dict[str, Tensor]:
    with torch.device("meta"):
        model = find(name).create(scale)
    return golden_state(model)


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("name", ["nafssr-t", "nafssr-s", "passrnet", "lapsrn"])
def test_model_and_scale_are_seen_from_the_tensors(name: str, scale: int, tmp_path: Path) -> None:
    state = state_of(name, scale)
    save_file(state, tmp_path / "a.safetensors")
    for path in (tmp_path / "a.safetensors", saved(state, tmp_path / "bare.pth")):
        model, found, loaded = load_weights(path)
        assert (model.name, found) == (name, scale)
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[k], v) for k, v in state.items())


def test_passrnets_own_file_is_read(tmp_path: Path) -> None:
    path = saved({"epoch": 80, "state_dict": state_of("passrnet", 4)}, tmp_path / "PASSRnet_x4.pth")
    model, scale, state = load_weights(path)
    assert (model.name, scale) == ("passrnet", 4)
    assert torch.equal(state["pam.b1.weight"], state_of("passrnet", 4)["pam.b1.weight"])


def test_nafnets_own_file_is_bgr_and_becomes_rgb(tmp_path: Path) -> None:
    golden = read_golden("nafssr_t_x4_30x90")  # what the network does with the file's weights as they are
    path = saved({"params": state_of("nafssr-t", 4)}, tmp_path / "NAFSSR-T_4x.pth")
    network = load_network(find("nafssr-t"), 4, path)
    with torch.inference_mode():
        left_sr, right_sr = network(golden["left"].flip(1), golden["right"].flip(1))
    assert relative_error(left_sr.flip(1), golden["left_sr"]) < 1e-5
    assert relative_error(right_sr.flip(1), golden["right_sr"]) < 1e-5
    as_it_is = load_weights(path, "rgb")[2]
    assert torch.equal(as_it_is["intro.weight"], state_of("nafssr-t", 4)["intro.weight"])


def test_any_weights_can_be_said_to_be_bgr(tmp_path: Path) -> None:
    state = state_of("passrnet", 2)
    path = saved(state, tmp_path / "a.pth")
    network, turned = (load_network(find("passrnet"), 2, path, order) for order in ("rgb", "bgr"))
    left, right = torch.rand(2, 1, 3, 6, 10)
    with torch.inference_mode():
        for a, b in zip(network(left, right), turned(left.flip(1), right.flip(1)), strict=True):
            torch.testing.assert_close(b.flip(1), a)
    with pytest.raises(UsageError, match="no channel order"):
        load_weights(saved(state_of("vdsr", 2), tmp_path / "b.pth"), "bgr", scale=2)


def test_half_precision_is_widened(tmp_path: Path) -> None:
    path = saved({k: v.half() for k, v in state_of("passrnet", 2).items()}, tmp_path / "a.pth")
    assert {v.dtype for v in load_weights(path)[2].values()} == {torch.float32}


def test_models_of_equal_tensors_are_told_apart_by_the_caller(tmp_path: Path) -> None:
    path = saved(state_of("passrnet", 2), tmp_path / "a.pth")
    assert load_weights(path, model=find("passrnet-no-atrous"))[0].name == "passrnet-no-atrous"
    path = saved(state_of("srcnn", 4), tmp_path / "b.pth")
    assert load_weights(path, scale=4)[:2] == (find("srcnn"), 4)
    with pytest.raises(UsageError, match="pass -s 2 or -s 4"):
        load_weights(path)


def test_partial_and_wrong_checkpoints_name_the_tensors(tmp_path: Path) -> None:
    state = state_of("passrnet", 2)
    del state["pam.b2.bias"]
    state["pam.b1.weight"] = torch.zeros(32, 64, 1, 1)
    state["pam.b9.weight"] = torch.zeros(1)
    first = "is not passrnet x2: pam.b1.weight is 32x64x1x1, not 64x64x1x1; pam.b2.bias is missing; pam.b9.weight is"
    with pytest.raises(UsageError, match=first):
        load_weights(saved(state, tmp_path / "a.pth"))
    few = dict(list(state_of("nafssr-t", 4).items())[:100])
    with pytest.raises(UsageError, match=r"is not nafssr-t x2: .* is missing; .* and \d+ more$"):
        load_weights(saved({"params": few}, tmp_path / "b.pth"))
    with pytest.raises(UsageError, match=r"is not passrnet x4: upscale\.4\.weight is 256x64x1x1, not 1024x64x1x1"):
        load_network(find("passrnet"), 4, saved(state_of("passrnet", 2), tmp_path / "c.pth"))
    with pytest.raises(UsageError, match=r"c\.pth fits no model of x3"):
        load_weights(tmp_path / "c.pth", scale=3)
    with pytest.raises(UsageError, match="fits no model: it begins with conv_a"):
        load_weights(saved({"conv_a.weight": torch.zeros(3)}, tmp_path / "d.pth"))


class Malicious:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.victim),)


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    bare = tmp_path / "bare.pkl"
    bare.write_bytes(pickle.dumps({"params": Malicious(victim)}))
    for path in (bare, saved({"params": {"intro.weight": Malicious(victim)}}, tmp_path / "zip.pth")):
        with pytest.raises(UsageError, match="can run code and is refused"):
            load_weights(path)
    assert not victim.exists()


@pytest.mark.parametrize(("name", "content"), [("a.pth", b""), ("a.pth", b"PK\x03\x04 no"), ("a.safetensors", b"no")])
def test_damaged_files_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=name):
        load_weights(tmp_path / name)
    with pytest.raises(UsageError, match="cannot read"):
        load_weights(tmp_path / "absent.pth")
    with pytest.raises(UsageError, match="cannot read"):
        load_weights(tmp_path)


def test_files_without_a_state_dict_are_named(tmp_path: Path) -> None:
    for content in ([1, 2], {}, {"params": {"step": 3}}, torch.zeros(3)):
        with pytest.raises(UsageError, match="holds no state dict"):
            load_weights(saved(content, tmp_path / "a.pth"))


def test_own_weights_that_are_not_there_are_named() -> None:
    with pytest.raises(UsageError, match="name a file, or train it"):
        own_weights("passrnet-no-residual", 2)


def test_a_wheel_has_no_weights_and_says_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("stereosr_export.checkpoints.OWN_WEIGHTS", tmp_path)
    with pytest.raises(UsageError, match="the wheel has no weights: install from a checkout with pip install -e"):
        own_weights("nafssr-t", 4)


def test_own_weights_say_what_they_were_trained_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("stereosr_export.checkpoints.OWN_WEIGHTS", tmp_path)
    model = find("srcnn")
    assert trained_scales(model) == []
    said = {"trained_on": "pictures", "license": "research"}
    save_file(state_of("srcnn", 4), tmp_path / "srcnn_x4.safetensors", said)
    assert trained_scales(model) == [4]
    assert provenance(own_weights(model.name, 4)) == said
    save_file(state_of("srcnn", 2), tmp_path / "srcnn_x2.safetensors")
    assert provenance(own_weights(model.name, 2)) == {"trained_on": "", "license": ""}
