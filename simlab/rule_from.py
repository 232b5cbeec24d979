"""A rule from the mapping that a study file uses for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simlab.documents import Document
from simlab.errors import FileErrors
from simlab.guardrails.registry import rules
from simlab.guardrails.rule import Rule
from simlab.schemas import read_settings
from simlab.study import RuleChoice

_FILE = "rule"


def rule(mapping: Mapping[str, Any] | Rule) -> Rule:
    """Return the rule that a mapping names, with its settings checked as a study's are.

    Parameters
    ----------
    mapping : mapping or Rule
        One rule by its name in files, for example ``{"cusum": {"k": 0.5, "h": 4, "sides": 2}}``. A rule is returned as it is.

    Raises
    ------
    FileErrors
        With every mistake of the mapping, and the nearest known name.

    Examples
    --------
    >>> rule({"ewma": {"lambda": 0.25, "L": 3}}).threshold
    3.0
    """
    if not isinstance(mapping, Mapping):
        if isinstance(mapping, Rule) and not isinstance(mapping, type):
            return mapping
        raise _refused("rule", f"must be a mapping such as {{'cusum': {{'k': 0.5, 'h': 4}}}}, not {mapping!r}")
    chosen = read_settings(_document(mapping), RuleChoice)
    given: list[Rule] = [found for key in rules() if (found := getattr(chosen, key, None)) is not None]
    if len(given) != 1:
        raise _refused("rule", f"must say exactly one of {', '.join(rules())}")
    return given[0]


def _document(mapping: Mapping[str, Any]) -> Document:
    """Return the mapping as a file would have held it."""
    try:
        data = json.loads(json.dumps(dict(mapping)))
    except (TypeError, ValueError) as error:
        raise _refused("type", f"must hold plain numbers, text, lists and mappings: {error}") from None
    return Document(_FILE, Path(_FILE), data)


def _refused(code: str, problem: str) -> FileErrors:
    return FileErrors([(_FILE, Document(_FILE, Path(_FILE), {}).mistake((), code, problem))])
