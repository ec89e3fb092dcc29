"""onnxruntime with CUDA: every NVIDIA card, nothing to build."""

import contextlib
import sys
from pathlib import Path

from stereosr.backends.base import BackendInfo, RunOptions, installed_version
from stereosr.backends.nvidia import driver
from stereosr.backends.ort_session import CUDA, from_nchw, open_session, run_error, to_nchw
from stereosr.models.spec import ModelSpec, read_spec
from stereosr.types import StereoPair

SETTINGS = {
    "use_tf32": 0,  # fp32 files are computed in fp32: TF32 would round products to 11 bits
    "cudnn_conv_algo_search": "HEURISTIC",  # not every algorithm of every convolution timed at every new size
    "arena_extend_strategy": "kSameAsRequested",  # not up to twice the memory
}


class OrtCuda:
    """A session on one card."""

    def __init__(self, path: Path, options: RunOptions) -> None:
        import onnxruntime

        with contextlib.redirect_stdout(sys.stderr):  # where it says what it did not find
            onnxruntime.preload_dlls()  # of the wheels that onnxruntime-gpu[cuda,cudnn] brings
        self.spec: ModelSpec = read_spec(path)
        self._gpu = options.gpu
        self._session = open_session(path, options, CUDA, SETTINGS | {"device_id": options.gpu})
        self.device = f"onnxruntime {CUDA}"

    def infer(self, pair: StereoPair) -> StereoPair:
        binding = self._session.io_binding()
        try:
            binding.bind_cpu_input("left", to_nchw(pair.left))
            binding.bind_cpu_input("right", to_nchw(pair.right))
            for name in ("left_sr", "right_sr"):
                binding.bind_output(name, "cuda", self._gpu)
            self._session.run_with_iobinding(binding)
            left, right = binding.copy_outputs_to_cpu()
        except Exception as error:
            raise run_error(error) from error
        return StereoPair(from_nchw(left), from_nchw(right))

    def close(self) -> None:
        del self._session


def _missing() -> str | None:
    if installed_version("onnxruntime-gpu") is None:
        swap = "pip uninstall onnxruntime, then " if installed_version("onnxruntime") else ""
        return f'onnxruntime-gpu is not installed: {swap}pip install "stereosr[gpu]"'
    if installed_version("onnxruntime") is not None:
        return (
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip uninstall onnxruntime "
            'onnxruntime-gpu, then pip install "stereosr[gpu]"'
        )
    if driver() is None:
        return "no NVIDIA driver answers: install the driver of your card"
    import onnxruntime

    if CUDA not in onnxruntime.get_available_providers():
        return 'the onnxruntime here has no CUDA: pip install --force-reinstall "stereosr[gpu]"'
    return None


BACKENDS = (
    BackendInfo(
        name="ort-cuda", priority=30, distribution="onnxruntime-gpu", missing=_missing, open=OrtCuda, on_gpu=True
    ),
)
