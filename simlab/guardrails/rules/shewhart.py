"""Shewhart chart: one look at a time against limits.

Shewhart, "Economic control of quality of manufactured product" (1931). With three standard deviations on both sides one look
in 370 is outside when all is well. On a level whose spread is that of a proportion it is the p-chart, of a count the u-chart.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Gt

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Assumption, Guarantee, Observation, Step, Takes
from simlab.settings import settings


@settings
class Shewhart:
    """|x| >= sigmas at one look.

    Each look is judged alone, so that only large shifts are found soon. Observations are to be independent and standard normal
    when all is well.

    Parameters
    ----------
    sigmas : float
        Threshold in standard deviations of a look.
    sides : {1, 2}
        1 alarms on harm only, x >= sigmas; 2 also on an improvement.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(Shewhart(sigmas=3), [1.0, -3.5])
    array([1. , 3.5])
    >>> print(Shewhart(sigmas=3).guarantee.claim)
    when all is well the mean run length is 370.4 looks
    """

    sigmas: Annotated[float, Gt(0)] = 3.0
    sides: Literal[1, 2] = 2

    key: ClassVar[str] = "shewhart"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = "Shewhart, Economic control of quality of manufactured product, 1931"
    ladder: ClassVar[str] = "|x|, in standard deviations of a look"

    @property
    def threshold(self) -> float:
        """The width of the limits."""
        return self.sigmas

    @property
    def guarantee(self) -> Guarantee:
        """The geometric run length of independent looks."""
        chance = self.sides * NormalDist().cdf(-self.sigmas)
        looks = 1.0 / chance if chance else math.inf
        claim = f"when all is well the mean run length is {looks:.4g} looks"
        return Guarantee(claim, (Assumption.INDEPENDENT, Assumption.NORMAL, Assumption.KNOWN_VARIANCE), exact=True)

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:  # noqa: ARG002
        """Return a state that holds nothing."""
        return np.zeros((streams, lanes))

    def update(self, state: Floats, seen: Observation) -> Step:
        """Judge one look by itself."""
        if self.sides == 1:
            return Step(state, seen.value, worse=True)
        return Step(state, np.abs(seen.value), worse=seen.value > 0)
