"""Never a black picture: what half precision spoils is done again in fp32."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from stereosr.backends.base import Backend, BackendInfo, RunOptions
from stereosr.errors import StereosrError
from stereosr.models.library import fp32_source_of
from stereosr.models.spec import ModelSpec
from stereosr.types import StereoPair


class Fp32Fallback:
    """An fp16 backend whose tiles are checked; one with a value that is not finite is done again in fp32.

    The fp32 file is opened when it is needed first, in the same kind of backend, with one warning.
    """

    def __init__(self, half: Backend, path: Path, kind: BackendInfo, options: RunOptions) -> None:
        self.spec: ModelSpec = half.spec
        self.device = half.device
        self._half = half
        self._single: Backend | None = None
        self._path, self._kind, self._options = path, kind, options
        if hasattr(half, "submit"):
            self.submit = self._submit

    def infer(self, pair: StereoPair) -> StereoPair:
        return self._checked(pair, self._half.infer(pair))

    def close(self) -> None:
        self._half.close()
        if self._single is not None:
            self._single.close()

    def _submit(self, pair: StereoPair) -> Callable[[], StereoPair]:
        result = self._half.submit(pair)  # type: ignore[attr-defined]
        return lambda: self._checked(pair, result())

    def _checked(self, pair: StereoPair, result: StereoPair) -> StereoPair:
        if np.isfinite(result.left).all() and np.isfinite(result.right).all():
            return result
        if self._single is None:
            file = fp32_source_of(self._path, self.spec)
            if file is None:
                raise StereosrError(
                    f"{self.spec.title} in fp16 gave values that are not finite, and the fp32 file it was made from is "
                    f"not beside {self._path}: use --precision fp32"
                )
            self._options.say(
                f"warning: {self.spec.title} in fp16 gave values that are not finite; such tiles are done in fp32"
            )
            self._single = self._kind.open(file, self._options)
        return self._single.infer(pair)
