"""YAML 1.2 text as plain data, with the position of every value; nothing in a text is ever executed or constructed.

Scalars are resolved by the core schema of YAML 1.2.2 (section 10.3.2): ``no``, ``on``, ``1:30`` and dates are text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from simlab.yaml_nodes import Composer, DataPath, Fault, Mark, Node, Unreadable, clipped

MAX_NUMBER = 1_000
"""Characters of the longest number that is read."""

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, object] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_WORDS |= {sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")}
_WORDS |= dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan)

_CORE = "tag:yaml.org,2002:"
_TYPES: dict[str, type] = {"null": type(None), "bool": bool, "int": int, "float": float}
_TAGS = {
    "text": {None, "!", f"{_CORE}str", *(_CORE + name for name in _TYPES)},
    "list": {None, "!", f"{_CORE}seq"},
    "mapping": {None, "!", f"{_CORE}map"},
}


@dataclass(frozen=True)
class Position:
    """Where a value and its key stand; an entry of a list has no key, so both are the value's."""

    value: Mark
    key: Mark


@dataclass(frozen=True)
class YamlText:
    """What a text holds.

    Attributes
    ----------
    data : object
        Plain dict, list, str, int, float, bool or None; of no use where there are faults.
    positions : mapping of path to Position
        Of every value; for what an alias stands for, where it is written.
    faults : tuple of Fault
        All that is wrong.
    form : str
        ``nothing`` where the text is empty or all comments, ``scalar``, ``flow`` (in brackets) or ``block``.
    """

    data: object
    positions: Mapping[DataPath, Position]
    faults: tuple[Fault, ...]
    form: Literal["nothing", "scalar", "flow", "block"]


def read_yaml(text: str) -> YamlText:
    """Return what a text holds, and every fault that can be found in it.

    The work is bounded: 50 levels, 100,000 values as written, 10,000 where aliases repeat some.
    """
    composer = Composer()
    try:
        composer.read(text)
    except Unreadable as error:
        return YamlText(None, {}, (*composer.faults, error.fault), "nothing")
    root = composer.root
    if root is None or root.is_empty:
        return YamlText(None, {}, tuple(composer.faults), "nothing")
    builder = _Builder()
    data = builder.build(root, (), root.mark)
    form: Literal["scalar", "flow", "block"] = "scalar" if root.kind == "text" else "flow" if root.flow else "block"
    return YamlText(data, builder.positions, (*composer.faults, *builder.faults.values()), form)


class _Builder:
    """From nodes to plain data."""

    def __init__(self) -> None:
        self.positions: dict[DataPath, Position] = {}
        # By place, because an alias shows the same fault again on another path.
        self.faults: dict[tuple[Mark, str], Fault] = {}

    def build(self, node: Node, path: DataPath, key: Mark) -> object:
        """Return the data of a node and remember where each value stands."""
        self.positions[path] = Position(node.mark, key)
        if node.tag not in _TAGS[node.kind]:
            tag = clipped((node.tag or "").replace(_CORE, "!!"))
            self._note(node.mark, "tag", f"the tag {tag} is not allowed here", path, "remove the tag")
        if node.kind == "text":
            return self._scalar(node, path)
        if node.kind == "list":
            return [self.build(each, (*path, index), each.mark) for index, each in enumerate(node.content)]
        return self._mapping(node, path)

    def _note(self, mark: Mark, code: str, problem: str, path: DataPath, hint: str = "") -> None:
        self.faults.setdefault((mark, code), Fault(mark, code, problem, hint, path))

    def _mapping(self, node: Node, path: DataPath) -> dict[str, object]:
        data: dict[str, object] = {}
        keys: dict[str, Mark] = {}
        for key, value in zip(node.content[::2], node.content[1::2], strict=True):
            name = self._key(key, path)
            place = (*path, name)
            if name in keys:
                first = f"line {keys[name].line}, column {keys[name].column}"
                self._note(key.mark, "duplicate-key", f"the key stands here again; first on {first}", place)
            keys.setdefault(name, key.mark)
            data[name] = self.build(value, place, key.mark)
        return data

    def _key(self, key: Node, path: DataPath) -> str:
        """Return a key's text; of a key that is no text, something to go on with."""
        if key.kind != "text":
            self._note(key.mark, "key-type", f"a key must be text, not a {key.kind}", path)
            return "?"
        place = (*path, key.text)
        if key.plain and key.text == "<<":
            hint = "write the keys out; YAML 1.2 has no merge"
            self._note(key.mark, "merge-key", "the merge key << is not YAML 1.2", place, hint)
            return key.text
        value = self.build(key, place, key.mark)
        if not isinstance(value, str):
            kind = "a number" if type(value) in {int, float} else "empty" if not key.text else f"the value {key.text}"
            hint = f"write it in quotes: '{clipped(key.text)}'"
            self._note(key.mark, "key-type", f"a key must be text, and this is {kind}", place, hint)
            return key.text
        return value

    def _scalar(self, node: Node, path: DataPath) -> object:
        name = (node.tag or "").removeprefix(_CORE)
        if name not in _TYPES and not (node.plain and node.tag is None):
            return self._text(node, path)
        try:
            value = _resolved(node.text)
            if name == "float" and type(value) is int:
                value = float(value)
        except (ValueError, OverflowError):
            self._note(node.mark, "number", f"the number {clipped(node.text)} is too large", path)
            return None
        if name in _TYPES and type(value) is not _TYPES[name]:
            self._note(node.mark, "tag", f"{clipped(node.text)!r} is no {name}, as the tag says", path)
        return value

    def _text(self, node: Node, path: DataPath) -> str:
        """Return the text of a quoted scalar; pairs of surrogates, which JSON writes, become one character."""
        try:
            return node.text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            self._note(node.mark, "control", "half of a surrogate pair is no character", path)
            return ""


def _resolved(text: str) -> object:
    """Return the value of a plain scalar; a number too large for its type is a ValueError or an OverflowError."""
    if text in _WORDS:
        return _WORDS[text]
    is_integer = _INTEGER.fullmatch(text)
    if not is_integer and not _FLOAT.fullmatch(text):
        return text
    if len(text) > MAX_NUMBER:
        raise ValueError("too many digits")
    if is_integer:
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    value = float(text)
    if math.isinf(value):
        raise OverflowError("beyond the largest float")
    return value


def render_path(path: Iterable[str | int]) -> str:
    """Return a path as people write it, for example ``harms[0].metric``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{clipped(part)}" for part in path).removeprefix(".")
