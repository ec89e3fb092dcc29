"""The ``stereosr`` command: a group whose commands are the files of ``commands/``, and the exit codes."""

import importlib
import logging
import os
import pkgutil
import sys
import traceback
import warnings
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
@click.option("-v", "--verbose", is_flag=True, help="Print the traceback of an internal error, and what is debugged.")
def cli(verbose: bool) -> None:
    """Stereo super-resolution: both views larger and sharper, each helped by the other."""
    _LOG.setLevel(logging.DEBUG if verbose else logging.INFO)


class _ToStderr(logging.Handler):
    """What the runtime logs, a line each, as everything else that is meant for people."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        click.echo(prefix + self.format(record), err=True)


_LOG = logging.getLogger("stereosr")


def log_to_stderr(quiet: bool) -> None:
    """Show what the runtime logs; nothing below an error where the user asked for quiet."""
    for handler in _LOG.handlers:
        handler.setLevel(logging.ERROR if quiet else logging.DEBUG)


def main() -> None:
    """Run the CLI; standard streams closed by the parent are replaced by the null device."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
        code = exit_code()
    sys.exit(code)


def exit_code() -> int:
    """The one place where an error becomes a message and an exit code."""
    _LOG.handlers = [_ToStderr()]
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd tags in files: nothing that a user can act on
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
    except Exception as error:
        verbose = _LOG.isEnabledFor(logging.DEBUG)
        hint = "" if verbose else "; run 'stereosr -v ...' for the traceback"
        if verbose:
            traceback.print_exc()
        click.echo(f"internal error: {type(error).__name__}: {error}{hint}", err=True)
        return StereosrError.exit_code
