"""One YAML 1.2 file as plain data and the place of every value; it knows no schema and executes nothing.

The data are built here from ruamel.yaml's events by the YAML 1.2 core schema, so that ``no``, ``1:30`` and times stay text, that a
duplicate key is a mistake and not a surprise, and that every mistake can point at its line.
"""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from simlab.errors import FileErrors, Mistake

Path = tuple[str | int, ...]
Place = tuple[int, int]

LARGEST_FILE = 1024 * 1024
MOST_NODES = 10_000
DEEPEST = 50

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_CORE_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null")}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the known word that is closest, or nothing."""
    close = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {close[0]!r}?" if close else ""


@dataclass(frozen=True)
class Document:
    """A file's data, and where each value stands.

    Attributes
    ----------
    file : str
        As the user wrote it.
    path : pathlib.Path
        Resolved.
    data : dict
        Plain dict, list, str, int, float, bool and None.
    lines : tuple of str
        The file's lines.
    positions : mapping of path to (line, column)
        Of each value, counted from 1.
    keys : mapping of path to (line, column)
        Of each key.
    """

    file: str
    path: FilePath
    data: dict[str, Any]
    lines: tuple[str, ...] = ()
    positions: Mapping[Path, Place] = field(default_factory=dict)
    keys: Mapping[Path, Place] = field(default_factory=dict)

    def mistake(self, path: Path, code: str, problem: str, hint: str = "", *, at_key: bool = False) -> Mistake:
        """Return a mistake at a path of the data, or at what stands nearest above it."""
        places = self.keys if at_key and path in self.keys else self.positions
        near = next((path[:end] for end in range(len(path), -1, -1) if path[:end] in places), None)
        line, column = (0, 0) if near is None else places[near]
        source = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        return Mistake(code, written(path), problem, line, column, source, hint)

    def with_override(self, assignment: str) -> Document:
        """Return the document with one field set by ``path=value``.

        A list's entry is named by ``[i]``, ``.i`` or by its own name: ``policies.errors-cusum.guardrails[0].every=1m``.

        Raises
        ------
        FileErrors
            If the path leads nowhere or the value is not YAML.
        """
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise _override_error(assignment, "", "must be path=value")
        builder = _Builder(text)
        value = builder.build(whole=False)
        if builder.mistakes:
            raise FileErrors(("--set", replace(each, line=0, column=0, source="")) for each in builder.mistakes)
        parts = [part for part in re.split(r"[.\[\]]", path) if part]
        return replace(self, data=_replaced(self.data, parts, value, assignment))


def written(path: Path) -> str:
    """Return a path as people write it: ``harms[0].metric``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _override_error(assignment: str, path: str, problem: str, hint: str = "") -> FileErrors:
    return FileErrors([("--set", Mistake("override", path, f"{problem}: {assignment}", hint=hint))])


def _replaced(data: Any, parts: list[str], value: object, assignment: str) -> Any:
    """Return a copy of nested data with one value set; only what leads there is copied."""
    key = _key(data, parts[0], assignment, last=len(parts) == 1)
    inner = value if len(parts) == 1 else _replaced(data[key], parts[1:], value, assignment)
    if isinstance(data, dict):
        return {**data, key: inner}
    return [inner if index == key else held for index, held in enumerate(data)]


def _key(data: Any, part: str, assignment: str, *, last: bool) -> str | int:
    if isinstance(data, dict):
        if part in data or last:
            return part
        raise _override_error(assignment, part, "there is no such field", did_you_mean(part, data))
    if isinstance(data, list):
        if part.isdigit() and int(part) < len(data):
            return int(part)
        names = [str(entry["name"]) for entry in data if isinstance(entry, dict) and "name" in entry]
        if part in names:
            return names.index(part)
        raise _override_error(assignment, part, "there is no such entry", did_you_mean(part, names))
    raise _override_error(assignment, part, "what stands there has no fields")


def read_document(file: str | FilePath) -> Document:
    """Return the document of a file.

    Raises
    ------
    FileErrors
        With every mistake that can be found: the file is missing, too large, not text, empty, not YAML, holds a duplicate key, a
        tag, or aliases that explode.
    """
    path = FilePath(file)
    text = _text(path, str(file))
    builder = _Builder(text)
    data = builder.build(whole=True)
    if not builder.mistakes and not isinstance(data, dict):
        code, problem = (
            ("empty", "holds nothing") if data is None else ("not-a-mapping", "must be a mapping of settings")
        )
        builder.mistakes.append(Mistake(code, "", problem))
    if builder.mistakes or not isinstance(data, dict):
        raise FileErrors((str(file), mistake) for mistake in builder.mistakes)
    return Document(str(file), path.resolve(), data, builder.lines, builder.positions, builder.keys)


def _text(path: FilePath, file: str) -> str:
    """Return a file's text; its size is looked at before it is opened."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise _file_error(file, "not-readable", f"is {what}")
        if status.st_size > LARGEST_FILE:
            raise _file_error(file, "too-large", f"has {status.st_size} bytes; at most {LARGEST_FILE} are read")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise _file_error(file, "not-found", "there is no such file") from None
    except UnicodeDecodeError as error:
        raise _file_error(file, "not-utf8", f"is not UTF-8 text: byte {error.start + 1} cannot be read") from None
    except OSError as error:
        raise _file_error(file, "not-readable", f"cannot be read: {error.strerror}") from None


def _file_error(file: str, code: str, problem: str) -> FileErrors:
    return FileErrors([(file, Mistake(code, "", problem))])


class _TooMuchError(Exception):
    """The document is too deep, or its aliases make it too large: reading stops."""


class _Builder:
    """Builds plain data from the events of one text, noting places and mistakes on the way."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = tuple(text.split("\n"))
        self.positions: dict[Path, Place] = {}
        self.keys: dict[Path, Place] = {}
        self.mistakes: list[Mistake] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0

    def build(self, *, whole: bool) -> Any:
        """Return the data; of a `whole` file, which must be one block-style document."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        try:
            return self._document(iter(YAML(typ="safe", pure=True).parse(self.text)), whole=whole)
        except _TooMuchError:
            return None
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = re.sub(r"\s+", " ", str(error.problem or "cannot be read"))
            self._note("not-yaml", (), problem, (mark.line + 1, mark.column + 1) if mark else (0, 0))
        except YAMLError as error:
            problem = str(error).splitlines()[0]
            self._note("not-yaml", (), problem, self._place_of(getattr(error, "position", None)))
        return None

    def _place_of(self, position: int | None) -> Place:
        if position is None:
            return (0, 0)
        before = self.text[:position]
        return before.count("\n") + 1, position - before.rfind("\n")

    def _document(self, events: Iterator[Any], *, whole: bool) -> Any:
        data: Any = None
        documents = 0
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    self._note("several-documents", (), "only one document may stand in a file", _start(event))
                    break
            elif kind not in {"StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"}:
                data = self._node(event, events, (), 0)
        return data if documents or not whole else None

    def _note(self, code: str, path: Path, problem: str, place: Place, hint: str = "") -> None:
        line, column = place
        source = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        self.mistakes.append(Mistake(code, written(path), problem, line, column, source, hint))

    def _node(self, event: Any, events: Iterator[Any], path: Path, depth: int) -> Any:
        place = _start(event)
        self.positions[path] = place
        self._grow(1, path, place)
        if depth > DEEPEST:
            self._note("too-deep", path, f"is nested deeper than {DEEPEST}", place)
            raise _TooMuchError
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self._alias(event, path, place)
        if event.tag is not None and str(event.tag) not in _CORE_TAGS and str(event.tag) != "!":
            self._note("tag", path, f"the tag {event.tag} is not allowed; nothing in a file is executed", place)
        before = self._nodes
        value: Any
        if kind == "ScalarEvent":
            value = _scalar(event)
        elif kind == "MappingStartEvent":
            value = self._mapping(events, path, depth)
        else:
            value = self._sequence(events, path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._nodes - before + 1)
        return value

    def _grow(self, nodes: int, path: Path, place: Place) -> None:
        """Count nodes as if every alias were written out."""
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            self._note(
                "too-large", path, f"holds more than {MOST_NODES} values once its aliases are written out", place
            )
            raise _TooMuchError

    def _alias(self, event: Any, path: Path, place: Place) -> Any:
        if event.anchor not in self._anchors:
            self._note("alias", path, f"the alias *{event.anchor} stands for nothing that is complete before it", place)
            return None
        value, nodes = self._anchors[event.anchor]
        self._grow(nodes, path, place)
        return value

    def _sequence(self, events: Iterator[Any], path: Path, depth: int) -> list[Any]:
        found: list[Any] = []
        for event in events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            found.append(self._node(event, events, (*path, len(found)), depth + 1))
        return found

    def _mapping(self, events: Iterator[Any], path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for event in events:
            if type(event).__name__ == "MappingEndEvent":
                break
            place = _start(event)
            key = self._key(event, events, path, place, depth)
            inner = (*path, key)
            if key in found:
                first = self.keys[inner]
                self._note("duplicate-key", inner, f"stands twice, first on line {first[0]}", place)
            else:
                self.keys[inner] = place
            value = self._node(next(events), events, inner, depth + 1)
            found.setdefault(key, value)
        return found

    def _key(self, event: Any, events: Iterator[Any], path: Path, place: Place, depth: int) -> str:
        """Return a key; one that is no text is a mistake and is read on as text."""
        value = self._node(event, events, path, depth + 1) if type(event).__name__ != "ScalarEvent" else _scalar(event)
        if value == "<<" and getattr(event, "style", None) is None:
            self._note("merge-key", path, "merge keys (<<) are not part of YAML 1.2", place)
        elif not isinstance(value, str):
            self._note("key-type", path, f"a key must be text, not {value!r}", place, hint="put it in quotes")
        return value if isinstance(value, str) else str(value)


def _start(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _scalar(event: Any) -> str | int | float | bool | None:
    """Return a scalar by the YAML 1.2 core schema (section 10.3.2)."""
    text = str(event.value)
    if event.style not in {None, ""} or (event.tag is not None and str(event.tag).endswith(("!", ":str"))):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text, base) if base != 10 else int(text)
    if _FLOAT.fullmatch(text):
        return float(re.sub(r"\.(inf|nan)", r"\1", text.lower()))
    return text
