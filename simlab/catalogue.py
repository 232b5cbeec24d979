"""The catalogue of rules in words: one line each, and one page each."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from typing import get_type_hints

from simlab.documents import did_you_mean
from simlab.errors import SimlabError
from simlab.guardrails.own_rules import OwnEntry, register
from simlab.guardrails.registry import rules
from simlab.guardrails.rule import Guarantee, Rule
from simlab.settings import file_name
from simlab.ticks import Unit, format_duration

OWN = "own"


def guarantee_words(guarantee: Guarantee | None) -> str:
    """Return a guarantee in one sentence."""
    if guarantee is None:
        return "no guarantee"
    needed = ", ".join(assumption.value for assumption in guarantee.assumptions)
    return f"{guarantee.claim}; {'exact' if guarantee.exact else 'asymptotic'}; if {needed}"


def _guarantee(rule: type[Rule]) -> str:
    """Return what a rule guarantees at its default settings."""
    try:
        return guarantee_words(rule().guarantee)
    except TypeError:
        # A setting without a default has to be given before there is anything to guarantee.
        return "depends on its settings"


def list_of_rules() -> str:
    """Return one line a rule: key, what it takes, its guarantee at default settings, its paper; rules of one's own last."""
    lines = [f"{key}\t{_takes(rule)}\t{_guarantee(rule)}\t{rule.paper}{_needs(rule)}" for key, rule in sorted(rules().items())]
    return "\n".join([*lines, f"{OWN}\tas registered\tno guarantee\tnone: a rule of one's own, by name"])


def _takes(rule: type[Rule]) -> str:
    """Return what a rule takes, by any of its settings."""
    also: str = getattr(rule, "takes_also", "")
    return f"{rule.takes.value}, or {also}" if also else rule.takes.value


def _needs(rule: type[Rule]) -> str:
    """Return which extra a rule needs, for the end of a line."""
    extra: str = getattr(rule, "extra", "")
    return f"; needs simlab[{extra}]" if extra else ""


def page_of(key: str) -> str:
    """Return the page of one rule.

    Raises
    ------
    SimlabError
        If there is no such rule.
    """
    if key == OWN:
        module = inspect.getdoc(inspect.getmodule(register)) or ""
        return "\n".join([key, "", inspect.getdoc(OwnEntry) or "", "", module])
    if key not in rules():
        near = did_you_mean(key, [*rules(), OWN])
        raise SimlabError(f"there is no rule {key!r}; {near or 'simlab rules lists them'}")
    rule = rules()[key]
    module = inspect.getdoc(inspect.getmodule(rule)) or ""
    settings = [f"  {file_name(name)}{default}" for name, default in _defaults(rule).items()]
    return "\n".join(
        [
            key,
            "",
            inspect.getdoc(rule) or "",
            "",
            "Settings",
            *(settings or ["  none"]),
            "",
            f"Takes: {_takes(rule)}",
            f"Ladder coordinate: {rule.ladder}",
            f"Guarantee: {_guarantee(rule)}",
            f"Paper: {rule.paper}{_needs(rule)}",
            "",
            module,
        ]
    )


def _defaults(rule: type[Rule]) -> dict[str, str]:
    """Return the default of each setting in words, as a file would say it; empty where it has to be given."""
    hints = get_type_hints(rule, include_extras=True)
    found = {}
    for field in fields(rule):  # type: ignore[arg-type]
        units = {mark.name for mark in getattr(hints[field.name], "__metadata__", ()) if isinstance(mark, Unit)}
        value = format_duration(field.default) if "duration" in units and field.default is not MISSING else field.default
        found[field.name] = "" if value is MISSING else f" (default {value})"
    return found
