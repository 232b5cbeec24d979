"""Markov chains that leave an interval at the alarm: mean and distribution of the time to it.

The kernel of a rule whose state is one number is smooth, so that Gauss-Legendre nodes turn its integral equation into a small
linear system that gives many digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
from scipy.signal import lfilter

from simlab.errors import SimlabError
from simlab.guardrails.look import Floats

_BLOCK = 64
"""Looks that go through one matrix product, a power of 2."""

_MOST_NODES = 5_000


class Solved(Protocol):
    """A rule on one stream, solved."""

    def mean(self) -> float:
        """Return the mean run length in looks."""

    def survival(self, looks: int) -> Floats:
        """Return the probability of no alarm by look 0, 1, ..., `looks`: float64[looks + 1]."""


class Nodes(NamedTuple):
    """Gauss-Legendre nodes and weights of an interval.

    Attributes
    ----------
    at, weight : float64[nodes]
        Where they stand, and what each counts.
    """

    at: Floats
    weight: Floats

    def reached_from(self, mean: Floats, *, spread: float) -> Floats:
        """Return the probability that goes from each mean to each node, float64[means, nodes], in a normal step."""
        z = (self.at[None, :] - mean[:, None]) / spread
        return np.asarray(np.exp(-0.5 * z * z) * (self.weight / (spread * math.sqrt(2.0 * math.pi))))


def nodes_of(low: float, high: float, *, spread: float) -> Nodes:
    """Return nodes enough for a normal kernel of standard deviation `spread` on an interval.

    Raises
    ------
    SimlabError
        If the interval is too wide for it.
    """
    count = 32 + 8 * math.ceil(0.5 * (high - low) / spread)
    if count > _MOST_NODES:
        raise SimlabError(f"a threshold {high - low:g} wide in steps of {spread:g} is too far for an exact answer; simulate it")
    at, weight = _legendre(count)
    half = 0.5 * (high - low)
    return Nodes(low + half * (at + 1.0), half * weight)


@cache
def _legendre(count: int) -> Nodes:
    return Nodes(*np.polynomial.legendre.leggauss(count))


@dataclass(frozen=True)
class Chain:
    """A Markov chain on nodes, which leaves them at the alarm.

    Attributes
    ----------
    start : float64[nodes]
        Probability of being at each node after look ``len(early) + 1``, without an alarm so far.
    step : float64[nodes, nodes]
        Probability of going from one node to another in one look.
    early : float64[...]
        Probabilities of no alarm by look 1, 2, ... before that.
    """

    start: Floats
    step: Floats
    early: Floats = field(default_factory=lambda: np.empty(0))

    def mean(self) -> float:
        """Return the mean run length: the survival, summed."""
        return 1.0 + float(self.early.sum()) + self.total(np.ones(len(self.start)))

    def survival(self, looks: int) -> Floats:
        """Return the probability of no alarm by each look."""
        later = self.at_each_look(np.ones(len(self.start)), looks - len(self.early))
        return np.concatenate([np.ones(1), self.early, later])[: looks + 1]

    def total(self, reward: Floats) -> float:
        """Return the expected sum over all looks of a reward that each node gives."""
        return float(self.start @ np.linalg.solve(np.eye(len(self.start)) - self.step, reward))

    def at_each_look(self, reward: Floats, looks: int) -> Floats:
        """Return the expected reward at each look, from that of `start` on: float64[looks], empty where there are none."""
        if looks <= 0:
            return np.empty(0)
        masses = self.start[None, :]
        power = self.step
        while len(masses) < _BLOCK:
            masses = np.concatenate([masses, masses @ power])
            power = power @ power
        found = []
        for _ in range(0, looks, _BLOCK):
            found.append(masses @ reward)
            masses = masses @ power
        return np.concatenate(found)[:looks]


def chain_on(rows: Callable[[Floats], Floats], at: Floats, *, start: float) -> Chain:
    """Return the chain whose probabilities of going on to the nodes `at` are rows(state), from one state."""
    return Chain(rows(np.array([start]))[0], rows(at))


@dataclass(frozen=True)
class TwoSides:
    """Two one-sided CUSUMs of which the first alarm counts.

    When one sum alarms the other is at 0 (head starts up to h / 2 + k), so the other goes on as if anew: a renewal argument
    gives mean and distribution from those of the two sides (van Dobben de Bruyn 1968 and Lucas & Crosier 1982 for the mean).

    Attributes
    ----------
    upper, lower : Chain
        Each side by itself from its head start.
    upper_anew, lower_anew : Chain
        Each side by itself from 0.
    """

    upper: Chain
    lower: Chain
    upper_anew: Chain
    lower_anew: Chain

    def mean(self) -> float:
        """Return the mean run length (Lucas & Crosier 1982)."""
        above, below = self.upper_anew.mean(), self.lower_anew.mean()
        return (self.upper.mean() * below + self.lower.mean() * above - above * below) / (above + below)

    def survival(self, looks: int) -> Floats:
        """Return the probability of no alarm by each look, from the generating functions of the sides' run lengths.

        With U and D the probabilities that the upper or the lower side alarms first at a look, and + and - the sides alone,
        G+ = U + D G+_anew and G- = D + U G-_anew.
        """
        upper, lower = _at_look(self.upper, looks), _at_look(self.lower, looks)
        upper_anew, lower_anew = _at_look(self.upper_anew, looks), _at_look(self.lower_anew, looks)
        first = upper + lower - _product(lower, upper_anew) - _product(upper, lower_anew)
        divisor = -_product(upper_anew, lower_anew)
        divisor[0] = 1.0
        return np.asarray(1.0 - np.cumsum(lfilter([1.0], divisor, first)))


def _at_look(side: Chain, looks: int) -> Floats:
    """Return the probability that a side alarms at look 0, 1, ..., `looks`."""
    return -np.diff(side.survival(looks), prepend=1.0)


def _product(one: Floats, other: Floats) -> Floats:
    """Return the product of two power series, as long as they are."""
    return np.convolve(one, other)[: len(one)]
