"""``stereosr models``: what is here."""

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON line a model on stdout.")
def command(as_json: bool) -> None:
    """List the models that are here.

    These are the engines at hand and, with stereosr[train], the zoo that they are exported from.
    """
    from stereosr.models.library import available_models
    from stereosr.models.library import engines as built_engines

    have, built = available_models(), built_engines()
    with_zoo = importlib.util.find_spec("torch") is not None
    if as_json:
        for path, spec in have.items():
            click.echo(json.dumps(json.loads(spec.to_json()) | {"file": str(path), "bytes": path.stat().st_size}))
        for path, engine in built.items():
            facts = {"problem": engine} if isinstance(engine, str) else asdict(engine.spec) | asdict(engine.identity)
            click.echo(json.dumps(facts | {"file": str(path), "bytes": path.stat().st_size}))
        for row in _zoo() if with_zoo else ():
            click.echo(json.dumps(row))
        return
    from rich.console import Console
    from rich.table import Table

    from stereosr_cli.progress import Steps

    engines = Table("engine", "scale", "precision", "parameters", "size", "PSNR", "terms", "file", box=None)
    for path, spec in have.items():
        scores = ", ".join(f"{name} {value:.2f}" for name, value in spec.scores.items())
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        parameters = f"{spec.parameters:,}"
        engines.add_row(spec.name, f"x{spec.scale}", spec.precision, parameters, size, scores, spec.license, path.name)
    console = Console()
    console.width = max(console.width, 100)
    console.print(engines)
    if built:
        table = Table("TensorRT engine", "precision", "cards", "pictures", "built by", "size", "file", box=None)
        for path, engine in built.items():
            size = f"{path.stat().st_size / 1e6:.1f} MB"
            if isinstance(engine, str):
                table.add_row("damaged: it will be built again", "", "", "", "", size, path.name)
                continue
            it = engine.identity
            cards, by = it.gpu or ", ".join(it.targets), f"{it.variant} {it.version}"
            table.add_row(engine.spec.title, engine.spec.precision, cards, str(it.profile), by, size, path.name)
        console.print()
        console.print(table)
    if not with_zoo:
        console.print('\nThe zoo is listed where torch is installed: pip install "stereosr\\[train]"')
        return
    networks = Table("network", "scale", "parameters", "GMACs", "weights", box=None)
    with Steps() as steps:
        for row in _zoo():
            steps.step(f"counting · {row['name']} x{row['scale']}")
            networks.add_row(
                row["name"], f"x{row['scale']}", f"{row['parameters']:,}", f"{row['gmacs']:,.1f}", row["weights"]
            )
    console.print("\nThe zoo; GMACs for a pair of 320 x 180, attention included\n")
    console.print(networks)
    console.print(
        "\nThe checkpoints that the authors of NAFSSR and PASSRnet publish are read by stereosr export --weights"
    )


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
