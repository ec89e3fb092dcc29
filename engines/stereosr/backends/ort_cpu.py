"""onnxruntime on the CPU."""

import importlib.util
from functools import partial
from pathlib import Path

from stereosr.backends.base import BackendBase, BackendInfo, RunOptions
from stereosr.backends.interrupt import interruptible
from stereosr.backends.ort_session import CPU, from_nchw, load_onnxruntime, open_session, run_error, to_nchw
from stereosr.errors import install_hint
from stereosr.models.spec import INPUTS, OUTPUTS, read_spec
from stereosr.types import StereoPair


class OrtCpu(BackendBase):
    """A session with one provider; both views go through it in one call."""

    def __init__(self, path: Path, options: RunOptions) -> None:
        self.spec = read_spec(path)
        self._session = open_session(path, options, CPU, {})
        self.device = f"onnxruntime {CPU}"

    def _infer(self, pair: StereoPair) -> StereoPair:
        feeds = dict(zip(INPUTS, (to_nchw(pair.left), to_nchw(pair.right)), strict=True))
        options = load_onnxruntime().RunOptions()
        run, stop = partial(self._session.run, OUTPUTS, feeds, options), partial(setattr, options, "terminate", True)
        try:
            left, right = interruptible(run, stop)
        except Exception as error:
            raise run_error(error) from error
        return StereoPair(from_nchw(left), from_nchw(right))

    def _close(self) -> None:
        del self._session


def _missing() -> str | None:
    if importlib.util.find_spec("onnxruntime") is None:
        return f"onnxruntime is not installed: {install_hint('cpu')}"
    return None


BACKENDS = (BackendInfo(name="ort-cpu", priority=90, distribution="onnxruntime", missing=_missing, open=OrtCpu),)
