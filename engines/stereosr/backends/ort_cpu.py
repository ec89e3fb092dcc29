"""onnxruntime on the CPU."""

import importlib.util
from pathlib import Path

from stereosr.backends.base import BackendInfo, RunOptions
from stereosr.backends.ort_session import CPU, from_nchw, open_session, run_error, to_nchw
from stereosr.models.spec import ModelSpec, read_spec
from stereosr.types import StereoPair


class OrtCpu:
    """A session with one provider; both views go through it in one call."""

    def __init__(self, path: Path, options: RunOptions) -> None:
        self.spec: ModelSpec = read_spec(path)
        self._session = open_session(path, options, CPU, {})
        self.device = f"onnxruntime {CPU}"

    def infer(self, pair: StereoPair) -> StereoPair:
        feeds = {"left": to_nchw(pair.left), "right": to_nchw(pair.right)}
        try:
            left, right = self._session.run(["left_sr", "right_sr"], feeds)
        except Exception as error:
            raise run_error(error) from error
        return StereoPair(from_nchw(left), from_nchw(right))

    def close(self) -> None:
        del self._session


def _missing() -> str | None:
    if importlib.util.find_spec("onnxruntime") is None:
        return 'onnxruntime is not installed: pip install "stereosr[cpu]"'
    return None


BACKENDS = (BackendInfo(name="ort-cpu", priority=90, distribution="onnxruntime", missing=_missing, open=OrtCpu),)
