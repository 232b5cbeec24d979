"""One YAML 1.2 file as plain data that knows where each of its values stands; it knows no schema."""

from __future__ import annotations

import codecs
import difflib
import pathlib
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from simlab.errors import FileErrors, Mistake, printable
from simlab.yaml_nodes import DataPath, Fault, Mark, clipped, mark_after, split_lines
from simlab.yaml_text import Position, read_yaml, render_path

__all__ = ["DataPath", "Document", "Mark", "Position", "did_you_mean", "read_document"]

MAX_BYTES = 1 << 20
"""The size of the largest file that is read, 1 MiB."""

_SHOWN = 500


class Assignment(NamedTuple):
    """A value given on the command line: by which option, and ``path=value``."""

    option: str
    text: str


@dataclass(frozen=True)
class Document:
    """A file's data.

    Attributes
    ----------
    file : str
        The file as the user wrote it.
    path : pathlib.Path
        The file, resolved.
    data : dict
        Plain dict, list, str, int, float, bool and None.
    content : bytes
        The file as it was read.
    lines : tuple of str
        Its lines without their ends.
    positions : mapping of path to Position
        Where each value and its key stand; the path of the whole is ``()``.
    overrides : mapping of path to Assignment
        What has been given on the command line instead, by the path that each has set.
    """

    file: str
    path: pathlib.Path
    data: dict[str, object]
    content: bytes = b""
    lines: tuple[str, ...] = ()
    positions: Mapping[DataPath, Position] = field(default_factory=dict)
    overrides: Mapping[DataPath, Assignment] = field(default_factory=dict)

    def mistake(self, path: DataPath, code: str, problem: str, hint: str = "", *, at_key: bool = False) -> Mistake:
        """Return a mistake at a path, or at the nearest place above it that the file has.

        A value that was given on the command line has no line; its assignment is shown instead.

        Parameters
        ----------
        path : tuple of str and int
            Where in the data.
        code, problem, hint : str
            As in `Mistake`.
        at_key : bool
            Point at the key and not at its value.
        """
        fault = Fault(Mark(0, 0), code, problem, hint, path)
        for length in range(len(path), -1, -1):
            above = path[:length]
            if above in self.overrides:
                assignment = self.overrides[above]
                return _at_offset(assignment, assignment.text.index("=") + 1, fault)
            if above in self.positions:
                position = self.positions[above]
                mark = position.key if at_key and above == path else position.value
                return _at_mark(self.lines, replace(fault, mark=mark))
        return _at_mark((), fault)

    def with_override(self, text: str, *, option: str = "--set") -> Document:
        """Return the document with one value replaced, or one key added; this one stays as it is.

        Parameters
        ----------
        text : str
            ``path=value``. The path is dotted; an entry of a list is named by its index, as ``[0]`` or ``.0``, or by
            its ``name``. The value is a YAML scalar, or a list or mapping in brackets.
        option : str
            Of the command line, by which it was given.

        Raises
        ------
        FileErrors
            Where the path leads nowhere or the value cannot be read; the file is the option.
        """
        assignment = Assignment(option, text)
        named, equals, _ = text.partition("=")
        if not named or not equals:
            raise _refused(assignment, 0, "assignment", f"{clipped(text)!r} is not path=value")
        path = _find(self.data, assignment, named)
        value = _value(assignment, len(named) + 1)
        first = str(path[0])
        data = {**self.data, first: _with(self.data.get(first), path[1:], value)}
        kept = {place: at for place, at in self.positions.items() if place[: len(path)] != path}
        given = {place: what for place, what in self.overrides.items() if place[: len(path)] != path}
        return replace(self, data=data, positions=kept, overrides={**given, path: assignment})


def read_document(file: str | pathlib.Path) -> Document:
    """Return the document that a YAML file holds.

    Raises
    ------
    FileErrors
        With every mistake of form that the file has.
    """
    path = pathlib.Path(file)
    content = _content(str(file), path)
    text = _decoded(str(file), content)
    lines = split_lines(text)
    read = read_yaml(text)
    faults = list(read.faults)
    if not faults and read.form == "nothing":
        faults.append(Fault(Mark(0, 0), "empty", "holds no data"))
    elif not faults and not isinstance(read.data, dict):
        kind = "a list" if isinstance(read.data, list) else "one value"
        faults.append(Fault(read.positions[()].value, "not-a-mapping", f"must hold keys and values, not {kind}"))
    if faults or not isinstance(read.data, dict):
        raise FileErrors((str(file), _at_mark(lines, fault)) for fault in faults)
    return Document(str(file), path.resolve(), read.data, content, lines, read.positions)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the known word that is nearest, or nothing where none is near."""
    by_case = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(word.casefold(), list(by_case), 1)
    return f"did you mean {by_case[near[0]]!r}?" if near else ""


def _content(file: str, path: pathlib.Path) -> bytes:
    """Return a file's bytes; its kind and size are looked at first, so that nothing blocks or fills the memory."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _unread(file, "not-readable", "is a folder")
        if not stat.S_ISREG(status.st_mode):
            raise _unread(file, "not-readable", "is not a regular file")
        if status.st_size > MAX_BYTES:
            raise _unread(file, "too-large", f"has {status.st_size:,} bytes; at most {MAX_BYTES:,} are read")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise _unread(file, "not-found", "there is no such file", _near(path)) from None
    except PermissionError:
        raise _unread(file, "not-readable", "there is no permission to read it") from None
    except (OSError, ValueError) as error:  # a ValueError for a NUL in the name
        said = getattr(error, "strerror", None) or "is not the name of a file"
        raise _unread(file, "not-readable", f"cannot be read: {said}") from None


def _unread(file: str, code: str, problem: str, hint: str = "") -> FileErrors:
    return FileErrors([(file, Mistake(code, "", problem, hint=hint))])


def _near(path: pathlib.Path) -> str:
    try:
        return did_you_mean(path.name, sorted(each.name for each in path.parent.iterdir()))
    except OSError:
        return ""


def _decoded(file: str, content: bytes) -> str:
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        mark = mark_after(content[: error.start].decode())
        problem = f"the byte 0x{content[error.start]:02x} is not UTF-8"
        fault = Fault(mark, "not-utf8", problem, "save the file as UTF-8")
        lines = split_lines(content.decode(errors="replace"))
        raise FileErrors([(file, _at_mark(lines, fault))]) from None


def _at_mark(lines: tuple[str, ...], fault: Fault) -> Mistake:
    line, column = fault.mark
    source = _shown(lines[line - 1], column) if 0 < line <= len(lines) else ""
    return Mistake(fault.code, render_path(fault.path), fault.problem, line, column, source, fault.hint)


def _at_offset(assignment: Assignment, offset: int, fault: Fault) -> Mistake:
    """Return a mistake that shows an assignment of the command line with the caret at an offset in it."""
    source = " ".join(assignment)
    column = len(source) - len(assignment.text) + offset + 1
    path = render_path(fault.path)
    return Mistake(fault.code, path, fault.problem, 0, column, _shown(source, column), fault.hint)


def _shown(line: str, column: int) -> str:
    """Return a line to show: each character as wide as its column, so that the caret stands right; cut if very long."""
    if column > _SHOWN:
        return ""
    wide = (" " if each == "\t" else each if printable(each) == each else "\ufffd" for each in line[:_SHOWN])
    return "".join(wide) + ("…" if len(line) > _SHOWN else "")


def _refused(assignment: Assignment, offset: int, code: str, problem: str, hint: str = "") -> FileErrors:
    return FileErrors([(assignment.option, _at_offset(assignment, offset, Fault(Mark(0, 0), code, problem, hint)))])


def _value(assignment: Assignment, start: int) -> object:
    """Return the value of an assignment, which begins at the offset `start`."""
    read = read_yaml(assignment.text[start:])
    if read.faults:
        offsets = [start + fault.mark.column - 1 if fault.mark.line == 1 else start for fault in read.faults]
        mistakes = map(_at_offset, [assignment] * len(offsets), offsets, read.faults)
        raise FileErrors((assignment.option, mistake) for mistake in mistakes)
    if read.form == "block":
        hint = "write {key: value} for a mapping and [a, b] for a list, or put text in quotes"
        raise _refused(assignment, start, "assignment", "a value on the command line must stand in brackets", hint)
    return read.data


def _find(data: dict[str, object], assignment: Assignment, text: str) -> DataPath:
    """Return the path that a text names; its last key may be new."""
    node: object = data
    path: DataPath = ()
    start = 0
    while True:
        rest = text[start:]
        known = _children(node)
        fitting = [name for name in known if rest == name or rest.startswith((f"{name}.", f"{name}["))]
        if not fitting:
            if isinstance(node, dict) and re.fullmatch(r"[^.\[\]]+", rest):
                return (*path, rest)
            raise _unknown(assignment, start, rest, node)
        name = max(fitting, key=len)  # a name may hold dots itself, so the longest is meant
        part, node = known[name]
        path = (*path, part)
        start += len(name)
        if start == len(text):
            return path
        start += text[start] == "."


def _children(node: object) -> dict[str, tuple[str | int, object]]:
    """Return the entries of a value with their part of the path, by every name that leads to them."""
    if isinstance(node, dict):
        return {key: (key, value) for key, value in node.items()}
    entries = list(enumerate(node)) if isinstance(node, list) else []
    named = [(entry["name"], (index, entry)) for index, entry in entries if isinstance(entry, dict) and "name" in entry]
    children: dict[str, tuple[str | int, object]] = {str(name): entry for name, entry in reversed(named)}
    for index, entry in entries:
        children[f"[{index}]"] = children[str(index)] = (index, entry)
    return children


def _unknown(assignment: Assignment, start: int, rest: str, node: object) -> FileErrors:
    word = re.split(r"(?<=.)[.\[]", rest, maxsplit=1)[0]
    if not isinstance(node, dict | list):
        problem = f"there is nothing below {clipped(assignment.text[:start].rstrip('.'))!r}"
        return _refused(assignment, start, "unknown-key", problem)
    known = [name for name in _children(node) if isinstance(node, dict) or not name.isdigit()]
    hint = did_you_mean(word, known) or clipped(f"known here: {', '.join(known)}", 200)
    what = "key" if isinstance(node, dict) else "entry"
    return _refused(assignment, start, "unknown-key", f"there is no {what} {clipped(word)!r}", hint)


def _with(node: object, path: DataPath, value: object) -> object:
    """Return a copy of `node` with one value replaced; what the path does not pass through is shared."""
    if not path:
        return value
    part, *rest = path
    if isinstance(node, list) and isinstance(part, int):
        return [_with(entry, tuple(rest), value) if index == part else entry for index, entry in enumerate(node)]
    entries = node if isinstance(node, dict) else {}
    return {**entries, part: _with(entries.get(part), tuple(rest), value)}
