"""Which backend runs: the whole table of ``choose``, and what each kind says of this machine."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from command import failed, stereosr
from fakes import FakeBackend, random_pair
from stereosr.backends import base, ort_cuda, registry
from stereosr.backends.base import BackendInfo, RunOptions, State, infer_each
from stereosr.backends.nvidia import Driver, Gpu
from stereosr.backends.registry import Choice, available_backends, choose, open_model
from stereosr.errors import BackendUnavailable, UsageError
from stereosr.types import StereoPair

GPU = Driver("580.65", "13.0", (Gpu("NVIDIA RTX", "sm89", 24 << 30),))


def states(*rows: str) -> list[State]:
    """``a+``: works; ``a-``: is missing, nobody expects it; ``a!``: is missing, though its library or GPU is here."""
    return [State(row[0], None if row[1] == "+" else f"no {row[0]}", expected=row[1] != "-") for row in rows]


@pytest.mark.parametrize(
    ("requested", "here", "expected"),
    [
        ("auto", ["a+", "b+", "c+"], Choice("a", ())),
        ("auto", ["a-", "b+", "c+"], Choice("b", ())),
        ("auto", ["a!", "b+", "c+"], Choice("b", ("a: no a",))),
        ("auto", ["a!", "b-", "c+"], Choice("c", ("a: no a",))),
        ("auto", ["a!", "b!", "c+"], Choice("c", ("a: no a", "b: no b"))),
        ("auto", ["a-", "b-", "c+"], Choice("c", ())),
        ("auto", ["a+", "b!", "c!"], Choice("a", ())),
        ("a", ["a+", "b+"], Choice("a", ())),
        ("b", ["a+", "b+"], Choice("b", ())),
        ("b", ["a!", "b+"], Choice("b", ())),
        ("a", ["a-", "b+"], (BackendUnavailable, "backend a cannot be used: no a")),
        ("a", ["a!", "b+"], (BackendUnavailable, "backend a cannot be used: no a")),
        ("auto", ["a-", "b!"], (BackendUnavailable, "no backend works here: a: no a; b: no b")),
    ],
)
def test_the_whole_table(requested, here, expected):
    if isinstance(expected, Choice):
        assert choose(requested, states(*here)) == expected
    else:
        with pytest.raises(expected[0], match=expected[1]):
            choose(requested, states(*here))


def kind(name: str, **changes: object) -> BackendInfo:
    fields = {
        "priority": 1,
        "distribution": "not-there",
        "missing": lambda: f"no {name}",
        "open": lambda _p, _o: FakeBackend(),
    }
    return BackendInfo(name=name, **fields | changes)  # type: ignore[arg-type]


def chosen(requested: str, suffix: str = ".onnx") -> Choice:
    return open_model(lambda _kind: Path("x"), suffix, requested, RunOptions())[2]


def test_a_machine_without_a_gpu_does_not_hear_of_backends_that_nobody_installed(monkeypatch):
    here = (kind("gpu", on_gpu=True), kind("cpu", missing=lambda: None))
    monkeypatch.setattr(registry, "available_backends", lambda: here)
    monkeypatch.setattr(base, "driver", lambda: None)
    assert chosen("auto") == Choice("cpu", ())
    monkeypatch.setattr(base, "driver", lambda: GPU)
    assert chosen("auto") == Choice("cpu", ("gpu: no gpu",))


def test_what_shows_when_a_backend_is_opened_makes_auto_step_down_with_the_file_of_the_next(monkeypatch):
    def refuses(_path: Path, _options: RunOptions) -> FakeBackend:
        raise BackendUnavailable("its libraries do not load")

    here = (kind("gpu", on_gpu=True, missing=lambda: None, open=refuses), kind("cpu", missing=lambda: None))
    monkeypatch.setattr(registry, "available_backends", lambda: here)
    opened = open_model(lambda kind: Path(kind.precisions[0]), ".onnx", "auto", RunOptions())
    assert opened[1:] == (Path("fp32"), Choice("cpu", ("gpu: its libraries do not load",)))
    with pytest.raises(BackendUnavailable, match="its libraries do not load"):
        chosen("gpu")


def test_auto_never_takes_nor_asks_what_is_to_be_named(monkeypatch):
    asked = []
    named = kind("named", automatic=False, missing=lambda: asked.append("named"))
    monkeypatch.setattr(registry, "available_backends", lambda: (named, kind("cpu")))
    with pytest.raises(BackendUnavailable, match="no backend works here: cpu: no cpu"):
        chosen("auto")
    assert not asked
    assert chosen("named") == Choice("named", ())


def test_a_name_that_does_not_exist_is_an_error_that_lists_those_that_do(monkeypatch):
    monkeypatch.setattr(registry, "available_backends", lambda: (kind("a"), kind("b", automatic=False)))
    with pytest.raises(UsageError, match="no backend named 'x'; there are auto, a, b"):
        chosen("x")


def test_engine_files_are_for_backends_that_open_them(monkeypatch):
    monkeypatch.setattr(registry, "available_backends", lambda: (kind("cpu", missing=lambda: None),))
    with pytest.raises(BackendUnavailable, match=r"cpu: it opens \.onnx files, not \.engine"):
        chosen("auto", ".engine")


def test_every_kind_has_a_name_and_a_rank_of_its_own():
    assert (
        len({k.name for k in available_backends()})
        == len({k.priority for k in available_backends()})
        == len(available_backends())
    )
    assert [k.priority for k in available_backends()] == sorted(k.priority for k in available_backends())
    for k in available_backends():
        missing = k.missing()
        assert missing is None or "\n" not in missing
        assert k.precisions[0] == ("fp16" if k.on_gpu else "fp32")


@pytest.mark.parametrize(
    ("packages", "gpu", "providers", "reason"),
    [
        (set(), GPU, [], 'onnxruntime-gpu is not installed: pip install "stereosr[gpu]"'),
        ({"onnxruntime"}, GPU, [], "pip uninstall onnxruntime, then pip install"),
        (
            {"onnxruntime", "onnxruntime-gpu"},
            GPU,
            [],
            "both installed and overwrite each other: pip uninstall onnxruntime",
        ),
        ({"onnxruntime-gpu"}, None, [], "no NVIDIA driver answers"),
        (
            {"onnxruntime-gpu"},
            GPU,
            ["CPUExecutionProvider"],
            "has no CUDA: pip uninstall onnxruntime-gpu, then pip install",
        ),
        ({"onnxruntime-gpu"}, GPU, ["CUDAExecutionProvider"], None),
    ],
)
def test_what_onnxruntime_lacks_for_cuda_is_said_with_the_command(monkeypatch, packages, gpu, providers, reason):
    monkeypatch.setattr(ort_cuda, "installed_version", lambda name: "1" if name in packages else None)
    monkeypatch.setattr(ort_cuda, "driver", lambda: gpu)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: providers)
    found = ort_cuda.BACKENDS[0].missing()
    assert found == reason if reason is None else reason in (found or "")


def test_an_explicit_backend_never_falls_back(tmp_path):
    for k in available_backends():
        if k.missing():
            failed(
                stereosr("upscale", "a.png", "b.png", "-b", k.name, cwd=tmp_path), 4, f"backend {k.name} cannot be used"
            )


def test_a_pair_is_started_before_the_result_of_the_one_before_is_asked_for() -> None:
    events: list[str] = []

    class Overlapping(FakeBackend):
        def _submit(self, pair: StereoPair) -> Callable[[], StereoPair]:
            number = pair.height
            events.append(f"start {number}")

            def result() -> StereoPair:
                events.append(f"end {number}")
                return self._infer(pair)

            return result

    pairs = [random_pair(n, 4) for n in (1, 2, 3)]
    results = list(infer_each(Overlapping(), pairs))
    assert [r.height for r in results] == [2, 4, 6]
    assert events == ["start 1", "start 2", "end 1", "start 3", "end 2", "end 3"]
    assert [r.height for r in infer_each(FakeBackend(), pairs)] == [2, 4, 6]


def test_doctor_says_what_works_and_how_to_get_the_rest():
    done = stereosr("doctor")
    assert done.returncode == 0, done.stderr
    backends = done.stdout.partition("Backends")[2].partition("Extras")[0]
    for k in available_backends():
        (line,) = [line for line in backends.splitlines() if line.startswith(f"  {k.name} ")]
        assert (k.missing() or "works") in line
    if importlib.util.find_spec("pycuda") is None:
        assert 'pycuda not installed: pip install "stereosr[pycuda]"' in done.stdout
