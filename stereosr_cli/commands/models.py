"""``stereosr models``: what is here."""

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON line a model on stdout.")
def command(as_json: bool) -> None:
    """List the engines at hand: name, scale, precision, size, PSNR, terms, where from."""
    from stereosr_engines.library import installed

    have = installed()
    if as_json:
        for path, spec in have.items():
            click.echo(json.dumps(json.loads(spec.to_json()) | {"file": str(path), "bytes": path.stat().st_size}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "scale", "precision", "parameters", "size", "PSNR", "terms", "file", box=None)
    for path, spec in have.items():
        scores = ", ".join(f"{name} {value:.2f}" for name, value in spec.scores.items())
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        parameters = f"{spec.parameters:,}"
        table.add_row(spec.name, f"x{spec.scale}", spec.precision, parameters, size, scores, spec.license, path.name)
    Console().print(table)
