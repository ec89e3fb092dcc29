"""``stereosr models``: the engines at hand and the zoo, as JSON lines or tables."""

import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stereosr.atomic import check_writable, write_bytes
from stereosr.errors import StereosrError, install_hint
from stereosr.models import library
from stereosr.models.cache import add_model, remove_models
from stereosr.models.engine_file import EngineFile
from stereosr.models.fetch import fetch
from stereosr.models.spec import ModelSpec
from stereosr.system import cache_dir
from stereosr_cli.progress import Download, Steps


def print_json() -> None:
    """One line a model, an engine, and a network at one scale."""
    for path, spec in library.available_models().items():
        _print_line(json.loads(spec.to_json()), path)
    for path, engine in library.engines().items():
        facts = {"problem": engine} if isinstance(engine, str) else asdict(engine.spec) | asdict(engine.identity)
        _print_line(facts, path)
    for path, why in library.unreadable_models().items():
        _print_line({"problem": why}, path)
    for row in _remembered_zoo() if _zoo_is_here() else ():
        click.echo(json.dumps(row))


def print_tables() -> None:
    """A table each of the models, the TensorRT engines and the zoo."""
    console = Console()
    console.width = max(console.width, 100) if console.is_terminal else 1000
    console.print(_models_table(library.available_models()))
    if engines := library.engines():
        console.print()
        console.print(_engines_table(engines))
    for why in library.unreadable_models().values():
        console.print(f"\nleft out: {escape(why)}")
    if not _zoo_is_here():
        console.print(f"\nThe zoo is listed where torch is installed: {escape(install_hint('train'))}")
        return
    console.print("\nThe zoo; GMACs for a pair of 320 x 180, attention included\n")
    console.print(_zoo_table())
    console.print("\nstereosr export --weights reads the checkpoints that the authors of NAFSSR and PASSRnet publish")


def pull(source: str, sha256: str | None, overwrite: bool) -> None:
    """Fetch a model file and take it in; what it is and whose, is said."""
    file = cache_dir() / "downloads" / hashlib.sha256(source.encode()).hexdigest()[:16]
    check_writable(file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)
    with Download() as progress:
        fetch(source, file, sha256, progress.show)
    try:
        add(file, overwrite)
    finally:
        file.unlink()


def add(file: Path, overwrite: bool) -> None:
    """Take a model file in; what it is and whose, is said."""
    path, spec = add_model(file, overwrite)
    click.echo(
        f"{path}: {spec.title} {spec.precision}, {spec.parameters:,} parameters; trained on "
        f"{spec.trained_on or 'it does not say'}; terms: {spec.license or 'none stated'}"
    )


def remove(name: str, scale: int | None) -> None:
    """Delete models, and say which files that were."""
    for path in remove_models(name, scale):
        click.echo(f"removed {path}")


def _print_line(facts: dict[str, Any], path: Path) -> None:
    click.echo(json.dumps(facts | {"file": str(path), "bytes": path.stat().st_size}))


def _zoo_is_here() -> bool:
    return importlib.util.find_spec("torch") is not None


def _models_table(models: dict[Path, ModelSpec]) -> Table:
    table = Table("engine", "scale", "precision", "parameters", "size", "PSNR", "terms", "file", box=None)
    for path, spec in models.items():
        scores = ", ".join(f"{name} {value:.2f}" for name, value in spec.scores.items())
        parameters = f"{spec.parameters:,}"
        row = (spec.name, f"x{spec.scale}", spec.precision, parameters, _size(path), scores, spec.license, _shown(path))
        table.add_row(*row)
    return table


def _engines_table(engines: dict[Path, EngineFile | str]) -> Table:
    table = Table("TensorRT engine", "precision", "GPUs", "pictures", "built by", "size", "file", box=None)
    for path, engine in engines.items():
        if isinstance(engine, str):
            table.add_row("damaged: it will be built again", "", "", "", "", _size(path), _shown(path))
            continue
        identity = engine.identity
        gpus, by = identity.gpu or ", ".join(identity.targets), f"{identity.variant} {identity.version}"
        row = (engine.spec.title, engine.spec.precision, gpus, str(identity.profile), by, _size(path), _shown(path))
        table.add_row(*row)
    return table


def _zoo_table() -> Table:
    table = Table("network", "scale", "parameters", "GMACs", "weights", box=None)
    for row in _remembered_zoo():
        table.add_row(row["name"], f"x{row['scale']}", f"{row['parameters']:,}", f"{row['gmacs']:,.1f}", row["weights"])
    return table


def _remembered_zoo() -> list[dict[str, Any]]:
    """The rows of ``_zoo``, counted once for each state of the networks' sources."""
    package = importlib.util.find_spec("stereosr_export")
    digest = hashlib.sha256()
    for folder in package.submodule_search_locations or () if package else ():
        for path in sorted(Path(folder).rglob("*")):
            if path.suffix in (".py", ".toml"):
                digest.update(path.read_bytes())
            digest.update(path.name.encode())
    memory, key = cache_dir() / "zoo.json", digest.hexdigest()
    with suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["key"] == key:
            return list(known["rows"])
    rows = []
    with Steps() as steps:
        for row in _zoo():
            steps.step(f"counting · {row['name']} x{row['scale']}")
            rows.append(row)
    with suppress(OSError, StereosrError):  # what is not remembered is counted again
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(memory, json.dumps({"key": key, "rows": rows}).encode())
    return rows


def _shown(path: Path) -> str:
    """Its name on a terminal; a pipe gets what can be used."""
    return path.name if sys.stdout.isatty() else str(path)


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def _zoo() -> Iterator[dict[str, Any]]:
    """Every network of the zoo at every scale: name, scale, parameters, GMACs, where its weights come from, paper."""
    from stereosr_export.checkpoints import trained_scales
    from stereosr_export.cost import cost
    from stereosr_export.training.config import presets
    from stereosr_export.zoo import zoo

    for model in zoo().values():
        for scale in model.scales:
            if scale in trained_scales(model):
                weights = "this project"
            else:
                network = model.name if {model.name, f"{model.name}-x{scale}"} & set(presets()) else model.family
                option = "" if network == model.name else f" -n {model.name}"
                weights = f"stereosr train {network}-x{scale}{option}"
            found = cost(model, scale)
            yield {
                "name": model.name,
                "scale": scale,
                "parameters": found.parameters,
                "gmacs": round(found.gmacs, 1),
                "weights": weights,
                "source": model.source,
            }
