"""E-detectors: change detection whose mean run length holds without a model of the whole stream.

Shin, Ramdas & Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", New England Journal of
Statistics in Data Science 2 (2024). L is the e-value of one look: its mean is at most 1 when all is well, given all looks before.
Stopping at M >= 1 / alpha then has a mean run length of at least 1 / alpha. The two rules are far from equally strict at one
alpha: compare them at a matched rate.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Gt

from simlab.errors import UnitError
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Assumption, Guarantee, Observation, Step, Takes
from simlab.settings import settings
from simlab.ticks import Probability


@settings
class _EDetector:
    """What both e-detectors are set by: the threshold and the e-value of one look.

    With `p0` and `p1` a look is a level x in [0, 1] and L = (p1 / p0)^x ((1 - p1) / (1 - p0))^(1 - x): the Bernoulli likelihood
    ratio where x is 0 or 1, and by convexity an e-value for any x in [0, 1] whose mean is at most p0.
    """

    alpha: Probability = 0.001
    theta: Annotated[float, Gt(0)] = 1.0
    p0: Probability | None = None
    p1: Probability | None = None

    takes: ClassVar[Takes] = Takes.STANDARDISED
    takes_also: ClassVar[str] = "a level where p0 and p1 are given"

    def __post_init__(self) -> None:
        if self.p0 is None and self.p1 is None:
            return
        if self.p0 is None or self.p1 is None or self.p0 >= self.p1:
            raise UnitError("p0 and p1 go together, and p0 must be below p1")
        # What it takes depends on the likelihood, so this one instance differs from its class.
        object.__setattr__(self, "takes", Takes.LEVEL)

    @property
    def threshold(self) -> float:
        """Log of 1 / alpha."""
        return -math.log(self.alpha)

    @property
    def guarantee(self) -> Guarantee:
        """The bound of an e-detector on the mean run length."""
        well = "all is well" if self.p0 is None else f"the mean is at most {self.p0:g}"
        claim = f"while {well} the mean run length is at least {1 / self.alpha:.10g} looks"
        if self.p0 is None:
            return Guarantee(claim, (Assumption.INDEPENDENT, Assumption.NORMAL, Assumption.KNOWN_VARIANCE), exact=True)
        return Guarantee(claim, (Assumption.INDEPENDENT, Assumption.BOUNDED), exact=True)

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:  # noqa: ARG002
        """Return log M of M = 0."""
        return np.full((streams, lanes), -np.inf)

    def log_e_value(self, value: Floats) -> Floats:
        """Return the log e-value of one look; NaN for a level outside [0, 1]."""
        if self.p0 is None or self.p1 is None:
            return self.theta * value - 0.5 * self.theta * self.theta
        bounded = np.where((value >= 0.0) & (value <= 1.0), value, np.nan)
        return bounded * math.log(self.p1 / self.p0) + (1.0 - bounded) * math.log((1.0 - self.p1) / (1.0 - self.p0))


@settings
class ESr(_EDetector):
    """M = L (M + 1) >= 1 / alpha, from M = 0: the Shiryaev-Roberts e-detector, kept as its logarithm.

    For standardised looks L = exp(theta x - theta^2 / 2). With `p0` and `p1` looks are levels in [0, 1], one value a look, and
    L = (p1 / p0)^x ((1 - p1) / (1 - p0))^(1 - x).

    Parameters
    ----------
    alpha : float
        Threshold: 1 / alpha looks is a bound on the mean run length. The ladder coordinate is log M.
    theta : float
        The shift to be found soonest, in standard deviations of a look.
    p0, p1 : float, optional
        Greatest mean level when all is well, and the level to be found soonest; then `theta` is not used.

    Raises
    ------
    UnitError
        Unless p0 < p1, or both are left out.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(ESr(p0=0.02, p1=0.04), [1.0, 1.0, 0.0]).round(4)
    array([0.6931, 1.7918, 1.9253])
    """

    key: ClassVar[str] = "e_sr"
    paper: ClassVar[str] = "Shin, Ramdas & Rinaldo, E-detectors: a nonparametric framework for sequential change detection, 2024"
    ladder: ClassVar[str] = "log M, a log e-detector"

    def update(self, state: Floats, seen: Observation) -> Step:
        """Multiply in one look."""
        log_m = self.log_e_value(seen.value) + np.logaddexp(0.0, state)
        return Step(log_m, log_m, worse=True)


@settings
class ECusum(_EDetector):
    """M = L max(M, 1) >= 1 / alpha, from M = 0: the CUSUM e-detector, kept as its logarithm.

    For standardised looks L = exp(theta x - theta^2 / 2), and the alarms are those of a CUSUM with k = theta / 2 and
    h = log(1 / alpha) / theta. With `p0` and `p1` looks are levels in [0, 1], one value a look, and
    L = (p1 / p0)^x ((1 - p1) / (1 - p0))^(1 - x).

    Parameters
    ----------
    alpha : float
        Threshold: 1 / alpha looks is a bound on the mean run length, and a loose one. The ladder coordinate is log M.
    theta : float
        The shift to be found soonest, in standard deviations of a look.
    p0, p1 : float, optional
        Greatest mean level when all is well, and the level to be found soonest; then `theta` is not used.

    Raises
    ------
    UnitError
        Unless p0 < p1, or both are left out.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(ECusum(p0=0.02, p1=0.04), [1.0, 1.0, 0.0]).round(4)
    array([0.6931, 1.3863, 1.3657])
    """

    key: ClassVar[str] = "e_cusum"
    paper: ClassVar[str] = "Shin, Ramdas & Rinaldo, E-detectors: a nonparametric framework for sequential change detection, 2024"
    ladder: ClassVar[str] = "log M, a log e-detector"

    def update(self, state: Floats, seen: Observation) -> Step:
        """Multiply in one look."""
        log_m = self.log_e_value(seen.value) + np.maximum(0.0, state)
        return Step(log_m, log_m, worse=True)
