"""Weights from files: our own, and the checkpoints that authors publish. What they are of is seen from the tensors."""

import pickle
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from stereosr.errors import UsageError
from stereosr_export.zoo import ZooModel, zoo

ChannelOrder = Literal["auto", "rgb", "bgr"]
OWN_WEIGHTS = Path(__file__).parent / "weights"
BASICSR, PASSRNET = "params", "state_dict"
"""Where training code keeps the tensors in its files: NAFNet's, which is BasicSR's, and PASSRnet's."""


def load_weights(
    path: Path, channel_order: ChannelOrder = "auto", model: ZooModel | None = None, scale: int | None = None
) -> tuple[ZooModel, int, dict[str, Tensor]]:
    """Read a checkpoint: the model and the scale that it fits, and its tensors for RGB, float32.

    safetensors, or a torch file of a state dict, bare or as NAFNet and PASSRnet keep it. Torch files are read as
    tensors only, never as code. Of models with the same tensors (PASSRnet and some of its ablations) the first counts.

    Args:
        path: the file.
        channel_order: of the pictures that the weights were trained on. "auto": NAFNet's files are BGR, others RGB.
        model: this one only.
        scale: this one only.

    Raises:
        UsageError: if the file cannot be read; if it fits no model, naming the first tensors that are in the way; if it
            fits several scales.
    """
    state, container = read_state(path)
    models, given = [model] if model else list(zoo().values()), _shapes_of(state.items())
    for found in models:
        scales = [s for s in found.scales if scale in (None, s) and _shapes(found, s) == given]
        if scales:
            break
    else:
        candidates = [(m, s) for m in models for s in m.scales if scale in (None, s)]
        raise UsageError(f"{path} {_why_not(state, candidates) if candidates else f'fits no model of x{scale}'}")
    if len(scales) > 1:
        raise UsageError(
            f"{path}: {found.name} has the same tensors at every scale: pass -s {' or -s '.join(map(str, scales))}"
        )
    if channel_order == "bgr" or (channel_order == "auto" and container == BASICSR):
        state = _exchange_red_and_blue(state, found, scales[0])
    return found, scales[0], state


def load_network(model: ZooModel, scale: int, path: Path, channel_order: ChannelOrder = "auto") -> nn.Module:
    """A network for inference with the weights of this file; arguments and errors as of ``load_weights``."""
    _, _, state = load_weights(path, channel_order, model, scale)
    network = model.create(scale)
    network.load_state_dict(state)
    return network.eval()


def own_weights(name: str, scale: int) -> Path:
    """The weights that this project trained, by the name of the engine that was made of them.

    They lie in a checkout and in the source distribution; a wheel has the engines alone.

    Raises:
        UsageError: if there are none.
    """
    path = _own(name, scale)
    if not path.exists():
        if not any(OWN_WEIGHTS.glob("*.safetensors")):
            raise UsageError("the wheel has no weights: install from a checkout with pip install -e, or name a file")
        raise UsageError(f"{name} x{scale} was not trained here: name a file, or train it with stereosr train")
    return path


def trained_scales(model: ZooModel) -> list[int]:
    """The scales of which there are our own weights."""
    return [s for s in model.scales if _own(model.name, s).exists()]


def _own(name: str, scale: int) -> Path:
    return OWN_WEIGHTS / f"{name}_x{scale}.safetensors"


def provenance(path: Path) -> dict[str, str]:
    """What one of our own files says of itself: ``trained_on`` and ``license``, as ModelSpec has them."""
    with safe_open(path, "pt") as file:
        said = file.metadata() or {}
    return {key: said.get(key, "") for key in ("trained_on", "license")}


def read_state(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """Tensors by name, and the key under which the file kept them. Raises UsageError if the file cannot be read."""
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of old pickle protocols and storages; nothing a user can act on
                content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as problem:
        raise UsageError(f"cannot read {path}: {problem.strerror or problem}") from problem
    except pickle.UnpicklingError as problem:
        raise UsageError(
            f"{path} is no checkpoint, or holds more than tensors. Such a file can run code and is refused: ask for "
            "safetensors, or for a file with the state dict alone"
        ) from problem
    except Exception as problem:  # of a damaged file: almost any
        raise UsageError(f"{path} is damaged or no checkpoint ({type(problem).__name__})") from problem
    container = next(
        (k for k in (BASICSR, PASSRNET) if isinstance(content, dict) and isinstance(content.get(k), dict)), None
    )
    state = content[container] if container else content
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise UsageError(f"{path} holds no state dict, neither bare nor under {BASICSR!r} or {PASSRNET!r}")
    return {name: value.float() for name, value in state.items()}, container


@cache
def _shapes(model: ZooModel, scale: int) -> dict[str, tuple[int, ...]]:
    return _shapes_of(_blueprint(model, scale).state_dict().items())


def _blueprint(model: ZooModel, scale: int) -> nn.Module:
    """The network without memory for its tensors."""
    with torch.device("meta"):
        return model.create(scale)


def _shapes_of(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in tensors}


def _why_not(state: dict[str, Tensor], candidates: list[tuple[ZooModel, int]]) -> str:
    """What keeps these tensors from the nearest of the models: the first three differences."""
    given = _shapes_of(state.items())
    model, scale = max(candidates, key=lambda c: len(given.items() & _shapes(*c).items()))
    wanted = _shapes(model, scale)
    if not given.keys() & wanted.keys():
        return f"fits no model: it begins with {next(iter(given))}, where {model.name} has {next(iter(wanted))}"
    differences = [
        f"{name} is {_size(given[name])}, not {_size(size)}" if name in given else f"{name} is missing"
        for name, size in wanted.items()
        if given.get(name) != size
    ]
    differences += [f"{name} is too much" for name in given if name not in wanted]
    more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
    return f"is not {model.name} x{scale}: {'; '.join(differences[:3])}{more}"


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"


def _exchange_red_and_blue(state: dict[str, Tensor], model: ZooModel, scale: int) -> dict[str, Tensor]:
    """The same weights for the other channel order: what reads the picture and what writes it exchange their channels.

    Those are the first and the last convolution, in the order of definition, of every network that has all colours in
    one path. The last one's channels are colour-major, as PixelShuffle wants them.
    """
    convs = [(name, m) for name, m in _blueprint(model, scale).named_modules() if isinstance(m, nn.Conv2d)]
    (first, reader), (last, writer) = convs[0], convs[-1]
    if reader.in_channels != 3 or writer.out_channels % 3:
        raise UsageError(f"{model.name} works on the luminance, so its weights have no channel order: leave it out")
    turned = {f"{first}.weight": state[f"{first}.weight"].flip(1)}
    for name in (f"{last}.weight", f"{last}.bias"):
        if name in state:
            turned[name] = torch.unflatten(state[name], 0, (3, -1)).flip(0).flatten(0, 1)
    return state | turned
