"""The ``stereosr`` command: a group whose commands are the files of ``commands/``, and the exit codes."""

import importlib
import pkgutil
import sys
from pathlib import Path

import click

from stereosr_engines.errors import StereosrError

INTERRUPTED = 130


class CommandFolder(click.Group):
    """Commands are found in ``commands/``; each is imported when it is asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).with_name("commands"))]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"stereosr_cli.commands.{cmd_name}").command
        return command


@click.group(cls=CommandFolder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="stereosr")
def cli() -> None:
    """Stereo super-resolution: both views larger and sharper, each helped by the other."""


def main() -> None:
    """Run the command line; the one place where an error becomes a message and an exit code."""
    try:
        code = cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except StereosrError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away: nothing is wrong
        sys.stderr.close()
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
