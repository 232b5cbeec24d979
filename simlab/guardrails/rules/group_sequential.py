"""Group-sequential tests: a planned number of looks at equal information, and boundaries that share one error among them.

Pocock, Biometrika 64 (1977); O'Brien & Fleming, Biometrics 35 (1979); Haybittle, Br. J. Radiol. 44 (1971) and Peto et al.,
Br. J. Cancer 34 (1976). All alarm at |Z_k| >= c_k, k = 1..K, with Z_k = sum x_i sqrt(I_i) / sqrt(sum I_i), and differ in c_k.

The ladder coordinate of every one is |Z_k| over the shape c_k / c_K, and the threshold is c_K: at the last look the statistic
is |Z_K| itself, in standard errors. After the last planned look nothing is added: the statistic stays, and the rule is blind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import numpy as np
from annotated_types import Ge, Gt

from simlab.errors import UnitError
from simlab.guardrails.boundaries import boundary_constant, crossing_probability, last_bound
from simlab.guardrails.look import Floats, Integers
from simlab.guardrails.rule import Assumption, Guarantee, Observation, Step, Takes
from simlab.guardrails.rules.intrinsic import Alpha, Sides, gained
from simlab.settings import settings

Z_TESTS = (
    Assumption.INDEPENDENT,
    Assumption.NORMAL,
    Assumption.KNOWN_VARIANCE,
    Assumption.FINAL_DATA,
    Assumption.ALL_LOOKS,
)
"""What any test by Z at planned looks rests on; it lives with counts and an estimated variance as samples grow."""


class LooksState(NamedTuple):
    """Sums over the planned looks.

    Attributes
    ----------
    score, information : float64[streams, lanes]
        Sums of x sqrt(I) and of I.
    looks : int64[streams, lanes]
        Looks so far, at most the planned number.
    """

    score: Floats
    information: Floats
    looks: Integers


class _Design(NamedTuple):
    """A boundary in the ladder coordinate: threshold * (|Z_k| / c_k) + start_k >= threshold; start is -inf where c_k is inf."""

    critical: Floats
    start: Floats
    threshold: float


@settings
class PlannedLooks(ABC):
    """What all tests at planned looks share.

    Parameters
    ----------
    alpha : float
        Probability of ever alarming when all is well, both sides together where `sides` is 2.
    looks : int
        Planned number of looks, K.
    sides : {1, 2}
        1 alarms on harm only; 2 also on an improvement, with a symmetric boundary.
    """

    alpha: Alpha = 0.05
    looks: Annotated[int, Ge(1)]
    sides: Sides = 2

    takes: ClassVar[Takes] = Takes.STANDARDISED
    ladder: ClassVar[str] = "|Z_k| over the boundary's shape c_k / c_K, in standard errors at the last look"

    @abstractmethod
    def critical_values(self) -> Floats:
        """Return c_k, the critical value of |Z_k| at each look, float64[looks]; infinite where it cannot alarm."""

    @property
    def threshold(self) -> float:
        """Critical value at the last look."""
        return _design(self).threshold

    @property
    def guarantee(self) -> Guarantee:
        """The error spent over all planned looks."""
        claim = f"alarms with probability {self._error():.4g} over {self.looks} planned looks, and never after them"
        return Guarantee(claim, (*Z_TESTS, Assumption.EQUAL_INFORMATION), exact=False)

    def _error(self) -> float:
        return self.alpha

    def with_alpha(self, alpha: float) -> Self:
        """Return the same test at the error probability `alpha`."""
        return replace(self, alpha=alpha)

    def initial(self, streams: int, lanes: int, *, every: int) -> LooksState:  # noqa: ARG002
        """Return empty sums."""
        zero = np.zeros((streams, lanes))
        return LooksState(zero, zero, np.zeros((streams, lanes), dtype=np.int64))

    def update(self, state: LooksState, seen: Observation) -> Step:
        """Add one look, if it was planned."""
        planned = state.looks < self.looks
        gain = gained(seen, weights="information")
        score = state.score + np.where(planned, gain.score, 0.0)
        information = state.information + np.where(planned, gain.time, 0.0)
        looks = state.looks + planned
        design = _design(self)
        z = score / np.sqrt(information)
        size = z if self.sides == 1 else np.abs(z)
        # In this order a |Z_k| at the bound gives the threshold itself, without rounding.
        statistic = design.threshold * (size / design.critical[looks - 1]) + design.start[looks - 1]
        return Step(LooksState(score, information, looks), statistic, worse=z > 0)


@lru_cache(maxsize=256)
def _design(rule: PlannedLooks) -> _Design:
    critical = rule.critical_values()
    threshold = float(critical[-1])
    return _Design(critical, np.where(np.isinf(critical), -np.inf, 0.0), threshold)


def _equal(looks: int) -> Floats:
    """Return the information at equal looks."""
    return np.arange(1.0, looks + 1)


@settings
class Pocock(PlannedLooks):
    """|Z_k| >= C at each of K planned looks: the same critical value throughout.

    C makes the whole error `alpha`, by recursive integration for equal information; independent looks of known variance.

    Parameters
    ----------
    alpha : float
        Probability of ever alarming when all is well, both sides together where `sides` is 2.
    looks : int
        Planned number of looks, K.
    sides : {1, 2}
        1 alarms on harm only; 2 also on an improvement.

    Examples
    --------
    >>> round(Pocock(looks=5).threshold, 5)
    2.41318
    """

    key: ClassVar[str] = "pocock"
    paper: ClassVar[str] = "Pocock, Group sequential methods in the design and analysis of clinical trials, Biometrika 1977"
    ladder: ClassVar[str] = "|Z_k|, in standard errors"

    def critical_values(self) -> Floats:
        """Return C at each look."""
        shape = np.ones(self.looks)
        return shape * boundary_constant(shape, _equal(self.looks), alpha=self.alpha, sides=self.sides)


@settings
class OBrienFleming(PlannedLooks):
    """|Z_k| >= C sqrt(K / k) at each of K planned looks: strict at first, nearly a single test at the end.

    C makes the whole error `alpha`, by recursive integration for equal information; independent looks of known variance.

    Parameters
    ----------
    alpha : float
        Probability of ever alarming when all is well, both sides together where `sides` is 2.
    looks : int
        Planned number of looks, K.
    sides : {1, 2}
        1 alarms on harm only; 2 also on an improvement.

    Examples
    --------
    >>> rule = OBrienFleming(looks=5)
    >>> round(rule.threshold, 5)
    2.04007
    >>> rule.critical_values().round(5).tolist()
    [4.56174, 3.22564, 2.63372, 2.28087, 2.04007]
    """

    key: ClassVar[str] = "obrien_fleming"
    paper: ClassVar[str] = "O'Brien & Fleming, A multiple testing procedure for clinical trials, Biometrics 1979"
    ladder: ClassVar[str] = "|Z_k| sqrt(k / K), in standard errors at the last look"

    def critical_values(self) -> Floats:
        """Return C sqrt(K / k)."""
        looks = _equal(self.looks)
        shape = np.sqrt(self.looks / looks)
        return shape * boundary_constant(shape, looks, alpha=self.alpha, sides=self.sides)


@settings
class HaybittlePeto(PlannedLooks):
    """|Z_k| >= 3 at each planned look before the last, where the critical value is near that of a single test.

    For equal information; independent looks of known variance.

    Parameters
    ----------
    alpha : float
        Error probability, both sides together where `sides` is 2: of all looks if `last` is adjusted, else of the last alone.
    looks : int
        Planned number of looks, K.
    sides : {1, 2}
        1 alarms on harm only; 2 also on an improvement.
    early : float
        Critical value before the last look, in standard errors.
    last : {"adjusted", "unadjusted"}
        Adjusted: the last critical value makes the whole error `alpha`, by recursive integration. Unadjusted, as in the papers:
        it is that of a single test at `alpha`, 1.96 at 5 % two-sided, and the whole error, which the guarantee states, is
        somewhat more.

    Raises
    ------
    UnitError
        If the looks before the last spend more than `alpha` and the last is to be adjusted.

    Examples
    --------
    >>> HaybittlePeto(looks=5).critical_values().round(4).tolist()
    [3.0, 3.0, 3.0, 3.0, 1.99]
    >>> HaybittlePeto(looks=5, last="unadjusted").guarantee.claim
    'alarms with probability 0.05332 over 5 planned looks, and never after them'
    """

    early: Annotated[float, Gt(0)] = 3.0
    last: Literal["adjusted", "unadjusted"] = "adjusted"

    key: ClassVar[str] = "haybittle_peto"
    paper: ClassVar[str] = (
        "Haybittle, Repeated assessment of results in clinical trials of cancer treatment, Br. J. Radiol. 1971; "
        "Peto et al., Design and analysis of randomized clinical trials, Br. J. Cancer 1976"
    )

    def __post_init__(self) -> None:
        """Refuse early looks that leave nothing for the last."""
        try:
            self.critical_values()
        except ValueError as error:
            raise UnitError(f"early {self.early:g} is too low: {error}") from error

    def critical_values(self) -> Floats:
        """Return the early value, and the last."""
        earlier = np.full(self.looks - 1, self.early)
        given = earlier if self.last == "adjusted" else earlier[:0]
        final = last_bound(given, _equal(given.size + 1), alpha=self.alpha, sides=self.sides)
        return np.append(earlier, final)

    def _error(self) -> float:
        if self.last == "adjusted":
            return self.alpha
        return crossing_probability(self.critical_values(), _equal(self.looks), sides=self.sides).total

    def with_alpha(self, alpha: float) -> HaybittlePeto:
        """Return the test whose whole error is `alpha`: its last look is adjusted."""
        return replace(self, alpha=alpha, last="adjusted")
