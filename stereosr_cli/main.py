"""The ``stereosr`` command: a group whose commands are the files of ``commands/``, and the exit codes."""

import errno
import importlib
import io
import logging
import os
import pkgutil
import sys
import traceback
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from stereosr.errors import StereosrError
from stereosr_cli import options
from stereosr_cli.flags import with_flags

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

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
@options.verbose
def cli() -> None:
    """Super-resolve stereo pairs: both views larger and sharper, each using detail from the other.

    An option can be set by an environment variable, as STEREOSR_UPSCALE_SCALE=2 for upscale's --scale. For completion
    in bash: eval "$(_STEREOSR_COMPLETE=bash_source stereosr)"; in zsh: zsh_source; in fish: fish_source.
    """


class _LogToStderr(logging.Handler):
    """Shows what the runtime logs, one line a message, in the style of the command's own messages."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        click.echo(prefix + self.format(record), err=True)


class _Pipe(io.FileIO):
    """A pipe whose reader may go away (``| head -1``): what is written after that is lost, and the work goes on."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EINVAL):  # the second is Windows' word for it
                raise
            return memoryview(data).nbytes


def _survive_closing(stream: TextIO | None, stack: ExitStack) -> TextIO:
    """A standard stream that may be closed by its reader, or was closed by our parent before we began; what its
    encoding does not have, as in a file's name, comes out as an escape."""
    if stream is None:
        return stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
    if stream.isatty():
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        return stream
    buffer = io.BufferedWriter(_Pipe(stream.fileno(), "w", closefd=False))
    stack.enter_context(suppress(OSError))  # of closing: what a full disk refused was an error when it was written
    return stack.enter_context(io.TextIOWrapper(buffer, stream.encoding, "backslashreplace", line_buffering=True))


def main() -> None:
    """Run the command line, whatever happens to the standard streams."""
    with ExitStack() as stack:
        sys.stdout, sys.stderr = (_survive_closing(stream, stack) for stream in (sys.stdout, sys.stderr))
        code = exit_code()
    sys.exit(code)


def exit_code() -> int:
    """The one place where an error becomes a message and an exit code."""
    log = logging.getLogger("stereosr")
    log.handlers = [_LogToStderr()]
    log.setLevel(logging.INFO)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd tags in files: nothing that a user can act on
    try:
        code = cli(prog_name="stereosr", standalone_mode=False, auto_envvar_prefix="STEREOSR")
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except StereosrError as error:
        click.echo(f"error: {with_flags(error)}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except OSError as error:  # of a file that was named: a folder that may not be entered, a name too long
        click.echo(f"error: {error.strerror or error}" + (f": {error.filename}" if error.filename else ""), err=True)
        return StereosrError.exit_code
    except Exception as error:
        verbose = log.isEnabledFor(logging.DEBUG)
        hint = "" if verbose else "; run 'stereosr -v ...' for the traceback"
        if verbose:
            click.echo(traceback.format_exc(), err=True, nl=False)
        click.echo(f"internal error: {type(error).__name__}: {error}{hint}", err=True)
        return StereosrError.exit_code
