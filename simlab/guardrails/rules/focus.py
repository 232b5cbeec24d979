"""FOCuS: the generalised likelihood ratio over every past change point, exact, at little cost.

Romano, Eckley, Fearnhead & Rigaill, "Fast online changepoint detection via functional pruning CUSUM statistics", JMLR 24 (2023),
for a known mean before the change (their FOCuS0). For an upward change of size mu the best change point k minimises
S_k - k mu / 2, S the running sum. Only the corners of the lower convex hull of (k, S_k) that are followed by a rise can ever do
so, and on noise there are about (log t) / 2 of them.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from annotated_types import Gt

from simlab.compiled import compiled
from simlab.guardrails.look import Floats, Integers
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings

CORNERS = 32
"""Corners kept. Noise needs 8 or so after a million looks; a mean that climbs for thousands of looks may need more, and then the
state says how much of the statistic may be missing."""


class Hull(NamedTuple):
    """The change points that may still be the best one, oldest first.

    Attributes
    ----------
    at : float64[CORNERS, streams, lanes]
        Looks before the change.
    total : float64[CORNERS, streams, lanes]
        Sum of the looks before the change.
    used : int64[streams, lanes]
        How many there are.
    lost : float64[streams, lanes]
        Nats by which the log likelihood ratio may be too small, now or later, for corners that were given up; a bound.
    """

    at: Floats
    total: Floats
    used: Integers
    lost: Floats


class FocusState(NamedTuple):
    """Running sums and the change points of either direction.

    Attributes
    ----------
    looks, total : float64[streams, lanes]
        Number and sum of all looks.
    rises : Hull
        For an upward change.
    falls : Hull or None
        For a downward change, its sums negated; None where only harm is looked for.
    """

    looks: Floats
    total: Floats
    rises: Hull
    falls: Hull | None


@compiled
def _bends_up(at: Floats, total: Floats, last: int, looks: float, sums: float) -> bool:
    """Say whether the hull that ends in the corner `last` still bends upward there with a new point after it."""
    if last == 0:
        return bool(sums > total[0])
    before = (total[last] - total[last - 1]) * (looks - at[last])
    return bool((sums - total[last]) * (at[last] - at[last - 1]) > before)


@compiled
def _worth(at: Floats, total: Floats, index: int) -> float:
    """Return the most that the log likelihood ratio can lose without an inner corner k between a and b.

    To a change of size 2 s the corner j is worth 2 s (s j - S_j) but for what is common to all. So k is ahead of a by
    2 s ((k - a) s - (S_k - S_a)), which grows with s, and of b by 2 s ((S_b - S_k) - (b - k) s), which is largest where s is half
    the slope from k to b. Both are the same at the slope from a to b: the smaller of them is largest there, or at the half slope
    where that is steeper.
    """
    after = (total[index + 1] - total[index]) / (at[index + 1] - at[index])
    slope = max((total[index + 1] - total[index - 1]) / (at[index + 1] - at[index - 1]), 0.5 * after)
    return float(2.0 * slope * (after - slope) * (at[index + 1] - at[index]))


@compiled
def _least_missed(at: Floats, total: Floats) -> int:
    """Return the inner corner without which the log likelihood ratio can lose least."""
    best, least = 1, np.inf
    for index in range(1, at.size - 1):
        worth = _worth(at, total, index)
        if worth < least:
            best, least = index, worth
    return best


@compiled
def _bend(at: Floats, total: Floats, count: int, looks: float, sums: float) -> int:
    """Return how many corners stay on the hull of one lane with the change point after `looks` looks behind them."""
    while count > 0 and not _bends_up(at, total, count - 1, looks, sums):
        count -= 1
    return count


@compiled
def _give_up(at: Floats, total: Floats) -> float:
    """Take the corner that will be missed least off a full hull, in place; return the most that this can lose."""
    gone = _least_missed(at, total)
    worth = _worth(at, total, gone)
    for index in range(gone, at.size - 1):
        at[index], total[index] = at[index + 1], total[index + 1]
    return worth


@compiled
def _advance(at: Floats, total: Floats, used: Integers, lost: Floats, looks: Floats, before: Floats, value: Floats) -> Floats:
    """Take one look into every lane's hull, in place; return the largest log likelihood ratio of a rise."""
    largest = np.zeros(looks.shape)
    for stream in range(looks.shape[0]):
        for lane in range(looks.shape[1]):
            sums = before[stream, lane] + value[stream, lane]
            if np.isnan(sums):
                largest[stream, lane] = np.nan
                continue
            ats, totals = at[:, stream, lane], total[:, stream, lane]
            now = looks[stream, lane]
            kept = _bend(ats, totals, used[stream, lane], now, before[stream, lane])
            if kept == ats.size:
                lost[stream, lane] += _give_up(ats, totals)
                kept -= 1
            ats[kept], totals[kept] = now, before[stream, lane]
            kept += 1
            used[stream, lane] = kept
            for index in range(kept):
                rise = sums - totals[index]
                if rise > 0.0:
                    ratio = 0.5 * rise * rise / (now + 1.0 - ats[index])
                    largest[stream, lane] = max(largest[stream, lane], ratio)
    return largest


class _Judged(NamedTuple):
    hull: Hull
    largest: Floats


def _judge(hull: Hull, looks: Floats, before: Floats, value: Floats) -> _Judged:
    new = Hull(hull.at.copy(), hull.total.copy(), hull.used.copy(), hull.lost.copy())
    return _Judged(new, _advance(*new, looks, before, value))


def _empty(streams: int, lanes: int) -> Hull:
    corners = np.zeros((CORNERS, streams, lanes))
    return Hull(corners, corners, np.zeros((streams, lanes), dtype=np.int64), np.zeros((streams, lanes)))


@settings
class Focus:
    """max over all change points k of (x_(k+1) + ... + x_t)^2 / (2 (t - k)) >= threshold.

    The baseline is known: observations are to be independent and standard normal when all is well. It promises nothing. The
    value is that of `Glr` with an endless window, as long as a stream needs no more than `CORNERS` change points. Where it does,
    which takes a mean that climbs for thousands of looks, the one whose loss matters least is given up: the value is then never
    too large, and too small by at most the nats that the state counts as `lost`.

    Parameters
    ----------
    threshold : float
        Of the log likelihood ratio, in nats.
    sides : {1, 2}
        1 counts positive sums only; 2 alarms on an improvement too.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(Focus(threshold=10), [-3.0, 2.0, 2.0])
    array([4.5, 2. , 4. ])
    """

    threshold: Annotated[float, Gt(0)] = 10.0
    sides: Literal[1, 2] = 2

    key: ClassVar[str] = "focus"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = "Romano et al., Fast online changepoint detection via functional pruning CUSUM statistics, JMLR 2023"
    ladder: ClassVar[str] = "log likelihood ratio, in nats"

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> FocusState:  # noqa: ARG002
        """Return empty sums and no change points."""
        zero = np.zeros((streams, lanes))
        return FocusState(zero, zero, _empty(streams, lanes), _empty(streams, lanes) if self.sides == 2 else None)

    def update(self, state: FocusState, seen: Observation) -> Step:
        """Add one look and the change point before it."""
        looks, total = state.looks + 1.0, state.total + seen.value
        rises = _judge(state.rises, state.looks, state.total, seen.value)
        if state.falls is None:
            return Step(FocusState(looks, total, rises.hull, None), rises.largest, worse=True)
        falls = _judge(state.falls, state.looks, -state.total, -seen.value)
        kept = FocusState(looks, total, rises.hull, falls.hull)
        return Step(kept, np.maximum(rises.largest, falls.largest), worse=rises.largest >= falls.largest)
