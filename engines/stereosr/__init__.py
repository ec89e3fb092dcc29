"""Stereo image super-resolution: both views come out 2x or 4x larger, each using detail from the other.

>>> import stereosr
>>> left, right = stereosr.read_pair("examples/left.png", "examples/right.png")
>>> with stereosr.load_model(scale=4) as model:
...     left_sr, right_sr = model.upscale(left, right)
>>> left.shape, left_sr.shape, left_sr.dtype
((120, 160, 3), (480, 640, 3), dtype('uint8'))

Everything public is in ``__all__``; it is loaded when it is asked for first, so that importing this package costs next
to nothing. The package logs to ``logging.getLogger("stereosr")`` and prints nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stereosr.api import (
        BackendUnavailable,
        Model,
        ModelSpec,
        OutOfMemory,
        PairReport,
        StereosrError,
        UsageError,
        check_pair,
        list_models,
        load_model,
        read_pair,
        write_pair,
    )

    __version__: str

__all__ = [
    "BackendUnavailable",
    "Model",
    "ModelSpec",
    "OutOfMemory",
    "PairReport",
    "StereosrError",
    "UsageError",
    "__version__",
    "check_pair",
    "list_models",
    "load_model",
    "read_pair",
    "write_pair",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("stereosr")
    else:
        from stereosr import api

        value = getattr(api, name)
    globals()[name] = value  # the next time it is found without this function
    return value


def __dir__() -> list[str]:
    return __all__
