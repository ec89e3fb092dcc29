"""Which files are models: those of the wheel and the cache, whatever else lies in the cache."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import SPEC
from stereosr.errors import UsageError
from stereosr.models.library import (
    BUNDLED,
    DEFAULT_MODELS,
    available_models,
    bundled,
    default_model,
    file_name,
    find_model,
    fp32_source_of,
    photo_name,
    unreadable_models,
)

JUNK: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("<html>not found</html>"),
    "cut short": lambda path: path.write_bytes((BUNDLED / file_name("nafssr-t", 2)).read_bytes()[:1000]),
    "of somebody else": lambda path: path.write_bytes(b"\x08\x0a\x12\x07pytorch"),
    "a folder": lambda path: path.mkdir(),
    "a link that leads nowhere": lambda path: path.symlink_to(path.with_name("gone")),
    "a pipe": lambda path: os.mkfifo(path),
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STEREOSR_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.mark.parametrize("kind", JUNK)
def test_junk_in_the_cache_is_never_in_the_way(kind: str, cache: Path) -> None:
    before = available_models()
    if kind in ("a pipe", "a link that leads nowhere") and os.name == "nt":
        pytest.skip("Windows has none")
    JUNK[kind](cache / "a.onnx")
    assert available_models() == before
    assert find_model("nafssr-t", 4) == BUNDLED / file_name("nafssr-t", 4)
    reasons = unreadable_models()
    assert list(reasons) == ([cache / "a.onnx"] if (cache / "a.onnx").is_file() else [])
    assert all(str(path) in why for path, why in reasons.items())
    bundled = BUNDLED / file_name("nafssr-t", 2)
    spec = replace(SPEC, precision="fp16", fp32_sha256=hashlib.sha256(bundled.read_bytes()).hexdigest())
    assert fp32_source_of(cache / "x.engine", spec) == bundled


@pytest.mark.parametrize("scale", DEFAULT_MODELS)
def test_what_is_used_where_none_is_named_is_in_the_wheel_with_its_photo_engine(scale: int) -> None:
    name = default_model(scale)
    assert list(bundled(name, scale)) == list(bundled(photo_name(name), scale)) == [scale]
    assert default_model(None) == default_model(4)


def test_a_cache_that_is_no_folder_is_an_empty_one(cache: Path) -> None:
    cache.rmdir()
    assert not unreadable_models()
    cache.write_bytes(b"")
    assert find_model("nafssr-t", 4) == BUNDLED / file_name("nafssr-t", 4)


def test_a_path_has_a_suffix_or_a_separator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a file or folder called like a model is not in the way of the model."""
    monkeypatch.chdir(tmp_path)
    bundled = BUNDLED / file_name("nafssr-t", 4)
    Path("nafssr-t").write_bytes(b"something else")
    assert find_model("nafssr-t", 4) == bundled
    with pytest.raises(UsageError, match="nafssr-t is not an ONNX file"):
        find_model("./nafssr-t")
    Path("own.onnx").write_bytes(bundled.read_bytes())
    assert find_model("own.onnx") == Path("own.onnx")
    Path("own").write_bytes(bundled.read_bytes())
    assert find_model("./own") == Path("own")
    with pytest.raises(UsageError, match="no own x4"):
        find_model("own")


def test_a_scale_that_a_model_does_not_have_is_said_with_those_it_has() -> None:
    for scale in (0, 3):
        with pytest.raises(UsageError, match=rf"no nafssr-t x{scale}; there are x2 and x4: choose one"):
            find_model("nafssr-t", scale)
    assert find_model("nafssr-t") == BUNDLED / file_name("nafssr-t", 4)
