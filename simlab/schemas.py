"""From a document to frozen settings, with every mistake at its place; the only importer of pydantic.

The schemas are the settings' own dataclasses. pydantic reads them in strict mode; its errors are told in our words, with line,
column and a hint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from simlab.documents import Document, did_you_mean
from simlab.errors import FileErrors, Mistake

Settings = TypeVar("Settings")
Path = tuple[str | int, ...]

_CODES = {
    "extra_forbidden": "unknown-key",
    "unexpected_keyword_argument": "unknown-key",
    "missing": "missing-key",
    "literal_error": "not-a-choice",
    "union_tag_invalid": "not-a-choice",
    "union_tag_not_found": "missing-key",
    "value_error": "unit",
}
_BOUNDS = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


_adapter = cache(TypeAdapter)


def adapter(settings: type[Settings]) -> TypeAdapter[Settings]:
    """Return the validator of a settings class, made once."""
    return _adapter(settings)  # type: ignore[arg-type]


def json_schema(settings: type[Any]) -> dict[str, Any]:
    """Return the JSON Schema of a settings class, for editors and for hints."""
    return adapter(settings).json_schema(by_alias=True)


def read_settings(document: Document, settings: type[Settings]) -> Settings:
    """Return the settings that a document holds.

    Raises
    ------
    FileErrors
        With every mistake of the document.
    """
    try:
        # As JSON, because only there strict mode takes mappings for dataclasses and lists for tuples.
        return adapter(settings).validate_json(json.dumps(document.data))
    except ValidationError as error:
        schema = json_schema(settings)
        every = [found for found in error.errors(include_url=False) if not _is_full(found)]
        mistakes = [_told(document, schema, found) for found in every if not _is_beside(document.data, found, every)]
        raise FileErrors((document.file, mistake) for mistake in mistakes) from None


def _is_full(found: Mapping[str, Any]) -> bool:
    """Return whether what is called too short is so only because its wrong entries, told by themselves, were not counted."""
    return found["type"] == "too_short" and bool(len(found["input"]) >= found["ctx"]["min_length"])


def _is_beside(data: object, found: Mapping[str, Any], every: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether an error is of a union's member that was not meant: a word for a mapping, or a mapping for a word."""
    if found["type"] not in {"literal_error", "dataclass_type"}:
        return False
    path, mapping = _path_in(data, found["loc"]), isinstance(found["input"], Mapping)
    others = [other for other in every if other is not found and _path_in(data, other["loc"])[: len(path)] == path]
    if found["type"] == "literal_error":
        return mapping and bool(others)
    return any(other["type"] == "literal_error" and other["loc"][:-1] == found["loc"][:-1] for other in others)


def _told(document: Document, schema: Mapping[str, Any], found: Mapping[str, Any]) -> Mistake:
    """Return one of pydantic's errors in our words."""
    kind = found["type"]
    path = _path_in(document.data, found["loc"])
    code = _CODES.get(kind, "bound" if kind in _BOUNDS else "type")
    if kind == "value_error":
        code = getattr(found["ctx"]["error"], "code", code)
    if code == "unknown-key":
        return document.mistake(path, code, "unknown key", _key_hint(document, schema, path), at_key=True)
    if kind == "missing":
        return document.mistake((*path, found["loc"][-1]), code, "is required")
    problem = _BOUNDS[kind].format(**found.get("ctx", {})) if kind in _BOUNDS else _problem(found)
    if code in {"bound", "type", "not-a-choice"} and not isinstance(found["input"], dict | list):
        problem += f", not {found['input']!r}"
    return document.mistake(path, code, problem, _hint(found))


def _key_hint(document: Document, schema: Mapping[str, Any], path: Path) -> str:
    """Return what a key could be meant for: the same one in a mapping further out, or another one here."""
    word, known = str(path[-1]), sorted(_known_keys(schema, document.data, path[:-1]))
    for above in range(len(path) - 2, 0, -1):
        if word in _known_keys(schema, document.data, path[:above]):
            return f"it belongs beside {path[above]!r}, not inside"
    return did_you_mean(word, known) or f"known here: {', '.join(known)}"


def _problem(found: Mapping[str, Any]) -> str:
    if found["type"] == "value_error":
        return str(found["ctx"]["error"])
    if found["type"] == "literal_error":
        return f"must be one of {found['ctx']['expected']}"
    if found["type"] == "union_tag_invalid":
        return f"must be one of {found['ctx']['expected_tags']} as {found['ctx']['discriminator'].strip(chr(39))}"
    if found["type"] == "union_tag_not_found":
        return f"must say its {found['ctx']['discriminator'].strip(chr(39))}"
    if found["type"] in {"dataclass_type", "dataclass_exact_type"}:
        return "must be a mapping of settings"
    return re.sub("^Input should be", "must be", str(found["msg"]))


def _hint(found: Mapping[str, Any]) -> str:
    if found["type"] not in {"literal_error", "union_tag_invalid"}:
        return ""
    context = found["ctx"]
    choices = re.findall(r"'([^']*)'", context.get("expected", "") + context.get("expected_tags", ""))
    said = found["input"].get("shape", "") if isinstance(found["input"], Mapping) else found["input"]
    return did_you_mean(str(said), choices)


def _path_in(data: object, location: Sequence[str | int]) -> Path:
    """Return where an error stands in the document: its location without names of union members."""
    path: list[str | int] = []
    for part in location:
        inside = range(len(data)) if isinstance(data, list) else data if isinstance(data, dict) else ()
        if part in inside:
            data = data[part]  # type: ignore[index]
            path.append(part)
    return tuple(path)


def _known_keys(schema: Mapping[str, Any], data: object, path: Path) -> set[str]:
    """Return the keys that the schema allows at `path`; where a union chooses by a key of the data, its member's."""
    here = _members(schema, schema, data)
    for part in path:
        data = data[part] if isinstance(data, dict | list) else None  # type: ignore[index]
        below = [_below(node, part) for node in here]
        here = [member for node in below if node for member in _members(schema, node, data)]
    return {key for node in here for key in node.get("properties", {})}


def _below(node: Mapping[str, Any], part: str | int) -> Mapping[str, Any] | None:
    if isinstance(part, int):
        return node.get("items")
    extra = node.get("additionalProperties")
    return node.get("properties", {}).get(part) or (extra if isinstance(extra, dict) else None)


def _members(root: Mapping[str, Any], node: Mapping[str, Any], data: object) -> list[Mapping[str, Any]]:
    """Return the plain schemas behind references and unions."""
    if "$ref" in node:
        return _members(root, root["$defs"][node["$ref"].rsplit("/", 1)[1]], data)
    chosen = node.get("discriminator")
    if chosen and isinstance(data, dict) and data.get(chosen["propertyName"]) in chosen["mapping"]:
        return _members(root, {"$ref": chosen["mapping"][data[chosen["propertyName"]]]}, data)
    union = node.get("oneOf") or node.get("anyOf")
    return [member for each in union for member in _members(root, each, data)] if union else [node]
