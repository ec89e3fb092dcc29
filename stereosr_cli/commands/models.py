"""``stereosr models``: what is here; more of it, and less."""

from pathlib import Path

import click

from stereosr_cli import options

overwrite = click.option("--overwrite", is_flag=True, help="Replace a model of the same name, scale and precision.")


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON line a model on stdout.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the available models.

    These are the engines at hand and, with stereosr[train], the zoo that they are exported from.
    """
    if ctx.invoked_subcommand is None:
        from stereosr_cli.work.models import print_json, print_tables

        print_json() if as_json else print_tables()


@command.command()
@click.argument("source", metavar="URL|hf:OWNER/REPOSITORY/FILE")
@click.option("--sha256", metavar="HEX", help="Of the file: checked, and what broke off is gone on from.")
@overwrite
def pull(source: str, sha256: str | None, overwrite: bool) -> None:
    """Fetch an ONNX file of stereosr, to be used by its name.

    This is the only command that uses the network, and it fetches what is named and nothing else.
    """
    from stereosr_cli.work.models import pull

    pull(source, sha256, overwrite)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@overwrite
def add(file: Path, overwrite: bool) -> None:
    """Take a local ONNX file of stereosr in, to be used by its name.

    A checkpoint becomes such a file by 'stereosr export --weights'.
    """
    from stereosr_cli.work.models import add

    add(file, overwrite)


@command.command()
@click.argument("name")
@options.scale("all")
def remove(name: str, scale: int | None) -> None:
    """Delete a model that was pulled, added or exported."""
    from stereosr_cli.work.models import remove

    remove(name, scale)
