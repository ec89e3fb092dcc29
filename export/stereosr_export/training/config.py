"""What decides a training run: ``TrainConfig``, and the presets, which are TOML files of it."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from stereosr.errors import UsageError

PRESETS = Path(__file__).with_name("presets")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """All that decides a run. The defaults are NAFSSR's recipe where it is known to hold in short runs too."""

    model: str
    scale: int = 4
    data: str
    out: str
    validation: str | None = None  # folder of scenes to score; None: some of the data, which are held back
    iterations: int = 100_000
    hours: float | None = None  # after which a run ends, counted from each start; iterations then follow from the pace
    batch: int = 32  # of all processes together
    patch: tuple[int, int] | None = None  # LR rows x columns; None: the model's own
    loss: str = "l1"
    lr: float = 3e-3
    min_lr: float = 1e-7
    halve_every: int = 0  # iterations after which lr is halved; 0: half a cosine down to min_lr
    cooldown: int = 0  # the last iterations, over which that cosine falls, after a constant lr; 0: all of them
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.9)
    weight_decay: float = 0.0
    clip: float = 0.01  # global gradient norm; inf: never
    ema: float = 0.999
    real_share: float = 0.35  # of the samples, from real stereo; the rest are warped photographs
    camera_share: float = 0.0  # of the samples, given the noise, mosaic and resampling of a stereo rig
    photo_share: float = 0.0  # of the samples, degraded as in a photograph or film: blur, noise, JPEG, H.264
    degrade: str = "clean"  # recipes of ``degrade.corrupt``, with commas; the scored scenes take them in turn
    shuffle_colours: bool = True
    swap_on_flip: bool = True  # a pair that is flipped horizontally exchanges its views; False: PASSRnet's authors
    seed: int = 10
    precision: str = "bf16"
    workers: int | None = None  # that prepare patches; None: one, and beside a GPU one a core, 16 at most
    validate_every: int = 500
    init: str | None = None  # weights to start from, a file or a name of ours; what does not fit is left as it is


def complete(settings: Mapping[str, Any]) -> TrainConfig:
    """The configuration of these settings.

    Raises:
        UsageError: naming the settings that do not exist, those that are missing, or one of another type.
    """
    known = {field.name: field.default is MISSING for field in fields(TrainConfig)}
    if strange := settings.keys() - known:
        raise UsageError(f"no setting named {', '.join(sorted(strange))}; there are {', '.join(known)}")
    if missing := [name for name, needed in known.items() if needed and name not in settings]:
        raise UsageError(f"not said: {', '.join(missing)}; pass {' and '.join(f'--{name}' for name in missing)}")
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}
    for name, kind in get_type_hints(TrainConfig).items():
        if name in values and not _is(values[name], kind):
            raise UsageError(f"{name} = {values[name]!r}: it should be {getattr(kind, '__name__', kind)}")
    return TrainConfig(**values)


def _is(value: object, kind: Any) -> bool:
    """Whether a value is of an annotated type; a whole number serves as a float, as in Python itself."""
    if isinstance(kind, UnionType):
        return any(_is(value, option) for option in get_args(kind))
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is, value, kinds))
    return type(value) is kind or (kind is float and type(value) is int)


def presets() -> list[str]:
    """The names of the presets, found, never listed."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def read_settings(source: str) -> dict[str, Any]:
    """Settings from a TOML file, or from a preset by its name, to which ``-x2`` or ``-x4`` may be added.

    Raises:
        UsageError: if there is neither; the message lists the presets.
    """
    path, scale = Path(source), {}
    if path.suffix != ".toml":
        stem, _, digits = source.rpartition("-x")
        if source not in presets() and stem in presets() and digits.isdecimal():
            source, scale = stem, {"scale": int(digits)}
        path = PRESETS / f"{source}.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) | scale
    except FileNotFoundError:
        raise UsageError(
            f"no preset or TOML file {source!r}; presets are {', '.join(presets())}, and with -x2 or -x4 after a model"
        ) from None
    except (OSError, tomllib.TOMLDecodeError) as problem:
        raise UsageError(f"cannot read {path}: {problem}") from problem


def learning_rate(config: TrainConfig, iteration: int) -> float:
    """Linear warm-up; then ``lr`` halved every ``halve_every`` iterations, or half a cosine down to ``min_lr``."""
    if iteration < config.warmup:
        return config.lr * (iteration + 1) / config.warmup
    if config.halve_every:
        return float(config.lr * 0.5 ** (iteration // config.halve_every))
    fall = min(config.cooldown or config.iterations, config.iterations - config.warmup)
    part = min(1.0, max(0.0, (iteration - config.iterations + fall) / max(1, fall)))
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + math.cos(math.pi * part))
