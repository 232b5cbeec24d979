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
from numba import njit

from simlab.guardrails.look import Floats, Integers
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings

CORNERS = 32
"""Corners kept. Noise needs 8 or so after a million looks; a mean that climbs for thousands of looks may need more."""


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
    """

    at: Floats
    total: Floats
    used: Integers


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


@njit(cache=True)
def _bends_up(at: Floats, total: Floats, last: int, looks: float, sums: float) -> bool:
    """Say whether the hull that ends in the corner `last` still bends upward there with a new point after it."""
    if last == 0:
        return bool(sums > total[0])
    before = (total[last] - total[last - 1]) * (looks - at[last])
    return bool((sums - total[last]) * (at[last] - at[last - 1]) > before)


@njit(cache=True)
def _least_missed(at: Floats, total: Floats) -> int:
    """Return the inner corner without which the log likelihood ratio can lose least.

    A corner is worth most for a change of twice the slope of the chord past it: twice the slope times its depth below the chord.
    """
    best, least = 1, np.inf
    for index in range(1, at.size - 1):
        slope = (total[index + 1] - total[index - 1]) / (at[index + 1] - at[index - 1])
        depth = total[index - 1] + slope * (at[index] - at[index - 1]) - total[index]
        if slope * depth < least:
            best, least = index, slope * depth
    return best


@njit(cache=True)
def _add(at: Floats, total: Floats, count: int, looks: float, sums: float) -> int:
    """Put the change point after `looks` looks on the hull of one lane, in place; return the new count."""
    while count > 0 and not _bends_up(at, total, count - 1, looks, sums):
        count -= 1
    if count == at.size:
        gone = _least_missed(at, total)
        for index in range(gone, count - 1):
            at[index], total[index] = at[index + 1], total[index + 1]
        count -= 1
    at[count], total[count] = looks, sums
    return count + 1


@njit(cache=True)
def _advance(at: Floats, total: Floats, used: Integers, looks: Floats, before: Floats, value: Floats) -> Floats:
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
            kept = _add(ats, totals, used[stream, lane], now, before[stream, lane])
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
    new = Hull(hull.at.copy(), hull.total.copy(), hull.used.copy())
    return _Judged(new, _advance(*new, looks, before, value))


def _empty(streams: int, lanes: int) -> Hull:
    corners = np.zeros((CORNERS, streams, lanes))
    return Hull(corners, corners, np.zeros((streams, lanes), dtype=np.int64))


@settings
class Focus:
    """max over all change points k of (x_(k+1) + ... + x_t)^2 / (2 (t - k)) >= threshold.

    The baseline is known: observations are to be independent and standard normal when all is well. It promises nothing. The
    value is that of `Glr` with an endless window. Should a stream need more than `CORNERS` change points, which takes a mean
    that climbs for thousands of looks, the one whose loss matters least is given up.

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
