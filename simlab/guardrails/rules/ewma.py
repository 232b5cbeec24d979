"""EWMA: an exponentially weighted mean of the looks, against its own standard deviation.

Roberts, "Control chart tests based on geometric moving averages", Technometrics 1 (1959). Lucas & Saccucci, "Exponentially
weighted moving average control schemes", Technometrics 32 (1990), tabulate its run lengths with asymptotic limits.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from annotated_types import Gt, Le

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings


class EwmaState(NamedTuple):
    """The mean, and how far its variance still is from the asymptotic one.

    Attributes
    ----------
    mean : float64[streams, lanes]
        z, in standard deviations of a look.
    lacking : float64[streams, lanes]
        (1 - lambda)^(2t): the share of the asymptotic variance that t looks still lack.
    """

    mean: Floats
    lacking: Floats


@settings
class Ewma:
    """z = (1 - lambda) z + lambda x; alarm at |z| >= L sqrt(lambda / (2 - lambda)).

    Observations are to be independent with mean 0 and variance 1 when all is well; L has the unit of a standard deviation of z,
    and so has the statistic. It promises no error probability.

    Parameters
    ----------
    lambda_ : float
        Weight of the newest look, in (0, 1] (``lambda`` in files); at 1 the rule is Shewhart's.
    L : float
        Threshold in standard deviations of z.
    sides : {1, 2}
        1 alarms on harm only, z >= L sd; 2 also on an improvement.
    exact_limits : bool
        Divide by the exact standard deviation of z after t looks, sqrt(lambda / (2 - lambda) (1 - (1 - lambda)^(2t))), and not by
        the asymptotic one: limits are narrower at the start.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(Ewma(lambda_=0.4, L=3), [1.0, -1.0]).round(4)
    array([0.8 , 0.32])
    >>> statistics(Ewma(lambda_=0.4, L=3, exact_limits=True), [1.0, -1.0]).round(4)
    array([1.   , 0.343])
    """

    lambda_: Annotated[float, Gt(0), Le(1)] = 0.25
    L: Annotated[float, Gt(0)] = 3.0
    sides: Literal[1, 2] = 2
    exact_limits: bool = False

    key: ClassVar[str] = "ewma"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = "Roberts, Control chart tests based on geometric moving averages, Technometrics 1959"
    ladder: ClassVar[str] = "|z|, in standard deviations of z"

    @property
    def threshold(self) -> float:
        """The width L of the limits."""
        return self.L

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> EwmaState:  # noqa: ARG002
        """Return a mean of zero that has seen nothing."""
        return EwmaState(np.zeros((streams, lanes)), np.ones((streams, lanes)))

    def update(self, state: EwmaState, seen: Observation) -> Step:
        """Average in one look."""
        kept = 1.0 - self.lambda_
        mean = kept * state.mean
        mean += self.lambda_ * seen.value
        lacking = kept * kept * state.lacking
        scaled = mean / math.sqrt(self.lambda_ / (2.0 - self.lambda_))
        if self.exact_limits:
            scaled = scaled / np.sqrt(1.0 - lacking)
        if self.sides == 1:
            return Step(EwmaState(mean, lacking), scaled, worse=True)
        return Step(EwmaState(mean, lacking), np.abs(scaled), worse=scaled > 0)
