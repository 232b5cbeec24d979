"""Quantiles of durations from counts in fixed logarithmic buckets, which add up over arms, segments, looks and machines."""

from __future__ import annotations

import numpy as np

from simlab.guardrails.look import BUCKETS, LOWEST, PER_DECADE, Floats, Sums


def quantile_of(counts: Floats, share: float) -> Floats:
    """Return the quantile of bucketed durations in seconds, float64[...]; NaN where there are none.

    Inside a bucket values are spread evenly over its logarithm, so it is right to one bucket: a factor of 10^(1/12), or 21 %.

    Parameters
    ----------
    counts : float64[buckets, ...]
        Observations in each bucket.
    share : float
        Share of the observations at or below the quantile.
    """
    upto = np.cumsum(counts, axis=0)
    wanted = share * upto[-1]
    bucket = np.minimum((upto < wanted).sum(axis=0), BUCKETS - 1)
    here = np.take_along_axis(counts, bucket[None], axis=0)[0]
    below = np.take_along_axis(upto, bucket[None], axis=0)[0] - here
    with np.errstate(divide="ignore", invalid="ignore"):
        within = (wanted - below) / here
        return np.asarray(np.where(upto[-1] > 0, LOWEST * 10 ** ((bucket - 1 + within) / PER_DECADE), np.nan))


def above_pooled(counts: Floats, share: float) -> Sums:
    """Return who is above the quantile of all arms together, as the sums of a proportion.

    If the arms are alike so are these shares, whatever the tail: the test on a median of Mood (1950), at any quantile. The
    quantile is a limit between buckets, the lowest with at least `share` of the observations below.

    Parameters
    ----------
    counts : float64[buckets, parts, streams, arms, lanes]
        Observations of treatment and control, and of others, who are not counted.
    share : float
        Which quantile.
    """
    arms = counts[:, :, :, :2]
    pooled = arms.sum(axis=3, keepdims=True)
    upto = np.cumsum(pooled, axis=0)
    above = (arms * (upto - pooled >= share * upto[-1])).sum(axis=0)
    total = np.concatenate([above, np.zeros_like(above[:, :, :1])], axis=2)
    observations = np.concatenate([arms.sum(axis=0), np.zeros_like(above[:, :, :1])], axis=2)
    return Sums(observations, total, total)
