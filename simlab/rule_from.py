"""A rule from the mapping that a study file uses for it, or from code of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from simlab.documents import Document
from simlab.errors import FileErrors, OwnRuleError
from simlab.guardrails.own_rules import Over, own_rule
from simlab.guardrails.registry import rules
from simlab.guardrails.rule import Rule, Takes
from simlab.schemas import read_settings
from simlab.study import RuleChoice, chosen_rule

_FILE = "rule"


def rule(
    source: Mapping[str, Any] | Rule | Callable[..., Any],
    *,
    threshold: float | None = None,
    takes: Takes | str = Takes.STANDARDISED,
    over: Over = "stream",
    start: Any = None,
    name: str | None = None,
) -> Rule:
    """Return the rule that a mapping names, its settings checked as a study's are, or the rule that one's own code makes.

    Parameters
    ----------
    source : mapping, class, function or Rule
        One rule by its name in files, for example ``{"cusum": {"k": 0.5, "h": 4, "sides": 2}}``; or code of one's own, a class
        whose objects have ``update(x) -> statistic`` or a function ``(state, x) -> (state, statistic)``. A rule is returned as
        it is.
    threshold : float, optional
        For code of one's own: the alarm is ``statistic >= threshold``. The other arguments are for such code, too.
    takes : {"standardised", "level"}
        What x is: mean 0 and variance 1 when all is well and larger is worse, or a level in the metric's unit.
    over : {"stream", "lanes"}
        Whether a function takes one number, or all of them, float64[streams, lanes], NaN where there is nothing to judge.
    start : Any
        A function's first state. Over lanes: numbers, which fill arrays, tuples of them, or ``start(streams, lanes)``.
    name : str, optional
        For messages and reports.

    Raises
    ------
    FileErrors
        With every mistake of the mapping, and the nearest known name.
    OwnRuleError
        If no rule can be made of the code.

    Examples
    --------
    >>> rule({"ewma": {"lambda": 0.25, "L": 3}}).threshold
    3.0
    >>> rule(lambda total, x: (total + x, total + x), threshold=9, start=0.0).threshold
    9.0
    """
    if threshold is not None:
        return own_rule(source, threshold=threshold, takes=takes, over=over, start=start, name=name)  # type: ignore[arg-type]
    if not isinstance(source, Mapping):
        return _as_it_is(source)
    chosen = chosen_rule(read_settings(_document(source), RuleChoice))
    if chosen is None:
        raise _refused("rule", f"must say exactly one of {', '.join(rules())}")
    return chosen


def _as_it_is(source: object) -> Rule:
    if isinstance(source, Rule) and not isinstance(source, type):
        return source
    if callable(source) and not isinstance(source, Rule):
        raise OwnRuleError(f"{source!r} needs a threshold: the alarm is statistic >= threshold")
    raise _refused("rule", f"must be a mapping such as {{'cusum': {{'k': 0.5, 'h': 4}}}}, not {source!r}")


def _document(mapping: Mapping[str, Any]) -> Document:
    """Return the mapping as a file would have held it."""
    try:
        data = json.loads(json.dumps(dict(mapping)))
    except (TypeError, ValueError) as error:
        raise _refused("type", f"must hold plain numbers, text, lists and mappings: {error}") from None
    return Document(_FILE, Path(_FILE), data)


def _refused(code: str, problem: str) -> FileErrors:
    return FileErrors([(_FILE, Document(_FILE, Path(_FILE), {}).mistake((), code, problem))])
