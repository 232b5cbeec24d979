"""Bayesian online change point detection: the posterior of how long ago the mean last changed.

Adams & MacKay, "Bayesian online changepoint detection", arXiv:0710.3742 (2007), for normal observations of known variance whose
mean is drawn anew at every change. With a constant hazard the probability of a run of length 0 is the hazard whatever the data
say, so that the alarm is on the probability of a short run.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Lt

from simlab.errors import UnitError
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings
from simlab.ticks import Probability


class BocpdState(NamedTuple):
    """The posterior of the run length.

    Attributes
    ----------
    log_posterior : float64[longest + 1, streams, lanes]
        Log probability that the current run has 0, 1, ... looks.
    sums : float64[longest + 1, streams, lanes]
        Sum of the last 0, 1, ... looks.
    looks : float64[streams, lanes]
        How many were seen.
    """

    log_posterior: Floats
    sums: Floats
    looks: Floats


def _in_turn(array: Floats) -> Floats:
    """Return the sum over the first axis, added in turn: `sum` adds in another order where there is one lane only."""
    return np.asarray(np.cumsum(array, axis=0)[-1])


@settings
class Bocpd:
    """P(the mean changed within the last `w` looks | x_1..x_t) >= threshold.

    That is P(r_t <= w) of the run length r without the run that began with the stream, so that the first looks do not alarm by
    themselves. Observations are to be independent and normal with variance 1. It alarms on a change in either direction and
    promises nothing: the threshold is a probability under the prior, not an error probability.

    Parameters
    ----------
    threshold : float
        A posterior probability.
    hazard : float
        Prior probability of a change at a look.
    w : int
        How many looks back a change still counts.
    mean, variance : float
        Normal prior of the mean of each run, in standard deviations of a look and their square.
    longest : int
        Runs longer than this are counted as this long, and judged by their last `longest` looks.

    Raises
    ------
    UnitError
        Unless w is below longest.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(Bocpd(hazard=0.1, w=1, variance=4), [0.0, 0.0, 4.0]).round(3)
    array([0.1  , 0.156, 0.762])
    """

    threshold: Annotated[float, Gt(0), Lt(1)] = 0.5
    hazard: Probability = 0.001
    w: Annotated[int, Ge(1)] = 10
    mean: float = 0.0
    variance: Annotated[float, Gt(0)] = 1.0
    longest: Annotated[int, Ge(2)] = 200

    key: ClassVar[str] = "bocpd"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = "Adams & MacKay, Bayesian online changepoint detection, 2007"
    ladder: ClassVar[str] = "posterior probability of a change in the last w looks"

    def __post_init__(self) -> None:
        if self.w >= self.longest:
            raise UnitError(f"w {self.w} must be below longest, {self.longest}")

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> BocpdState:  # noqa: ARG002
        """Return a run of length 0."""
        log_posterior = np.full((self.longest + 1, streams, lanes), -np.inf)
        log_posterior[0] = 0.0
        return BocpdState(log_posterior, np.zeros_like(log_posterior), np.zeros((streams, lanes)))

    def update(self, state: BocpdState, seen: Observation) -> Step:
        """Take in one look (Adams & MacKay 2007, algorithm 1, in logs)."""
        growth = self._growth(state, seen.value)
        log_posterior = np.empty_like(growth)
        log_posterior[0] = math.log(self.hazard)
        log_posterior[1:] = growth[:-1] + math.log1p(-self.hazard)
        log_posterior[-1] = np.logaddexp(log_posterior[-1], growth[-1] + math.log1p(-self.hazard))
        sums = np.empty_like(growth)
        sums[0] = 0.0
        np.add(state.sums[:-1], seen.value, out=sums[1:])
        kept = BocpdState(log_posterior, sums, state.looks + 1.0)
        return self._judge(kept)

    def _growth(self, state: BocpdState, value: Floats) -> Floats:
        """Return the log posterior of the run length before this look's chance of a change, float64[longest + 1, ...]."""
        spread = 1.0 + 1.0 / self._precision()
        # In place, since the arrays are large: minus half the squared distance over its variance, then the rest.
        joint = self._means(state.sums)
        np.subtract(value, joint, out=joint)
        np.multiply(joint, joint, out=joint)
        np.multiply(joint, -0.5 / spread, out=joint)
        np.subtract(joint, 0.5 * np.log(spread), out=joint)
        np.add(joint, state.log_posterior, out=joint)
        np.subtract(joint, joint.max(axis=0), out=joint)
        np.subtract(joint, np.log(_in_turn(np.exp(joint))), out=joint)
        return joint

    def _judge(self, state: BocpdState) -> Step:
        runs = np.arange(self.w + 1.0)[:, None, None]
        # A product and not a choice, so that what is not a number stays so.
        recent = np.exp(state.log_posterior[: self.w + 1]) * (runs != state.looks)
        probability = _in_turn(recent)
        now = _in_turn(recent * self._means(state.sums[: self.w + 1]))
        return Step(state, probability, worse=now > 0)

    def _precision(self) -> Floats:
        return 1.0 / self.variance + np.arange(self.longest + 1.0)[:, None, None]

    def _means(self, sums: Floats) -> Floats:
        """Return the posterior means of runs of 0, 1, ... looks."""
        precision = self._precision()[: len(sums)]
        means = sums * (1.0 / precision)
        return np.add(means, self.mean / self.variance / precision, out=means)
