"""YAML written: whole, or values of a text replaced where they stand, comments, order and layout staying as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from simlab.errors import SimlabError
from simlab.yaml_nodes import DataPath
from simlab.yaml_text import read_yaml, render_path


class EditError(SimlabError):
    """A value that cannot be put where it belongs without touching anything else."""


def yaml_of(held: Mapping[str, Any]) -> str:
    """Return plain data as YAML, keys in the order in which they are held."""
    yaml, out = YAML(), StringIO()
    yaml.default_flow_style = False
    yaml.width = 130
    yaml.dump(held, out)
    return out.getvalue()


def with_values(text: str, values: Mapping[DataPath, float | str]) -> str:
    """Return the text with values replaced, or added to mappings in braces that do not have them yet.

    Parameters
    ----------
    text : str
        One YAML document.
    values : mapping of path to float or str
        What is to stand where.

    Raises
    ------
    EditError
        If a place is not in the text, is no single value, or is shared by an alias.
    """
    root = YAML(typ="safe", pure=True).compose(text)
    cuts = [_cut(root, path, json.dumps(value)) for path, value in values.items()]
    edited = text
    for start, end, written in sorted(cuts, reverse=True):
        edited = edited[:start] + written + edited[end:]
    expected = read_yaml(text).data
    for path, value in values.items():
        expected = _changed(expected, path, value)
    if read_yaml(edited).data != expected:
        raise EditError("the file cannot be changed without changing more than the thresholds; change it by hand")
    return edited


def _cut(root: Node | None, path: DataPath, written: str) -> tuple[int, int, str]:
    """Return from where to where the text is replaced, and by what."""
    node = root
    for depth, part in enumerate(path):
        inside = _child(node, part)
        if inside is None:
            last = depth == len(path) - 1
            if last and isinstance(node, MappingNode) and node.flow_style:
                start = node.start_mark.index + 1
                return start, start, f"{part}: {written}{', ' if node.value else ''}"
            raise EditError(f"{render_path(path)} is not in the file as a value of its own; write it there first")
        node = inside
    if node is None or isinstance(node, MappingNode | SequenceNode):
        raise EditError(f"{render_path(path)} is not a single value")
    return node.start_mark.index, node.end_mark.index, written


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
