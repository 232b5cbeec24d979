"""Exact run lengths of rules on independent normal looks, by integral equations.

A rule whose state is one number is a Markov chain on an interval that it leaves at the alarm. Its kernel is smooth, so that
Gauss-Legendre nodes give the answer to many digits. Page (1954) has the equation of CUSUM, whose state has an atom at 0; Crowder,
"A simple method for studying run-length distributions of exponentially weighted moving average charts", Technometrics 29 (1987),
that of EWMA; Moustakides, Polunchenko & Tartakovsky (2009) that of Shiryaev-Roberts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from statistics import NormalDist
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtr

from simlab.errors import SimlabError, UnitError
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Rule
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.e_detectors import ECusum, ESr
from simlab.guardrails.rules.ewma import Ewma
from simlab.guardrails.rules.shewhart import Shewhart
from simlab.guardrails.rules.shiryaev_roberts import ShiryaevRoberts
from simlab.rule_from import rule as read_rule

_FAR = 10.0
"""Standard deviations beyond which a normal variable does not get: 1e-23."""

_BLOCK = 64
"""Looks that go through one matrix product, a power of 2."""

_SETTLED = 1e-14
"""Share of the asymptotic variance of an EWMA below which its exact limits are the asymptotic ones."""


class Solved(Protocol):
    """A rule on one stream, solved."""

    def mean(self) -> float:
        """Return the mean run length in looks."""

    def survival(self, looks: int) -> Floats:
        """Return the probability of no alarm by look 0, 1, ..., `looks`: float64[looks + 1]."""


class _Nodes(NamedTuple):
    """Gauss-Legendre nodes and weights of an interval."""

    at: Floats
    weight: Floats


@dataclass(frozen=True)
class _Chain:
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
        return float(1.0 + self.early.sum() + self.start @ self.visits(np.ones(len(self.start))))

    def visits(self, reward: Floats) -> Floats:
        """Return the expected sum of a reward over all looks, from each node."""
        return np.asarray(np.linalg.solve(np.eye(len(self.start)) - self.step, reward))

    def survival(self, looks: int) -> Floats:
        """Return the probability of no alarm by each look."""
        masses = self.start[None, :]
        power = self.step
        while len(masses) < _BLOCK:
            masses = np.concatenate([masses, masses @ power])
            power = power @ power
        found = [np.ones(1), self.early]
        for _ in range(0, max(0, looks - len(self.early)), _BLOCK):
            found.append(masses.sum(axis=1))
            masses = masses @ power
        return np.concatenate(found)[: looks + 1]


@dataclass(frozen=True)
class _TwoSidedCusum:
    """Two one-sided CUSUMs of which the first alarm counts.

    When one sum alarms the other is at 0 (head starts up to h / 2 + k), so the other goes on as if anew: a renewal argument
    gives mean and distribution from those of the two sides (van Dobben de Bruyn 1968 and Lucas & Crosier 1982 for the mean).

    Attributes
    ----------
    upper, lower : _Chain
        Each side by itself from its head start.
    upper_anew, lower_anew : _Chain
        Each side by itself from 0.
    """

    upper: _Chain
    lower: _Chain
    upper_anew: _Chain
    lower_anew: _Chain

    def mean(self) -> float:
        """Return the mean run length (Lucas & Crosier 1982)."""
        above, below = self.upper_anew.mean(), self.lower_anew.mean()
        return (self.upper.mean() * below + self.lower.mean() * above - above * below) / (above + below)

    def survival(self, looks: int) -> Floats:
        """Return the probability of no alarm by each look, from the generating functions of the sides' run lengths.

        With U and D the probabilities that the upper or the lower side alarms first at a look, and + and - the sides alone,
        G+ = U + D G+_anew and G- = D + U G-_anew.
        """
        upper, lower = self._at_look(self.upper, looks), self._at_look(self.lower, looks)
        upper_anew, lower_anew = self._at_look(self.upper_anew, looks), self._at_look(self.lower_anew, looks)
        first = upper + lower - _product(lower, upper_anew) - _product(upper, lower_anew)
        divisor = -_product(upper_anew, lower_anew)
        divisor[0] = 1.0
        return np.asarray(1.0 - np.cumsum(lfilter([1.0], divisor, first)))

    @staticmethod
    def _at_look(side: _Chain, looks: int) -> Floats:
        return -np.diff(side.survival(looks), prepend=1.0)


@dataclass(frozen=True)
class Sprt:
    """The exact operating characteristics of a sequential probability ratio test.

    Attributes
    ----------
    average_sample_number : float
        Mean number of looks to either bound.
    upper_probability, lower_probability : float
        Of ending at each bound.
    """

    average_sample_number: float
    upper_probability: float
    lower_probability: float


def exact_run_length(rule: Rule | Mapping[str, Any], shift: float = 0.0) -> float:
    """Return the mean run length in looks on independent normal observations with mean `shift` and variance 1.

    Parameters
    ----------
    rule : Rule or mapping
        cusum, ewma, shewhart, shiryaev_roberts, or e_sr or e_cusum on standardised looks.
    shift : float
        Mean of every look from the first on, in standard deviations of a look.

    Raises
    ------
    SimlabError
        If there is no exact answer for this rule.

    Examples
    --------
    >>> round(exact_run_length({"cusum": {"k": 0.5, "h": 4, "sides": 2}}), 4)
    167.6838
    """
    return solve(read_rule(rule), shift).mean()


def exact_alarm_probability(rule: Rule | Mapping[str, Any], *, looks: int, shift: float = 0.0) -> Floats:
    """Return the probability of an alarm by look 0, 1, ..., `looks`, float64[looks + 1], as `exact_run_length` does the mean.

    Raises
    ------
    SimlabError
        If there is no exact answer for this rule.
    """
    return 1.0 - solve(read_rule(rule), shift).survival(looks)


def solve(rule: Rule, shift: float) -> Solved:
    """Return a rule on independent normal looks with mean `shift`, solved.

    Raises
    ------
    SimlabError
        If there is no exact answer for this rule.
    """
    if type(rule) not in _SOLVERS:
        raise SimlabError(f"{rule.key} has no exact run length; simulate it with run_length")
    return _SOLVERS[type(rule)](rule, shift)


def exact_sprt(lower: float, upper: float, *, delta: float, shift: float = 0.0) -> Sprt:
    """Return sample number and error of the SPRT of N(0, 1) against N(delta, 1), bounds on the log likelihood ratio.

    Parameters
    ----------
    lower, upper : float
        Bounds in nats, below and above 0; Wald's are log(b / (1 - a)) and log((1 - b) / a).
    delta : float
        The alternative, in standard deviations of a look.
    shift : float
        True mean of a look: 0 gives the error of the first kind as `upper_probability`, `delta` that of the second kind as
        `lower_probability`.

    Raises
    ------
    UnitError
        Unless lower < 0 < upper and delta > 0.

    Examples
    --------
    >>> round(exact_sprt(-2.9444, 2.9444, delta=1).upper_probability, 5)
    0.02864
    """
    if not lower < 0 < upper or delta <= 0:
        raise UnitError(f"lower {lower:g} and upper {upper:g} must stand on both sides of 0, and delta {delta:g} above it")
    drift = delta * shift - 0.5 * delta * delta
    nodes = _nodes(lower, upper, spread=delta)

    def rows(state: Floats) -> Floats:
        return _to_nodes(nodes, state + drift, delta)

    def above(state: Floats) -> Floats:
        return np.asarray(ndtr((state + drift - upper) / delta))

    chain = _chain(rows, nodes.at, 0.0)
    reached = float(above(np.zeros(1))[0] + chain.start @ chain.visits(above(nodes.at)))
    return Sprt(chain.mean(), reached, 1.0 - reached)


@cache
def _legendre(count: int) -> _Nodes:
    return _Nodes(*np.polynomial.legendre.leggauss(count))


def _nodes(low: float, high: float, *, spread: float) -> _Nodes:
    """Return nodes enough for a normal kernel of standard deviation `spread`."""
    at, weight = _legendre(32 + 8 * math.ceil(0.5 * (high - low) / spread))
    half = 0.5 * (high - low)
    return _Nodes(low + half * (at + 1.0), half * weight)


def _to_nodes(nodes: _Nodes, mean: Floats, spread: float) -> Floats:
    """Return the probability that goes from each mean to each node, float64[means, nodes], for a normal step."""
    z = (nodes.at[None, :] - mean[:, None]) / spread
    return np.asarray(np.exp(-0.5 * z * z) * (nodes.weight / (spread * math.sqrt(2.0 * math.pi))))


def _chain(rows: Callable[[Floats], Floats], at: Floats, start: float) -> _Chain:
    return _Chain(rows(np.array([start]))[0], rows(at))


def _product(one: Floats, other: Floats) -> Floats:
    """Return the product of two power series, as long as they are."""
    return np.convolve(one, other)[: len(one)]


def _cusum_side(k: float, h: float, *, shift: float, start: float) -> _Chain:
    nodes = _nodes(0.0, h, spread=1.0)

    def rows(state: Floats) -> Floats:
        mean = state + shift - k
        return np.column_stack([ndtr(-mean), _to_nodes(nodes, mean, 1.0)])

    return _chain(rows, np.concatenate([[0.0], nodes.at]), start)


def _cusum(rule: Cusum, shift: float) -> Solved:
    if rule.sides == 1:
        return _cusum_side(rule.k, rule.h, shift=shift, start=rule.head_start)
    if rule.head_start > rule.h / 2 + rule.k:
        raise SimlabError("two sides have an exact run length only for a head start of at most h / 2 + k")
    starts = (rule.head_start, rule.head_start, 0.0, 0.0)
    shifts = (shift, -shift, shift, -shift)
    return _TwoSidedCusum(*(_cusum_side(rule.k, rule.h, shift=d, start=s) for s, d in zip(starts, shifts, strict=True)))


def _ewma(rule: Ewma, shift: float) -> Solved:
    weight, spread = rule.lambda_, math.sqrt(rule.lambda_ / (2.0 - rule.lambda_))
    floor = min(shift, 0.0) - _FAR * spread

    def nodes(lacking: float) -> _Nodes:
        limit = rule.L * spread * math.sqrt(1.0 - lacking)
        return _nodes(-limit if rule.sides == 2 else floor, limit, spread=weight)

    def rows(state: Floats, to: _Nodes) -> Floats:
        return _to_nodes(to, (1.0 - weight) * state + weight * shift, weight)

    last = nodes(0.0)
    step = rows(last.at, last)
    # With exact limits the chain differs from look to look until they have settled.
    state, mass = np.zeros(1), np.ones(1)
    early: list[float] = []
    lacking = (1.0 - weight) ** 2
    while rule.exact_limits and lacking > _SETTLED:
        to = nodes(lacking)
        state, mass = to.at, mass @ rows(state, to)
        early.append(float(mass.sum()))
        lacking *= (1.0 - weight) ** 2
    return _Chain(mass @ rows(state, last), step, np.array(early))


def _shewhart(rule: Shewhart, shift: float) -> Solved:
    normal = NormalDist()
    outside = normal.cdf(shift - rule.sigmas) + (normal.cdf(-rule.sigmas - shift) if rule.sides == 2 else 0.0)
    return _Chain(np.array([1.0 - outside]), np.array([[1.0 - outside]]))


def _shiryaev_roberts(rule: ShiryaevRoberts, shift: float) -> Solved:
    """Solve for the state log(1 + R), of which the log R of the next look is a normal step away."""
    drift = rule.theta * shift - 0.5 * rule.theta**2
    nodes = _nodes(min(drift, 0.0) - _FAR * rule.theta, rule.threshold, spread=rule.theta)
    return _chain(lambda state: _to_nodes(nodes, state + drift, rule.theta), np.logaddexp(0.0, nodes.at), 0.0)


def _e_sr(rule: ESr, shift: float) -> Solved:
    _refuse_levels(rule)
    return _shiryaev_roberts(ShiryaevRoberts(theta=rule.theta, A=1.0 / rule.alpha), shift)


def _e_cusum(rule: ECusum, shift: float) -> Solved:
    """Solve as the CUSUM of log M / theta."""
    _refuse_levels(rule)
    return _cusum_side(0.5 * rule.theta, rule.threshold / rule.theta, shift=shift, start=0.0)


def _refuse_levels(rule: ESr | ECusum) -> None:
    if rule.p0 is not None:
        raise SimlabError(f"{rule.key} has an exact run length on standardised looks only; simulate it with run_length")


_SOLVERS: dict[type[Any], Callable[[Any, float], Solved]] = {
    Cusum: _cusum,
    Ewma: _ewma,
    Shewhart: _shewhart,
    ShiryaevRoberts: _shiryaev_roberts,
    ESr: _e_sr,
    ECusum: _e_cusum,
}
