"""From a recording to a scenario like it, with a table of how well it fits: what did not fit is told, not hidden.

The level, the day (a mean and up to three harmonics), the days of the week and the spread of single requests are fitted. Whether
the whole is alike is then measured: lanes of the fitted scenario are drawn by the same world that a study runs, each as long as
the recording, and what was recorded fits where it lies within the middle 95 % of the lanes.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simlab.documents import Document, read_document
from simlab.errors import RecordingError
from simlab.guardrails.look import Bools, Floats
from simlab.happenings import WEEKDAYS
from simlab.hindsight import timeline
from simlab.reading_scenarios import read_scenario
from simlab.scenario import Scenario
from simlab.schemas import read_settings
from simlab.shipped import shipped_path
from simlab.ticks import DAY, WEEK, Clock, format_duration, format_instant
from simlab.world.aggregate import AggregateWorld, Watched
from simlab.world.grafts import chances
from simlab.world.reading import read_series
from simlab.world.recording import Recording, Series
from simlab.yaml_edit import yaml_of

LANES = 40
HARMONICS = 3
USERS = 1_000_000
_WORTH_FITTING = 3.0  # standard errors of an amplitude
_P99 = 2.3263478740408408  # standard normal quantile of 0.99
_TRAFFIC = "traffic"
_ROLLOUT = {"control": "same_size", "steps": [{"expose": "1%", "soak": "1h"}, {"expose": "10%", "soak": "rest"}]}
_RESPONSE = {
    "people": {"answer": "5m-30m", "diagnose": "10m", "right": "95%"},
    "rollback": {"takes": "2m-5m", "succeeds": "99%"},
}


class Fitted(NamedTuple):
    """One property of the recording and of the lanes of the fitted scenario.

    Attributes
    ----------
    of : str
        ``traffic`` or a metric.
    what : str
        The property.
    recorded : float
        In healthy time.
    low, high : float
        What the middle 95 % of the lanes have.
    lanes : int
        How many.
    """

    of: str
    what: str
    recorded: float
    low: float
    high: float
    lanes: int

    @property
    def fits(self) -> bool:
        """Whether the recording could be one of the lanes."""
        return self.low <= self.recorded <= self.high


@dataclass(frozen=True)
class Fit:
    """A scenario fitted to a recording.

    Attributes
    ----------
    text : str
        The scenario as a file.
    table : tuple of Fitted
        How well it fits.
    left_out : tuple of str
        What the recording cannot tell, or the scenario cannot say.
    """

    text: str
    table: tuple[Fitted, ...]
    left_out: tuple[str, ...]


def fit(recording: str | Path, *, data: Path | None = None, traffic: str | None = None, shares: Collection[str] = ()) -> Fit:
    """Fit a scenario to a recording's healthy time.

    Parameters
    ----------
    recording : str or Path
        The small file that describes it.
    data : Path, optional
        Folder of the data; beside the recording's file if not given.
    traffic : str, optional
        Of a metric series: which metric is the number of requests in each tick.
    shares : collection of str
        Of a metric series: which metrics are shares of requests, from 0 to 1. One that is worse when it falls is taken for a
        share as well; others are durations in seconds.

    Raises
    ------
    FileErrors, RecordingError
        If a file or the data cannot be used, or if the recording does not say how many requests there were.
    """
    document = read_document(shipped_path(recording))
    series = read_series(read_settings(document, Recording), document, data=data)
    healthy = timeline(series).healthy
    recorded = _recorded(series, traffic, shares)
    held, left_out = _scenario(series, recorded, healthy)
    written = Document(f"{series.recording.recording}-fit", Path(f"{series.recording.recording}-fit.yaml"), held)
    return Fit(yaml_of(held), tuple(_compared(read_scenario(written), recorded, healthy)), tuple(left_out))


class _Recorded(NamedTuple):
    """What is fitted.

    Attributes
    ----------
    requests : float64[ticks]
        How many there were.
    metrics : dict of str to (float64[ticks], float64[ticks], float)
        Observations, total, and the variance of single requests; NaN where it is unknown.
    shares : dict of str to bool
        Whether a metric is a share of requests.
    """

    requests: Floats
    metrics: dict[str, tuple[Floats, Floats, float]]
    shares: dict[str, bool]


def _recorded(series: Series, traffic: str | None, shares: Collection[str]) -> _Recorded:
    summed = {name: sums.sum(axis=1) for name, sums in series.sums.items()}
    unknown = sorted(set(shares) - set(summed))
    if unknown:
        raise RecordingError(f"there is no metric {unknown[0]!r}; there is {', '.join(summed)}")
    if series.recording.kind == "series":
        if traffic not in summed:
            known = ", ".join(summed)
            raise RecordingError(f"a metric series does not say how many requests there were; say which is traffic, of {known}")
        requests = summed.pop(traffic)[1]
        # One sample a tick is a mean over its requests.
        metrics = {name: (requests, sums[1] * requests, math.nan) for name, sums in summed.items()}
        worse = {name: value.worse for name, value in series.recording.values.items()}
        events = {name: name in shares or worse[name] == "down" for name in summed}
        for name, sums in summed.items():
            if name in shares and not ((sums[1] >= 0) & (sums[1] <= 1)).all():
                raise RecordingError(f"{name} is no share: it leaves 0 to 1")
        return _Recorded(requests, metrics, events)
    events = {name: chance is not None for name, chance in chances(series.sums).items()}
    first = next(iter(summed.values()))
    metrics = {}
    for name, (observations, total, squares) in summed.items():
        n = float(observations.sum())
        metrics[name] = (observations, total, max(0.0, float(squares.sum()) / n - (float(total.sum()) / n) ** 2))
    return _Recorded(first[0], metrics, events)


class _Cycle(NamedTuple):
    """A level, and harmonics of the day around it that are worth fitting: (periods a day, share, phase of the maximum)."""

    level: float
    harmonics: tuple[tuple[int, float, float], ...]
    residual: Floats


def _cycle(values: Floats, instant: Floats, *, days: float) -> _Cycle:
    """Return the mean of values [ticks] and the harmonics of the day that stand out of the noise."""
    level = float(values.mean())
    residual = values - level
    kept: list[tuple[int, float, float]] = []
    if days < 1 or level == 0:
        return _Cycle(level, (), residual)
    for number in range(1, HARMONICS + 1):
        angle = 2 * np.pi * number * instant / DAY
        design = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        (cosine, sine), *_ = np.linalg.lstsq(design, residual, rcond=None)
        after = residual - design @ np.array([cosine, sine])
        link = min(0.99, max(0.0, _autocorrelation(after)))
        error = math.sqrt(2 / len(after) * (1 + link) / (1 - link)) * float(after.std())
        if math.hypot(cosine, sine) > _WORTH_FITTING * error:
            kept.append((number, math.hypot(cosine, sine) / level, math.atan2(sine, cosine) / (2 * np.pi) % 1))
            residual = after
    return _Cycle(level, tuple(kept), residual)


def _autocorrelation(values: Floats) -> float:
    spread = float((values**2).sum())
    return float((values[1:] * values[:-1]).sum()) / spread if spread else 0.0


def _scenario(series: Series, recorded: _Recorded, healthy: Bools) -> tuple[dict[str, Any], list[str]]:
    clock, left_out = series.clock, []
    days = float(healthy.sum() * clock.tick / DAY)
    middle: Floats = (np.arange(clock.horizon, dtype=np.float64) + 0.5) * clock.tick
    instant, known = clock.starts + middle, healthy & np.isfinite(recorded.requests) & (recorded.requests > 0)
    cycle = _cycle(recorded.requests[known], instant[known] % DAY, days=days)
    traffic: dict[str, Any] = {"requests": f"{_plain(cycle.level / clock.tick * 60_000)}/m"}
    drift: list[dict[str, Any]] = []
    for number, share, peak in cycle.harmonics:
        if number == 1:
            traffic["daily"] = {"swing": f"{_plain(100 * min(1.0, share))}%", "peak": _time_of_day(peak * DAY)}
        else:
            drift.append(_drift(f"traffic-{number}-a-day", {"traffic": f"x{_plain(1 + share)}"}, number, peak, clock))
    if days >= 2 * WEEK / DAY:
        traffic["weekly"] = _weekly(recorded.requests[known], instant[known])
    else:
        left_out.append(f"days of the week: {format_duration(days * DAY)} of healthy time, and two weeks are needed")
    metrics: dict[str, Any] = {}
    for name, (observations, total, variance) in recorded.metrics.items():
        there = known & (observations > 0)
        level = _cycle(total[there] / observations[there], instant[there] % DAY, days=days)
        spread = variance if math.isfinite(variance) else float(level.residual.var()) * float(observations[there].mean())
        found = _metric(level.level, spread, share=recorded.shares[name], worse=series.recording.values[name].worse)
        if found is None:
            left_out.append(f"{name}: neither a share nor a duration that is worse when it rises")
            continue
        metrics[name] = found
        drift += [
            _drift(f"{name}-{number}-a-day", {"metric": name, "times": f"x{_plain(1 + share)}"}, number, peak, clock)
            for number, share, peak in level.harmonics
        ]
    if not metrics:
        raise RecordingError("no metric of the recording can be fitted: shares and durations that are worse when they rise can")
    left_out += [
        f"users: sums do not tell them; {USERS:,} of equal effect are assumed",
        "rollout, telemetry and response: examples, to be replaced by your own",
    ]
    held = {
        "scenario": f"{series.recording.recording}-fit",
        "about": f"Fitted to the healthy time of {series.recording.recording}; nobody is harmed yet",
        "starts": format_instant(clock.starts),
        "tick": format_duration(clock.tick).replace(" ", ""),
        "horizon": format_duration(clock.horizon * clock.tick // DAY * DAY or clock.horizon * clock.tick).replace(" ", ""),
        "users": {"count": USERS, "segments": {"everyone": "100%"}},
        "traffic": traffic,
        "metrics": metrics,
        "rollout": _ROLLOUT,
        "drift": drift,
        "response": _RESPONSE,
    }
    return held, left_out


def _metric(level: float, variance: float, *, share: bool, worse: str) -> dict[str, Any] | None:
    if share and 0 <= level < 1:
        return {"kind": "proportion", "per": "request", "normal": f"{_plain(100 * level)}%", "worse": worse}
    if level <= 0 or worse != "up":
        return None
    sigma = math.sqrt(math.log1p(variance / level**2))
    # Files hold whole milliseconds.
    median = max(1, round(1000 * level * math.exp(-(sigma**2) / 2)))
    p99 = f"{max(median + 1, round(median * math.exp(_P99 * sigma)))}ms"
    return {"kind": "duration", "per": "request", "median": f"{median}ms", "p99": p99, "harmed_above": p99}


def _drift(name: str, what: dict[str, str], number: int, peak: float, clock: Clock) -> dict[str, Any]:
    """Return a cycle of so many periods a day; its sine is highest a quarter of a period after its phase."""
    period = DAY // number
    phase = round(peak * period - period / 4 - clock.starts) % period
    return {"name": name, "shape": "cycle", **what, "period": _minutes(period), "phase": _minutes(phase)}


def _weekly(requests: Floats, instant: Floats) -> dict[str, str]:
    # 1 January 1970 was a Thursday.
    day = ((instant // DAY + 3) % 7).astype(int)
    mean = requests.mean()
    return {name: f"{_plain(100 * (requests[day == place].mean() / mean - 1))}%" for place, name in enumerate(WEEKDAYS)}


def _compared(scenario: Scenario, recorded: _Recorded, healthy: Bools) -> list[Fitted]:
    """Return each property of the recording beside those of lanes that are drawn from the fitted scenario."""
    world = AggregateWorld(scenario, np.arange(LANES), seed=0, watched=Watched(frozenset(scenario.metrics), first_seen=False))
    ticks = min(len(healthy), scenario.clock.horizon)
    requests, totals = np.zeros((ticks, LANES)), {name: np.zeros((ticks, LANES)) for name in scenario.metrics}
    for tick in range(ticks):
        noise = world.draw(tick)
        requests[tick] = noise.requests.sum(axis=(0, 1))
        for name, sums in noise.sums.items():
            totals[name][tick] = sums.total.sum(axis=(0, 1))
    instant: Floats = (scenario.clock.starts + (np.arange(ticks, dtype=np.float64) + 0.5) * scenario.clock.tick) % DAY
    known = healthy[:ticks] & (recorded.requests[:ticks] > 0)
    found = _rows(_TRAFFIC, recorded.requests[:ticks][known], requests[known], instant[known])
    for name in scenario.metrics:
        observations, total, _ = recorded.metrics[name]
        there = known & (observations[:ticks] > 0)
        lanes = totals[name][there] / np.maximum(requests[there], 1)
        found += _rows(name, total[:ticks][there] / observations[:ticks][there], lanes, instant[there])
    return found


def _rows(of: str, recorded: Floats, lanes: Floats, instant: Floats) -> list[Fitted]:
    mine, theirs = _properties(recorded, instant), [_properties(lanes[:, lane], instant) for lane in range(lanes.shape[1])]
    rows = []
    for what, value in mine.items():
        low, high = np.quantile([each[what] for each in theirs], [0.025, 0.975])
        rows.append(Fitted(of, what, value, float(low), float(high), len(theirs)))
    return rows


def _properties(values: Floats, instant: Floats) -> dict[str, float]:
    """Return the level, the day, and what is left: its spread and how each tick is linked with the next."""
    level = float(values.mean())
    angle = 2 * np.pi * np.arange(1, HARMONICS + 1)[:, None] * instant / DAY
    design = np.concatenate([np.cos(angle), np.sin(angle)]).T
    weights, *_ = np.linalg.lstsq(design, values - level, rcond=None)
    residual = values - level - design @ weights
    return {
        "level": level,
        "day: swing of the first harmonic": float(math.hypot(weights[0], weights[HARMONICS]) / level),
        "dispersion: spread of a tick over the level": float(residual.std() / level),
        "autocorrelation from one tick to the next": _autocorrelation(residual),
    }


def _plain(value: float) -> str:
    """Return a number with six digits and no exponent."""
    digits = max(0, 5 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:.{min(digits, 15)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _minutes(milliseconds: int) -> str:
    return f"{round(milliseconds / 60_000)}m"


def _time_of_day(milliseconds: float) -> str:
    minutes = round(milliseconds / 60_000) % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
