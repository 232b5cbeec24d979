"""Shiryaev-Roberts: the likelihood ratios of a change at every past look, summed.

Shiryaev, "The problem of the most rapid detection of a disturbance in a stationary process", Soviet Math. Doklady 2 (1961);
Roberts, "A comparison of some control chart procedures", Technometrics 8 (1966). Moustakides, Polunchenko & Tartakovsky,
"Numerical comparison of CUSUM and Shiryaev-Roberts procedures for detecting changes in distributions", Communications in
Statistics, Theory and Methods 38 (2009), tabulate its run lengths.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Gt

from simlab.compiled import compiled
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Assumption, Guarantee, Observation, Step, Takes
from simlab.rows import WORK, fill_exponentials, fill_logarithms
from simlab.settings import settings


@compiled
def _multiplied(before: Floats, value: Floats, theta: float, log_r: Floats) -> None:
    """Fill `log_r` [streams, lanes] with log((1 + R) exp(theta x - theta^2 / 2))."""
    streams, lanes = log_r.shape
    work, x, other = np.empty((WORK, lanes)), np.empty(lanes), np.empty(lanes)
    for stream in range(streams):
        for lane in range(lanes):
            x[lane] = -abs(before[stream, lane])
        fill_exponentials(x, other, work)
        for lane in range(lanes):
            x[lane] = 1.0 + other[lane]
        fill_logarithms(x, other, work)
        for lane in range(lanes):
            log_one_more = max(before[stream, lane], 0.0) + other[lane]
            log_r[stream, lane] = log_one_more + (theta * value[stream, lane] - 0.5 * theta * theta)


@settings
class ShiryaevRoberts:
    """R = (1 + R) exp(theta x - theta^2 / 2) >= A, from R = 0, kept as its logarithm.

    R - t is a martingale when observations are independent and standard normal, so that the mean run length is then at least A.

    Parameters
    ----------
    theta : float
        The shift to be found soonest, in standard deviations of a look.
    A : float
        Threshold of R, in looks: a bound on the mean run length when all is well. The ladder coordinate is its logarithm.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(ShiryaevRoberts(theta=1, A=100), [0.5, 0.5, 1.5]).round(4)
    array([0.    , 0.6931, 2.0986])
    """

    theta: Annotated[float, Gt(0)] = 1.0
    A: Annotated[float, Gt(0)] = 500.0

    key: ClassVar[str] = "shiryaev_roberts"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = "Roberts, A comparison of some control chart procedures, Technometrics 1966"
    ladder: ClassVar[str] = "log R"

    @property
    def threshold(self) -> float:
        """Log of A."""
        return math.log(self.A)

    @property
    def guarantee(self) -> Guarantee:
        """The martingale bound on the mean run length."""
        claim = f"when all is well the mean run length is at least {self.A:g} looks"
        return Guarantee(claim, (Assumption.INDEPENDENT, Assumption.NORMAL, Assumption.KNOWN_VARIANCE), exact=True)

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:  # noqa: ARG002
        """Return log R of R = 0."""
        return np.full((streams, lanes), -np.inf)

    def update(self, state: Floats, seen: Observation) -> Step:
        """Multiply in one look."""
        log_r = np.empty(state.shape)
        _multiplied(state, seen.value, self.theta, log_r)
        return Step(log_r, log_r, worse=True)
