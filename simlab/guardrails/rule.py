"""The contract of a rule: frozen settings, explicit state, one statistic in a ladder coordinate.

A rule is given one `Observation` a look and answers with its statistic. Larger is worse, and the alarm is ``statistic >=
threshold``. State is a (nested) named tuple of arrays whose last two axes are streams and lanes, or a plain array of that
shape, so that it can be copied, reset by lane, pickled and restored without knowing the rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from simlab.guardrails.look import Bools, Floats, Integers

State = Any
"""A tuple of arrays [..., streams, lanes], named or not and nested at will, or one such array."""


class Takes(Enum):
    """The observation that a rule is made for; a signal that gives another one is a configuration error."""

    STANDARDISED = "standardised"
    LEVEL = "level"
    ARM_COUNTS = "arm counts"
    EVENT_COUNTS = "event counts"
    EVENTS = "events of observations"
    ARRIVALS = "arrivals"
    VECTOR = "several metrics, standardised"
    NOTHING = "nothing"


class Assumption(Enum):
    """What a guarantee rests on; the words are those that a report prints where it does not hold."""

    INDEPENDENT = "looks are independent"
    NORMAL = "observations are standard normal when all is well"
    KNOWN_VARIANCE = "the variance is known and not estimated from the same data"
    BOUNDED = "values are bounded"
    CONSTANT_SHARES = "the planned shares of the arms are constant"
    PLANNED_LOOKS = "there are no more looks than planned"
    ALL_LOOKS = "all planned looks come"
    LATE_START = "enough looks come before the first that is judged"
    EQUAL_INFORMATION = "looks come as planned, each with the same information"
    FINAL_DATA = "data are not revised after a look"
    COMMON_PAST = "each guardrail's evidence is fair given all that any of them has seen"


@dataclass(frozen=True)
class Guarantee:
    """What a rule promises when all is well, and on what condition.

    Attributes
    ----------
    claim : str
        In one sentence, with its numbers.
    assumptions : tuple of Assumption
        All of them must hold.
    exact : bool
        False if the claim holds only as samples grow.
    """

    claim: str
    assumptions: tuple[Assumption, ...]
    exact: bool


@dataclass(frozen=True)
class Observation:
    """One look as a rule sees it.

    Attributes
    ----------
    value : float64[streams, lanes]
        Standardised value (mean 0, variance 1 when all is well, larger is worse), level, or whether nothing arrived (1 or 0), as
        the rule takes it; NaN where not `valid`. A rule that takes several metrics has one stream for each.
    information : float64[streams, lanes]
        1 / SE^2 of the unstandardised difference; NaN for a level.
    counts : float64[parts, 2, streams, lanes] or None
        Users first seen in treatment and in control, for a rule that takes arm counts; the metric's events in the two arms for
        one that takes event counts, control first where fewer events are worse; [1, 1, streams, lanes] for one that takes events
        of observations: the bad ones, which are all others where fewer events are worse.
    shares : float64[parts, 2, lanes] or None
        Planned shares of the two arms in each part, for a rule that takes arm counts.
    valid : bool[streams, lanes]
        Where there is something to judge. A rule's new state is kept only there.
    time : int
        Tick of the evaluation.
    lanes : int64[lanes]
        Lane numbers.
    seed : int
        For rules that draw numbers of their own.
    exposures : float64[parts, 2, streams, lanes] or None
        Observations behind the event counts, in the same order.
    elapsed : int
        Milliseconds from tick 0 to this look, for rules that count time.
    """

    value: Floats
    information: Floats
    counts: Floats | None
    shares: Floats | None
    valid: Bools
    time: int
    lanes: Integers
    seed: int
    exposures: Floats | None = None
    elapsed: int = 0


class Step(NamedTuple):
    """The new state of a rule and its statistic.

    Attributes
    ----------
    state : State
        To be passed to the next update.
    statistic : float64[streams, lanes]
        In the rule's ladder coordinate: the alarm is ``statistic >= rule.threshold``.
    worse : bool[streams, lanes] or bool
        Whether the evidence points to harm rather than to an improvement.
    """

    state: State
    statistic: Floats
    worse: Bools | bool


@runtime_checkable
class Rule(Protocol):
    """Frozen settings of a stopping rule, and how it is stepped over lanes."""

    key: ClassVar[str]
    """Its name in files."""
    takes: ClassVar[Takes]
    """What it takes; one whose settings decide that has another one in the instance, and says so in ``takes_also``."""
    paper: ClassVar[str]
    """Its source: authors, title, year."""
    ladder: ClassVar[str]
    """Its ladder coordinate and unit; ``none`` if a lower threshold is not passed sooner for certain."""

    @property
    def threshold(self) -> float:
        """Where it alarms, in its ladder coordinate."""

    @property
    def guarantee(self) -> Guarantee | None:
        """What it promises; None if it promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> State:
        """Return the state before the first look; `every` is the cadence in milliseconds."""

    def update(self, state: State, seen: Observation) -> Step:
        """Return the new state and the statistic; must not change `state`."""


@runtime_checkable
class SpendsError(Protocol):
    """A rule whose strictness is an error probability, so that a policy can share one budget among several."""

    def with_alpha(self, alpha: float) -> Rule:
        """Return the same rule at the error probability `alpha`."""


def learns(rule: Rule) -> bool:
    """Return whether a rule has to learn before it can judge, which it says by ``learns: ClassVar[bool] = True``.

    Its statistic is not a number until then, and its state is kept wherever it was shown something; that of others is kept only
    where they have a verdict.
    """
    return getattr(rule, "learns", False)


def taken_in(rule: Rule, seen: Observation, statistic: Floats) -> Bools:
    """Return where a rule's new state is kept, bool[streams, lanes]: where it has a verdict, or learns."""
    return np.asarray(seen.valid & (~np.isnan(statistic) | learns(rule)))


NO_LADDER = "none"
"""What a rule says of its ladder coordinate where it has none."""

LOG_E_VALUE = "log e-value"


def is_e_process(rule: Rule | type[Rule]) -> bool:
    """Return whether a rule's statistic is the logarithm of an e-process, so that a policy can merge it with others.

    An e-process starts at 1, and where all is well its mean is at most 1 whenever one stops looking. A rule says that it is one
    by ``evidence: ClassVar[str] = LOG_E_VALUE``. It may say so only if that holds exactly under the assumptions of its guarantee
    and whatever its error probability: not as samples grow, and not for a detector that starts anew.
    """
    return getattr(rule, "evidence", None) == LOG_E_VALUE


def choose(mask: ArrayLike, then: State, other: State) -> State:
    """Return `then` where `mask` holds and `other` elsewhere, through nested states.

    Parameters
    ----------
    mask : bool, broadcast against [streams, lanes]
        Which entries to take from `then`.
    then, other : State
        Two states of the same rule.
    """
    if isinstance(other, tuple):
        chosen = (choose(mask, a, b) for a, b in zip(then, other, strict=True))
        return type(other)(*chosen) if hasattr(other, "_fields") else tuple(chosen)
    if then is other:
        return other
    return np.where(mask, then, other)
