"""From YAML text to nodes with marks: the first half of reading YAML; the only importer of its parser.

The parser's events are composed here and not by the parser's library, because an alias must keep its own mark, and because
sizes must be known before anything is expanded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

DataPath = tuple[str | int, ...]
"""Where a value stands, for example ``("harms", 0, "metric")``."""

MAX_DEPTH = 50
MAX_EXPANDED = 10_000
MAX_WRITTEN = 100_000

# What YAML 1.2 calls printable, less three characters that YAML 1.1 took for line breaks and the parser still does.
_NOT_PRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_VERSION = re.compile(r"^%YAML", re.MULTILINE)
_BEYOND_UNICODE = re.compile(r"\\U(?!000|0010)")

# What the parser complains of; our words; a hint; whether the place is where the construct began.
_COMPLAINTS: tuple[tuple[str, str, str, bool], ...] = (
    ("<document start>", "here '---' or the end of the file is expected", "", False),
    ("text after a value", "there is text after the end of a value", "put the whole value in quotes", False),
    ("'<stream end>'", "the bracket that opens here is never closed", "", True),
    ("unexpected end of stream", "the quote that opens here is never closed", "", True),
    ("unexpected document separator", "the quote that opens here is not closed before the end of the document", "", True),
    ("expected ','", "a comma or the closing bracket is missing before this", "", False),
    ("could not find expected ':'", "there is no ':' after this key", "write 'key: value'", True),
    ("mapping values are not", "a ':' cannot stand here", "put text that holds ': ' in quotes, or mend the indent", False),
    ("mapping keys are not", "a '?' cannot stand here", "put it in quotes", False),
    ("sequence entries are not", "a '- ' cannot stand here", "begin the list on a line of its own", False),
    ("expected <block end>", "this does not line up with what stands above", "mend the indent", False),
    ("'\\t' that cannot start", "a tab cannot stand here", "use spaces", False),
    ("that cannot start any token", "a value cannot begin with this character", "put the value in quotes", False),
    ("expected the node content", "a value is missing before this", "", False),
    ("unknown escape", "there is no such escape in double quotes", "write \\\\ for a backslash, or use single quotes", False),
    ("hexdecimal", "the escape has too few hexadecimal digits", "", False),
    ("more indented follow up", "the first line of this block of text is indented less than the next", "", False),
    ("undefined tag", "the tag's prefix is not defined", "remove the tag", False),
    ("a block scalar", "after '|' or '>' the text begins on the next line", "put the value in quotes", True),
    ("an anchor", "after '&' a name must follow", "put the value in quotes", True),
    ("an alias", "after '*' a name must follow", "put the value in quotes", True),
    (" tag", "after '!' a tag must follow", "put the value in quotes", True),
    ("a directive", "a line cannot begin with '%'", "put the value in quotes", True),
)


class Mark(NamedTuple):
    """A place in a text; line and column are counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a text: what, where, and how to mend it."""

    mark: Mark
    code: str
    problem: str
    hint: str = ""
    path: DataPath = ()


class Unreadable(Exception):
    """A fault after which there is no point in reading on."""

    def __init__(self, mark: Mark, code: str, problem: str, hint: str = "") -> None:
        self.fault = Fault(mark, code, problem, hint)
        super().__init__(problem)


@dataclass
class Node:
    """A scalar, list or mapping as written; a mapping's content is keys and values in turn.

    `size` counts the values and `height` the levels of what it stands for, with every alias expanded.
    """

    kind: Literal["text", "list", "mapping"]
    mark: Mark
    tag: str | None = None
    text: str = ""
    plain: bool = False
    flow: bool = False
    content: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 0
    closed: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether nothing is written."""
        return self.plain and not self.text and self.tag is None


def split_lines(text: str) -> tuple[str, ...]:
    """Return the lines of a text as YAML counts them, without their ends."""
    lines = _LINE_BREAK.split(text)
    return tuple(lines if lines[-1] else lines[:-1])


def clipped(text: str, most: int = 60) -> str:
    """Return a text short enough for a message."""
    return text if len(text) <= most else text[: most - 1] + "…"


def mark_after(text: str) -> Mark:
    """Return the place at which a text ends."""
    lines = _LINE_BREAK.split(text)
    return Mark(len(lines), len(lines[-1]) + 1)


class Composer:
    """Composes a text's first document.

    Attributes
    ----------
    root : Node or None
        The document; None where there is nothing but comments.
    faults : list of Fault
        What is wrong, though it could be read.
    """

    def __init__(self) -> None:
        self.root: Node | None = None
        self.faults: list[Fault] = []
        self._open: list[Node] = []
        self._anchors: dict[str, Node] = {}
        self._written = 0
        self._expanded = 0
        self._documents = 0

    def read(self, text: str) -> None:
        """Compose a text.

        Raises
        ------
        Unreadable
            At a fault after which there is no point in reading on.
        """
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError

        _refuse_control_characters(text)
        try:
            for event in YAML(typ="safe", pure=True).parse(text):
                self._take(event, type(event).__name__)
                if self._documents > 1:
                    return
        except MarkedYAMLError as error:
            raise _complaint(error, split_lines(text)) from None
        # For these two the parser has neither an error of its own nor a mark.
        except AssertionError:
            raise _other_version(_mark_of(_VERSION, text)) from None
        except (ValueError, OverflowError):
            raise Unreadable(_mark_of(_BEYOND_UNICODE, text), "not-yaml", "the escape names no character") from None

    def _take(self, event: Any, name: str) -> None:
        match name:
            case "DocumentStartEvent":
                self._begin(event)
            case "ScalarEvent":
                node = Node("text", _mark(event), _tag(event), event.value, plain=not event.style)
                self._hold(node, event.anchor)
                self._put(node)
            case "SequenceStartEvent" | "MappingStartEvent":
                kind: Literal["list", "mapping"] = "list" if name == "SequenceStartEvent" else "mapping"
                node = Node(kind, _mark(event), _tag(event), flow=bool(event.flow_style), closed=False)
                self._hold(node, event.anchor)
                self._open.append(node)
                _check_depth(node.mark, len(self._open))
            case "SequenceEndEvent" | "MappingEndEvent":
                node = self._open.pop()
                node.closed = True
                node.height += 1
                self._put(node)
            case "AliasEvent":
                self._put(self._aliased(event))

    def _begin(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            problem = "a second document begins here; a file holds one"
            self.faults.append(Fault(_mark(event), "several-documents", problem, "put it in a file of its own"))
        elif event.version not in {None, (1, 2)}:
            raise _other_version(_mark(event))

    def _hold(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._written += 1
        self._expanded += 1
        if self._written > MAX_WRITTEN:
            raise Unreadable(node.mark, "too-large", f"there are more than {MAX_WRITTEN:,} values before this")

    def _aliased(self, event: Any) -> Node:
        mark, name = _mark(event), clipped(event.anchor)
        node = self._anchors.get(event.anchor)
        if node is None:
            hint = f"put it in quotes if it is text: '*{name}'"
            raise Unreadable(mark, "not-yaml", f"there is no anchor &{name} before the alias *{name}", hint)
        if not node.closed:
            raise Unreadable(mark, "alias-bomb", f"the alias *{name} stands inside what it stands for")
        self._expanded += node.size
        if self._expanded > MAX_EXPANDED:
            problem = f"with the alias *{name} there are more than {MAX_EXPANDED:,} values"
            raise Unreadable(mark, "alias-bomb", problem, "write the values out")
        _check_depth(mark, len(self._open) + node.height)
        return replace(node, mark=mark)

    def _put(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        # The parser places an empty value at what follows it; its key is where one would look.
        if node.is_empty and parent.kind == "mapping" and len(parent.content) % 2:
            node.mark = parent.content[-1].mark
        parent.content.append(node)
        parent.size += node.size
        parent.height = max(parent.height, node.height)


def _refuse_control_characters(text: str) -> None:
    found = list(_NOT_PRINTABLE.finditer(text))
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        problem = f"the control character U+{ord(found[0].group()):04X} cannot stand in a file{more}"
        hint = "write it as an escape such as \\u0007, in double quotes"
        raise Unreadable(mark_after(text[: found[0].start()]), "control", problem, hint)


def _other_version(mark: Mark) -> Unreadable:
    return Unreadable(mark, "yaml-version", "only YAML 1.2 is read", "remove the %YAML line")


def _mark_of(pattern: re.Pattern[str], text: str) -> Mark:
    found = pattern.search(text)
    return mark_after(text[: found.start()] if found else "")


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _tag(event: Any) -> str | None:
    return None if event.tag is None else str(event.tag)


def _check_depth(mark: Mark, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Unreadable(mark, "too-deep", f"values are nested more than {MAX_DEPTH} deep here")


def _complaint(error: Any, lines: tuple[str, ...]) -> Unreadable:
    """Return the parser's complaint in our words."""
    said = f"{error.context} {error.problem}"
    mark = _within(lines, error.problem_mark or error.context_mark)
    if "<block end>" in said and lines[mark.line - 1][: mark.column - 1].strip():
        said = "text after a value"
    found = next((each for each in _COMPLAINTS if each[0] in said), None)
    problem, hint, at_start = found[1:] if found else ("cannot be read as YAML", "", False)
    if at_start and error.context_mark:
        mark = _within(lines, error.context_mark)
    return Unreadable(mark, "tag" if "tag" in said else "not-yaml", problem, hint)


def _within(lines: tuple[str, ...], mark: Any) -> Mark:
    """Return a parser's mark as ours; the end of the file is the end of its last line."""
    if mark.line < len(lines):
        return Mark(mark.line + 1, mark.column + 1)
    return Mark(len(lines), len(lines[-1]) + 1)
