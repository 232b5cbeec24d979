"""What the world expects at each tick when nobody is harmed: traffic by segment, and the drift of each metric.

Rates are functions of time alone, the same for every lane, so that all chance is in the draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from simlab.guardrails.look import Floats
from simlab.happenings import WEEKDAYS, BotsDrift, CycleDrift, InTreatment, MixDrift, SpikeDrift, TrendDrift, Weekday, WeeklyDrift
from simlab.scenario import Scenario, Traffic
from simlab.ticks import DAY, WEEK


class Rates(NamedTuple):
    """Expected values by tick.

    Attributes
    ----------
    requests : float64[segments, ticks]
        Expected requests of all users of a segment.
    factors : dict of str to float64[ticks]
        For each metric, the factor on its normal level.
    """

    requests: Floats
    factors: dict[str, Floats]


def rates_of(scenario: Scenario) -> Rates:
    """Return the expected values of a scenario."""
    clock = scenario.clock
    middle: Floats = (np.arange(clock.horizon, dtype=np.float64) + 0.5) * clock.tick
    traffic = scenario.traffic.requests * clock.tick * _pattern(scenario.traffic, clock.starts + middle, middle)
    factors = {name: np.ones(clock.horizon) for name in scenario.metrics}
    shares: Floats = np.repeat(np.array(list(scenario.users.shares.values()))[:, None], clock.horizon, axis=1)
    for drift in scenario.drift:
        if isinstance(drift, MixDrift):
            target = np.array([drift.to[segment] for segment in scenario.users.shares])[:, None]
            shares = shares + _progress(middle, drift.at, drift.over) * (target - shares)
        elif isinstance(drift, InTreatment | BotsDrift):
            continue
        elif isinstance(drift, WeeklyDrift):
            factors[drift.metric] = factors[drift.metric] * _by_day(drift.days, clock.starts + middle)
        elif drift.metric is not None:
            factors[drift.metric] = factors[drift.metric] * _factor(drift, middle, drift.times or 1.0)
        else:
            traffic = traffic * _factor(drift, middle, drift.traffic or 1.0)
    return Rates(shares * traffic, factors)


def _pattern(traffic: Traffic, instant: Floats, elapsed: Floats) -> Floats:
    """Return the daily, weekly and growing pattern around 1, float64[ticks]."""
    pattern = np.maximum(0.0, 1.0 + traffic.trend * elapsed / WEEK)
    if traffic.daily is not None:
        phase = 2 * np.pi * (instant % DAY - traffic.daily.peak) / DAY
        pattern = pattern * (1.0 + traffic.daily.swing * np.cos(phase))
    if traffic.weekly is not None:
        pattern = pattern * _by_day({day: 1.0 + swing for day, swing in traffic.weekly.items()}, instant)
    return pattern


def _by_day(factors: Mapping[Weekday, float], instant: Floats) -> Floats:
    """Return the factor of each instant's day of the week, 1 where none is given."""
    by_day = np.array([factors.get(day, 1.0) for day in WEEKDAYS])
    # 1 January 1970 was a Thursday.
    return np.asarray(by_day[((instant // DAY + 3) % 7).astype(int)])


def _progress(elapsed: Floats, at: int, over: int) -> Floats:
    """Return 0 before `at`, 1 after `over` more, linear between."""
    return np.clip((elapsed - at) / over, 0.0, 1.0) if over else (elapsed >= at).astype(float)


def _factor(drift: CycleDrift | TrendDrift | SpikeDrift, elapsed: Floats, factor: float) -> Floats:
    if isinstance(drift, CycleDrift):
        return 1.0 + (factor - 1.0) * np.sin(2 * np.pi * (elapsed - drift.phase) / drift.period)
    if isinstance(drift, TrendDrift):
        return 1.0 + (factor - 1.0) * _progress(elapsed, drift.at, drift.over)
    return np.where((elapsed >= drift.at) & (elapsed < drift.at + drift.for_), factor, 1.0)
