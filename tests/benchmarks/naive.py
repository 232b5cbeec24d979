"""A SimPy model of the benchmark's workload as one would first write it: a process a session, an event a request.

It shares no code with simlab and uses neither NumPy nor its keyed streams. It is meant to be good plain Python: the random
functions are bound once, counts stand in objects with slots, a look computes each comparison once for all rules that use it,
and a session's random numbers are drawn only where they are used. It is lazy where the workload allows it: every session counts as a user of
its own, no telemetry is delayed, and there is neither a harmless twin nor anyone who answers an alarm.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import simpy

from tests.benchmarks.naive_rules import Rule, SampleRatio

TREATMENT, CONTROL = range(2)
ERRORS, CONVERSIONS, LATENCY, SHARES = range(4)


@dataclass(frozen=True)
class Watching:
    """One rule on each segment by itself.

    Attributes
    ----------
    metric : int
        ERRORS, CONVERSIONS, LATENCY, or SHARES for a sample ratio.
    made : callable
        Makes the rule of one stream.
    threshold : float
        Of its statistic.
    """

    metric: int
    made: Callable[[], Rule | SampleRatio]
    threshold: float


@dataclass(frozen=True)
class Workload:
    """What is simulated; the unit of time is a tick.

    Attributes
    ----------
    requests : float
        Mean requests a tick, over all users and a whole day.
    day : float
        Ticks in a day.
    swing, peak : float
        Of the day: traffic is ``1 + swing cos(2 pi (t - peak) / day)`` times its mean.
    segments : tuple of float
        Shares of traffic.
    ramp : tuple of (float, float)
        From which tick on which share of users is in treatment; the rest are control.
    error, error_cv : float
        Probability of an error, and the spread of the personal factor on it.
    conversion : float
        Probability of a conversion.
    mu, sigma : float
        Of the log-normal latency, in log seconds.
    harm, harm_from, harm_segment : float, float, int
        What is added to the probability of an error of treated users, from which tick on, in which segment.
    rules : tuple of Watching
        What watches.
    requests_per_session, gap : float
        Mean length of a session in requests, and mean ticks between two of them.
    """

    requests: float
    day: float
    swing: float
    peak: float
    segments: tuple[float, ...]
    ramp: tuple[tuple[float, float], ...]
    error: float
    error_cv: float
    conversion: float
    mu: float
    sigma: float
    harm: float
    harm_from: float
    harm_segment: int
    rules: tuple[Watching, ...]
    requests_per_session: float = 6.0
    gap: float = 0.1

    @property
    def run_in(self) -> int:
        """Ticks after which as many sessions are open as ever: fifteen times the mean length of one."""
        return math.ceil(15 * self.requests_per_session * self.gap)


class Cell:
    """Sums of one segment in one arm since the last look."""

    __slots__ = ("conversions", "errors", "requests", "seconds", "sessions", "squares")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin the next look."""
        self.sessions = 0
        self.requests = 0
        self.errors = 0
        self.conversions = 0
        self.seconds = 0.0
        self.squares = 0.0


@dataclass(frozen=True)
class Totals:
    """What happened in one arm of one segment over a run.

    Attributes
    ----------
    requests, errors, conversions : float
        How many.
    seconds : float
        Sum of latencies.
    """

    requests: float
    errors: float
    conversions: float
    seconds: float


class NaiveModel:
    """One lane of the workload, started at a tick of choice.

    Parameters
    ----------
    workload : Workload
        What is simulated.
    seed : int
        Of its random numbers.
    start : int
        First tick whose looks are judged; sessions begin earlier, so that as many are open as ever.
    """

    def __init__(self, workload: Workload, *, seed: int, start: int = 0) -> None:
        self.workload = workload
        self.random = random.Random(seed)
        self.environment = simpy.Environment(initial_time=start - workload.run_in)
        self.segments = range(len(workload.segments))
        self.shares_so_far = list(accumulate(workload.segments))
        self.cells = [[Cell(), Cell()] for _ in workload.segments]
        self.exposed = self._exposure(start)
        self.rules = [[watching.made() for watching in workload.rules] for _ in workload.segments]
        self.alarms = [[0] * len(workload.rules) for _ in workload.segments]
        self.sums = [[[0, 0, 0, 0.0] for _ in range(2)] for _ in workload.segments]
        self.environment.process(self._arrivals())
        self.environment.run(until=start)
        for arms in self.cells:
            for cell in arms:
                cell.clear()

    def run(self, ticks: int) -> None:
        """Go on for some ticks, each ended by a look."""
        self.environment.run(until=self.environment.process(self._looks(ticks)))

    def totals(self, segment: int, arm: int) -> Totals:
        """Return what the looks so far have held of one arm of one segment."""
        return Totals(*self.sums[segment][arm])

    def _exposure(self, now: float) -> float:
        exposed = 0.0
        for begins, share in self.workload.ramp:
            if now >= begins:
                exposed = share
        return exposed

    def _arrivals(self) -> Generator[simpy.Event, Any, None]:
        """Start sessions by a Poisson process with a daily cycle, thinned from its highest rate (Lewis & Shedler 1979)."""
        workload, environment = self.workload, self.environment
        uniform, exponential, cosine = self.random.random, self.random.expovariate, math.cos
        highest = workload.requests / workload.requests_per_session * (1 + workload.swing)
        turn = 2 * math.pi / workload.day
        while True:
            yield environment.timeout(exponential(highest))
            rate = 1 + workload.swing * cosine(turn * (environment.now - workload.peak))
            if uniform() * (1 + workload.swing) < rate:
                environment.process(self._session())

    def _session(self) -> Generator[simpy.Event, Any, None]:
        """One user's visit: a fixed segment, place in the ramp and personal effect, and a geometric number of requests."""
        workload, environment, timeout = self.workload, self.environment, self.environment.timeout
        uniform, exponential, log_normal = self.random.random, self.random.expovariate, self.random.lognormvariate
        segment = self.random.choices(self.segments, cum_weights=self.shares_so_far)[0]
        cells = self.cells[segment]
        bucket = uniform()
        shape = 1 / workload.error_cv**2
        normal = workload.error * self.random.gammavariate(shape, 1 / shape)
        harmed = normal + workload.harm if segment == workload.harm_segment else normal
        conversion, mu, sigma, harm_from = workload.conversion, workload.mu, workload.sigma, workload.harm_from
        ends, rate = 1 / workload.requests_per_session, 1 / workload.gap
        cells[TREATMENT if bucket < self.exposed else CONTROL].sessions += 1
        while True:
            if bucket < self.exposed:
                cell = cells[TREATMENT]
                error = harmed if environment.now >= harm_from else normal
            else:
                cell = cells[CONTROL]
                error = normal
            latency = log_normal(mu, sigma)
            cell.requests += 1
            cell.seconds += latency
            cell.squares += latency * latency
            if uniform() < error:
                cell.errors += 1
            if uniform() < conversion:
                cell.conversions += 1
            if uniform() < ends:
                return
            yield timeout(exponential(rate))

    def _looks(self, ticks: int) -> Generator[simpy.Event, Any, None]:
        """At the end of each tick, step every rule on every segment."""
        for _ in range(ticks):
            yield self.environment.timeout(1)
            for segment, arms in enumerate(self.cells):
                self._step(segment, arms)
                for arm, cell in enumerate(arms):
                    sums = self.sums[segment][arm]
                    sums[0] += cell.requests
                    sums[1] += cell.errors
                    sums[2] += cell.conversions
                    sums[3] += cell.seconds
                    cell.clear()
            self.exposed = self._exposure(self.environment.now)

    def _step(self, segment: int, arms: list[Cell]) -> None:
        observations = compared(arms[TREATMENT], arms[CONTROL])
        for index, (watching, rule) in enumerate(zip(self.workload.rules, self.rules[segment], strict=True)):
            if isinstance(rule, SampleRatio):
                statistic = rule.step(arms[TREATMENT].sessions, arms[CONTROL].sessions, self.exposed)
            else:
                observation = observations[watching.metric]
                if observation is None:
                    continue
                statistic = rule.step(observation)
            if statistic >= watching.threshold:
                self.alarms[segment][index] += 1


def compared(treatment: Cell, control: Cell) -> tuple[float | None, float | None, float | None]:
    """Return the standardised difference of the two arms in errors, conversions (a loss counts up) and latency."""
    n, m = treatment.requests, control.requests
    if n == 0 or m == 0:
        return None, None, None
    conversions = standardised(n, m, treatment.conversions, control.conversions, treatment.conversions + control.conversions)
    return (
        standardised(n, m, treatment.errors, control.errors, treatment.errors + control.errors),
        None if conversions is None else -conversions,
        standardised(n, m, treatment.seconds, control.seconds, treatment.squares + control.squares),
    )


def standardised(n: int, m: int, one: float, other: float, squares: float) -> float | None:
    """Return the difference of two means in standard deviations, by the variance of both arms together; None if that is 0."""
    both = n + m
    variance = (squares - (one + other) ** 2 / both) / (both - 1)
    if variance <= 0:
        return None
    return (one / n - other / m) / math.sqrt(variance * (1 / n + 1 / m))
