"""Estimators. No number leaves this package without an interval, an n and the name of its method."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betaincinv, gammaincinv, stdtrit

from simlab.guardrails.look import Floats
from simlab.inverse import binomial_count

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number that says how sure it is.

    Attributes
    ----------
    value : float
        Point estimate; NaN where there were no data, infinite where a quantile was not reached.
    low, high : float
        Interval at `confidence`; everything possible where there were no data.
    n : int
        Lanes behind it.
    method : str
        How the interval was made.
    unit : str
        Unit of value, low and high.
    confidence : float
        Two-sided coverage of the interval.
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    unit: str
    confidence: float = CONFIDENCE

    def scaled(self, factor: float, *, unit: str) -> Estimate:
        """Return the estimate in another unit."""
        return replace(self, value=self.value * factor, low=self.low * factor, high=self.high * factor, unit=unit)


def proportion(events: int, n: int, *, confidence: float = CONFIDENCE) -> Estimate:
    """Return a probability with its exact interval (Clopper & Pearson 1934)."""
    tail = (1 - confidence) / 2
    low = float(betaincinv(events, n - events + 1, tail)) if events > 0 else 0.0
    high = float(betaincinv(events + 1, n - events, 1 - tail)) if events < n else 1.0
    value = events / n if n else np.nan
    return Estimate(value, low, high, n, "Clopper-Pearson", "probability", confidence)


def mean(values: Floats, *, unit: str, confidence: float = CONFIDENCE, support: tuple[float, float] | None = None) -> Estimate:
    """Return a mean over lanes with Student's interval.

    Where all lanes agree, a spread of nothing would claim certainty: then the interval allows for as many lanes at the ends of
    the support as may have gone unseen (Clopper & Pearson 1934), and without a known support for anything. Where few lanes differ
    from the commonest value, the spread is known from few: the interval then also covers what the exact interval of their share
    allows at their mean.

    Parameters
    ----------
    values : float64[lanes]
        One number a lane.
    unit : str
        Their unit.
    confidence : float
        Two-sided.
    support : (float, float), optional
        Least and largest value there can be.
    """
    n = len(values)
    value = float(values.mean()) if n else np.nan
    if n < 2 or np.ptp(values) == 0:
        if n == 0 or support is None:
            return Estimate(value, -np.inf, np.inf, n, "Student t", unit, confidence)
        unseen = proportion(0, n, confidence=confidence).high
        low, high = value - unseen * (value - support[0]), value + unseen * (support[1] - value)
        return Estimate(value, low, high, n, "Clopper-Pearson on the support", unit, confidence)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * float(values.std(ddof=1)) / np.sqrt(n)
    ends = (value - half, value + half, *_ends_by_share(values, confidence=confidence))
    least, most = support or (-np.inf, np.inf)
    low, high = float(max(least, min(ends))), float(min(most, max(ends)))
    return Estimate(value, low, high, n, "Student t", unit, confidence)


def _ends_by_share(values: Floats, *, confidence: float) -> tuple[float, float]:
    """Return the means at both ends of the exact interval of the share of lanes that differ from the commonest value."""
    found, counts = np.unique(values, return_counts=True)
    commonest = float(found[counts.argmax()])
    others = len(values) - int(counts.max())
    distance = float((values - commonest).sum()) / others
    share = proportion(others, len(values), confidence=confidence)
    return commonest + share.low * distance, commonest + share.high * distance


def ratio(totals: Floats, weights: Floats, *, unit: str, confidence: float = CONFIDENCE) -> Estimate:
    """Return sum(totals) / sum(weights) over lanes, its interval from the linearised residuals (delta method).

    Parameters
    ----------
    totals, weights : float64[lanes]
        Numerator and denominator of each lane.
    unit : str
        Of the ratio.
    confidence : float
        Two-sided.
    """
    if weights.sum() <= 0:
        return Estimate(np.nan, -np.inf, np.inf, len(weights), "delta method", unit, confidence)
    if not totals.any():
        # Without an event the residuals say nothing: take the upper bound of a Poisson count.
        return replace(rate(0, float(weights.sum()), unit=unit, confidence=confidence), n=len(weights))
    value = float(totals.sum() / weights.sum())
    residual = mean((totals - value * weights) / weights.mean(), unit=unit, confidence=confidence)
    low = max(0.0, value + residual.low) if (totals >= 0).all() else value + residual.low
    return replace(residual, value=value, low=low, high=value + residual.high, method="delta method")


def rate(events: int, exposure: float, *, unit: str, confidence: float = CONFIDENCE) -> Estimate:
    """Return a Poisson rate with its exact interval (Garwood 1936); `n` is the number of events.

    Parameters
    ----------
    events : int
        Counted.
    exposure : float
        Time in which they were counted, in the unit's own.
    unit : str
        Of the rate.
    confidence : float
        Two-sided.
    """
    if exposure <= 0:
        return Estimate(np.nan, 0.0, np.inf, events, "Garwood", unit, confidence)
    tail = (1 - confidence) / 2
    low = float(gammaincinv(events, tail)) if events else 0.0
    high = float(gammaincinv(events + 1, 1 - tail))
    return Estimate(events / exposure, low / exposure, high / exposure, events, "Garwood", unit, confidence)


def quantile(values: Floats, p: float, *, unit: str, confidence: float = CONFIDENCE) -> Estimate:
    """Return a quantile over lanes with the distribution-free interval of its order statistics.

    Parameters
    ----------
    values : float64[lanes]
        May hold infinity for what never happened, so that a quantile can be "not reached".
    p : float
        In (0, 1).
    unit : str
        Their unit.
    confidence : float
        At least this two-sided coverage.
    """
    n = len(values)
    if n == 0:
        return Estimate(np.nan, -np.inf, np.inf, 0, "order statistics", unit, confidence)
    ordered = np.sort(values)
    tail = (1 - confidence) / 2
    below = binomial_count(tail, n, p)
    above = binomial_count(1 - tail, n, p) + 1
    value = float(ordered[min(n - 1, int(np.ceil(n * p)) - 1)])
    # X_(k) is at or below the quantile when at least k values are: P(Binomial(n, p) <= k - 1) <= tail.
    low = float(ordered[below - 1]) if below >= 1 else -np.inf
    high = float(ordered[above - 1]) if above <= n else np.inf
    return Estimate(value, low, high, n, "order statistics", unit, confidence)
