"""Never a black picture: tiles that fp16 spoils are recomputed in fp32."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from stereosr.backends.base import Backend, BackendBase, BackendInfo, RunOptions, RunReport
from stereosr.errors import StereosrError
from stereosr.models.library import fp32_source_of
from stereosr.types import StereoPair

_log = logging.getLogger("stereosr")


class Fp32Fallback(BackendBase):
    """An fp16 backend whose tiles are checked: one with NaN or Inf is recomputed in fp32.

    The fp32 file is opened when it is first needed, by the same kind of backend, with a warning in the log. The report
    says how many tiles it was needed for.

    Args:
        fp16_backend: is closed with this one.
        path: of the fp16 file; the fp32 one is looked for beside it as well.
        info: opens the fp32 file.
        options: to open it with.
    """

    def __init__(self, fp16_backend: Backend, path: Path, info: BackendInfo, options: RunOptions) -> None:
        self.spec = fp16_backend.spec
        self.device = fp16_backend.device
        self._held = ExitStack()
        self._fp16_backend = self._held.enter_context(fp16_backend)
        self._fp32_backend: Backend | None = None
        self._path, self._info, self._options = path, info, options
        self._tiles = self._recomputed = 0

    def report(self) -> RunReport:
        tiles, recomputed = self._tiles, self._recomputed
        self._tiles = self._recomputed = 0
        ran = [self._fp16_backend.report()]
        if self._fp32_backend is not None:
            in_fp32 = self._fp32_backend.report()
            ran = [in_fp32] if 0 < recomputed == tiles else [*ran, in_fp32] if recomputed else ran
        report = RunReport.joined(ran)
        if not recomputed:
            return report
        warning = f"{self.spec.title} in fp16 gave NaN or Inf: {recomputed} of {tiles} tiles were recomputed in fp32"
        return replace(report, warnings=(*report.warnings, warning))

    def _infer(self, pair: StereoPair) -> StereoPair:
        return self._checked(pair, self._fp16_backend.infer(pair))

    def _submit(self, pair: StereoPair) -> Callable[[], StereoPair]:
        result = self._fp16_backend.submit(pair)
        return lambda: self._checked(pair, result())

    def _close(self) -> None:
        self._held.close()

    def _checked(self, pair: StereoPair, result: StereoPair) -> StereoPair:
        if not (np.isfinite(result.left).all() and np.isfinite(result.right).all()):
            result = self._in_fp32().infer(pair)
            self._recomputed += 1
        self._tiles += 1
        return result

    def _in_fp32(self) -> Backend:
        if self._fp32_backend is None:
            file = fp32_source_of(self._path, self.spec)
            if file is None:
                raise StereosrError(
                    f"{self.spec.title} in fp16 gave NaN or Inf, and the fp32 file it was made from is not beside "
                    f"{self._path}: choose fp32",
                    settings=("precision",),
                )
            _log.warning("%s in fp16 gave NaN or Inf; such tiles are recomputed in fp32", self.spec.title)
            self._fp32_backend = self._held.enter_context(self._info.open(file, self._options))
        return self._fp32_backend
