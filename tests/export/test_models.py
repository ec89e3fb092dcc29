"""``stereosr models``, and what it says of costs."""

import importlib.util
import json

import pytest
from click.testing import CliRunner

from stereosr_cli.commands.models import command
from stereosr_export.cost import cost
from stereosr_export.zoo import find


def test_the_cost_of_nafssr_is_the_published_count_and_what_inference_adds():
    """38.1 GMACs of convolutions, an attention of four products, TLSC's channel attention and the taps of its means."""
    found = cost(find("nafssr-t"), 4)
    assert found.parameters == 460_656
    attention = 16 * 4 * 180 * 320 * 320 * 48
    rows, columns = 180 - 44, 320 - 134  # of the windows' centres
    tlsc = 2 * 16 * 48 * rows * (320 * 5 + columns * 9 + columns * 48)
    assert found.gmacs == pytest.approx(38.1 + (attention + tlsc) / 1e9, abs=0.1)


def test_the_cost_of_passrnet_is_the_published_count_less_what_its_linear_end_needs_no_more():
    widening = 64 * 64 * 4**2 * 180 * 320 / 1e9
    assert cost(find("passrnet"), 4).gmacs == pytest.approx(2 * (146.7 - widening), abs=0.3)


@pytest.fixture
def small_zoo(monkeypatch):
    models = {name: find(name) for name in ("nafssr-t", "passrnet-no-atrous", "srcnn")}
    monkeypatch.setattr("stereosr_export.zoo.zoo", lambda: models)
    # By way of the module that uses them: it is imported before they are replaced, or would keep the replacements.
    monkeypatch.setattr("stereosr_cli.work.models.library.available_models", dict)
    monkeypatch.setattr("stereosr_cli.work.models.library.engines", dict)


@pytest.mark.usefixtures("small_zoo")
def test_every_network_is_listed_with_its_cost_and_where_weights_come_from(monkeypatch, tmp_path):
    monkeypatch.setattr("stereosr_export.checkpoints.OWN_WEIGHTS", tmp_path)
    (tmp_path / "srcnn_x4.safetensors").touch()
    done = CliRunner().invoke(command, ["--json"])
    rows = {(row["name"], row["scale"]): row for row in map(json.loads, done.stdout.splitlines())}
    assert len(rows) == 6
    assert rows["srcnn", 4]["weights"] == "this project"
    assert rows["srcnn", 2]["weights"] == "stereosr train srcnn-x2"
    assert rows["passrnet-no-atrous", 2]["weights"] == "stereosr train passrnet-x2 -n passrnet-no-atrous"
    assert rows["srcnn", 4]["gmacs"] == pytest.approx(4 * rows["srcnn", 2]["gmacs"], abs=0.2)
    assert rows["nafssr-t", 4]["parameters"] == 460_656
    table = CliRunner().invoke(command, [], env={"COLUMNS": "150"}).stdout
    assert all(f"{row['parameters']:,}" in table and row["weights"] in table for row in rows.values())


@pytest.mark.usefixtures("small_zoo")
def test_without_torch_the_engines_are_listed_and_a_hint(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert 'pip install "stereosr[train]"' in CliRunner().invoke(command, []).stdout
    assert CliRunner().invoke(command, ["--json"]).stdout == ""
