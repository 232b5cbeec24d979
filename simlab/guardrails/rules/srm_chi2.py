"""The classical test of the sample ratio: one chi-square test of first assignments, naive when it is repeated.

Pearson, "On the criterion ...", Phil. Mag. 50 (1900). Under a ramp the users whom a step assigned are compared
with that step's shares.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist
from typing import ClassVar, NamedTuple

import numpy as np

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Assumption, Guarantee, Observation, Step, Takes
from simlab.settings import settings
from simlab.ticks import Probability


class ExcessState(NamedTuple):
    """How far the counts are from plan.

    Attributes
    ----------
    excess, variance : float64[streams, lanes]
        Users in treatment beyond those planned, and the variance of that number.
    """

    excess: Floats
    variance: Floats


@settings
class SampleRatioChi2:
    """Chi-square of the first assignments so far >= the critical value of one test at `alpha`, one degree of freedom.

    (sum (n_T - n p))^2 / sum n p (1 - p), with n users in both arms and treatment's planned share p of them, in each part; at one
    constant share that is Pearson's chi-square. It is meant for one look at the end: at every look it alarms far more often
    than `alpha`, and over time for certain. Steps without both arms do not count; before the first user it is unknown.

    Parameters
    ----------
    alpha : float
        Error probability of a single look.

    Examples
    --------
    >>> round(SampleRatioChi2(alpha=0.05).threshold, 4)
    3.8415
    """

    alpha: Probability = 0.01

    key: ClassVar[str] = "srm_chi2"
    takes: ClassVar[Takes] = Takes.ARM_COUNTS
    paper: ClassVar[str] = "Pearson, On the criterion that a given system of deviations is such ..., Phil. Mag. 1900"
    ladder: ClassVar[str] = "chi-square with one degree of freedom"

    @property
    def threshold(self) -> float:
        """Critical value of chi-square with one degree of freedom."""
        return NormalDist().inv_cdf(self.alpha / 2) ** 2

    @property
    def guarantee(self) -> Guarantee:
        """The error of a single look."""
        claim = f"alarms with probability at most {self.alpha:g} at one look; more looks than that void it"
        needed = (Assumption.INDEPENDENT, Assumption.PLANNED_LOOKS, Assumption.FINAL_DATA)
        return Guarantee(claim, needed, exact=False)

    def with_alpha(self, alpha: float) -> SampleRatioChi2:
        """Return the same test at the error probability `alpha`."""
        return replace(self, alpha=alpha)

    def initial(self, streams: int, lanes: int, *, every: int) -> ExcessState:  # noqa: ARG002
        """Return no users."""
        return ExcessState(np.zeros((streams, lanes)), np.zeros((streams, lanes)))

    def update(self, state: ExcessState, seen: Observation) -> Step:
        """Count the users of each part under its own shares."""
        excess, variance = state
        if seen.counts is not None and seen.shares is not None:
            treated, users = seen.counts[:, 0], seen.counts.sum(axis=1)
            both = seen.shares.sum(axis=1)
            share = (seen.shares[:, 0] / np.where(both > 0, both, 1.0))[:, None]
            usable = (share > 0) & (share < 1)
            excess = excess + np.where(usable, treated - users * share, 0.0).sum(axis=0)
            variance = variance + (users * share * (1 - share)).sum(axis=0)
        return Step(ExcessState(excess, variance), excess**2 / variance, worse=True)
