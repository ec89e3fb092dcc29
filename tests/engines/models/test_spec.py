"""What an ONNX file says about itself is checked when it is read."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import SPEC
from stereosr.errors import UsageError
from stereosr.models.library import BUNDLED, file_name
from stereosr.models.spec import _RULES, ModelSpec, read_spec

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def changed(**changes: object) -> str:
    return json.dumps(asdict(SPEC) | changes)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scale", "four"),
        ("scale", 0),
        ("scale", 4.0),
        ("scale", True),
        ("multiple_of", 0),
        ("multiple_of", -8),
        ("precision", "int8"),
        ("min_tile", [8]),
        ("min_tile", [0, 8]),
        ("min_tile", 8),
        ("max_tile", ["a", "b"]),
        ("reach", 0),
        ("reach", "full"),
        ("mean_window", [0, 0]),
        ("halo", -1),
        ("memory", [1.5, 0]),
        ("memory", None),
        ("parameters", "many"),
        ("gmacs", -1),
        ("gmacs", float("nan")),
        ("scores", {"KITTI 2015": "good"}),
        ("scores", []),
        ("name", ""),
        ("license", None),
        ("fp32_sha256", "abc"),
    ],
)
def test_a_value_that_a_field_cannot_have_is_refused_by_the_name_of_the_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field} is .*, not "):
        ModelSpec.from_json(changed(**{field: value}))


def test_fields_of_later_versions_are_passed_over_and_none_may_be_missing() -> None:
    assert ModelSpec.from_json(changed(colour="blue")) == SPEC
    lacking = json.dumps({name: value for name, value in asdict(SPEC).items() if name != "halo"})
    with pytest.raises(ValueError, match="halo"):
        ModelSpec.from_json(lacking)
    assert _RULES.keys() == asdict(SPEC).keys()


@given(st.sampled_from(sorted(_RULES)), JSON)
def test_any_value_gives_a_spec_or_a_value_error(field: str, value: object) -> None:
    try:
        spec = ModelSpec.from_json(changed(**{field: value}))
    except ValueError:
        return
    assert ModelSpec.from_json(spec.to_json()) == spec


@given(JSON)
def test_any_json_is_no_spec(value: object) -> None:
    with pytest.raises(ValueError, match="ModelSpec"):
        ModelSpec.from_json(json.dumps(value))


def test_json_that_is_too_deep_is_no_spec() -> None:
    with pytest.raises(ValueError, match="not a ModelSpec"):
        ModelSpec.from_json("[" * 100_000)


def test_the_message_for_a_file_names_file_field_and_fix(tmp_path: Path) -> None:
    data = (BUNDLED / file_name("nafssr-t", 4)).read_bytes()
    assert data.count(b'"scale": 4') == 1
    (tmp_path / "x.onnx").write_bytes(data.replace(b'"scale": 4', b'"scale":-4'))
    with pytest.raises(UsageError, match=r"x\.onnx is not .*\(scale is -4, not a whole number from 1 to 16\).*export"):
        read_spec(tmp_path / "x.onnx")
