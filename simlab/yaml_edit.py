"""YAML written: whole, or values of a text replaced where they stand, comments, order and layout staying as they are."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from simlab.documents import Document
from simlab.errors import FileErrors, SimlabError
from simlab.yaml_nodes import DataPath
from simlab.yaml_text import read_yaml, render_path

_NO_PLACE = "is not in the file as a value of its own; write it there first"


class EditError(SimlabError):
    """Values that cannot be put where they belong without touching anything else.

    Attributes
    ----------
    found : tuple of (path, str)
        Where, and why not.
    """

    def __init__(self, found: Iterable[tuple[DataPath, str]]) -> None:
        self.found = tuple(found)
        super().__init__("\n".join(f"{render_path(path)}: {problem}" for path, problem in self.found))


def yaml_of(held: Mapping[str, Any]) -> str:
    """Return plain data as YAML, keys in the order in which they are held."""
    yaml, out = YAML(), StringIO()
    yaml.default_flow_style = False
    yaml.width = 130
    yaml.dump(held, out)
    return out.getvalue()


def edited(document: Document, values: Mapping[DataPath, float | str]) -> bytes:
    """Return what a document's file is to hold so that values are changed in it; line ends and all else stay as they are.

    Raises
    ------
    FileErrors
        With every value that has no place of its own in the file.
    """
    text = document.content.removeprefix(codecs.BOM_UTF8)
    try:
        changed = with_values(text.decode(), values)
    except EditError as error:
        raise FileErrors((document.file, document.mistake(path, "edit", why)) for path, why in error.found) from None
    return document.content[: len(document.content) - len(text)] + changed.encode()


def with_values(text: str, values: Mapping[DataPath, float | str]) -> str:
    """Return the text with values replaced, or added to mappings that do not have them yet.

    Parameters
    ----------
    text : str
        One YAML document.
    values : mapping of path to float or str
        What is to stand where.

    Raises
    ------
    EditError
        With every place that is not in the text, is no single value, or is shared by an alias.
    """
    found = []
    for path, value in values.items():
        try:
            text = _with_value(text, path, value)
        except _CannotEdit as error:
            found.append((path, str(error)))
    if found:
        raise EditError(found)
    return text


class _CannotEdit(Exception):
    """Why one value cannot be put in place."""


def _with_value(text: str, path: DataPath, value: float | str) -> str:
    start, end, written = _cut(text, path, value)
    new = text[:start] + written + text[end:]
    if read_yaml(new).data != _changed(read_yaml(text).data, path, value):
        raise _CannotEdit("cannot be changed without changing more; change it by hand")
    return new


def _cut(text: str, path: DataPath, value: float | str) -> tuple[int, int, str]:
    """Return from where to where the text is replaced, and by what."""
    *above, last = path
    node: Node | None = YAML(typ="safe", pure=True).compose(text)
    for part in above:
        node = _child(node, part)
    found = _child(node, last)
    if isinstance(found, ScalarNode):
        return found.start_mark.index, found.end_mark.index, _written(value, plain=found.style is None)
    if found is None and isinstance(last, str) and node is not None:
        return _added(node, f"{last}: {_written(value)}", text)
    raise _CannotEdit(_NO_PLACE)


def _written(value: float | str, *, plain: bool = True) -> str:
    """Return a value as YAML; text in quotes unless it is a number with a unit, which needs none."""
    return value if plain and isinstance(value, str) and re.fullmatch(r"-?[0-9.]+[a-z%]+", value) else json.dumps(value)


def _added(node: Node, entry: str, text: str) -> tuple[int, int, str]:
    """Return where and how an entry is added to a mapping, in its own style; one that says nothing yet gets braces."""
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, MappingNode) and node.flow_style:
        return start + 1, start + 1, f"{entry}{', ' if node.value else ''}"
    if isinstance(node, MappingNode):
        line_end = "\r\n" if "\r\n" in text else "\n"
        return start, start, f"{entry}{line_end}{' ' * node.start_mark.column}"
    if isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        if start < end:
            return start, end, f"{{{entry}}}"
        # The parser places what is not written at what follows it.
        behind_key = text.rindex(":", 0, start) + 1
        return behind_key, behind_key, f" {{{entry}}}"
    raise _CannotEdit(_NO_PLACE)


def _child(node: Node | None, part: str | int) -> Node | None:
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]  # type: ignore[no-any-return]
    if isinstance(node, MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    return None


def _changed(node: object, path: DataPath, value: float | str) -> object:
    if not path:
        return value
    part, *rest = path
    if isinstance(node, list):
        return [_changed(each, tuple(rest), value) if index == part else each for index, each in enumerate(node)]
    entries = node if isinstance(node, dict) else {}
    return {**entries, part: _changed(entries.get(part), tuple(rest), value)}
