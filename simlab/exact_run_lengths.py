"""Exact run lengths of rules on independent normal looks, by integral equations.

Page (1954) has the equation of CUSUM, whose state has an atom at 0; Crowder, "A simple method for studying run-length
distributions of exponentially weighted moving average charts", Technometrics 29 (1987), that of EWMA; Moustakides, Polunchenko &
Tartakovsky (2009) that of Shiryaev-Roberts. A mean loses digits as it grows: its error is about 1e-14 of its square.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.special import ndtr

from simlab.chains import Chain, Nodes, Solved, TwoSides, chain_on, nodes_of
from simlab.errors import SimlabError, UnitError
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Rule
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.e_detectors import ECusum, ESr
from simlab.guardrails.rules.ewma import Ewma
from simlab.guardrails.rules.shewhart import Shewhart
from simlab.guardrails.rules.shiryaev_roberts import ShiryaevRoberts
from simlab.guardrails.rules.sprt import Sprt
from simlab.rule_from import rule as read_rule

LONGEST = 1e9
"""The longest mean run length that is told, in looks: its relative error is some 1e-14 times itself."""

_FAR = 10.0
"""Standard deviations beyond which a normal variable does not get: 1e-23."""

_SETTLED = 1e-14
"""Share of the asymptotic variance of an EWMA below which its exact limits are the asymptotic ones."""


@dataclass(frozen=True)
class SprtAnswer:
    """What a sequential probability ratio test does, exactly.

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
        cusum, ewma, shewhart, shiryaev_roberts, sprt, or e_sr or e_cusum on standardised looks. The run of an sprt ends at
        either bound: its mean is the average sample number.
    shift : float
        Mean of every look from the first on, in standard deviations of a look.

    Raises
    ------
    SimlabError
        If there is no exact answer for this rule, or the run length is beyond `LONGEST`.
    UnitError
        If the shift is not a number.

    Examples
    --------
    >>> round(exact_run_length({"cusum": {"k": 0.5, "h": 4, "sides": 2}}), 4)
    167.6838
    """
    chosen = read_rule(rule)
    try:
        mean = solve(chosen, shift).mean()
    except np.linalg.LinAlgError:
        mean = math.nan
    # A sum of many looks may round to a hair below the one look that there is at least.
    if not 1.0 - 1e-9 <= mean <= LONGEST:
        raise SimlabError(f"the run length of {chosen.key} is beyond {LONGEST:g} looks, where the equations lose their digits")
    return mean


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
    if not math.isfinite(shift):
        raise UnitError(f"the shift must be a number, not {shift}")
    if type(rule) not in _SOLVERS:
        raise SimlabError(f"{rule.key} has no exact run length; simulate it with run_length")
    return _SOLVERS[type(rule)](rule, shift)


def exact_sprt(lower: float, upper: float, *, delta: float, shift: float = 0.0) -> SprtAnswer:
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
    solved = _sprt_between(lower, upper, delta=delta, shift=shift)
    reached = solved.at_once + solved.chain.total(solved.above)
    return SprtAnswer(solved.mean(), reached, 1.0 - reached)


@dataclass(frozen=True)
class _SolvedSprt:
    """A test that may also end without an alarm.

    Attributes
    ----------
    chain : Chain
        The log likelihood ratio between the bounds.
    above : float64[nodes]
        Probability of reaching the upper bound in one look from each node.
    at_once : float
        The same, from 0.
    """

    chain: Chain
    above: Floats
    at_once: float

    def mean(self) -> float:
        """Return the average sample number, to either bound."""
        return self.chain.mean()

    def survival(self, looks: int) -> Floats:
        """Return the probability that the upper bound has not been reached by each look."""
        at_look = np.concatenate([[0.0, self.at_once], self.chain.at_each_look(self.above, looks - 1)])
        return np.asarray(1.0 - np.cumsum(at_look[: looks + 1]))


def _sprt_between(lower: float, upper: float, *, delta: float, shift: float) -> _SolvedSprt:
    drift = delta * shift - 0.5 * delta * delta
    nodes = nodes_of(lower, upper, spread=delta)
    chain = chain_on(lambda state: nodes.reached_from(state + drift, spread=delta), nodes.at, start=0.0)
    above = ndtr((nodes.at + drift - upper) / delta)
    return _SolvedSprt(chain, np.asarray(above), float(ndtr((drift - upper) / delta)))


def _sprt(rule: Sprt, shift: float) -> Solved:
    return _sprt_between(rule.accepts, rule.threshold, delta=rule.delta, shift=shift)


def _cusum_side(k: float, h: float, *, shift: float, start: float) -> Chain:
    nodes = nodes_of(0.0, h, spread=1.0)

    def rows(state: Floats) -> Floats:
        mean = state + shift - k
        return np.column_stack([ndtr(-mean), nodes.reached_from(mean, spread=1.0)])

    return chain_on(rows, np.concatenate([[0.0], nodes.at]), start=start)


def _cusum(rule: Cusum, shift: float) -> Solved:
    if rule.sides == 1:
        return _cusum_side(rule.k, rule.h, shift=shift, start=rule.head_start)
    if rule.head_start > rule.h / 2 + rule.k:
        raise SimlabError("two sides have an exact run length only for a head start of at most h / 2 + k")
    starts = (rule.head_start, rule.head_start, 0.0, 0.0)
    shifts = (shift, -shift, shift, -shift)
    return TwoSides(*(_cusum_side(rule.k, rule.h, shift=d, start=s) for s, d in zip(starts, shifts, strict=True)))


def _ewma(rule: Ewma, shift: float) -> Solved:
    weight, spread = rule.lambda_, math.sqrt(rule.lambda_ / (2.0 - rule.lambda_))
    floor = min(shift, 0.0) - _FAR * spread

    def nodes(lacking: float) -> Nodes:
        limit = rule.L * spread * math.sqrt(1.0 - lacking)
        return nodes_of(-limit if rule.sides == 2 else floor, limit, spread=weight)

    def rows(state: Floats, to: Nodes) -> Floats:
        return to.reached_from((1.0 - weight) * state + weight * shift, spread=weight)

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
    return Chain(mass @ rows(state, last), step, np.array(early))


def _shewhart(rule: Shewhart, shift: float) -> Solved:
    normal = NormalDist()
    outside = normal.cdf(shift - rule.sigmas) + (normal.cdf(-rule.sigmas - shift) if rule.sides == 2 else 0.0)
    return Chain(np.array([1.0 - outside]), np.array([[1.0 - outside]]))


def _shiryaev_roberts(rule: ShiryaevRoberts, shift: float) -> Solved:
    """Solve for the state log(1 + R), of which the log R of the next look is a normal step away."""
    drift = rule.theta * shift - 0.5 * rule.theta**2
    low = min(min(drift, 0.0) - _FAR * rule.theta, rule.threshold - rule.theta)
    nodes = nodes_of(low, rule.threshold, spread=rule.theta)
    at = np.logaddexp(0.0, nodes.at)
    return chain_on(lambda state: nodes.reached_from(state + drift, spread=rule.theta), at, start=0.0)


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
    Sprt: _sprt,
}
