"""``import stereosr``: what is public, what it takes and refuses, and that it gives what the command line gives."""

import ast
import doctest
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import stereosr
from command import stereosr as command
from fakes import FakeBackend
from shared_data import ROOT
from stereosr import api
from stereosr.io.images import Picture, read_picture
from stereosr.io.layouts import write_stereo
from stereosr.models.library import BUNDLED
from stereosr.models.spec import read_spec
from test_architecture import HEAVY

PUBLIC = [name for name in stereosr.__all__ if name != "__version__"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder that holds ``examples/``, as a checkout does."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("*_x?.png"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def model():
    with stereosr.load_model("nafssr-t", scale=2, device="cpu") as opened:
        yield opened


def views(dtype=np.uint8, shape=(24, 60, 3), seed=0):
    pair = np.random.default_rng(seed).random((2, *shape), dtype=np.float32)
    return tuple(pair if dtype == np.float32 else (pair * np.iinfo(dtype).max).astype(dtype))


# --- what is public --------------------------------------------------------------------------------------------------


def test_all_is_what_is_public_and_nothing_else():
    assert sorted(stereosr.__all__) == stereosr.__all__ == dir(stereosr)
    assert api.__all__ == PUBLIC
    tree = ast.parse(Path(stereosr.__file__).read_text(encoding="utf-8"))
    seen_by_type_checkers = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "stereosr.api"
        for alias in node.names
    }
    assert seen_by_type_checkers == set(PUBLIC)
    with pytest.raises(AttributeError, match="no attribute 'imread'"):
        _ = stereosr.imread


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_is_documented(name):
    thing = getattr(stereosr, name)
    assert thing.__doc__
    members = [m for n, m in inspect.getmembers(thing, inspect.isfunction) if not n.startswith("_")]
    for function in members if inspect.isclass(thing) else [thing]:
        assert function.__doc__, function
        for parameter in set(inspect.signature(function).parameters) - {"self"}:
            if function.__module__ == api.__name__:
                assert f"\n{parameter}: " in re.sub(r"\n +", "\n", function.__doc__), (function, parameter)
    if inspect.isfunction(thing) or thing is stereosr.Model:
        assert ">>>" in thing.__doc__


def test_the_version_is_that_of_the_package():
    assert re.fullmatch(r"\d+\.\d+.*", stereosr.__version__)


def test_errors_are_builtin_ones_too():
    for error, builtin in (
        (stereosr.UsageError, ValueError),
        (stereosr.BackendUnavailable, RuntimeError),
        (stereosr.OutOfMemory, MemoryError),
    ):
        assert issubclass(error, builtin)
        assert issubclass(error, stereosr.StereosrError)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("module", [stereosr, api])
def test_the_examples_in_docstrings_run_as_they_stand(module):
    done = doctest.testmod(module)
    assert done.attempted > 3
    assert done.failed == 0


# --- what importing it costs -----------------------------------------------------------------------------------------


def python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_nothing_large():
    loaded = python("import sys, stereosr; print(*{name.split('.')[0] for name in sys.modules})").split()
    assert not set(loaded) & (HEAVY | {"numpy", "cv2", "PIL", "psutil", "click", "rich", "stereosr_cli"})
    with_version = python("import sys, stereosr; stereosr.__version__; print(*sys.modules)").split()
    assert "stereosr.api" not in with_version


def test_the_api_works_where_only_onnxruntime_is_installed_beside_it():
    code = f"""
import sys
for name in {sorted(HEAVY - {"onnxruntime"})}: sys.modules[name] = None
import numpy as np, stereosr
view = np.zeros((30, 90, 3), np.uint8)
with stereosr.load_model(scale=2, backend="ort-cpu") as model:
    print(*model.upscale(view, view)[0].shape)
print(*(name for name in ("click", "rich", "stereosr_cli") if name in sys.modules))
"""
    assert python(code) == "60 180 3\n\n"


# --- the same as the command line ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "options", "arguments"),
    [
        (4, (), {}),
        (2, ("--max-memory", "40M"), {"max_memory": 40 << 20}),
    ],
)
def test_the_files_are_byte_for_byte_those_of_the_command_line(place, scale, options, arguments):
    files = "examples/left.png", "examples/right.png"
    done = command("upscale", *files, "-s", scale, "-o", "cli", "--json", *options, cwd=place)
    assert done.returncode == 0, done.stderr
    with stereosr.load_model(scale=scale) as model:
        left, right = model.upscale(*stereosr.read_pair(*files), **arguments)
    assert (json.loads(done.stdout)["tiles"] > 1) == bool(arguments)
    stereosr.write_pair(left, right, "left.png", "right.png")
    for name in ("left", "right"):
        assert (place / f"{name}.png").read_bytes() == (place / f"cli/{name}_x{scale}.png").read_bytes()


# --- arrays in and out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(24, 60, 3), (24, 60)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_type_and_the_channels_that_come_in_go_out(model, dtype, shape):
    results = model.upscale(*views(dtype, shape))
    for result in results:
        assert (result.dtype, result.shape) == (dtype, (48, 120, *shape[2:]))
        assert result.flags.c_contiguous
        assert result.max() > np.mean(result) > result.min() >= 0
    if dtype == np.float32:
        assert max(result.max() for result in results) <= 1


def test_all_types_give_one_picture(model):
    eight = views()
    expected = model.upscale(*eight)
    wide = model.upscale(*(v.astype(np.uint16) * 257 for v in eight))
    real = model.upscale(*(v / np.float32(255) for v in eight))
    for i in range(2):
        np.testing.assert_array_equal((wide[i].astype(np.uint32) + 128) // 257, expected[i])
        np.testing.assert_allclose(real[i] * 255, expected[i], atol=0.51)


def test_grey_is_what_three_equal_channels_give(model):
    left, right = views(shape=(24, 60))
    grey = model.upscale(left, right)
    colour = model.upscale(*(np.dstack([v, v, v]) for v in (left, right)))
    for one, three in zip(grey, colour, strict=True):
        np.testing.assert_array_equal(one, three[..., 0])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_strides_do_not_matter(model, dtype):
    left, right = views(dtype)
    expected = model.upscale(left, right)
    backwards = [np.ascontiguousarray(v[::-1, ::-1, ::-1])[::-1, ::-1, ::-1] for v in (left, right)]
    sparse = [np.repeat(np.repeat(v, 2, 0), 3, 1)[::2, ::3] for v in (left, right)]
    fortran = [np.asfortranarray(v) for v in (left, right)]
    for given in (backwards, sparse, fortran):
        assert not given[0].flags.c_contiguous
        kept = [v.copy() for v in given]
        np.testing.assert_array_equal(model.upscale(*given), expected)
        np.testing.assert_array_equal(given, kept)


def of(shape, dtype=np.uint8, value=0):
    return np.full(shape, value, dtype)


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (of((3, 24, 60)), ("uint8 of shape (3, 24, 60)", "H x W x 3", "left.transpose(1, 2, 0)")),
        (of((1, 24, 60)), ("(1, 24, 60)", "left[0]")),
        (of((1, 3, 24, 60)), ("(1, 3, 24, 60)", "a batch", "left[0]")),
        (of((24, 60, 4)), ("(24, 60, 4)", "left[..., :3]")),
        (of((24, 60, 1)), ("(24, 60, 1)", "left[..., 0]")),
        (of((24, 60, 2)), ("(24, 60, 2)", "H x W x 3")),
        (of((60,)), ("(60,)", "H x W x 3")),
        (of((0, 60, 3)), ("(0, 60, 3)", "no pixels")),
        (of((24, 60, 3), np.float64), ("float64", "float32 in [0, 1]", "convert")),
        (of((24, 60, 3), np.int16), ("int16", "uint8, uint16")),
        (of((24, 60, 3), bool), ("bool", "uint8")),
        (of((24, 60, 3), np.dtype(np.uint16).newbyteorder()), ("u2", "convert")),
        (of((24, 60, 3), np.float32, 255), ("to 255", "divide by 255")),
        (of((24, 60, 3), np.float32, 40000), ("to 40000", "divide by 65535")),
        (of((24, 60, 3), np.float32, -0.1), ("from -0.1", "clip")),
        (of((24, 60, 3), np.float32, 1.01), ("to 1.01", "clip")),
        (of((24, 60, 3), np.float32, np.nan), ("nan", "not finite")),
        (of((24, 60, 3), np.float32, np.inf), ("inf", "not finite")),
        ([[0, 1], [2, 3]], ("list", "numpy array")),
        ("left.png", ("str", "numpy array")),
    ],
)
def test_what_is_no_view_is_refused_with_what_is_wanted(model, left, told):
    for call in (model.upscale, stereosr.check_pair, lambda a, b: stereosr.write_pair(a, b, "a.png", "b.png")):
        with pytest.raises(stereosr.UsageError) as error:
            call(left, left)
        for part in told:
            assert part in str(error.value)
    with pytest.raises(stereosr.UsageError, match=r"^right is"):
        model.upscale(of((24, 60, 3)), left)


def test_views_that_are_not_alike_are_refused(model):
    with pytest.raises(stereosr.UsageError, match=r"\(24, 60, 3\).*\(24, 61, 3\).*one size"):
        model.upscale(of((24, 60, 3)), of((24, 61, 3)))
    with pytest.raises(stereosr.UsageError, match=r"uint8.*uint16.*one type"):
        model.upscale(of((24, 60, 3)), of((24, 60, 3), np.uint16))


@pytest.mark.parametrize(
    "settings",
    [
        {"tile": (0,)},
        {"tile": 64},
        {"tile": (64, -1)},
        {"tile": "64x64"},
        {"overlap": -1},
        {"max_disparity": -1},
        {"max_disparity": 1.5},
        {"max_memory": 0},
        {"max_memory": True},
    ],
)
def test_settings_that_make_no_sense_are_refused(model, settings):
    ((name, value),) = settings.items()
    with pytest.raises(stereosr.UsageError, match=rf"^{name} is {re.escape(repr(value))}"):
        model.upscale(*views(), **settings)


def test_too_little_memory_is_told():
    with stereosr.Model(FakeBackend()) as model, pytest.raises(stereosr.OutOfMemory):
        model.upscale(*views(), max_memory=1)


def test_memory_that_runs_out_beside_the_model_is_told(monkeypatch):
    def exhausted(_view):
        raise MemoryError

    monkeypatch.setattr(api, "as_float", exhausted)
    with stereosr.Model(FakeBackend()) as model, pytest.raises(stereosr.OutOfMemory, match="cut them into parts"):
        model.upscale(*views())


def test_tiles_are_those_that_were_asked_for():
    backend = FakeBackend()
    with stereosr.Model(backend) as model:
        model.upscale(*views(), tile=(12, 0), overlap=2)
        model.upscale(*views(), tile=(12, 30), overlap=2, max_disparity=4)
    assert {(12, 60), (12, 30)} == set(backend.tiles)


def test_pairs_are_aligned_unless_told_otherwise(caplog):
    caplog.set_level("INFO", "stereosr")
    left, right = (read_picture(BUNDLED / f"examples/render/hr{i}.png").pixels[:200, :300] for i in (0, 1))
    low = np.roll(right, 3, 0)
    doubled = low.repeat(2, 0).repeat(2, 1)
    with stereosr.Model(FakeBackend()) as model:
        aligned = model.upscale(left, low)[1]
        assert "the right view was moved 3.0 px up" in caplog.text
        measured = stereosr.check_pair(left, low).measured
        assert measured is not None
        again = model.upscale(left, low, rectify=measured.alignment, max_disparity=40)[1]
        np.testing.assert_array_equal(aligned, again)
        for options in ({"rectify": "off"}, {"keep_geometry": True}):
            np.testing.assert_array_equal(model.upscale(left, low, **options)[1], doubled)
        with pytest.raises(stereosr.UsageError, match="rectify is 'maybe': pass 'auto'"):
            model.upscale(left, low, rectify="maybe")
    truth = right.repeat(2, 0).repeat(2, 1).astype(int)
    missed, before = (np.abs(result - truth)[20:-20].mean() for result in (aligned, doubled))
    assert missed < before / 2


# --- a model's life --------------------------------------------------------------------------------------------------


def test_threads_share_a_model_one_at_a_time():
    """The first call in the backend waits for a second one, which must not come."""
    second = threading.Event()
    inside: list[int] = []
    overlaps: list[bool] = []

    def operator(pair):
        inside.append(1)
        if len(inside) == 2:
            second.set()
        overlaps.append(len(inside) == 1 and second.wait(0.3))
        inside.pop()
        return pair

    with stereosr.Model(FakeBackend(operator)) as model, ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda seed: model.upscale(*views(seed=seed)), range(2)))
    assert overlaps == [False, False]


def test_threads_get_what_one_alone_gets(model):
    pairs = [views(seed=seed) for seed in range(2)]
    alone = [model.upscale(*pair) for pair in pairs]
    with ThreadPoolExecutor(2) as threads:
        np.testing.assert_array_equal(list(threads.map(lambda pair: model.upscale(*pair), pairs)), alone)


class TestSize:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    @pytest.mark.parametrize("shape", [(24, 60, 3), (24, 60)])
    def test_results_are_reduced_to_what_is_asked_for(self, dtype, shape):
        pair = views(dtype, shape)
        model = stereosr.Model(FakeBackend(), 1.5)
        assert (model.scale, model.spec.scale) == (1.5, 2)
        for result in model.upscale(*pair):
            assert (result.shape, result.dtype) == ((36, 90, *shape[2:]), dtype)
        for result, view in zip(model.upscale(*pair, size=(40, 100)), pair, strict=True):
            assert result.shape == (40, 100, *shape[2:])
            assert result.min() >= 0
            assert dtype != np.float32 or result.max() <= 1
            assert abs(result.mean() / view.mean() - 1) < 0.1
        whole = stereosr.Model(FakeBackend()).upscale(*pair)
        for one, other in zip(model.upscale(*pair, size=(48, 120)), whole, strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("size", [(24, 100), (49, 120), (40, 121)])
    def test_what_the_model_does_not_give_is_an_error(self, size):
        with pytest.raises(stereosr.UsageError, match="views of 24 x 60 become larger, 48 x 120 at most"):
            stereosr.Model(FakeBackend()).upscale(*views(), size=size)
        with pytest.raises(stereosr.UsageError, match=r"pass \(rows, columns\)"):
            stereosr.Model(FakeBackend()).upscale(*views(), size=48)

    @pytest.mark.parametrize(("scale", "own"), [(1.5, 2), (3, 4), (8, 8), (2, 2), (None, 4)])
    def test_the_next_larger_model_is_loaded_or_two_in_a_row(self, scale, own):
        with stereosr.load_model(scale=scale, threads=1, backend="ort-cpu") as model:
            assert (model.scale, model.spec.scale) == (scale or own, own)

    def test_a_file_has_the_scale_that_it_has_and_no_engine_is_chosen_here(self):
        with pytest.raises(stereosr.UsageError, match=r"x2\.onnx is x2, and x3 is asked for"):
            stereosr.load_model(BUNDLED / "nafssr-t_x2.onnx", scale=3, backend="ort-cpu")
        with pytest.raises(stereosr.UsageError, match="'auto', which looks at files"):
            stereosr.load_model("auto")


def test_a_closed_model_says_so():
    backend = FakeBackend()
    model = stereosr.Model(backend)
    model.close()
    model.close()
    assert backend.closed
    with pytest.raises(stereosr.UsageError, match="fake x2 was closed"):
        model.upscale(*views())
    with pytest.raises(stereosr.UsageError, match="fake x2 was closed"):
        model.__enter__()
    assert (model.spec.scale, model.device) == (2, "fake")


def test_with_closes_a_model_when_the_work_fails_too():
    backend = FakeBackend()
    with pytest.raises(stereosr.UsageError), stereosr.Model(backend) as model:
        model.upscale(of((3, 24, 60)), of((3, 24, 60)))
    assert backend.closed


def test_a_model_is_loaded_by_path_and_as_self_ensemble(model):
    path = BUNDLED / "nafssr-t_x2.onnx"
    # No smaller than the pooling window: what is mirrored on at the right would not be there in a mirrored pair.
    left, right = (v[:45, :135] for v in stereosr.read_pair(*(ROOT / f"examples/{s}.png" for s in ("left", "right"))))
    plain = model.upscale(left, right)
    with stereosr.load_model(path, self_ensemble=True, threads=1, backend="ort-cpu") as better:
        assert better.spec.scale == 2
        assert repr(better) == "<stereosr.Model nafssr-t x2, fp32, onnxruntime CPUExecutionProvider>"
        averaged = better.upscale(left, right)
        flipped = better.upscale(right[:, ::-1], left[:, ::-1])
    assert not np.array_equal(averaged, plain)
    np.testing.assert_allclose(flipped[1][:, ::-1].astype(int), averaged[0], atol=1)


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"model": "nothing"}, stereosr.UsageError, "nothing"),
        ({"model": "nowhere/nothing.onnx"}, stereosr.UsageError, "does not exist"),
        ({"scale": 17}, stereosr.UsageError, "scale 17 is out of reach, 16 is the largest"),
        ({"scale": 0}, stereosr.UsageError, "scale is 0"),
        ({"backend": "nothing"}, stereosr.UsageError, "no backend named 'nothing'"),
        ({"backend": "nothing", "device": "cpu"}, stereosr.UsageError, "nothing"),
        ({"backend": "ort-cuda", "device": "cpu"}, stereosr.UsageError, "needs a GPU"),
        ({"backend": "ort-cuda"}, stereosr.BackendUnavailable, "ort-cuda"),
        ({"precision": "int8"}, stereosr.UsageError, "precision is 'int8'"),
        ({"device": "cuda:0"}, stereosr.UsageError, "device is 'cuda:0'"),
        ({"device": -1}, stereosr.UsageError, "device is -1"),
        ({"threads": 0}, stereosr.UsageError, "threads is 0"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_explained(arguments, error, told):
    with pytest.raises(error, match=re.escape(told)):
        stereosr.load_model(**arguments)


def test_models_are_listed_once_and_can_be_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("STEREOSR_HOME", str(tmp_path))
    shutil.copy(BUNDLED / "nafssr-t_x2.onnx", tmp_path)
    specs = stereosr.list_models()
    titles = [spec.title for spec in specs]
    assert sorted(titles) == sorted(set(titles)) == sorted(read_spec(path).title for path in BUNDLED.glob("*.onnx"))
    assert titles[0] == "nafssr-t x2"  # the one in the cache folder
    with stereosr.load_model(specs[0].name, specs[0].scale, precision=specs[0].precision) as model:
        assert model.spec == specs[0]


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("place")
def test_a_pair_is_looked_at_in_any_type_and_order_of_memory():
    left, right = stereosr.read_pair("examples/left.png", "examples/right.png")
    for convert in (lambda v: v, lambda v: v.astype(np.uint16) * 257, lambda v: v / np.float32(255)):
        report = stereosr.check_pair(convert(left), convert(right))
        assert report.good
        assert report.problems == []
    backwards = stereosr.check_pair(*(np.ascontiguousarray(v[::-1])[::-1] for v in (left, right)))
    assert backwards == stereosr.check_pair(left, right)
    (problem,) = stereosr.check_pair(left, right[:-1]).problems
    assert "160x120" in problem
    assert "160x119" in problem


@pytest.mark.parametrize("layout", ["sbs", "ou", "sbs-half", "ou-half"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_file_keeps_both_views(tmp_path, layout, dtype):
    given = views(dtype, (24, 60, 3))
    stereosr.write_pair(*given, tmp_path / "pair.png", layout=layout)
    found = stereosr.read_pair(tmp_path / "pair.png", layout=layout)
    for before, after in zip(given, found, strict=True):
        assert (after.dtype, after.shape) == (before.dtype, before.shape)
        assert after.flags.c_contiguous
        if "half" not in layout:
            np.testing.assert_array_equal(after, before)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("suffix", ["mpo", "jps"])
def test_the_suffix_of_a_stereo_file_is_layout_enough(suffix):
    given = stereosr.read_pair("examples/left.png", "examples/right.png")
    stereosr.write_pair(*given, f"pair.{suffix}", quality=100)
    for before, after in zip(given, stereosr.read_pair(f"pair.{suffix}"), strict=True):
        assert np.abs(after.astype(int) - before).mean() < 2


def test_grey_views_are_written_as_grey_and_read_as_three_channels(tmp_path):
    given = views(shape=(24, 60))
    paths = tmp_path / "a.png", tmp_path / "b.png"
    stereosr.write_pair(*given, *paths)
    assert read_picture(paths[0]).grey
    for before, after in zip(given, stereosr.read_pair(*paths), strict=True):
        np.testing.assert_array_equal(after, np.dstack([before] * 3))


def test_nothing_is_overwritten_unasked(tmp_path):
    given = views()
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    b.write_bytes(b"somebody's")
    with pytest.raises(stereosr.UsageError, match=r"b\.png exists: pass overwrite=True"):
        stereosr.write_pair(*given, a, b)
    with pytest.raises(stereosr.UsageError, match=r"b\.png exists: pass overwrite=True"):
        stereosr.write_pair(*given, b, layout="sbs")
    assert not a.exists()
    assert b.read_bytes() == b"somebody's"
    stereosr.write_pair(*given, a, b, overwrite=True)
    np.testing.assert_array_equal(stereosr.read_pair(a, b), given)


@pytest.mark.parametrize(
    ("paths", "options", "told"),
    [
        (("a.png",), {}, "layout='sbs'"),
        (("a.png", "a.png"), {}, "named for both"),
        (("a.png", "sub/../a.png"), {}, "named for both"),
        (("a.png", "b.png"), {"layout": "sbs"}, "two are given"),
        (("a.png",), {"layout": "sideways"}, "layout is 'sideways'"),
        (("a.png",), {"layout": "mpo"}, "suffix must be .mpo or .jpg"),
        (("a.png",), {"layout": "pair"}, "two files"),
        (("a.heic",), {}, "only read"),
        (("a.jpg", "b.jpg"), {"quality": 0}, "quality is 0"),
        (("a.jpg", "b.jpg"), {"quality": 101}, "quality is 101"),
    ],
)
def test_a_pair_that_cannot_be_written_so_is_explained(tmp_path, monkeypatch, paths, options, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(stereosr.UsageError, match=re.escape(told)):
        stereosr.write_pair(*views(), *paths, **options)
    assert list(tmp_path.iterdir()) == []


def test_views_that_run_backwards_are_written_as_they_look(tmp_path):
    left, right = views()
    for layout in ("sbs", "ou-half", "anaglyph"):
        files = tmp_path / f"{layout}.png", tmp_path / f"{layout}_backwards.png"
        stereosr.write_pair(left, right, files[0], layout=layout)
        stereosr.write_pair(
            *(np.ascontiguousarray(v[::-1, ::-1, ::-1])[::-1, ::-1, ::-1] for v in (left, right)),
            files[1],
            layout=layout,
        )
        assert files[0].read_bytes() == files[1].read_bytes()


def test_floats_are_not_written(tmp_path):
    with pytest.raises(stereosr.UsageError, match="float32, and files hold uint8 or uint16"):
        stereosr.write_pair(*views(np.float32), tmp_path / "a.png", tmp_path / "b.png")


@pytest.mark.usefixtures("place")
def test_a_pair_that_cannot_be_read_is_explained():
    left, right = "examples/left.png", "examples/right.png"
    stereosr.write_pair(*views(), "small_L.png", "small_R.png")
    stereosr.write_pair(*views(np.uint16), "deep_L.png", "deep_R.png")
    for paths, options, error, told in (
        (("nowhere.png", right), {}, stereosr.StereosrError, "cannot read nowhere.png"),
        ((left,), {}, stereosr.StereosrError, "does not look like two views"),
        ((left, "small_R.png"), {}, stereosr.UsageError, "one size"),
        (("small_L.png", "deep_R.png"), {}, stereosr.UsageError, "one type"),
        ((left, right), {"layout": "sbs"}, stereosr.UsageError, "two are given"),
        ((left,), {"layout": "sideways"}, stereosr.UsageError, "layout is 'sideways'"),
        ((left,), {"layout": "pair"}, stereosr.UsageError, "cannot be read as pair"),
    ):
        with pytest.raises(error, match=re.escape(told)):
            stereosr.read_pair(*paths, **options)


def test_alpha_and_metadata_are_left_out(tmp_path):
    pixels, _ = views()
    picture = Picture(pixels, alpha=pixels[..., 0])
    write_stereo(tmp_path / "a.png", picture, picture, "sbs")
    left, _ = stereosr.read_pair(tmp_path / "a.png", layout="sbs")
    np.testing.assert_array_equal(left, pixels)
