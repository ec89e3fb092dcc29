"""``stereosr models``: what is here."""

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON line a model on stdout.")
def command(as_json: bool) -> None:
    """List the available models.

    These are the engines at hand and, with stereosr[train], the zoo that they are exported from.
    """
    from stereosr_cli.work.models import print_json, print_tables

    print_json() if as_json else print_tables()
