"""The ``stereosr`` command: a group whose commands are the files of ``commands/``, and the exit codes."""

import importlib
import os
import pkgutil
import sys
from pathlib import Path

import click

from stereosr.errors import StereosrError

INTERRUPTED = 130


class CommandFolder(click.Group):
    """Commands are found in ``commands/``, ``upscale`` is listed first; each is imported when it is asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        names = (m.name for m in pkgutil.iter_modules([str(Path(__file__).with_name("commands"))]))
        return sorted(names, key=lambda name: (name != "upscale", name))

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
    """Run the command line; streams that were closed before we began lead nowhere."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
        code = _exit_code()
    sys.exit(code)


def _exit_code() -> int:
    """The one place where an error becomes a message and an exit code."""
    try:
        code = cli(prog_name="stereosr", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except StereosrError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away: nothing is wrong
        sys.stderr.close()
        return 0
    except OSError as error:  # of a file that was named: a folder that may not be entered, a name too long
        click.echo(f"error: {error.strerror or error}" + (f": {error.filename}" if error.filename else ""), err=True)
        return StereosrError.exit_code
