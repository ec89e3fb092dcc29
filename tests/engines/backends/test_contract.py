"""What every backend and every wrapper of backends keeps: see ``stereosr.backends.base``."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fake_tensorrt import ANY_SIZE, GPU, FakeDevice, FakeTensorRT, engine_of
from fakes import FakeBackend, random_pair
from stereosr.backends import openvino, ort_cuda
from stereosr.backends.base import Backend, BackendBase, BackendInfo, RunOptions, infer_each
from stereosr.backends.fp32_fallback import Fp32Fallback
from stereosr.backends.ort_cpu import OrtCpu
from stereosr.backends.ort_cuda import OrtCuda
from stereosr.backends.ort_session import CPU, open_session
from stereosr.backends.tensorrt.run import TensorRT
from stereosr.errors import UsageError
from stereosr.inference.ensemble import ModelEnsemble, SelfEnsemble
from stereosr.models.library import BUNDLED, file_name
from stereosr.types import StereoPair


@dataclass(frozen=True)
class Case:
    """``size``: rows and columns of a tile that the backend takes. ``is_closed``: whether all that it held is."""

    backend: Backend
    size: tuple[int, int] = (8, 9)
    is_closed: Callable[[], bool] = lambda: True


class Overlapping(FakeBackend):
    """Works like a GPU: tiles are under way after ``submit``; notes how many at most."""

    def __init__(self, operator: Callable[[StereoPair], StereoPair] = lambda pair: pair, **changes: object) -> None:
        super().__init__(operator, **changes)
        self.under_way: list[object] = []
        self.most = 0

    def _submit(self, pair: StereoPair) -> Callable[[], StereoPair]:
        tile = object()
        self.under_way.append(tile)
        self.most = max(self.most, len(self.under_way))

        def result() -> StereoPair:
            while self.under_way.pop(0) is not tile:  # nobody asked for those before it
                pass
            return self._infer(pair)

        return result


def to_nan(pair: StereoPair) -> StereoPair:
    return StereoPair(pair.left * np.float32(np.nan), pair.right)


def fallback(fp16: Backend, fp32: Backend, folder: Path) -> Fp32Fallback:
    (folder / "fp32.onnx").write_bytes(b"")
    info = BackendInfo("fake", 1, "fake", missing=lambda: None, open=lambda _path, _options: fp32)
    return Fp32Fallback(fp16, folder / "fp16.onnx", info, RunOptions())


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The sha256 of no bytes at all."""


def make(name: str, folder: Path) -> Case:
    device, fakes = FakeDevice(), [Overlapping(), Overlapping()]

    def fakes_closed() -> bool:
        return all(fake.closed for fake in fakes)

    def nothing_held() -> bool:
        return not (device.memory or device.hosts or device.graphs or device.open_streams or device.open_events)

    def tensorrt(variant: str = "tensorrt") -> TensorRT:
        return TensorRT(engine_of(ANY_SIZE, variant=variant), FakeTensorRT(device), device, GPU)

    if name == "the smallest":
        return Case(Smallest())
    if name == "ort-cpu":
        return Case(OrtCpu(BUNDLED / file_name("nafssr-t", 2), RunOptions(threads=1)), (45, 135))
    if name in ("openvino", "openvino-bf16"):
        (info,) = (info for info in openvino.BACKENDS if info.name == name)
        if (reason := info.missing()) is not None:
            pytest.skip(reason)
        return Case(info.open(BUNDLED / file_name("nafssr-t", 2), RunOptions(threads=1)), (45, 135))
    if name == "ort-cuda":
        return Case(on_a_simulated_gpu(BUNDLED / file_name("nafssr-t", 2)), (45, 135))
    if name in ("tensorrt", "tensorrt_rtx"):
        return Case(tensorrt(name), is_closed=nothing_held)
    if name == "fp32 fallback, unused":
        return Case(fallback(fakes[0], FakeBackend(), folder), is_closed=lambda: fakes[0].closed)
    if name == "fp32 fallback, used":
        fakes[0].operator = to_nan
        fakes[0].spec = FakeBackend(precision="fp16", fp32_sha256=EMPTY).spec
        backend = fallback(fakes[0], fakes[1], folder)
        backend.infer(random_pair(8, 9))
        return Case(backend, is_closed=fakes_closed)
    if name == "self-ensemble":
        return Case(SelfEnsemble(tensorrt()), is_closed=nothing_held)
    if name == "model ensemble":
        return Case(ModelEnsemble([tensorrt(), *fakes]), is_closed=lambda: nothing_held() and fakes_closed())
    assert name == "self-ensemble of a model ensemble"
    return Case(SelfEnsemble(ModelEnsemble(fakes)), is_closed=fakes_closed)


def on_a_simulated_gpu(path: Path) -> OrtCuda:
    """ort-cuda around a session of the CPU, whose bindings take what is bound to the GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ort_cuda, "load_onnxruntime", lambda: SimpleNamespace(preload_dlls=lambda: None))
        patch.setattr(ort_cuda, "open_session", lambda path, options, _cuda, _settings: SimulatedSession(path, options))
        return OrtCuda(path, RunOptions(threads=1))


class SimulatedSession:
    """What ort-cuda uses of a session."""

    def __init__(self, path: Path, options: RunOptions) -> None:
        self._session = open_session(path, options, CPU, {})

    def io_binding(self) -> "SimulatedBinding":
        return SimulatedBinding()

    def run_with_iobinding(self, binding: "SimulatedBinding") -> None:
        binding.results = self._session.run(binding.outputs, binding.inputs)


class SimulatedBinding:
    """Tensors by their names."""

    def __init__(self) -> None:
        self.inputs: dict[str, np.ndarray] = {}
        self.outputs: list[str] = []
        self.results: list[np.ndarray] = []

    def bind_cpu_input(self, name: str, tensor: np.ndarray) -> None:
        self.inputs[name] = tensor

    def bind_output(self, name: str, device: str, number: int) -> None:
        assert (device, number) == ("cuda", 0)
        self.outputs.append(name)

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        return self.results


class Smallest(BackendBase):
    """As little as a backend needs."""

    device = "numpy"

    def __init__(self) -> None:
        self.spec = FakeBackend().spec

    def _infer(self, pair: StereoPair) -> StereoPair:
        return FakeBackend().infer(pair)


CASES = (
    "the smallest",
    "ort-cpu",
    "openvino",
    "openvino-bf16",
    "ort-cuda",
    "tensorrt",
    "tensorrt_rtx",
    "fp32 fallback, unused",
    "fp32 fallback, used",
    "self-ensemble",
    "model ensemble",
    "self-ensemble of a model ensemble",
)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setenv("STEREOSR_HOME", str(tmp_path / "home"))
    return make(request.param, tmp_path)


def pairs(case: Case, count: int = 3) -> list[StereoPair]:
    return [random_pair(*case.size, seed) for seed in range(count)]


def same(a: StereoPair, b: StereoPair) -> bool:
    return np.array_equal(a.left, b.left) and np.array_equal(a.right, b.right)


def test_a_tile_that_is_submitted_is_the_tile_that_is_inferred(case: Case) -> None:
    """One alone, and two under way."""
    tiles = pairs(case)
    expected = [case.backend.infer(tile) for tile in tiles]
    scale = case.backend.spec.scale
    for tile, result in zip(tiles, expected, strict=True):
        assert result.left.shape == result.right.shape == (tile.height * scale, tile.width * scale, 3)
    assert same(case.backend.submit(tiles[0])(), expected[0])
    assert all(map(same, infer_each(case.backend, tiles), expected))


def test_a_result_that_nobody_asks_for_is_thrown_away(case: Case) -> None:
    first, second, third = pairs(case)
    expected = case.backend.infer(third)
    case.backend.submit(first)
    case.backend.submit(second)
    assert same(case.backend.infer(third), expected)


def test_what_is_closed_says_so_and_closing_twice_is_fine(case: Case) -> None:
    tile = pairs(case, 1)[0]
    late = case.backend.submit(tile)
    case.backend.close()
    assert case.is_closed()
    case.backend.close()
    for use in (lambda: case.backend.infer(tile), lambda: case.backend.submit(tile), late, case.backend.__enter__):
        with pytest.raises(UsageError, match="was closed: open the model again"):
            use()


def test_leaving_the_context_closes_also_where_something_went_wrong(case: Case) -> None:
    def interrupted() -> None:
        with case.backend as backend:
            assert backend is case.backend
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert case.is_closed()


def test_the_report_says_what_ran_since_the_last_one(case: Case) -> None:
    case.backend.infer(pairs(case, 1)[0])
    report = case.backend.report()
    assert report.device == case.backend.device
    assert report.precision in ("fp32", "fp16", "bf16", "fp16+fp32")
    assert all(line and "\n" not in line for line in report.warnings)
    assert case.backend.report().warnings == ()


def test_threads_may_share_it_one_at_a_time(case: Case) -> None:
    """What one thread started another may finish."""
    first, second = pairs(case, 2)
    expected = [case.backend.infer(first), case.backend.infer(second)]
    results: list[StereoPair] = []
    started = [case.backend.submit(first)]

    def finish() -> None:
        results.append(started.pop()())
        results.append(case.backend.infer(second))
        case.backend.close()

    other = threading.Thread(target=finish, daemon=True)
    other.start()
    other.join(60)
    assert all(map(same, results, expected))
    assert len(results) == 2
    assert case.is_closed()


@pytest.mark.parametrize("wrapper", ["fp32 fallback", "self-ensemble", "model ensemble"])
def test_wrappers_keep_two_tiles_under_way_and_no_more(wrapper: str, tmp_path: Path) -> None:
    inner = [Overlapping(), Overlapping()]
    wrapped: Backend = {
        "fp32 fallback": lambda: fallback(inner[0], inner[1], tmp_path),
        "self-ensemble": lambda: SelfEnsemble(inner[0]),
        "model ensemble": lambda: ModelEnsemble(inner),
    }[wrapper]()
    list(infer_each(wrapped, [random_pair(4, 5, seed) for seed in range(4)]))
    assert [fake.most for fake in inner] == ([2, 2] if wrapper == "model ensemble" else [2, 0])
    assert not any(fake.under_way for fake in inner)
