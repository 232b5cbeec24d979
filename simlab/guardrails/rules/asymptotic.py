"""The asymptotic confidence sequence: a test of a mean at every look whose spread is learnt from the same looks.

Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", 2023,
theorem 2.2: with the standard deviation sd of n looks, their mean lies within

    sd sqrt(2 (n r^2 + 1) / (n^2 r^2) ln(sqrt(n r^2 + 1) / alpha))

of the truth at all n from a late enough start, with probability about 1 - alpha. Solved for ln(1 / alpha) that is

    n^2 r^2 mean^2 / (2 sd^2 (n r^2 + 1)) - ln(n r^2 + 1) / 2 >= ln(1 / alpha).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from annotated_types import Ge, Gt

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Assumption, Guarantee, Observation, Step, Takes
from simlab.guardrails.rules.intrinsic import Alpha, gained
from simlab.settings import settings

LATE_ENOUGH = 30
"""First look that may be judged. Over 2,000 harmless looks 20 % of streams alarm where 5 % should if the first is look 2, and no
more than should if it is look 15, where looks are normal; exponential ones alarm in 8 % even from look 30 on."""


class SpreadState(NamedTuple):
    """Mean and spread of the looks (Welford 1962).

    Attributes
    ----------
    looks, mean, squares : float64[streams, lanes]
        How many, their mean, and the sum of squared distances from it.
    """

    looks: Floats
    mean: Floats
    squares: Floats


@settings
class AsymptoticCs:
    """Zero outside the asymptotic confidence sequence of the mean of the looks, its spread learnt from them. Two-sided.

    Independent looks of one distribution with a finite variance, which need not be 1. Before look `start` the statistic is -inf:
    so few looks do not tell a spread, and skewed values want more of them. From then on, while all looks have been equal, there
    is no spread: the look is unknown and not counted.

    Parameters
    ----------
    alpha : float
        Probability of ever alarming when all is well, as `start` grows.
    n_opt : float
        Number of looks at which the boundary is tightest: r^2 = (-2 ln alpha + ln(1 - 2 ln alpha)) / n_opt.
    r : float, optional
        Set this instead of `n_opt`.
    start : int
        First look that is judged.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(AsymptoticCs(r=0.5, start=3), [1.0, 2.0, 3.0, 2.0]).round(4).tolist()
    [-inf, -inf, 3.5773, 7.6534]
    """

    alpha: Alpha = 0.05
    n_opt: Annotated[float, Gt(0)] = 100.0
    r: Annotated[float, Gt(0)] | None = None
    start: Annotated[int, Ge(2)] = LATE_ENOUGH

    key: ClassVar[str] = "asymptotic_cs"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = (
        "Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, Time-uniform central limit theory and asymptotic confidence sequences, "
        "2023"
    )
    ladder: ClassVar[str] = "log e-value as samples grow, with r as it is"

    @property
    def threshold(self) -> float:
        """Log of 1 / alpha."""
        return -math.log(self.alpha)

    @property
    def guarantee(self) -> Guarantee:
        """The asymptotic coverage."""
        claim = f"alarms with probability at most about {self.alpha:g} however often it looks from look {self.start} on"
        return Guarantee(claim, (Assumption.INDEPENDENT, Assumption.FINAL_DATA, Assumption.LATE_START), exact=False)

    def with_alpha(self, alpha: float) -> AsymptoticCs:
        """Return the same test at the error probability `alpha`, tuned for the same number of looks unless `r` is set."""
        return replace(self, alpha=alpha)

    def initial(self, streams: int, lanes: int, *, every: int) -> SpreadState:  # noqa: ARG002
        """Return no looks."""
        zero = np.zeros((streams, lanes))
        return SpreadState(zero, zero, zero)

    def update(self, state: SpreadState, seen: Observation) -> Step:
        """Add one look."""
        value = gained(seen, weights="equal").score
        looks = state.looks + 1
        distance = value - state.mean
        mean = state.mean + distance / looks
        squares = state.squares + distance * (value - mean)
        weight = looks * self._r2
        # mean^2 / sd^2 with sd^2 = squares / looks; without a spread it is no number.
        ratio = mean**2 * looks / np.where(squares > 0, squares, np.nan)
        log_e = 0.5 * (looks * weight / (weight + 1) * ratio - np.log1p(weight))
        # A value that is no number must not pass for a look before the start.
        early = (looks < self.start) & np.isfinite(value)
        return Step(SpreadState(looks, mean, squares), np.where(early, -np.inf, log_e), worse=mean > 0)

    @property
    def _r2(self) -> float:
        twice = -2 * math.log(self.alpha)
        return (twice + math.log1p(twice)) / self.n_opt if self.r is None else self.r**2
