"""Tests of a mean that hold at every look: the likelihood ratio, averaged over a normal mixture of effects.

Robbins, Ann. Math. Stat. 41 (1970); Johari et al., KDD 2017; Howard et al., Ann. Stat. 49 (2021). With the score S and its
intrinsic time v, the mixture of exp(l S - l^2 v / 2) over effects l ~ N(0, 1 / r) is

    E = sqrt(r / (v + r)) exp(S^2 / (2 (v + r))),

and over the positive half of that mixture alone it is 2 Phi(S / sqrt(v + r)) times as much. E >= 1 / alpha is the same as
S beyond the boundary of the confidence sequence; two-sided |S| >= sqrt((v + r) (ln((v + r) / r) - 2 ln alpha)).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Gt

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import LOG_E_VALUE, Assumption, Guarantee, Observation, Step, Takes
from simlab.guardrails.rules.intrinsic import Alpha, Evidence, Sides, Weights, gained, no_evidence
from simlab.settings import settings

_NEEDED = (Assumption.INDEPENDENT, Assumption.NORMAL, Assumption.KNOWN_VARIANCE, Assumption.FINAL_DATA)


def log_mixture(score: Floats, time: Floats, *, r: float, sides: Sides = 2) -> Floats:
    """Return the log of the mixture likelihood ratio.

    Parameters
    ----------
    score, time : float64[...]
        S and its intrinsic time v.
    r : float
        1 / variance of the mixture, in the unit of v.
    sides : {1, 2}
        1 for the positive half of the mixture.

    Examples
    --------
    >>> round(float(log_mixture(np.array(30.35209), np.array(100.0), r=12.60056)), 4)
    2.9957
    """
    log_ratio = 0.5 * (np.log(r / (time + r)) + score**2 / (time + r))
    if sides == 2:
        return np.asarray(log_ratio)
    from scipy.special import log_ndtr

    return np.asarray(log_ratio + math.log(2) + log_ndtr(score / np.sqrt(time + r)))


def tuned_r(v_opt: float, *, alpha: float, sides: Sides = 2) -> float:
    """Return an r that makes the boundary about as tight as can be at one intrinsic time.

    v / (2 ln(1 / a) + ln(1 + 2 ln(1 / a))), with a = alpha for two sides and 2 alpha for one: Howard et al. 2021, sec. 3.5.

    Parameters
    ----------
    v_opt : float
        The intrinsic time.
    alpha : float
        Below 1/2.
    sides : {1, 2}
        Of the boundary.

    Examples
    --------
    >>> round(tuned_r(100, alpha=0.05), 5), round(tuned_r(100, alpha=0.05, sides=1), 5)
    (12.60056, 15.80063)
    """
    twice = -2 * math.log(alpha if sides == 2 else 2 * alpha)
    return v_opt / (twice + math.log1p(twice))


def _claim(alpha: float) -> Guarantee:
    """Return Ville's inequality in words."""
    return Guarantee(f"alarms with probability at most {alpha:g} however often it looks", _NEEDED, exact=True)


def _step(state: Evidence, seen: Observation, *, weights: Weights, r: float, sides: Sides) -> Step:
    gain = gained(seen, weights=weights)
    score, time = state.score + gain.score, state.time + gain.time
    return Step(Evidence(score, time), log_mixture(score, time, r=r, sides=sides), worse=score > 0)


@settings
class MixtureSprt:
    """The mixture SPRT: sqrt(1 / (1 + n tau2)) exp(tau2 S^2 / (2 (1 + n tau2))) >= 1 / alpha.

    For observations of variance 1, in which n is the number of looks and S their sum; by information, n is the intrinsic time.
    Two-sided. Independent normal looks of known variance.

    Parameters
    ----------
    tau2 : float
        Variance of the effects that are expected, in variances of a look; by information, in the metric's own unit squared.
    alpha : float
        Probability of ever alarming when all is well.
    weights : {"equal", "information"}
        Whether each look counts the same or by its information.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> rule = MixtureSprt(tau2=1)
    >>> (statistics(rule, [3.6564]) - rule.threshold).round(4).tolist()
    [0.0]
    """

    tau2: Annotated[float, Gt(0)] = 0.1
    alpha: Alpha = 0.05
    weights: Weights = "equal"

    key: ClassVar[str] = "msprt"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = (
        "Robbins, Statistical methods related to the law of the iterated logarithm, Ann. Math. Stat. 1970; "
        "Johari, Koomen, Pekelis & Walsh, Peeking at A/B tests, KDD 2017"
    )
    ladder: ClassVar[str] = "log e-value"
    evidence: ClassVar[str] = LOG_E_VALUE

    @property
    def threshold(self) -> float:
        """Log of 1 / alpha."""
        return -math.log(self.alpha)

    @property
    def guarantee(self) -> Guarantee:
        """Ville's inequality for the mixture."""
        return _claim(self.alpha)

    def with_alpha(self, alpha: float) -> MixtureSprt:
        """Return the same test at the error probability `alpha`."""
        return replace(self, alpha=alpha)

    def initial(self, streams: int, lanes: int, *, every: int) -> Evidence:  # noqa: ARG002
        """Return no evidence."""
        return no_evidence(streams, lanes)

    def update(self, state: Evidence, seen: Observation) -> Step:
        """Add one look."""
        return _step(state, seen, weights=self.weights, r=1 / self.tau2, sides=2)


@settings
class NormalMixture:
    """S outside the normal-mixture confidence sequence, as E >= 1 / alpha; one-sided by the half-normal mixture.

    Independent normal looks of known variance; looks whose tails are no heavier than a normal's will do as well.

    Parameters
    ----------
    alpha : float
        Probability of ever alarming when all is well, both sides together where `sides` is 2.
    sides : {1, 2}
        1 alarms on harm only; 2 also on an improvement.
    v_opt : float
        Intrinsic time at which the boundary is tightest, in looks; by information, in units of 1 / SE^2.
    r : float, optional
        Set this instead of `v_opt`, in the same unit; see `tuned_r`.
    weights : {"equal", "information"}
        Whether each look counts the same or by its information.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> rule = NormalMixture(v_opt=100, sides=1)
    >>> (statistics(rule, [0.2766071] * 100)[-1] - rule.threshold).round(4)
    np.float64(0.0)
    """

    alpha: Alpha = 0.05
    sides: Sides = 2
    v_opt: Annotated[float, Gt(0)] = 100.0
    r: Annotated[float, Gt(0)] | None = None
    weights: Weights = "equal"

    key: ClassVar[str] = "normal_mixture"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = (
        "Howard, Ramdas, McAuliffe & Sekhon, Time-uniform, nonparametric, nonasymptotic confidence sequences, Ann. Stat. 2021"
    )
    ladder: ClassVar[str] = "log e-value, with r as it is"
    evidence: ClassVar[str] = LOG_E_VALUE

    @property
    def threshold(self) -> float:
        """Log of 1 / alpha."""
        return -math.log(self.alpha)

    @property
    def guarantee(self) -> Guarantee:
        """Ville's inequality for the mixture."""
        return _claim(self.alpha)

    def with_alpha(self, alpha: float) -> NormalMixture:
        """Return the same test at the error probability `alpha`, tuned for the same time unless `r` is set."""
        return replace(self, alpha=alpha)

    def initial(self, streams: int, lanes: int, *, every: int) -> Evidence:  # noqa: ARG002
        """Return no evidence."""
        return no_evidence(streams, lanes)

    def update(self, state: Evidence, seen: Observation) -> Step:
        """Add one look."""
        r = tuned_r(self.v_opt, alpha=self.alpha, sides=self.sides) if self.r is None else self.r
        return _step(state, seen, weights=self.weights, r=r, sides=self.sides)
