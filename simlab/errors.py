"""Typed errors that say what is wrong, where, and how to mend it.

Every error that a person can cause by a file, a flag or a recording is a `SimlabError`; the command line turns
its ``exit_code`` into the process's. A `FileErrors` carries every mistake of a file at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

EXIT_PASSED = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_RULE_FAILED = 4
EXIT_UNEXPECTED = 70
EXIT_INTERRUPTED = 130
EXIT_CLOSED_PIPE = 141

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: object) -> str:
    """Return `text` with control and direction characters escaped, so that a name cannot drive a terminal."""
    return _UNPRINTABLE.sub(lambda match: f"\\x{ord(match.group()):02x}", str(text))


class SimlabError(Exception):
    """Base of all errors that simlab raises on purpose."""

    exit_code = EXIT_USAGE


class UnitError(SimlabError, ValueError):
    """A quantity that cannot be read, such as ``5 bananas`` where a duration is meant."""

    code = "unit"


class BadNameError(UnitError):
    """A name that could drive a terminal, a path or a page."""

    code = "name"


class RuleError(SimlabError):
    """A rule or a plugin failed while it was being stepped."""

    exit_code = EXIT_RULE_FAILED


class OwnRuleError(SimlabError):
    """Code of which no rule can be made, or a rule that another process could not be given."""


class MonitorError(SimlabError):
    """A live look, or a saved state, that a monitor cannot take."""


class WorkerDiedError(SimlabError):
    """A process that ran blocks was ended from outside; what was finished is kept, and the run can go on."""

    exit_code = EXIT_INTERRUPTED


class OutputError(SimlabError):
    """Results could not be written: the folder is not writable, or the disk is full."""


class RecordingError(SimlabError):
    """A recording whose data cannot be trusted as they stand."""


@dataclass(frozen=True)
class Mistake:
    """One mistake in a file.

    Attributes
    ----------
    code : str
        Short stable name, for example ``unknown-key``.
    path : str
        Where in the document, for example ``harms[0].metric``; empty for the whole file.
    problem : str
        What is wrong, with the offending value.
    line, column : int
        Position, counted from 1; 0 where the file has no lines to point at.
    source : str
        The line itself.
    hint : str
        How to mend it; may be empty.
    """

    code: str
    path: str
    problem: str
    line: int = 0
    column: int = 0
    source: str = ""
    hint: str = ""

    def render(self, file: str) -> str:
        """Return ``file:line:col: error[code]: path: problem``, the line, a caret and the hint."""
        place = f"{file}:{self.line}:{self.column}" if self.line else file
        subject = f"{self.path}: " if self.path else ""
        lines = [printable(f"{place}: error[{self.code}]: {subject}{self.problem}")]
        if self.source:
            lines.append("  " + printable(self.source))
            lines.append("  " + " " * (self.column - 1) + "^")
        if self.hint:
            lines.append(printable(f"  hint: {self.hint}"))
        return "\n".join(lines)


class FileErrors(SimlabError):
    """All the mistakes of one or more files.

    Attributes
    ----------
    found : tuple of (str, Mistake)
        File name as the user wrote it, and the mistake.
    """

    def __init__(self, found: Iterable[tuple[str, Mistake]]) -> None:
        self.found = tuple(found)
        super().__init__(self.render())

    def render(self) -> str:
        """Return every mistake, in file and line order, one block each."""
        ordered = sorted(self.found, key=lambda item: (item[0], item[1].line, item[1].column))
        return "\n".join(mistake.render(file) for file, mistake in ordered)
