"""What dependence does to a recording: how long its blocks have to be, and how much less it knows than its ticks suggest.

**Block length.** Politis & White, "Automatic block-length selection for the dependent bootstrap", Econometric Reviews 23 (2004),
corrected by Patton, Politis & White, 28 (2009). With autocovariances R(k), a flat-top window w(x) = min(1, 2 (1 - |x|)) that ends
at M, twice the lag after which sqrt(log10(n)) autocorrelations in a row (at least 5) are below 2 sqrt(log10(n) / n),

    b = (2 G^2 / D)^(1/3) n^(1/3),   G = sum w(k/M) |k| R(k),   D = (4/3) (sum w(k/M) R(k))^2.

**Intervals.** Groups of lanes see the recording with other weights on its blocks (Rubin, "The Bayesian bootstrap", Ann. Stat. 9,
1981), so that groups differ by as much as other recordings of the same traffic would. A probability p whose variance over groups,
their own Monte-Carlo error taken out, is v has the information of n = p (1 - p) / v independent trials. Its interval is the exact
one for that n (Korn & Graubard, "Confidence intervals for proportions with small expected number of positive counts", Survey
Methodology 24, 1998), which is never more than the independent horizons that the recording holds.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaincinv, stdtrit

from simlab.guardrails.look import Bools, Floats, Integers
from simlab.measures.estimates import CONFIDENCE, Estimate

_LEAST_LAGS = 5
_QUIET = 2.0
_METHOD = "Korn-Graubard over reweighted blocks"


def block_length(values: Floats) -> int:
    """Return the block length for a series that is alike at all times, in ticks.

    Parameters
    ----------
    values : float64[ticks]
        Without its cycle; NaN where there is none.

    Returns
    -------
    int
        At least 1, and at most a third of the series; 1 for a constant.
    """
    known = np.isfinite(values)
    n = int(known.sum())
    if n < _LEAST_LAGS * 3 or np.ptp(values[known]) == 0:
        return 1
    centred = np.where(known, values - values[known].mean(), 0.0)
    most = min(n // 3, math.ceil(3 * math.sqrt(n)))
    covariance = _autocovariance(centred, known, 2 * most)
    in_a_row = max(_LEAST_LAGS, math.ceil(math.sqrt(math.log10(n))))
    small = np.abs(covariance[1:] / covariance[0]) < _QUIET * math.sqrt(math.log10(n) / n)
    runs = np.convolve(small, np.ones(in_a_row), mode="valid") == in_a_row
    last = int(np.argmax(runs)) if runs.any() else most
    end = min(2 * max(1, last), len(covariance) - 1)
    lags = np.arange(1, end + 1)
    window = np.minimum(1.0, 2 * (1 - lags / end))
    weighed = window * covariance[1 : end + 1]
    long_run = covariance[0] + 2 * weighed.sum()
    if long_run <= 0:
        return 1
    slope = 2 * (weighed * lags).sum()
    length = (2 * slope**2 / (4 / 3 * long_run**2)) ** (1 / 3) * n ** (1 / 3)
    return int(np.clip(math.ceil(length), 1, most))


def _autocovariance(centred: Floats, known: Bools, lags: int) -> Floats:
    """Return R(0) to R(lags) over the pairs that are there, divided by all that are, so that the sequence stays positive."""
    size = 2 ** math.ceil(math.log2(2 * len(centred)))
    spectrum = np.abs(np.fft.rfft(centred, size)) ** 2
    return np.asarray(np.fft.irfft(spectrum, size)[: lags + 1] / known.sum())


def between_blocks(events: Bools, group: Integers, *, worth: float, confidence: float = CONFIDENCE) -> Estimate:
    """Return a probability over resampled lanes with an interval that knows how little was recorded.

    Parameters
    ----------
    events : bool[lanes]
        Whether it happened.
    group : int64[lanes]
        Lanes of one group see the blocks of the recording with the same weights.
    worth : float
        How many independent horizons the recording holds; no probability below one over it is claimed.
    confidence : float
        Two-sided.

    Returns
    -------
    Estimate
        `n` is the number of independent trials that it is worth, rounded. Where less than one over `worth` was found the value is
        NaN, and the interval says below what it is.
    """
    if not len(events):
        return Estimate(np.nan, 0.0, 1.0, 0, _METHOD, "probability", confidence)
    p = float(events.mean())
    count = np.bincount(group)[np.unique(group)]
    share = np.bincount(group, events)[np.unique(group)] / count
    noise = float((share * (1 - share) / np.maximum(count - 1, 1)).mean())
    variance = max(0.0, float(share.var(ddof=1) if len(share) > 1 else 0.0) - noise) + p * (1 - p) / len(events)
    trials = min(worth, p * (1 - p) / variance) if variance > 0 else worth
    tail, found = (1 - confidence) / 2, p * trials
    low = float(betaincinv(found, trials - found + 1, tail)) if found > 0 else 0.0
    high = float(betaincinv(found + 1, trials - found, 1 - tail)) if found < trials else 1.0
    known = p >= 1 / worth
    return Estimate(
        p if known else np.nan,
        low if known else 0.0,
        max(high, 1 / worth),
        round(trials),
        _METHOD,
        "probability",
        confidence,
    )


def mean_between_blocks(values: Floats, group: Integers, *, unit: str, worth: float, confidence: float = CONFIDENCE) -> Estimate:
    """Return a mean over resampled lanes; what groups differ by is what other recordings would.

    Parameters
    ----------
    values : float64[lanes]
        One number a lane.
    group : int64[lanes]
        As of `between_blocks`.
    unit : str
        Their unit.
    worth : float
        How many independent horizons the recording holds: the degrees of freedom of Student's interval, plus one.
    confidence : float
        Two-sided.
    """
    if not len(values):
        return Estimate(np.nan, -np.inf, np.inf, 0, "Student t over reweighted blocks", unit, confidence)
    there = np.unique(group)
    means = np.bincount(group, values)[there] / np.bincount(group)[there]
    freedom = max(1.0, worth - 1)
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * float(means.std(ddof=1)) if len(means) > 1 else np.inf
    value = float(values.mean())
    return Estimate(value, value - half, value + half, round(worth), "Student t over reweighted blocks", unit, confidence)
