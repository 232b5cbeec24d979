"""A test of how events split between the arms of a canary, at every look: rare errors, crashes, complaints.

Lindon & Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022, sec. 4: given that an event has come, and
whatever the rate of events is, it comes from treatment with probability

    p(d) = n_T e^d / (n_T e^d + n_C),

n_T and n_C being the arms' observations in that look and d the log of the ratio of their event rates. With k_T of k events from
treatment the likelihood ratio against d = 0 is exp(d k_T) / (1 + p(0) (e^d - 1))^k. It is averaged over a mixture of ratios;
their prior is on a fixed grid and not the paper's Dirichlet, so that each look can have its own p(0), as under a ramp.

Where the n are fixed and the events drawn among them, k_T is hypergeometric and less spread than binomial, and the expectation of
the ratio, which is convex in k_T, is at most 1 (Hoeffding, JASA 1963, theorem 4): the test holds for common events too.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

import numpy as np

from simlab.errors import UnitError
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import LOG_E_VALUE, Assumption, Guarantee, Observation, Step, Takes
from simlab.guardrails.rules.intrinsic import Alpha, Sides
from simlab.settings import settings
from simlab.ticks import Factor

_RATIOS = 12


@settings
class CanaryCounts:
    """Mean over a grid of rate ratios of the likelihood ratio of the events' split >= 1 / alpha.

    The grid has 12 ratios from `smallest` to `largest`, their logs in geometric progression, all as likely. Between two of them
    less than 3 % of the evidence is lost; a harm below the smallest is found later, and one below half of it never. An event
    must not depend on others: users who fail again and again void the claim.

    Parameters
    ----------
    alpha : float
        Probability of ever alarming when both arms have the same rate of events, both sides together where `sides` is 2.
    sides : {1, 2}
        1 alarms on harm only; 2 also on an improvement, by the inverse ratios.
    smallest, largest : float
        Ratios of the two event rates that are looked for, above 1.

    Raises
    ------
    UnitError
        Unless 1 < smallest < largest.

    Examples
    --------
    >>> from simlab.guardrails.rule import Observation
    >>> rule = CanaryCounts()
    >>> counts, exposures = (np.reshape(pair, (1, 2, 1, 1)) for pair in ([30.0, 10.0], [5000.0, 5000.0]))
    >>> nothing = np.full((1, 1), np.nan)
    >>> seen = Observation(nothing, nothing, counts, None, np.array([[True]]), 1, np.array([0]), 7, exposures)
    >>> rule.update(rule.initial(1, 1, every=60_000), seen).statistic.round(4).tolist()
    [[3.8367]]
    """

    alpha: Alpha = 0.05
    sides: Sides = 1
    smallest: Factor = 1.05
    largest: Factor = 4.0

    key: ClassVar[str] = "canary_counts"
    takes: ClassVar[Takes] = Takes.EVENT_COUNTS
    paper: ClassVar[str] = "Lindon & Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022"
    ladder: ClassVar[str] = "log e-value"
    evidence: ClassVar[str] = LOG_E_VALUE

    def __post_init__(self) -> None:
        """Refuse a grid that is none."""
        if not 1 < self.smallest < self.largest:
            raise UnitError(f"smallest {self.smallest:g} and largest {self.largest:g} must be above 1 and in this order")

    @property
    def threshold(self) -> float:
        """Log of 1 / alpha."""
        return -math.log(self.alpha)

    @property
    def guarantee(self) -> Guarantee:
        """Ville's inequality for the mixture."""
        claim = f"alarms with probability at most {self.alpha:g} however often it looks"
        return Guarantee(claim, (Assumption.INDEPENDENT, Assumption.FINAL_DATA), exact=True)

    def with_alpha(self, alpha: float) -> CanaryCounts:
        """Return the same test at the error probability `alpha`."""
        return replace(self, alpha=alpha)

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:  # noqa: ARG002
        """Return log-likelihood ratios of zero, float64[ratios, streams, lanes]."""
        return np.zeros((_grid(self).size, streams, lanes))

    def update(self, state: Floats, seen: Observation) -> Step:
        """Add the events of one look, each part under its own exposures."""
        if seen.counts is not None and seen.exposures is not None:
            for counts, exposures in zip(seen.counts, seen.exposures, strict=True):
                state = state + _log_likelihood_ratios(_grid(self), counts, exposures)
        log_e = _log_mean(state)
        if self.sides == 1:
            return Step(state, log_e, worse=True)
        return Step(state, log_e, worse=_log_mean(state[:_RATIOS]) >= _log_mean(state[_RATIOS:]))


@lru_cache
def _grid(rule: CanaryCounts) -> Floats:
    """Return the logs of the rate ratios, float64[ratios], those of harm first."""
    harm = np.geomspace(math.log(rule.smallest), math.log(rule.largest), _RATIOS)
    return harm if rule.sides == 1 else np.concatenate([harm, -harm])


def _log_likelihood_ratios(grid: Floats, counts: Floats, exposures: Floats) -> Floats:
    """Return d k_T - k ln(1 + p(0) (e^d - 1)), float64[ratios, streams, lanes]; nothing where an arm has no observations."""
    usable = (exposures > 0).all(axis=0)
    share = np.where(usable, exposures[0] / exposures.sum(axis=0), 0.5)
    effects = grid[:, None, None]
    log_ratios = effects * counts[0] - counts.sum(axis=0) * np.log1p(share * np.expm1(effects))
    return np.where(usable, log_ratios, 0.0)


def _log_mean(logs: Floats) -> Floats:
    """Return the log of the mean over the first axis, added in turn: `mean` adds in another order where there is one lane."""
    largest = logs.max(axis=0)
    return np.asarray(largest + np.log(np.cumsum(np.exp(logs - largest), axis=0)[-1] / len(logs)))
