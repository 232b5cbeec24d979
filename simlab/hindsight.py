"""What alarms would have been worth on a recording: delays after onsets, cries of wolf, and the harm that came after them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simlab.engine import Trace
from simlab.guardrails.look import Bools, Code, Floats, Integers
from simlab.guardrails.policy import Policy
from simlab.guardrails.rule import NO_LADDER
from simlab.measures.estimates import Estimate, proportion, quantile, rate
from simlab.ticks import WEEK
from simlab.world.recording import Series

MOST_THRESHOLDS = 100


@dataclass(frozen=True, eq=False)
class Timeline:
    """Which ticks of a recording are masked and which are healthy.

    Attributes
    ----------
    series : Series
        The recording.
    masked : bool[ticks]
        Neither healthy nor judged.
    healthy : bool[ticks]
        Outside the masks and the windows of the onsets, where not every exposure was unreal.
    """

    series: Series
    masked: Bools
    healthy: Bools


def timeline(series: Series) -> Timeline:
    """Return the masked and healthy ticks of a recording, by the stamp at which each tick's value was known."""
    masked = np.zeros(series.clock.horizon, dtype=bool)
    for mask in series.recording.masks:
        masked |= (series.stamps >= mask.from_) & (series.stamps <= mask.to)
    healthy = ~masked & series.supported
    for onset, latest in zip(series.onsets.tolist(), series.latest.tolist(), strict=True):
        healthy &= ~_window(series, onset, latest)
    contained = series.recording.incident.contained if series.recording.incident else None
    if contained is not None and len(series.onsets):
        healthy &= ~((series.stamps > series.onsets[0]) & (series.stamps <= contained))
    return Timeline(series, masked, healthy)


def _window(series: Series, onset: int, latest: int) -> Bools:
    return np.asarray((series.stamps > onset) & (series.stamps <= latest + series.recording.within))


class Measured(NamedTuple):
    """What alarms come to.

    Attributes
    ----------
    began : bool[ticks]
        Where an alarm begins.
    delays : tuple of float or None
        For each onset, minutes from its earliest moment to the first alarm in its window; None if there was none.
    already : int
        Onsets that met it alarming already.
    estimates : dict of str to Estimate
        ``detected``, ``delay_p50``, ``alarm_looks_healthy``, ``false_alarms_per_week``.
    """

    began: Bools
    delays: tuple[float | None, ...]
    already: int
    estimates: dict[str, Estimate]


def measure_alarms(alarms: Bools, over: Timeline) -> Measured:
    """Return what alarms, bool[ticks], come to on a recording."""
    began = alarms & ~np.concatenate([[False], alarms[:-1]])
    delays, already = _delays(alarms, over)
    healthy = over.healthy
    weeks = float(healthy.sum() * over.series.clock.tick / WEEK)
    estimates = {
        "detected": proportion(sum(delay is not None for delay in delays), len(delays)),
        "delay_p50": quantile(np.array([np.inf if delay is None else delay for delay in delays]), 0.5, unit="min"),
        "alarm_looks_healthy": proportion(int((alarms & healthy).sum()), int(healthy.sum())),
        "false_alarms_per_week": rate(int((began & healthy).sum()), weeks, unit="per week"),
    }
    return Measured(began, tuple(delays), already, estimates)


def _delays(alarms: Bools, over: Timeline) -> tuple[list[float | None], int]:
    """Return for each onset the minutes to the first alarm in its window, and how often it was alarming already."""
    series = over.series
    delays: list[float | None] = []
    already = 0
    for onset, latest in zip(series.onsets.tolist(), series.latest.tolist(), strict=True):
        before = int(np.searchsorted(series.stamps, onset, side="right")) - 1
        if before >= 0 and alarms[before]:
            already += 1
        hits = series.stamps[_window(series, onset, latest) & alarms & ~over.masked]
        delays.append(float(hits[0] - onset) / 60_000 if len(hits) else None)
    return delays, already


def alarming(trace: Trace, ticks: int) -> Bools:
    """Return at which ticks' ends any guardrail answered alarm, bool[ticks]; between looks the last answer stands."""
    found = np.zeros(ticks, dtype=bool)
    for times, codes in zip(trace.times, trace.codes, strict=True):
        found |= _standing(times, codes[:, 0] == Code.ALARM, ticks)
    return found


def _standing(times: Integers, alarms: Bools, ticks: int) -> Bools:
    last = np.searchsorted(times, np.arange(1, ticks + 1), side="right") - 1
    return np.where(last >= 0, alarms[np.maximum(last, 0)], False) if len(times) else np.zeros(ticks, dtype=bool)


@dataclass(frozen=True)
class Swept:
    """What another threshold would have come to.

    Attributes
    ----------
    threshold : float
        In the rule's ladder coordinate.
    for_ : int or None
        Milliseconds for which the condition must have held, for a rule that has such a setting.
    as_set : bool
        Whether this is the policy as its file has it.
    estimates : dict of str to Estimate
        As of `Measured`.
    """

    threshold: float
    for_: int | None
    as_set: bool
    estimates: dict[str, Estimate]


def sweep(policy: Policy, trace: Trace, over: Timeline, *, set_for: int | None) -> Iterator[Swept]:
    """Yield what every threshold would have come to, read off one run's statistics.

    Nothing is yielded for a policy of several guardrails, or where a lower threshold is not passed sooner for sure. Every value
    that the statistic took is tried; if there are more than `MOST_THRESHOLDS`, as many of them, evenly by rank. The policy's own
    threshold is always among them.

    Parameters
    ----------
    policy : Policy
        As it was stepped.
    trace : Trace
        Of that run.
    over : Timeline
        Of the recording.
    set_for : int or None
        What its file has as ``for``.
    """
    if len(policy.guardrails) != 1 or policy.guardrails[0].rule.ladder == NO_LADDER:
        return
    rule = policy.guardrails[0].rule
    for_ = getattr(rule, "for_", None)
    statistic, codes = trace.statistics[0][:, 0], trace.codes[0][:, 0]
    unknown, retired = trace.unknown[0][:, 0], trace.retired[0][:, 0]
    for threshold in _thresholds(statistic[~unknown & ~retired], rule.threshold):
        alarms = np.where(unknown, codes == Code.ALARM, (statistic >= threshold) & ~retired)
        measured = measure_alarms(_standing(trace.times[0], alarms, over.series.clock.horizon), over)
        yield Swept(threshold, for_, threshold == rule.threshold and for_ == set_for, measured.estimates)


def _thresholds(statistic: Floats, own: float) -> list[float]:
    taken = np.unique(statistic[np.isfinite(statistic)])
    if len(taken) > MOST_THRESHOLDS:
        taken = taken[np.unique(np.linspace(0, len(taken) - 1, MOST_THRESHOLDS).round().astype(int))]
    return sorted({*taken.tolist(), own})


@dataclass(frozen=True)
class Blast:
    """How much harm was done, and how much of it came after an alarm.

    Attributes
    ----------
    unit : str
        What is counted.
    harmed : float
        Total of the metric from the first onset to containment, above its mean in healthy time.
    spared : float
        The part of it that came after the policy's first alarm in that time; 0 if there was none.
    alarm : int or None
        Milliseconds since 1970 of that alarm.
    expected : float
        Mean of the metric in a healthy tick.
    """

    unit: str
    harmed: float
    spared: float
    alarm: int | None
    expected: float


def blast(alarms: Bools, over: Timeline) -> Blast | None:
    """Return the harm of an incident, and what an alarm would have spared had it contained it at once.

    None unless the recording says what counts harm, an onset, and when it was contained.
    """
    series, incident = over.series, over.series.recording.incident
    if incident is None or incident.harm is None or incident.contained is None or not len(series.onsets):
        return None
    observations, total, _ = series.sums[incident.harm.metric].sum(axis=1)
    healthy = over.healthy & (observations > 0)
    expected = float(total[healthy].mean()) if healthy.any() else 0.0
    during = (series.stamps > series.onsets[0]) & (series.stamps <= incident.contained) & (observations > 0)
    excess = np.where(during, total - expected, 0.0)
    hits = series.stamps[during & alarms]
    later = series.stamps > hits[0] if len(hits) else np.zeros_like(during)
    return Blast(
        unit=incident.harm.unit,
        harmed=float(max(0.0, excess.sum())),
        spared=float(max(0.0, excess[later].sum())),
        alarm=int(hits[0]) if len(hits) else None,
        expected=expected,
    )
