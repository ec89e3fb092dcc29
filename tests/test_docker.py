"""The Dockerfile, without Docker: what it copies builds the wheel, and its commands are ones of this version."""

import json
import re
import shutil
import tomllib
import zipfile
from pathlib import Path

import click

from distributions import build
from shared_data import ROOT
from stereosr_cli.main import cli

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")


def instructions(name: str) -> list[str]:
    return re.findall(rf"^\s*{name} (.*)$", TEXT, re.MULTILINE)


def test_the_extras_that_it_installs_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (installed,) = re.findall(r'"\.\[(.*?)\]"', TEXT)
    (default,) = re.findall(r"^ARG RUNTIME=(\w+)$", TEXT, re.MULTILINE)
    documented = re.findall(r"RUNTIME=(\w+)", TEXT + (ROOT / "docs/service.md").read_text(encoding="utf-8"))
    assert {default, "gpu"} <= set(documented)
    for runtime in documented:
        extras = installed.replace("${RUNTIME}", runtime).split(",")
        assert set(extras) <= set(project["optional-dependencies"])


def test_it_serves_by_default_and_not_as_root() -> None:
    (user,) = instructions("USER")
    assert int(user) > 0
    (program,), (arguments,) = (map(json.loads, instructions(name)) for name in ("ENTRYPOINT", "^CMD"))
    assert program == ["stereosr"]
    command = cli.get_command(click.Context(cli), arguments[0])
    assert command is not None
    context = command.make_context("serve", arguments[1:])
    assert context.params["host"] == "0.0.0.0"  # within the container
    assert instructions("EXPOSE") == [str(context.params["port"])]
    assert f"http://127.0.0.1:{context.params['port']}/healthz" in TEXT


def test_what_reaches_docker_is_all_that_the_wheel_needs(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line.startswith("!"):
            source, target = ROOT / line[1:], context / line[1:]
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, target)
    expected, found = build("wheel", tmp_path / "here"), build("wheel", tmp_path / "there", context)
    assert zipfile.ZipFile(found).namelist() == zipfile.ZipFile(expected).namelist()
    assert (context / "constraints.txt").exists()
