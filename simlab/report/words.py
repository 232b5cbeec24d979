"""Numbers and measures in words: one place decides digits, units, and what to say where a number does not exist."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simlab.measures.estimates import Estimate
from simlab.measures.gates import Verdict
from simlab.measures.privacy import DELTA, Spent
from simlab.results import Result
from simlab.ticks import format_duration

NO_DATA = "no data"
NOT_REACHED = "not reached"
NO_LIMITS = "no limits"

MEASURES = {
    "false_alarms": "false alarms by the horizon",
    "false_alarms_per_week": "false alarms per week",
    "ramp_time_lost": "ramp time lost, mean",
    "acted_before_onset": "acted before the onset",
    "detected": "detected within {limit}",
    "detected_of_all_lanes": "detected, of all lanes",
    "twin_alarm_in_the_same_window": "twin alarms in the same window",
    "detected_at_random": "alarms at random, same false alarms",
    "delay_restricted_mean": "delay, mean restricted to {limit}",
    "delay_p50": "delay, p50",
    "delay_p90": "delay, p90",
    "contained": "contained within {limit}",
    "containment_restricted_mean": "to containment, mean restricted to {limit}",
    "users_exposed": "users exposed, mean",
    "users_harmed": "users harmed, mean",
    "users_harmed_p50": "users harmed, p50",
    "users_harmed_p90": "users harmed, p90",
    "users_harmed_of_all_lanes": "users harmed, mean of all lanes",
}
PRECISE = {"false_alarms": "false alarms", "detected": "detected"}


@dataclass(frozen=True)
class _Shown:
    """How a unit is shown: what the number is multiplied by, what stands behind it, and its decimals."""

    factor: float
    suffix: str
    decimals: int


_UNITS = {
    "probability": _Shown(100, " %", 2),
    "min": _Shown(1, " min", 1),
    "h": _Shown(1, " h", 2),
    "per week": _Shown(1, " per week", 3),
    "per day": _Shown(1, " per day", 3),
}
_POINTS = _Shown(100, " pp", 2)


@dataclass(frozen=True)
class Words:
    """An estimate as people read it.

    Attributes
    ----------
    value : str
        With its unit; `NO_DATA` or `NOT_REACHED` where there is no number.
    interval : str
        Low to high, in the unit of the value; empty where there were no data.
    n : str
        Lanes behind it.
    """

    value: str
    interval: str
    n: str

    def __str__(self) -> str:
        return ", ".join([self.value, *([self.interval] if self.interval else []), f"n = {self.n}"])


def words(estimate: Estimate, *, signed: bool = False) -> Words:
    """Return an estimate in words.

    Parameters
    ----------
    estimate : Estimate
        In its own unit.
    signed : bool
        For a difference: the sign is always shown, and probabilities differ by percentage points.
    """
    shown = _shown(estimate, signed=signed)

    def number(value: float) -> str:
        # Adding zero turns a rounded -0.0 into 0.0.
        return f"{round(value * shown.factor, shown.decimals) + 0.0:{'+' if signed else ''},.{shown.decimals}f}"

    def bound(value: float, missing: str) -> str:
        return number(value) if math.isfinite(value) else missing

    n = f"{estimate.n:,}"
    if math.isnan(estimate.value) and estimate.n and math.isfinite(estimate.high):
        return Words(f"below {number(estimate.high)}{shown.suffix}", "", n)
    if math.isnan(estimate.value):
        return Words(NO_DATA, "", n)
    value = bound(estimate.value, NOT_REACHED) + (shown.suffix if math.isfinite(estimate.value) else "")
    if estimate.low == math.inf:
        return Words(value, NOT_REACHED, n)
    interval = f"{bound(estimate.low, 'no lower limit')} to {bound(estimate.high, 'no upper limit')}"
    return Words(value, NO_LIMITS if math.isinf(estimate.low) and math.isinf(estimate.high) else interval, n)


def _shown(estimate: Estimate, *, signed: bool) -> _Shown:
    if signed and estimate.unit == "probability":
        return _POINTS
    if estimate.unit in _UNITS:
        return _UNITS[estimate.unit]
    largest = max((abs(each) for each in (estimate.value, estimate.low, estimate.high) if math.isfinite(each)), default=0)
    if estimate.unit == "cost" and 0 < largest < 1:
        # In whatever currency the prices are: three digits, however small.
        return _Shown(1, "", 2 - math.floor(math.log10(largest)))
    return _Shown(1, "", 0 if largest >= 100 else 1)


def measure(name: str, *, limit_minutes: float) -> str:
    """Return a measure's name in words; `limit_minutes` is the time to which detection is followed."""
    if name.startswith("harm_units."):
        return f"harm units: {name.removeprefix('harm_units.')}"
    return MEASURES[name].format(limit=format_duration(limit_minutes * 60_000))


def percent(share: float) -> str:
    """Return a share such as a limit or a confidence, with no more digits than it needs."""
    return f"{100 * share:.4g} %"


def confidence(share: float) -> str:
    """Return a confidence such as 0.95 with three digits of what it leaves to error, so that it never reads as certainty."""
    return f"{100 - float(f'{100 * (1 - share):.3g}'):.12g} %"


def spent_in_words(spent: Spent) -> str:
    """Return what the noise of a shield adds up to."""
    return (
        f"epsilon {spent.epsilon_of_a_record:.4g} for one record; for a person with a record in each of {spent.releases:,} looks "
        f"{spent.epsilon_of_a_person:.4g}, or {spent.epsilon_at_delta:.4g} at delta {DELTA:g}"
    )


def where_it_stopped(result: Result) -> str:
    """Return what to know of intervals at 95 % where a run ends by what it sees; empty where its lanes were fixed before."""
    if len(result.plan.study.lanes.schedule) == 1 or not (result.verdicts or result.precise):
        return ""
    return (
        "How many lanes are run depends on what they show. Intervals at 95 % are those of a fixed number of lanes and cover "
        "a little less often here; those of gates and of the precision asked for allow for it."
    )


def needs(verdict: Verdict) -> str:
    """Return what a gate needs of its proportion."""
    return f"{'at most' if verdict.at_most else 'at least'} {percent(verdict.limit)}"
