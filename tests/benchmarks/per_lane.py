"""The benchmark's workload with one SimPy environment a lane and small NumPy draws: what one writes after the naive model.

Each tick draws arrays of [segments, arms] and steps each rule on the segments at once. No code is shared with simlab.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator

import numpy as np
import simpy
from numpy.typing import NDArray
from scipy.special import gammaln

from tests.benchmarks.naive import CONVERSIONS, ERRORS, LATENCY, SHARES, Workload
from tests.benchmarks.naive_rules import Cusum, Ewma, MixtureSprt, PageHinkley, Rule, SampleRatio, ShiryaevRoberts, Sprt

Floats = NDArray[np.float64]


class LaneModel:
    """One lane of the workload.

    Parameters
    ----------
    workload : Workload
        What is simulated.
    seed : int
        Of its random numbers.
    start : int
        First tick.
    """

    def __init__(self, workload: Workload, *, seed: int, start: int = 0) -> None:
        self.workload = workload
        self.random = np.random.default_rng(seed)
        self.environment = simpy.Environment(initial_time=start)
        self.shares = np.array(workload.segments)[:, None]
        self.rules = [(each.metric, each.threshold, _of_segments(each.made())) for each in workload.rules]
        self.alarms = np.zeros((len(self.rules), len(self.shares)), dtype=np.int64)

    def run(self, ticks: int) -> None:
        """Go on for some ticks, each ended by a look."""
        self.environment.run(until=self.environment.process(self._ticks(ticks)))

    def _ticks(self, ticks: int) -> Generator[simpy.Event, None, None]:
        for _ in range(ticks):
            self._tick(self.environment.now)
            yield self.environment.timeout(1)

    def _tick(self, now: float) -> None:
        work, random = self.workload, self.random
        exposed = 0.0
        for begins, share in work.ramp:
            if now >= begins:
                exposed = share
        mean = work.requests * (1 + work.swing * math.cos(2 * math.pi * (now + 0.5 - work.peak) / work.day))
        requests = random.poisson(mean * self.shares * np.array([exposed, 1.0 - exposed]))
        chance = np.full(requests.shape, work.error)
        if now >= work.harm_from:
            chance[work.harm_segment, 0] += work.harm
        errors = random.binomial(requests, chance)
        conversions = random.binomial(requests, work.conversion)
        some = np.maximum(requests, 1)
        variance = math.expm1(work.sigma**2) * math.exp(2 * work.mu + work.sigma**2)
        seconds = random.normal(requests * math.exp(work.mu + work.sigma**2 / 2), np.sqrt(some * variance))
        x = {
            ERRORS: _standardised(some, errors, errors.sum(axis=1)),
            CONVERSIONS: -_standardised(some, conversions, conversions.sum(axis=1)),
            LATENCY: _standardised(some, seconds, (some * variance + seconds**2 / some).sum(axis=1)),
        }
        for index, (metric, threshold, step) in enumerate(self.rules):
            given = np.stack([requests[:, 0], requests[:, 1], np.full(len(requests), exposed)]) if metric == SHARES else x[metric]
            self.alarms[index] += step(given) >= threshold


def _standardised(n: NDArray[np.int64], total: Floats | NDArray[np.int64], squares: Floats | NDArray[np.int64]) -> Floats:
    """Return the difference of the two means in standard deviations, by the variance of both arms together; 0 if that is 0."""
    both = n.sum(axis=1)
    variance = np.maximum((squares - total.sum(axis=1) ** 2 / both) / (both - 1) * (1 / n).sum(axis=1), 1e-300)
    difference = total[:, 0] / n[:, 0] - total[:, 1] / n[:, 1]
    return np.where(difference == 0.0, 0.0, difference / np.sqrt(variance))


def _of_segments(rule: Rule | SampleRatio) -> Callable[[Floats], Floats]:
    """Return the step of a rule over all segments at once; its state is in the function."""
    total, mean, lowest, looks = np.zeros(4), np.zeros(4), np.zeros(4), 0

    def step(x: Floats) -> Floats:
        nonlocal total, mean, lowest, looks
        looks += 1
        if isinstance(rule, Cusum):
            total = np.maximum(0.0, total + x - rule.k)
        elif isinstance(rule, Ewma):
            mean = mean + rule.weight * (x - mean)
            return np.abs(mean) / rule.spread
        elif isinstance(rule, Sprt):
            total = np.where(total > rule.accepts, total + rule.delta * (x - 0.5 * rule.delta), total)
        elif isinstance(rule, MixtureSprt):
            total = total + x
            return 0.5 * (math.log(rule.r / (looks + rule.r)) + total**2 / (looks + rule.r))
        elif isinstance(rule, ShiryaevRoberts):
            total = np.logaddexp(0.0, total if looks > 1 else np.full(4, -np.inf)) + rule.theta * (x - 0.5 * rule.theta)
        elif isinstance(rule, PageHinkley):
            mean = mean + (x - mean) / looks
            total = total + x - mean - rule.delta
            lowest = np.minimum(lowest, total)
            return total - lowest
        elif isinstance(rule, SampleRatio):
            total, mean, share = total + x[0], mean + x[1], x[2]
            a, b = rule.concentration * share, rule.concentration * (1.0 - share)
            log_mixture = gammaln(a + b) - gammaln(a + b + total + mean) + gammaln(a + total) - gammaln(a)
            return np.asarray(log_mixture + gammaln(b + mean) - gammaln(b) - total * np.log(share) - mean * np.log1p(-share))
        return total

    return step
