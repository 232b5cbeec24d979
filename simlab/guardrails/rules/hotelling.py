"""Hotelling's T^2: several metrics at once, one look at a time.

Hotelling, "Multivariate quality control", in Eisenhart, Hastay & Wallis (eds), Techniques of Statistical Analysis (1947). With
z the standardised values of p metrics and R their correlation, T^2 = z' R^-1 z is chi-square with p degrees of freedom when all
is well. Where means and covariance were learnt from m looks it is p (m + 1)(m - 1) / (m (m - p)) times an F(p, m - p) value
(Tracy, Young & Mason, "Multivariate control charts for individual observations", Journal of Quality Technology 24, 1992).
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Lt

from simlab.errors import UnitError
from simlab.guardrails.look import Bools, Floats
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings
from simlab.ticks import Probability, Unit, parse_share

Correlation = Annotated[float, Unit("number", parse_share, "0.3"), Ge(0), Lt(1)]


def squared_distance(values: Floats, correlation: float) -> Floats:
    """Return z' R^-1 z over the first axis, float64[lanes], for a matrix R with one correlation r between any two metrics.

    By the formula of Sherman & Morrison, (sum z^2 - r (sum z)^2 / (1 + (p - 1) r)) / (1 - r).

    Parameters
    ----------
    values : float64[metrics, lanes]
        Standardised.
    correlation : float
        r, in [0, 1).
    """
    common = correlation / (1.0 + (len(values) - 1) * correlation)
    total = _in_turn(values)
    # Rounding alone could leave less than nothing.
    return np.maximum(0.0, (_in_turn(values * values) - common * total * total) / (1.0 - correlation))


def _in_turn(values: Floats) -> Floats:
    """Return the sum over the first axis, added in turn: `sum` adds in another order where there is one lane only."""
    return np.asarray(np.cumsum(values, axis=0)[-1])


def points_to_harm(values: Floats) -> Bools:
    """Return whether the metrics taken together are worse, bool[lanes]: the sign of 1' R^-1 z, whatever the correlation."""
    return np.asarray(_in_turn(values) > 0)


@settings
class Hotelling:
    """-ln P(T^2 as large as this or larger | all is well) >= -ln alpha, at one look.

    It watches several metrics (``watch: [errors, latency]``), each turned so that larger is worse, and answers the same for all
    of them. It alarms on an improvement too, and says which of the two it is by the sum of the values. Observations are to be
    independent from look to look and jointly normal with the stated correlation when all is well. A metric without a value, or
    with an infinite one, makes the look unknown. It promises nothing, since the correlation is a setting and not measured.

    Parameters
    ----------
    alpha : float
        Probability of an alarm at one look when all is well; the mean run length is 1 / alpha looks.
    correlation : float
        Between any two metrics, in [0, 1).
    learnt_from : int
        0 where mean and variance are known. Otherwise the number of looks that they were learnt from, more than there are
        metrics: F takes the place of chi-square, exactly for one metric and nearly for several.

    Raises
    ------
    UnitError
        By `initial`, if there are not more looks learnt from than metrics.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> rule = Hotelling(alpha=0.005)
    >>> step = rule.update(rule.initial(2, 1, every=60_000), Observation(
    ...     np.array([[3.0], [1.2655]]), np.ones((2, 1)), None, None, np.ones((2, 1), dtype=bool), 1, np.array([0]), 7))
    >>> step.statistic.round(4).tolist(), round(rule.threshold, 4)
    ([[5.3007], [5.3007]], 5.2983)
    """

    alpha: Probability = 0.005
    correlation: Correlation = 0.0
    learnt_from: Annotated[int, Ge(0)] = 0

    key: ClassVar[str] = "hotelling"
    takes: ClassVar[Takes] = Takes.VECTOR
    paper: ClassVar[str] = "Hotelling, Multivariate quality control, 1947"
    ladder: ClassVar[str] = "-ln of the probability of a T^2 as large, when all is well"

    @property
    def threshold(self) -> float:
        """Minus the log of alpha."""
        return -math.log(self.alpha)

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:  # noqa: ARG002
        """Return a state that holds nothing."""
        if 0 < self.learnt_from <= streams:
            raise UnitError(f"learnt_from {self.learnt_from} must be above the number of metrics, {streams}")
        return np.zeros((streams, lanes))

    def update(self, state: Floats, seen: Observation) -> Step:
        """Judge one look of all metrics by itself."""
        distance = squared_distance(seen.value, self.correlation)
        statistic = -self._log_tail(distance, len(seen.value))
        return Step(state, np.broadcast_to(statistic, state.shape), np.broadcast_to(points_to_harm(seen.value), state.shape))

    def _log_tail(self, distance: Floats, metrics: int) -> Floats:
        """Return the log of the probability of a distance at least as large, float64[lanes]; NaN for one that is not finite."""
        from scipy.special import fdtrc, gammaincc

        distance = np.where(np.isfinite(distance), distance, np.nan)
        if not self.learnt_from:
            return np.log(gammaincc(0.5 * metrics, 0.5 * distance))
        looks, left = float(self.learnt_from), float(self.learnt_from - metrics)
        return np.log(fdtrc(metrics, left, distance * looks * left / (metrics * (looks + 1.0) * (looks - 1.0))))
