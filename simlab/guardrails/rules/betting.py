"""A test of a mean between 0 and 1 by betting against it, at every look and without knowing the variance.

Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024). If the mean is at most m,
no sequence of bets l_i >= 0 chosen before X_i makes money on average: W = prod (1 + l_i (X_i - m)) is an e-process, and it
reaches 1 / alpha with probability at most alpha.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from annotated_types import Gt, Lt

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import LOG_E_VALUE, Assumption, Guarantee, Observation, Step, Takes
from simlab.guardrails.rules.intrinsic import Alpha
from simlab.settings import settings
from simlab.ticks import Unit, parse_share


class BettingState(NamedTuple):
    """The wealth, and what the next bet is made from.

    Attributes
    ----------
    log_wealth : float64[streams, lanes]
        ln W.
    looks, total, squares : float64[streams, lanes]
        Looks so far, the sum of their values, and the sum of squared distances from the running means.
    """

    log_wealth: Floats
    looks: Floats
    total: Floats
    squares: Floats


@settings
class Betting:
    """W = prod (1 + l_i (X_i - m)) >= 1 / alpha, for levels X_i in [0, 1] whose mean is at most m when all is well.

    The bets are aGRAPA's, truncated: l_i = (mean - m) / (variance + (mean - m)^2), between 0 and cap / m, from the looks before

        mean = (m + sum X) / (looks + 1),   variance = (min(m, 1 - m)^2 / 4 + sum (X_j - mean_j)^2) / (looks + 1).

    The paper starts them at 1/2 and 1/4, far from a rate of 1 % that is the mean of many requests. For ``harm: below``, 1 - X and
    1 - m take the places of X and m; if m is small that is slow, since a bet must survive X = 1. Values outside [0, 1] are
    unknown. Needs looks whose mean, given the looks before, is at most m; no variance, no distribution.

    Parameters
    ----------
    m : float
        The largest mean that is still harmless; the smallest one for ``harm: below``.
    alpha : float
        Probability of ever alarming when all is well.
    harm : {"above", "below"}
        On which side of m.
    cap : float
        Largest bet, as a part of the one that could lose everything.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(Betting(m=0.25), [0.5, 0.5, 1.0, 1.5]).round(4).tolist()
    [0.0, 0.4055, 1.3218, nan]
    """

    m: Annotated[float, Unit("share", parse_share, "1%"), Gt(0), Lt(1)]
    alpha: Alpha = 0.05
    harm: Literal["above", "below"] = "above"
    cap: Annotated[float, Unit("share", parse_share, "50%"), Gt(0), Lt(1)] = 0.5

    key: ClassVar[str] = "betting"
    takes: ClassVar[Takes] = Takes.LEVEL
    paper: ClassVar[str] = "Waudby-Smith & Ramdas, Estimating means of bounded random variables by betting, JRSS B 2024"
    ladder: ClassVar[str] = "log e-value"
    evidence: ClassVar[str] = LOG_E_VALUE

    @property
    def threshold(self) -> float:
        """Log of 1 / alpha."""
        return -math.log(self.alpha)

    @property
    def guarantee(self) -> Guarantee:
        """Ville's inequality for the wealth."""
        claim = f"alarms with probability at most {self.alpha:g} however often it looks while no mean is {self.harm} {self.m:g}"
        return Guarantee(claim, (Assumption.INDEPENDENT, Assumption.BOUNDED, Assumption.FINAL_DATA), exact=True)

    def with_alpha(self, alpha: float) -> Betting:
        """Return the same test at the error probability `alpha`; the bets are the same."""
        return replace(self, alpha=alpha)

    def initial(self, streams: int, lanes: int, *, every: int) -> BettingState:  # noqa: ARG002
        """Return a wealth of one and no looks."""
        zero = np.zeros((streams, lanes))
        return BettingState(zero, zero, zero, zero)

    def update(self, state: BettingState, seen: Observation) -> Step:
        """Settle one bet."""
        null = self.m if self.harm == "above" else 1 - self.m
        value = seen.value if self.harm == "above" else 1 - seen.value
        value = np.where((value >= 0) & (value <= 1), value, np.nan)
        log_wealth = state.log_wealth + np.log1p(self._bet(state, null) * (value - null))
        looks, total = state.looks + 1, state.total + value
        squares = state.squares + (value - (null + total) / (looks + 1)) ** 2
        return Step(BettingState(log_wealth, looks, total, squares), log_wealth, worse=True)

    def _bet(self, state: BettingState, null: float) -> Floats:
        excess = (null + state.total) / (state.looks + 1) - null
        variance = (min(null, 1 - null) ** 2 / 4 + state.squares) / (state.looks + 1)
        return np.clip(excess / (variance + excess**2), 0.0, self.cap / null)
