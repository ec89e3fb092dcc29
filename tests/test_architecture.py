"""The shape of the project, held by tests: who imports whom, what the wheel holds, what the README says."""

import ast
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from distributions import build
from shared_data import ROOT
from stereosr_cli.main import cli

SOURCES = {
    "stereosr_cli": ROOT / "stereosr_cli",
    "stereosr": ROOT / "engines/stereosr",
    "stereosr_export": ROOT / "export/stereosr_export",
}
MAY_IMPORT = {
    "stereosr": {"stereosr"},
    "stereosr_export": {"stereosr_export", "stereosr"},
    "stereosr_cli": {"stereosr_cli", "stereosr"},
}
HEAVY = {
    "torch",
    "onnx",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt_rtx",
    "pycuda",
    "cuda",
    "matplotlib",
    "av",
    "pillow_heif",
    "ray",
    "stereosr_export",
}


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield (node.module or "").split(".")[0]


def without_type_checking(tree: ast.Module) -> ast.Module:
    body = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    return ast.Module(body, [])


def at_import_time(tree: ast.Module) -> set[str]:
    """What a module imports when it is imported: not what its functions import when they run."""
    body = [n for n in without_type_checking(tree).body if not isinstance(n, ast.FunctionDef | ast.ClassDef)]
    return set(imports(ast.Module(body, [])))


MODULES = [(name, path) for name, root in SOURCES.items() for path in sorted(root.rglob("*.py"))]
IDS = [str(path.relative_to(ROOT)) for _, path in MODULES]


@pytest.mark.parametrize(("package", "path"), MODULES, ids=IDS)
def test_imports_go_one_way(package: str, path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ours = {name for name in imports(without_type_checking(tree)) if name.startswith("stereosr")}
    if package == "stereosr_cli":  # export and train are reached from inside a command's body alone
        ours -= {"stereosr_export"}
        assert "stereosr_export" not in at_import_time(tree)
    if path.name == "__main__.py":  # a program, which nothing imports
        ours -= {"stereosr_cli"}
    assert ours <= MAY_IMPORT[package]


FLOORS = (
    {"errors", "types", "atomic", "system"},
    {"models", "io"},
    {"geometry", "backends"},
    {"inference"},
    {"batch", "evaluation"},
    {"api"},
    {"__init__", "__main__"},
)
"""The rooms of the runtime, from the ground up: a room imports from lower floors only, and from itself."""


def room(module: str) -> str:
    """``stereosr.io.images`` -> ``io``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_every_room_of_the_runtime_imports_from_lower_floors_only() -> None:
    floor_of = {name: i for i, names in enumerate(FLOORS) for name in names}
    upward = []
    for path in sorted(SOURCES["stereosr"].rglob("*.py")):
        here = path.relative_to(SOURCES["stereosr"]).parts[0].removesuffix(".py")
        tree = without_type_checking(ast.parse(path.read_text(encoding="utf-8")))
        modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
        for there in {room(m) for m in modules if m.split(".")[0] == "stereosr"} - {here}:
            ground = floor_of[here] == floor_of[there] == 0  # these four are small enough to know each other
            if not (floor_of[there] < floor_of[here] or ground):
                upward.append(f"{path.name} ({here}) imports {there}")
    assert not upward


@pytest.mark.parametrize(("package", "path"), MODULES, ids=IDS)
def test_the_runtime_imports_no_heavy_library_when_imported(package: str, path: Path) -> None:
    if package != "stereosr_export":
        assert not at_import_time(ast.parse(path.read_text(encoding="utf-8"))) & HEAVY


def test_every_module_of_the_runtime_imports_with_nothing_optional_installed() -> None:
    names = [
        ".".join(p.relative_to(SOURCES[package].parent).with_suffix("").parts).removesuffix(".__init__")
        for package, p in MODULES
        if package != "stereosr_export" and p.name != "__main__.py"
    ]
    block = f"for n in {sorted(HEAVY)}: sys.modules[n] = None\n"
    code = f"import sys, importlib\n{block}for n in {names}: importlib.import_module(n)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, timeout=120)


def test_the_runtime_names_no_flags() -> None:
    """Its callers may have none; whole commands, of this or another program, may be named."""
    for package, path in MODULES:
        if package == "stereosr":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            documented = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in documented:
                    text = ast.unparse(node)
                    commands = re.search(r"\b(stereosr|ffmpeg|tiffcp|spatial) |^.--?\w|pip install", text)
                    assert commands or not re.search(r"[\s(]--?[a-z]", text), f"{path}:{node.lineno}: {text}"


def test_the_settings_that_errors_name_are_options() -> None:
    context = click.Context(cli)
    commands = [cli.get_command(context, name) for name in cli.list_commands(context)]
    flags = {option for command in commands if command for parameter in command.params for option in parameter.opts}
    for _, path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "settings" and isinstance(node.value, ast.Tuple):
                for name in ast.literal_eval(node.value):
                    assert f"--{name.replace('_', '-')}" in flags, f"{path}:{node.lineno}: {name}"


def test_nothing_is_printed_outside_the_command_line() -> None:
    for package, path in MODULES:
        if package != "stereosr_cli":
            calls = (n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call))
            assert not any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls), path


def test_the_wheel_holds_the_packages_the_engines_and_nothing_else(tmp_path: Path) -> None:
    """Under 12 MB, without weights to train from; built twice, the same bytes."""
    wheel = build("wheel", tmp_path)
    assert wheel.stat().st_size < 12 * 10**6
    assert build("wheel", tmp_path / "again").read_bytes() == wheel.read_bytes()
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.endswith(".safetensors")]
    assert {n.split("/")[0] for n in names if ".dist-info/" not in n} == set(SOURCES)
    for scale in (2, 4):
        assert f"stereosr/models/bundled/nafssr-t_x{scale}.onnx" in names
    assert {"stereosr_cli/report/page.html", "stereosr_cli/report/published.csv"} <= set(names)
    assert "stereosr/models/bundled/examples/render/hr0.png" in names
    assert any(n.endswith("licenses/NOTICE") for n in names)
    assert {f"{package}/py.typed" for package in SOURCES} <= set(names)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    archive = build("sdist", folder)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def test_the_sdist_holds_all_that_is_in_the_repository(sdist: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    if listed.returncode:
        pytest.skip("not a git checkout")
    there = [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]
    assert [name for name in there if not (sdist / name).exists()] == []


@pytest.mark.slow
@pytest.mark.timeout(660)
def test_the_sdist_passes_its_own_tests(sdist: Path, tmp_path: Path) -> None:
    """Those that look at the project's files, and one room's."""
    sources = os.pathsep.join(str(sdist / path.relative_to(ROOT).parent) for path in SOURCES.values())
    tests = ["tests/test_architecture.py", "tests/test_benchmarks.py", "tests/engines/models"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}", *tests]
    environment = os.environ | {"PYTHONPATH": sources}
    done = subprocess.run(command, cwd=sdist, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout


def test_extras_named_in_the_documentation_and_in_errors_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    have = set(project["optional-dependencies"])
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(p for _, p in MODULES)]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for extras in re.findall(r"""(?:(?:stereosr|"\.)\[|install_hint\(["'])([a-z,]+)[]"']""", text):
            assert set(extras.split(",")) <= have, extras


def test_no_path_of_a_machine_and_no_large_file_is_in_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.exists():
            assert path.stat().st_size < 10 * 2**20, name
            if path.suffix in {".py", ".md", ".toml", ".txt", ".yml", ".json", ".jsonl", ".csv"}:
                assert not re.search(r"/(?:root|home/\w+|work)/", path.read_text(encoding="utf-8")), name


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_two_commands_that_set_everything_up_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)$", readme(), re.MULTILINE)
    assert targets == ["demo", "check"]
    assert all(re.search(rf"^{t}:", makefile, re.MULTILINE) for t in targets)
    run = Path(ROOT / ".ci/run").read_text(encoding="utf-8")
    assert re.findall(r"\bmake (\w+)$", run, re.MULTILINE) == ["check", "slow"]


def test_no_test_waits_without_a_bound() -> None:
    """A hang in CI has no name and no end."""
    programs, waits = {"run", "check_call", "check_output"}, {"communicate", "wait", "join", "result"}
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                starts = node.func.attr in programs and ast.unparse(node.func.value) == "subprocess"
                bounded = {"timeout"} & {keyword.arg for keyword in node.keywords}
                assert bounded or not starts, f"{path}:{node.lineno}: pass timeout="
                assert bounded or node.args or node.func.attr not in waits, f"{path}:{node.lineno}: pass a timeout"


def test_what_is_deprecated_goes_when_it_is_due() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    now = tuple(map(int, tomllib.loads(text)["project"]["version"].split(".")))
    for _, path in MODULES:
        for due in re.findall(r"# gone in (\d+(?:\.\d+)*)", path.read_text(encoding="utf-8")):
            assert tuple(map(int, due.split("."))) > now, f"{path} still has what was to go in {due}"


@pytest.mark.parametrize("program", ["stereosr", "stereosr_cli"])
def test_packages_are_programs(program: str) -> None:
    command = [sys.executable, "-m", program, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith("stereosr, version ")
