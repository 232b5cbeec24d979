"""Burn rate: how many times faster than planned an error budget is spent, over a long and a short window.

Beyer, Murphy, Rensin, Kawahara & Thorne, "The Site Reliability Workbook" (2018), ch. 5, "Multiwindow, Multi-Burn-Rate Alerts".
With an objective SLO the budget is 1 - SLO, and a constant share of errors, after a long window of healthy traffic, is told after

    (1 - SLO) / errors * window * burn.

The long window keeps blips from alarming, the short one ends the alarm soon after the errors end. Several pairs of burn and
window are several guardrails; the book's are 14.4 over 1h, 6 over 6h and 1 over 3d.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from annotated_types import Gt, Lt

from simlab.errors import UnitError
from simlab.guardrails.look import Bools, Floats
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings
from simlab.ticks import Period, Unit, format_duration, parse_share

_DECIMALS = 10**12


class BurnState(NamedTuple):
    """The looks of the long window; a look has the place of its time, modulo the window.

    Attributes
    ----------
    bad, observations : float64[looks, streams, lanes]
        Bad events, and the observations that they are out of.
    at : float64[looks, streams, lanes]
        Milliseconds from the start to the look that stands there; -inf if none does.
    """

    bad: Floats
    observations: Floats
    at: Floats


def _whole_looks(window: int, every: int, name: str) -> int:
    if window % every:
        told = f"{name} {format_duration(window)} must be a whole number of looks, each of {format_duration(every)}"
        raise UnitError(told)
    return window // every


@settings
class BurnRate:
    """bad / observations / (1 - SLO) >= burn, over the long window and over the short one.

    A window holds the looks of its time that came: a look that is missing leaves a gap, and its data count when they come.
    While less time has passed than a window is long, it holds what there has been so far, so that a few errors at the start can
    alarm: a `warmup` waits for more. Without observations in a look, or with counts that are not finite, there is no verdict. It
    assumes nothing and promises nothing.

    Settings are taken as decimals of at most 12 places, so that the budget is an exact fraction p / q; bad * q and
    observations * p are whole numbers, exact up to 2^53, and their quotient is rounded once. A burn that is equal to `burn` as a
    decimal therefore reaches it, and one below does not.

    Parameters
    ----------
    slo : float
        The share of observations that must be good.
    burn : float
        Threshold: how many times the budgeted rate of bad events. The budget of a period is gone after period / burn.
    long : int
        The long window in milliseconds, a whole number of looks.
    short : int, optional
        The short window, a whole number of looks, at most the long one; a twelfth of it if not given.

    Raises
    ------
    UnitError
        If the short window is longer than the long one, or by `initial` if a window is not a whole number of looks.

    Examples
    --------
    >>> rule = BurnRate(slo=0.999, burn=14.4)
    >>> counts, exposures = (np.reshape(number, (1, 1, 1, 1)) for number in (144.0, 10_000.0))
    >>> nothing = np.full((1, 1), np.nan)
    >>> seen = Observation(nothing, nothing, counts, None, np.array([[True]]), 1, np.array([0]), 7, exposures, elapsed=60_000)
    >>> rule.update(rule.initial(1, 1, every=60_000), seen).statistic.tolist(), 0.0144 / (1 - 0.999) >= 14.4
    ([[14.4]], False)
    """

    slo: Annotated[float, Unit("share", parse_share, "99.9%"), Gt(0), Lt(1)] = 0.999
    burn: Annotated[float, Gt(0)] = 14.4
    long: Period = 3_600_000
    short: Period | None = None

    key: ClassVar[str] = "burn_rate"
    takes: ClassVar[Takes] = Takes.EVENTS
    paper: ClassVar[str] = "Beyer et al., The Site Reliability Workbook, ch. 5: Alerting on SLOs, 2018"
    ladder: ClassVar[str] = "smaller burn rate of the two windows, in budgets"

    def __post_init__(self) -> None:
        """Refuse windows in the wrong order, and a budget finer than can be told apart."""
        if self.short is not None and self.short > self.long:
            raise UnitError(f"short {format_duration(self.short)} must be at most long, {format_duration(self.long)}")
        if not 0 < self._budget < 1:
            raise UnitError(f"slo {self.slo!r} leaves no budget in 12 decimals")

    @property
    def threshold(self) -> float:
        """The burn rate."""
        return self.burn

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> BurnState:
        """Return windows without a look."""
        _whole_looks(self._short, every, "short")
        none = np.zeros((_whole_looks(self.long, every, "long"), streams, lanes))
        return BurnState(none, none, np.full_like(none, -np.inf))

    def update(self, state: BurnState, seen: Observation) -> Step:
        """Put one look in its place and judge both windows."""
        if seen.counts is None or seen.exposures is None:
            return Step(state, np.full(seen.valid.shape, np.nan), worse=True)
        place = seen.elapsed * len(state.at) // self.long % len(state.at)
        state = BurnState(*(array.copy() for array in state))
        state.bad[place], state.observations[place], state.at[place] = seen.counts[0, 0], seen.exposures[0, 0], seen.elapsed
        burns = (self._burn(state, state.at > seen.elapsed - window) for window in (self.long, self._short))
        return Step(state, np.minimum(*burns), worse=True)

    @property
    def _short(self) -> int:
        return self.long // 12 if self.short is None else self.short

    @property
    def _budget(self) -> Fraction:
        return 1 - Fraction(round(self.slo * _DECIMALS), _DECIMALS)

    def _burn(self, state: BurnState, inside: Bools) -> Floats:
        bad, observations = (np.where(inside, array, 0.0).sum(axis=0) for array in state[:2])
        budget = self._budget
        burn = (bad * budget.denominator) / (observations * budget.numerator)
        return np.where(np.isfinite(burn), burn, np.nan)
