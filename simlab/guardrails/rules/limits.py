"""A level above or below a fixed limit for a time: the alert that most teams run today.

The alarm comes at the first look at which the condition has held at every look for at least ``for``, as Prometheus counts it:
with looks every 5 minutes and ``for: 15m`` that takes four looks in a row.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings
from simlab.ticks import Duration, Real


def _held(recent: Floats, value: Floats) -> Step:
    """Return the window moved on by one look; the statistic is the smallest value in it."""
    window = np.concatenate([recent[1:], value[None]])
    return Step(window, window.min(axis=0), worse=True)


def _window(for_: int, streams: int, lanes: int, every: int) -> Floats:
    looks = -(-for_ // every) + 1
    return np.full((looks, streams, lanes), -np.inf)


@settings
class Above:
    """The level has been at or above `limit` at every look for `for_`.

    The ladder coordinate is the smallest level of the last N looks, N = ceil(for / every) + 1.

    Parameters
    ----------
    limit : float
        In the metric's own unit.
    for_ : int
        Milliseconds for which the condition must have held (``for`` in files).

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> rule = Above(limit=0.01, for_=60_000)
    >>> statistics(rule, [0.020, 0.012, 0.015, 0.003], every=60_000).tolist()
    [-inf, 0.012, 0.012, 0.003]
    """

    limit: Real
    for_: Duration = 0

    key: ClassVar[str] = "above"
    takes: ClassVar[Takes] = Takes.LEVEL
    paper: ClassVar[str] = "none: common practice"
    ladder: ClassVar[str] = "smallest level of the last N looks, in the metric's unit"

    @property
    def threshold(self) -> float:
        """The limit itself."""
        return self.limit

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:
        """Return a window of looks at which nothing held."""
        return _window(self.for_, streams, lanes, every)

    def update(self, state: Floats, seen: Observation) -> Step:
        """Move the window on by one look."""
        return _held(state, seen.value)


@settings
class Below:
    """The level has been at or below `limit` at every look for `for_`; the ladder coordinate is negated.

    Parameters
    ----------
    limit : float
        In the metric's own unit.
    for_ : int
        Milliseconds for which the condition must have held (``for`` in files).

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(Below(limit=0.5), [0.7, 0.4]).tolist(), Below(limit=0.5).threshold
    ([-0.7, -0.4], -0.5)
    """

    limit: Real
    for_: Duration = 0

    key: ClassVar[str] = "below"
    takes: ClassVar[Takes] = Takes.LEVEL
    paper: ClassVar[str] = "none: common practice"
    ladder: ClassVar[str] = "negated largest level of the last N looks, in the metric's unit"

    @property
    def threshold(self) -> float:
        """The negated limit."""
        return -self.limit

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:
        """Return a window of looks at which nothing held."""
        return _window(self.for_, streams, lanes, every)

    def update(self, state: Floats, seen: Observation) -> Step:
        """Move the window on by one look."""
        return _held(state, -seen.value)
