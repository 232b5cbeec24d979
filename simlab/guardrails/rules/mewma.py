"""MEWMA: an exponentially weighted mean of several metrics, against its own covariance.

Lowry, Woodall, Champ & Rigdon, "A multivariate exponentially weighted moving average control chart", Technometrics 34 (1992);
their limit h4 is h. Prabhu & Runger, "Designing a multivariate EWMA control chart", Journal of Quality Technology 29 (1997),
tabulate limits for the asymptotic covariance: two metrics with r = 0.1 have a mean run length of 200 looks at h = 8.64.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from annotated_types import Gt, Le

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.guardrails.rules.hotelling import Correlation, points_to_harm, squared_distance
from simlab.settings import settings


class MewmaState(NamedTuple):
    """The means, and how far their covariance still is from the asymptotic one.

    Attributes
    ----------
    mean : float64[streams, lanes]
        Z, one stream a metric, in standard deviations of a look.
    lacking : float64[streams, lanes]
        (1 - r)^(2t): the share of the asymptotic covariance that t looks still lack.
    """

    mean: Floats
    lacking: Floats


@settings
class Mewma:
    """Z = (1 - r) Z + r x; alarm at (2 - r) / r Z' R^-1 Z >= h.

    It watches several metrics (``watch: [errors, latency]``) with correlation matrix R, each turned so that larger is worse, and
    answers the same for all of them. It alarms on an improvement too, and says which of the two it is by the sum of the means.
    Observations are to be independent from look to look and jointly normal with mean 0, variance 1 and the stated correlation
    when all is well. A metric without a value, or with an infinite one, makes the look unknown. It promises nothing.

    Parameters
    ----------
    r : float
        Weight of the newest look, in (0, 1]; at 1 the rule is Hotelling's.
    h : float
        Threshold of T^2, h4 in the paper. It depends on the number of metrics; the one given by default is for two.
    correlation : float
        Between any two metrics, in [0, 1).
    exact_limits : bool
        Divide by the exact covariance of Z after t looks and not by the asymptotic one: soon after the start it alarms sooner.

    Examples
    --------
    >>> rule = Mewma(r=0.1)
    >>> step = rule.update(rule.initial(2, 1, every=60_000), Observation(
    ...     np.array([[3.0], [4.0]]), np.ones((2, 1)), None, None, np.ones((2, 1), dtype=bool), 1, np.array([0]), 7))
    >>> step.statistic.round(4).tolist()
    [[4.75], [4.75]]
    """

    r: Annotated[float, Gt(0), Le(1)] = 0.1
    h: Annotated[float, Gt(0)] = 8.64
    correlation: Correlation = 0.0
    exact_limits: bool = False

    key: ClassVar[str] = "mewma"
    takes: ClassVar[Takes] = Takes.VECTOR
    paper: ClassVar[str] = "Lowry et al., A multivariate exponentially weighted moving average control chart, Technometrics 1992"
    ladder: ClassVar[str] = "T^2, the squared length of Z in standard deviations"

    @property
    def threshold(self) -> float:
        """The limit h."""
        return self.h

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> MewmaState:  # noqa: ARG002
        """Return means of zero that have seen nothing."""
        return MewmaState(np.zeros((streams, lanes)), np.ones((streams, lanes)))

    def update(self, state: MewmaState, seen: Observation) -> Step:
        """Average in one look of all metrics."""
        kept = 1.0 - self.r
        value = np.where(np.isfinite(seen.value), seen.value, np.nan)
        mean = kept * state.mean + self.r * value
        lacking = kept * kept * state.lacking
        statistic = squared_distance(mean, self.correlation) * (2.0 - self.r) / self.r
        if self.exact_limits:
            statistic = statistic / (1.0 - lacking[0])
        worse = np.broadcast_to(points_to_harm(mean), mean.shape)
        return Step(MewmaState(mean, lacking), np.broadcast_to(statistic, mean.shape), worse)
