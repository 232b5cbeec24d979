"""The command line: the group of commands, exit codes, and how a run is interrupted."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

from simlab import __version__
from simlab.commands import files, recordings, studies
from simlab.errors import (
    EXIT_CLOSED_PIPE,
    EXIT_INTERRUPTED,
    EXIT_UNEXPECTED,
    EXIT_USAGE,
    FileErrors,
    SimlabError,
    printable,
)

_SECONDS_OF_ONE_INTERRUPTION = 1.0


class _ReaderGoneError(Exception):
    """Whoever read the output has closed it, as `head` does."""


class _Commands(click.Group):
    """A group that keeps a closed pipe from click, which would leave with exit code 1: here that means a failed gate."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the command line; this is where help is printed."""
        with _closed_pipe_told():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _closed_pipe_told():
            return super().invoke(ctx)


@contextmanager
def _closed_pipe_told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderGoneError from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Measure a guardrail before people depend on it: how soon it stops a harm, how many are hurt, how often it cries wolf.

    Exit codes: 0 all gates pass, 1 a gate failed, 2 usage or file error, 3 inconclusive or no data, 4 a rule failed,
    70 an error that simlab did not expect, 130 interrupted (run the same command again to go on), 141 the output was closed.
    """


for _command in (
    studies.run,
    studies.tune,
    studies.compare,
    recordings.replay,
    recordings.fit,
    recordings.record,
    files.validate,
    files.schema,
    files.rules,
    files.scenarios,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; the exit code says how it ended."""
    # What is imported stays, and looking through it again and again takes a tenth of a short command.
    gc.set_threshold(50_000)
    interruption = _Interruption()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interruption)
    # A job that is ended from outside can go on as after Ctrl-C.
    signal.signal(signal.SIGTERM, interruption)
    try:
        code = _exit_code()
        sys.stdout.flush()
    except (BrokenPipeError, _ReaderGoneError):
        code = EXIT_CLOSED_PIPE
        _silence(sys.stdout, sys.stderr)
    except OSError as error:
        click.echo(printable(f"error: {error}"), err=True)
        code = EXIT_USAGE
        _silence(sys.stdout)
    sys.exit(code)


def _silence(*streams: TextIO) -> None:
    """Send what is still held back for a reader nowhere, so that nothing is said about it at the end of the process."""
    for stream in streams:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Interruption:
    """Ctrl-C that may come several times over: once is enough, so that what then has to be cleared up is not cut off."""

    def __init__(self) -> None:
        self._came = -_SECONDS_OF_ONE_INTERRUPTION

    def __call__(self, *_: object) -> None:
        """Interrupt what is being done, unless that has just been done."""
        if time.monotonic() - self._came >= _SECONDS_OF_ONE_INTERRUPTION:
            self._came = time.monotonic()
            raise KeyboardInterrupt


def _exit_code() -> int:
    """Run the command line and return its exit code; of errors, say what went wrong."""
    try:
        return int(cli.main(standalone_mode=False))
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; run the same command again to go on", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except SimlabError as error:
        click.echo(error.render() if isinstance(error, FileErrors) else f"error: {printable_lines(error)}", err=True)
        return error.exit_code
    except (_ReaderGoneError, OSError):
        raise
    except MemoryError:
        click.echo("error: the memory is used up; try fewer --workers, a smaller --block or fewer lanes", err=True)
        return EXIT_UNEXPECTED
    except Exception as error:
        traceback.print_exc()
        problem = printable(f"error: simlab did not expect this; it is no verdict: {error!r}")
        click.echo(f"{problem}\nPlease report it with the lines above.", err=True)
        return EXIT_UNEXPECTED


def printable_lines(error: Exception) -> str:
    """Return an error's text, its lines kept and all else that could drive a terminal escaped."""
    return "\n".join(printable(line) for line in str(error).splitlines())
