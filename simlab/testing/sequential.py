"""A sequential test of a probability whose own error rates are known exactly.

Lanes either have an event or not. The claim is "the probability is at most p0"; at p1 > p0 and beyond it is to be caught, and in
between, in the indifference zone, either verdict will do. Wald's likelihood ratio (Ann. Math. Stat. 16, 1945) draws the
boundaries, the test is cut off at a last look, and what it does at any p is computed exactly by recursion over the lattice of
(lanes, events), as for group-sequential tests by Armitage, McPherson & Rowe (JRSS A 132, 1969). The interval orders outcomes by
the look at which the test ended (Jennison & Turnbull, Group Sequential Methods, 2000, sec. 8.4), so that stopping early is paid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, ndtri

from simlab.errors import UnitError
from simlab.guardrails.look import Floats, Integers

LOOKS = 32
"""Looks of a test, at most about: more end easy cases a little sooner and cost more to compute."""
_NEVER = -1


class Outcomes(NamedTuple):
    """What the test does at one probability.

    Attributes
    ----------
    passed, failed : float64[looks]
        Probability that it ends at each look, by verdict.
    at : tuple of float64[events]
        For each look, the probability of 0, 1, ... events on arriving there, as far as there is anything to speak of.
    """

    passed: Floats
    failed: Floats
    at: tuple[Floats, ...]


class Ended(NamedTuple):
    """Where a test ended.

    Attributes
    ----------
    failed : bool
        The verdict.
    look : int
        Which look.
    lanes, events : int
        Lanes used, and how many had an event.
    """

    failed: bool
    look: int
    lanes: int
    events: int


@dataclass(frozen=True)
class Design:
    """A test that is ready to run.

    Attributes
    ----------
    claimed, caught : float
        p0 and p1.
    lanes : tuple of int
        Lanes at each look.
    passes : tuple of int
        At a look it passes with at most this many events; -1 never.
    fails : tuple of int
        At a look it fails with at least this many events.
    """

    claimed: float
    caught: float
    lanes: tuple[int, ...]
    passes: tuple[int, ...]
    fails: tuple[int, ...]

    @property
    def flake(self) -> float:
        """Probability that a rule at the claim itself fails: the most that a right one can have, exactly."""
        return float(_outcomes(self, self.claimed).failed.sum())

    @property
    def power(self) -> float:
        """Probability that a rule at the end of the indifference zone fails: the least that a wrong one can have, exactly."""
        return float(_outcomes(self, self.caught).failed.sum())

    def failing(self, probability: float) -> float:
        """Return the probability that it fails where the true probability is this."""
        return float(_outcomes(self, probability).failed.sum())

    def expected_lanes(self, probability: float) -> float:
        """Return the mean number of lanes until it ends."""
        found = _outcomes(self, probability)
        return float(((found.passed + found.failed) * np.array(self.lanes)).sum())

    def interval(self, ended: Ended, *, confidence: float = 0.95) -> tuple[float, float]:
        """Return the exact interval of the probability, given where the test ended."""
        return _interval(self, ended, confidence)

    def as_high(self, ended: Ended, p: float) -> float:
        """Return the probability of an outcome that speaks for a p at least as high."""
        found, look = _outcomes(self, p), ended.look
        here = float(found.at[look][ended.events :].sum())
        if ended.failed:
            return float(found.failed[:look].sum()) + here
        return 1.0 - float(found.passed[:look].sum()) - float(found.at[look][: ended.events].sum())

    def as_low(self, ended: Ended, p: float) -> float:
        """Return the probability of an outcome that speaks for a p at least as low."""
        return 1.0 - self.as_high(ended, p) + float(_outcomes(self, p).at[ended.look][ended.events :][:1].sum())


class Run:
    """One run of a test over lanes that come in order."""

    def __init__(self, design: Design) -> None:
        self.design = design
        self.look = 0

    @property
    def wants(self) -> int:
        """How many lanes it must have seen for its next look."""
        return self.design.lanes[self.look]

    def see(self, events: int) -> Ended | None:
        """Judge the number of events in the lanes it wanted; None to go on."""
        design, look = self.design, self.look
        self.look += 1
        if events >= design.fails[look] or events <= design.passes[look]:
            return Ended(events >= design.fails[look], look, design.lanes[look], events)
        return None


def design(claimed: float, caught: float, *, flake: float = 1e-6, power: float = 0.99, lanes: int | None = None) -> Design:
    """Return the smallest test of its kind that keeps both error rates.

    Parameters
    ----------
    claimed, caught : float
        p0 < p1: a right rule has at most the one, and one with the other or more is to be caught.
    flake : float
        Greatest probability that a right rule fails.
    power : float
        Least probability that a wrong rule fails.
    lanes : int, optional
        Most lanes; where they do not suffice, it is the power that gives way.

    Raises
    ------
    UnitError
        If the probabilities are not in order, or not inside (0, 1).
    """
    if not 0 < claimed < caught < 1:
        raise UnitError(f"the claim {claimed:g} and what is to be caught {caught:g} must be in order, between 0 and 1")
    if not (0 < flake < 0.5 < power < 1):
        raise UnitError(f"flake must be below and power above 1/2, both between 0 and 1, not {flake:g} and {power:g}")
    if lanes is not None and lanes < 1:
        raise UnitError(f"lanes must be positive, not {lanes}")
    return _design(claimed, caught, flake, power, lanes)


@lru_cache(maxsize=64)
def _design(claimed: float, caught: float, flake: float, power: float, lanes: int | None) -> Design:
    size = _fixed_size(claimed, caught, flake, power)
    for _ in range(40):
        most = size if lanes is None else min(size, lanes)
        found = _cut_off(claimed, caught, flake, power, most)
        if most == lanes or found.power >= power:
            return found
        size = math.ceil(1.1 * size)
    raise UnitError(f"no test tells {claimed:g} from {caught:g} in {size} lanes")


def _fixed_size(claimed: float, caught: float, flake: float, power: float) -> int:
    """Return about the lanes of a test with one look, by the normal approximation."""
    spread = -ndtri(flake) * math.sqrt(claimed * (1 - claimed)) + ndtri(power) * math.sqrt(caught * (1 - caught))
    return max(8, math.ceil((spread / (caught - claimed)) ** 2))


def _cut_off(claimed: float, caught: float, flake: float, power: float, most: int) -> Design:
    """Return Wald's test cut off at `most` lanes, its last critical value the least that keeps the flake rate."""
    step = -(-most // LOOKS)
    lanes = (*range(step, most, step), most)
    event, none = math.log(caught / claimed), math.log((1 - caught) / (1 - claimed))
    # Half of either error is left for the last look.
    upper, lower = math.log(2 * power / flake), math.log((1 - power) / 2)
    slope = event - none
    fails = [math.ceil((upper - n * none) / slope) for n in lanes[:-1]]
    passes = [max(_NEVER, math.floor((lower - n * none) / slope)) for n in lanes[:-1]]
    open_ended = Design(claimed, caught, lanes, (*passes, _NEVER), (*fails, most + 1))
    arriving = _outcomes(open_ended, claimed)
    spent = float(arriving.failed.sum())
    beyond = np.append(np.cumsum(arriving.at[-1][::-1])[::-1], 0.0)
    last = int(np.argmax(beyond + spent <= flake))
    return Design(claimed, caught, lanes, (*passes, last - 1), (*fails, last))


@lru_cache(maxsize=4096)
def _interval(tested: Design, ended: Ended, confidence: float) -> tuple[float, float]:
    tail = (1.0 - confidence) / 2

    def root(excess: Callable[[float], float]) -> float:
        return float(brentq(excess, 1e-12, 1.0 - 1e-12, xtol=1e-9))

    low = root(lambda p: tested.as_high(ended, p) - tail) if ended.events > 0 else 0.0
    high = root(lambda p: tested.as_low(ended, p) - tail) if ended.events < ended.lanes else 1.0
    return low, high


@lru_cache(maxsize=256)
def _outcomes(tested: Design, p: float) -> Outcomes:
    """Return what the test does at p, exactly, by recursion over (lanes, events)."""
    reached = np.ones(1)
    before = 0
    passed, failed, at = [], [], []
    for lanes, passes, fails in zip(tested.lanes, tested.passes, tested.fails, strict=True):
        new = _binomial(lanes - before, p)
        arriving = np.convolve(reached, new)
        events: Integers = np.arange(arriving.size)
        passing, failing = events <= passes, events >= fails
        passed.append(float(arriving[passing].sum()))
        failed.append(float(arriving[failing & ~passing].sum()))
        at.append(arriving)
        # Beyond the critical value there is nothing that goes on.
        reached = np.where(passing | failing, 0.0, arriving)[: min(fails, arriving.size)]
        before = lanes
    return Outcomes(np.array(passed), np.array(failed), tuple(at))


def _binomial(lanes: int, p: float) -> Floats:
    """Return the probabilities of 0, 1, ... events, as far as there is anything to speak of."""
    # By Bernstein's inequality less than 1e-17 is left out.
    most = min(lanes, math.ceil(lanes * p + 9.0 * math.sqrt(lanes * p * (1.0 - p)) + 30.0))
    events = np.arange(most + 1.0)
    ways = gammaln(lanes + 1.0) - gammaln(events + 1.0) - gammaln(lanes - events + 1.0)
    return np.asarray(np.exp(ways + events * math.log(p) + (lanes - events) * math.log1p(-p)))
