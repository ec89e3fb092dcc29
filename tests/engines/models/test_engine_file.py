"""The engine file: read back as written, one flipped byte is found, what does not fit is said."""

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import SPEC
from stereosr.errors import UsageError
from stereosr.models.engine_file import MAGIC, EngineFile, Identity, Profile, cached_engine, read_engine

ANY_SIZE = Profile((45, 135), (270, 480), (540, 960))
IDENTITY = Identity(
    onnx="a" * 64,
    profile=ANY_SIZE,
    variant="tensorrt_rtx",
    version="1.7",
    targets=("sm86", "sm89"),
    gpu="",
    workspace=4096,
)
ENGINE = EngineFile(IDENTITY, replace(SPEC, precision="fp16"), layers=7, half_layers=5, plan=bytes(range(256)) * 3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "x.engine"
    ENGINE.write(path)
    return path


def test_what_is_read_is_what_was_written_and_people_can_read_it_too(file: Path) -> None:
    assert read_engine(file) == ENGINE
    magic, checksum, header = file.read_bytes().splitlines()[:3]
    assert magic == b"stereosr engine 1"
    assert len(checksum) == 64
    for part in (b'"sm89"', b'"tensorrt_rtx"', b'"fp16"', b"a" * 64):
        assert part in header
    assert [p.name for p in file.parent.iterdir()] == ["x.engine"]


def test_one_flipped_byte_anywhere_is_found(file: Path) -> None:
    data = file.read_bytes()
    for position in (*range(0, len(data), 7), len(data) - 1):
        file.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(UsageError, match=r"x\.engine is (no engine file|damaged).*stereosr build"):
            read_engine(file)


def test_a_part_of_a_file_and_other_files_are_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UsageError, match="is damaged"):
        read_engine(file)
    file.write_bytes(b"ftrt plan of somebody")
    with pytest.raises(UsageError, match="is no engine file of stereosr"):
        read_engine(file)
    with pytest.raises(UsageError, match="cannot read"):
        read_engine(file.parent)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"targets": ("sm89",)}, None),
        ({"onnx": "b" * 64}, "built from another ONNX file"),
        ({"profile": Profile((64, 256), (64, 256), (64, 256))}, "takes pictures of 45x135 to 540x960, not 64x256"),
        ({"variant": "tensorrt"}, "built by tensorrt_rtx 1.7, here is tensorrt 1.7"),
        ({"version": "1.8"}, "built by tensorrt_rtx 1.7, here is tensorrt_rtx 1.8"),
        ({"targets": ("sm120",)}, "built for sm86, sm89, the GPU here is sm120"),
        ({"workspace": 0}, "built with a workspace of 4096 MiB, not any size"),
        ({"workspace": 512}, "built with a workspace of 4096 MiB, not 512 MiB"),
    ],
)
def test_an_engine_that_is_not_the_one_wanted_says_why(changes: dict[str, object], reason: str | None) -> None:
    wanted = replace(IDENTITY, targets=("sm86",))
    found = IDENTITY.why_stale(replace(wanted, **changes))  # type: ignore[arg-type]
    assert found == reason if reason is None else reason in (found or "")


def test_an_engine_tuned_on_one_gpu_does_not_run_on_another() -> None:
    tuned = replace(IDENTITY, variant="tensorrt", targets=("sm90",), gpu="NVIDIA H200")
    assert tuned.incompatibility("tensorrt", "1.7", "sm90", "NVIDIA H200") is None
    assert "built on NVIDIA H200" in (tuned.incompatibility("tensorrt", "1.7", "sm90", "NVIDIA H100") or "")


def test_files_of_other_networks_sizes_and_gpus_have_other_names() -> None:
    assert IDENTITY.file_name(Path("somewhere/mine_fp16.onnx")) == "mine_fp16_aaaaaaaa_sm86_sm89.engine"
    fixed = replace(IDENTITY, targets=("sm89",), profile=Profile((64, 256), (64, 256), (64, 256)))
    assert fixed.file_name(Path("mine.onnx")) == "mine_aaaaaaaa_sm89_64x256.engine"


def with_header(file: Path, change: Callable[[dict[str, Any]], object] | bytes) -> None:
    """Change the header, or put other bytes in its place; the checksum is right again."""
    _, _, header, plan = file.read_bytes().split(b"\n", 3)
    if not isinstance(change, bytes):
        values = json.loads(header)
        change(values)
        change = json.dumps(values).encode()
    body = change + b"\n" + plan
    file.write_bytes(MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


@pytest.mark.parametrize("header", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"identity": 1}'])
def test_a_header_that_is_none_is_refused(file: Path, header: bytes) -> None:
    with_header(file, header)
    with pytest.raises(UsageError, match=r"x\.engine was made by another version of stereosr .*stereosr build"):
        read_engine(file)


PLACES = [
    ("identity",),
    ("spec",),
    ("layers",),
    ("half_layers",),
    *(("identity", name) for name in ("onnx", "profile", "variant", "version", "targets", "gpu", "workspace")),
    *(("identity", "profile", name) for name in ("min", "opt", "max")),
    ("spec", "scale"),
    ("spec", "name"),
]
"""Paths to what a header must have."""


@pytest.mark.parametrize("place", PLACES, ids="/".join)
def test_a_header_that_lost_a_field_is_refused_and_the_cached_engine_is_built_again(
    file: Path, place: tuple[str, ...]
) -> None:
    def lose(values: dict[str, Any]) -> None:
        for name in place[:-1]:
            values = values[name]
        del values[place[-1]]

    with_header(file, lose)
    with pytest.raises(UsageError, match="made by another version"):
        read_engine(file)
    assert "made by another version" in str(cached_engine(file, IDENTITY))


def test_a_header_that_gained_a_field_is_of_another_version_where_that_decides(file: Path) -> None:
    with_header(file, lambda values: values["identity"].update(colour="blue"))
    with pytest.raises(UsageError, match=r"made by another version.*colour"):
        read_engine(file)
    ENGINE.write(file)
    with_header(file, lambda values: values["spec"].update(colour="blue"))  # as in a model file
    assert read_engine(file) == ENGINE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_SAME_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@_SAME_FILE
@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_value_in_a_header_gives_an_engine_or_a_refusal(file: Path, place: tuple[str, ...], value: object) -> None:
    ENGINE.write(file)

    def put(values: dict[str, Any]) -> None:
        for name in place[:-1]:
            values = values[name]
        values[place[-1]] = copy.deepcopy(value)

    with_header(file, put)
    found = cached_engine(file, IDENTITY)
    assert found if isinstance(found, str) else found.identity == IDENTITY


@_SAME_FILE
@given(data=st.binary(max_size=300) | st.binary(max_size=300).map(MAGIC.__add__))
def test_any_bytes_are_refused(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(UsageError, match=r"stereosr build"):
        read_engine(file)


@_SAME_FILE
@given(header=st.binary(max_size=100))
def test_any_header_is_refused_though_its_checksum_is_right(file: Path, header: bytes) -> None:
    ENGINE.write(file)
    with_header(file, header)
    with pytest.raises(UsageError, match="made by another version"):
        read_engine(file)
