"""NAB's rules of scoring (Lavin & Ahmad, Evaluating real-time anomaly detection algorithms, ICMLA 2015), version 1.1.

A detection inside a labelled window is worth S(y) / S(-1), with S(y) = 2 / (1 + exp(5 y)) - 1 and y from -1 at the window's left
edge towards 0 at its right; of several, the best counts. One outside costs the profile's weight times S at its distance from the
window before, in widths of that window, and the whole weight where there is none or it is more than three widths away. A window
without a detection costs the profile's weight. What is detected in a series' probation does not count. Totals are scaled so that
no detections are 0 and perfect ones 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simlab.guardrails.look import Bools, Floats, Integers

_PROBATION = 0.15
_LONGEST_PROBATION = 750
_FAR = 3.0


@dataclass(frozen=True)
class Profile:
    """What a profile of the benchmark weighs: a found window, a false alarm, a missed window."""

    name: str
    found: float = 1.0
    false: float = 0.11
    missed: float = 1.0


class Window(NamedTuple):
    """A labelled window: its first and last row, both inside."""

    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Labelled:
    """A series' rows as the benchmark weighs them, before any profile.

    Attributes
    ----------
    name : str
        Of the series.
    worth : float64[rows]
        What a detection there is worth: from 1 to 0 in a window, below 0 outside.
    window : int64[rows]
        Number of the window, -1 outside.
    probation : int
        Rows from the start that do not count.
    """

    name: str
    worth: Floats
    window: Integers
    probation: int

    @property
    def windows(self) -> Integers:
        """Numbers of the windows that have a row after the probation."""
        return np.unique(self.window[self.probation :][self.window[self.probation :] >= 0])


def probation_rows(rows: int) -> int:
    """Return how many rows from the start of a series of `rows` do not count."""
    return min(int(_PROBATION * rows), _LONGEST_PROBATION)


def _sigmoid(position: Floats) -> Floats:
    return np.where(position > _FAR, -1.0, 2 / (1 + np.exp(5 * np.minimum(position, _FAR))) - 1)


def labelled(name: str, rows: int, windows: Sequence[Window]) -> Labelled:
    """Return what a detection at each row of a series is worth.

    Parameters
    ----------
    name : str
        Of the series.
    rows : int
        Its length.
    windows : sequence of Window
        In the order of time; they do not overlap.
    """
    at = np.arange(rows)
    worth = np.full(rows, -1.0)
    number = np.full(rows, -1)
    best = _sigmoid(np.array(-1.0))
    for index, window in enumerate(windows):
        width = window.last - window.first + 1
        inside = slice(window.first, window.last + 1)
        worth[inside] = _sigmoid(-(window.last - at[inside] + 1) / width) / best
        number[inside] = index
        until = windows[index + 1].first if index + 1 < len(windows) else rows
        after = slice(window.last + 1, until)
        worth[after] = _sigmoid((at[after] - window.last) / max(width - 1, 1))
    return Labelled(name, worth, number, probation_rows(rows))


def rising_edges(alarms: Bools) -> Bools:
    """Return where alarms begin, bool[rows]: a guardrail that goes on alarming has detected once."""
    return np.asarray(alarms & ~np.concatenate([[False], alarms[:-1]]), dtype=bool)


def raw_score(detections: Bools, series: Labelled, profile: Profile) -> float:
    """Return the score of one series.

    Parameters
    ----------
    detections : bool[rows]
        Each counts.
    series : Labelled
        Of as many rows.
    profile : Profile
        The weights.
    """
    counted = detections.copy()
    counted[: series.probation] = False
    total = profile.false * float(series.worth[counted & (series.window < 0)].sum())
    for window in series.windows:
        hits = series.worth[counted & (series.window == window)]
        total += profile.found * float(hits.max()) if len(hits) else -profile.missed
    return total


def scaled(raw: float, corpus: Sequence[Labelled], profile: Profile) -> float:
    """Return a total between no detections (0) and perfect ones (100)."""
    windows = sum(len(series.windows) for series in corpus)
    nothing, perfect = -profile.missed * windows, profile.found * windows
    return 100 * (raw - nothing) / (perfect - nothing)


class Best(NamedTuple):
    """The threshold with the highest total, infinite if none is better than silence, and that total, not scaled."""

    threshold: float
    raw: float


class _Steps(NamedTuple):
    """A sum of steps: each `amount` counts for thresholds above `low`, up to and with `high`."""

    low: Floats
    high: Floats
    amount: Floats


def best_threshold(statistics: Sequence[Floats], corpus: Sequence[Labelled], profile: Profile, *, edges: bool) -> Best:
    """Return the one threshold for all series that scores best, as the benchmark's leaderboard chooses it: with the labels.

    The total as a function of the threshold is a sum of steps, so that every threshold is tried without running anything again.

    Parameters
    ----------
    statistics : sequence of float64[rows]
        By series; larger is worse, -inf where nothing was judged. The alarm is ``statistic >= threshold``.
    corpus : sequence of Labelled
        In the same order.
    profile : Profile
        The weights.
    edges : bool
        Whether a detection is the beginning of an alarm; otherwise every row above the threshold is one, as in the benchmark's
        own scoring of detectors.
    """
    steps = [_steps_of(statistic, series, profile, edges=edges) for statistic, series in zip(statistics, corpus, strict=True)]
    low, high, amount = (np.concatenate(parts) for parts in zip(*steps, strict=True))
    windows = sum(len(series.windows) for series in corpus)
    levels = np.unique(np.concatenate([low, high]))
    levels = levels[np.isfinite(levels)]
    above = np.zeros(len(levels) + 1)
    np.add.at(above, np.searchsorted(levels, high, side="right"), amount)
    np.add.at(above, np.searchsorted(levels, low, side="right"), -amount)
    # above[k] holds what ends between levels k-1 and k; a threshold at level k meets all that ends later.
    totals = np.cumsum(above[::-1])[::-1][1:] - profile.missed * windows
    if not len(totals) or totals.max() <= -profile.missed * windows:
        return Best(np.inf, -profile.missed * windows)
    chosen = int(np.argmax(totals))
    return Best(float(levels[chosen]), float(totals[chosen]))


def _steps_of(statistic: Floats, series: Labelled, profile: Profile, *, edges: bool) -> _Steps:
    before = np.concatenate([[-np.inf], statistic[:-1]]) if edges else np.full(len(statistic), -np.inf)
    rising = statistic > before
    rising[: series.probation] = False
    outside = rising & (series.window < 0)
    parts = [_Steps(before[outside], statistic[outside], profile.false * series.worth[outside])]
    for window in series.windows:
        inside = rising & (series.window == window)
        parts.append(_first_hits(before[inside], statistic[inside], profile.found * series.worth[inside] + profile.missed))
    return _Steps(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _first_hits(low: Floats, high: Floats, worth: Floats) -> _Steps:
    """Return the worth of a window by threshold: that of its first detection, as worth falls along the window."""
    ends = np.unique(np.concatenate([low, high]))
    value = np.zeros(len(ends))
    first, last = np.searchsorted(ends, low), np.searchsorted(ends, high)
    for index in range(len(low) - 1, -1, -1):
        value[first[index] + 1 : last[index] + 1] = worth[index]
    starts = np.concatenate([[-np.inf], ends])[:-1]
    return _Steps(starts, ends, value)
