"""What is tested: a rule behind a guardrail, the lens through which it is shown streams, and its claims.

Whatever a property is given becomes one `Subject`, and everything that is asked of it goes through `Guardrail.step`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Floats, Integers
from simlab.guardrails.own_rules import own_rule
from simlab.guardrails.rule import Rule, Takes
from simlab.rule_from import rule as read_rule
from simlab.testing.claims import Claims, claims_of
from simlab.testing.shown import METRIC, MINUTE, Lens, Stream, lens_for, make_looks
from simlab.testing.traces import Trace, trace

Over = Literal["stream", "lanes", "series"]
Series = Callable[[Floats], ArrayLike]
"""From float64[looks, lanes] to the statistic, or the alarm, at each look."""


@dataclass(frozen=True)
class Subject:
    """A rule as properties see it.

    Attributes
    ----------
    guardrail : Guardrail
        The rule behind a signal that fits the lens.
    lens : Lens
        How latent numbers become what the rule takes.
    claims : Claims
        What is claimed of it.
    series : callable, optional
        The whole-series function that the rule was made of.
    """

    guardrail: Guardrail
    lens: Lens
    claims: Claims
    series: Series | None = None

    @property
    def counts(self) -> bool:
        """Whether its rule takes counts or nothing, so that a value cannot be anything but a number."""
        return self.lens.takes not in {Takes.STANDARDISED, Takes.LEVEL, Takes.VECTOR}

    @property
    def rule(self) -> Rule:
        """The rule itself."""
        return self.guardrail.rule

    @property
    def name(self) -> str:
        """How it is called in messages."""
        return str(getattr(self.rule, "key", type(self.rule).__name__))

    def at(self, rule: Any) -> Subject:
        """Return the same subject with another rule."""
        return replace(self, guardrail=replace(self.guardrail, rule=rule if hasattr(rule, "update") else as_rule(rule)))

    def watching(self, *, by: Literal["segment"] | None = None, metric: str = METRIC, scale: float = 1.0) -> Guardrail:
        """Return its guardrail over another split, name or unit."""
        lens = replace(self.lens, center=self.lens.center * scale, spread=self.lens.spread * scale)
        return replace(self.guardrail, signal=lens.signal(by=by, metric=metric))

    def trace(self, streams: Sequence[Stream], *, lanes: Integers | None = None) -> Trace:
        """Return what it answers to lanes of streams, from its initial state."""
        return trace(self.guardrail, make_looks([streams], self.lens, lanes=lanes))


def subject(given: Any, *, claims: Claims | None = None, lens: Lens | None = None, **how: Any) -> Subject:
    """Return the subject for whatever is to be tested.

    Parameters
    ----------
    given : Subject, Guardrail, Rule, mapping, class or callable
        See `as_rule`.
    claims : Claims, optional
        Instead of the catalogue's, or of what holds for all.
    lens : Lens, optional
        Instead of the plain one for what the rule takes.
    **how
        As in `as_rule`, for classes, functions and detectors.
    """
    if isinstance(given, Subject):
        return given
    rule = given.rule if isinstance(given, Guardrail) else as_rule(given, **how)
    seen_through = lens or lens_for(rule)
    if isinstance(given, Guardrail):
        guardrail = replace(given, signal=seen_through.signal(), every=MINUTE, tick=MINUTE)
    else:
        guardrail = Guardrail(seen_through.signal(), rule, MINUTE)
    series = given if how.get("over") == "series" else None
    return Subject(guardrail, seen_through, claims or claims_of(rule), series)


def as_rule(given: Any, *, threshold: float = 1.0, over: Over = "stream", **how: Any) -> Rule:
    """Return a rule from whatever a team has.

    Parameters
    ----------
    given : Rule, mapping, class, function or detector
        A rule; what a study says of one; a class with ``update(x) -> statistic``; a function ``(state, x) -> (state,
        statistic)``; a function of a whole series; or a detector of the river package, whose alarm is ``drift_detected``.
    threshold : float
        Of a class or function: the alarm is ``statistic >= threshold``. At 1, True alarms.
    over : {"stream", "lanes", "series"}
        What a function is of: one number at a time, float64[streams, lanes] at a time, or float64[looks, lanes] of the whole
        series, answered look by look.
    **how
        As in `simlab.guardrails.own_rules.own_rule`: takes, start, name.

    Raises
    ------
    FileErrors, OwnRuleError
        If no rule can be made of it.
    """
    if isinstance(given, Rule) and not isinstance(given, type):
        return given
    if isinstance(given, Mapping):
        return read_rule(given)
    if hasattr(given, "drift_detected") and not isinstance(given, type):
        how.setdefault("name", type(given).__name__)
        return own_rule(partial(Detector, given), threshold=threshold, **how)
    if over == "series":
        how.setdefault("name", getattr(given, "__name__", "series"))
        return own_rule(partial(SoFar, given), threshold=threshold, **how)
    return own_rule(given, threshold=threshold, over=over, **how)


class Detector:
    """A river detector as an object that judges one stream: 1 at looks at which it has detected a drift."""

    def __init__(self, detector: Any) -> None:
        self.detector = copy.deepcopy(detector)

    def update(self, x: float) -> float:
        """Take one value."""
        self.detector.update(x)
        return float(self.detector.drift_detected)


class SoFar:
    """A function of a whole series as an object that knows only the series so far."""

    def __init__(self, function: Series) -> None:
        self.function = function
        self.values: tuple[float, ...] = ()

    def update(self, x: float) -> float:
        """Take one value, and return what the function says of the last look."""
        self.values = (*self.values, x)
        return float(np.asarray(self.function(np.array(self.values)[:, None]))[-1, 0])
