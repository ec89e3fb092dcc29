"""onnxruntime with CUDA: every NVIDIA GPU, nothing to build."""

import contextlib
import sys
from pathlib import Path

from stereosr.backends.base import BackendBase, BackendInfo, RunOptions, installed_version
from stereosr.backends.nvidia import NO_DRIVER, driver
from stereosr.backends.ort_session import CUDA, from_nchw, load_onnxruntime, open_session, run_error, to_nchw
from stereosr.errors import install_hint
from stereosr.models.spec import INPUTS, OUTPUTS, read_spec
from stereosr.types import StereoPair

SETTINGS = {
    "use_tf32": 0,  # fp32 files are computed in fp32: TF32 would round products to 11 bits
    "cudnn_conv_algo_search": "HEURISTIC",  # not every algorithm of every convolution timed at every new size
    "arena_extend_strategy": "kSameAsRequested",  # not up to twice the memory
}


class OrtCuda(BackendBase):
    """A session on one GPU."""

    def __init__(self, path: Path, options: RunOptions) -> None:
        onnxruntime = load_onnxruntime()
        with contextlib.redirect_stdout(sys.stderr):  # where it prints what it did not find
            onnxruntime.preload_dlls()  # from the wheels that onnxruntime-gpu[cuda,cudnn] brings
        self.spec = read_spec(path)
        self._gpu = options.gpu
        self._session = open_session(path, options, CUDA, SETTINGS | {"device_id": options.gpu})
        self.device = f"onnxruntime {CUDA}"

    def _infer(self, pair: StereoPair) -> StereoPair:
        binding = self._session.io_binding()
        try:
            for name, view in zip(INPUTS, (pair.left, pair.right), strict=True):
                binding.bind_cpu_input(name, to_nchw(view))
            for name in OUTPUTS:
                binding.bind_output(name, "cuda", self._gpu)
            self._session.run_with_iobinding(binding)
            left, right = binding.copy_outputs_to_cpu()
        except Exception as error:
            raise run_error(error) from error
        return StereoPair(from_nchw(left), from_nchw(right))

    def _close(self) -> None:
        del self._session


def _missing() -> str | None:
    if installed_version("onnxruntime-gpu") is None:
        swap = "pip uninstall onnxruntime, then " if installed_version("onnxruntime") else ""
        return f"onnxruntime-gpu is not installed: {swap}{install_hint('gpu')}"
    if installed_version("onnxruntime") is not None:
        return (
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip uninstall onnxruntime "
            f"onnxruntime-gpu, then {install_hint('gpu')}"
        )
    if driver() is None:
        return NO_DRIVER
    if CUDA not in load_onnxruntime().get_available_providers():
        return f"the onnxruntime here has no CUDA: pip uninstall onnxruntime-gpu, then {install_hint('gpu')}"
    return None


BACKENDS = (
    BackendInfo(
        name="ort-cuda", priority=30, distribution="onnxruntime-gpu", missing=_missing, open=OrtCuda, on_gpu=True
    ),
)
