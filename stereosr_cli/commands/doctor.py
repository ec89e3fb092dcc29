"""``stereosr doctor``: what runs on this machine, and what to install for more."""

import click


@click.command()
def command() -> None:
    """Print what runs on this machine, and how to install the rest."""
    from stereosr_cli.work.doctor import report

    report()
