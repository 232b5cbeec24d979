"""Wald's sequential probability ratio test of a harm of known size against none.

Wald, "Sequential tests of statistical hypotheses", Ann. Math. Stat. 16 (1945).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Gt

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import LOG_E_VALUE, Assumption, Guarantee, Observation, Step, Takes
from simlab.guardrails.rules.intrinsic import Alpha, Weights, gained
from simlab.settings import settings


@settings
class Sprt:
    """log L = sum (delta x - delta^2 / 2) >= ln((1 - beta) / alpha), unless it falls to ln(beta / (1 - alpha)) before.

    At the lower bound "no harm" is accepted for good: the sum stays where it is, and there is no alarm any more. Independent
    normal looks of known variance. Wald's bounds promise an error of alpha / (1 - beta), not alpha, as a sum that has no further
    to go than the bound would give; since it overshoots, the error is less than that.

    Parameters
    ----------
    delta : float
        The harm that is tested for, in standard deviations of a look; by information, in the metric's own unit.
    alpha : float
        Wald's nominal error when all is well.
    beta : float
        Wald's nominal probability to accept "no harm" under a harm of `delta`.
    weights : {"equal", "information"}
        Whether each look counts the same or by its information.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> rule = Sprt(delta=1, alpha=0.05, beta=0.05)
    >>> round(rule.threshold, 4)
    2.9444
    >>> statistics(rule, [2.0, 2.5, -1.0, -5.0, 9.0]).tolist()
    [1.5, 3.5, 2.0, -3.5, -3.5]
    """

    delta: Annotated[float, Gt(0)] = 1.0
    alpha: Alpha = 0.05
    beta: Alpha = 0.05
    weights: Weights = "equal"

    key: ClassVar[str] = "sprt"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = "Wald, Sequential tests of statistical hypotheses, Ann. Math. Stat. 1945"
    ladder: ClassVar[str] = "log-likelihood ratio, with the lower bound as it is"
    evidence: ClassVar[str] = LOG_E_VALUE

    @property
    def threshold(self) -> float:
        """Wald's upper bound ln((1 - beta) / alpha)."""
        return math.log((1 - self.beta) / self.alpha)

    @property
    def accepts(self) -> float:
        """Wald's lower bound ln(beta / (1 - alpha)), at or below which "no harm" is accepted."""
        return math.log(self.beta / (1 - self.alpha))

    @property
    def guarantee(self) -> Guarantee:
        """Ville's inequality for the likelihood ratio."""
        claim = f"alarms with probability at most alpha / (1 - beta) = {math.exp(-self.threshold):.4g} however often it looks"
        needed = (Assumption.INDEPENDENT, Assumption.NORMAL, Assumption.KNOWN_VARIANCE, Assumption.FINAL_DATA)
        return Guarantee(claim, needed, exact=True)

    def with_alpha(self, alpha: float) -> Sprt:
        """Return the test whose promised error, alpha / (1 - beta), is `alpha`."""
        return replace(self, alpha=alpha * (1 - self.beta))

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:  # noqa: ARG002
        """Return a likelihood ratio of one."""
        return np.zeros((streams, lanes))

    def update(self, state: Floats, seen: Observation) -> Step:
        """Add one look where "no harm" has not been accepted."""
        gain = gained(seen, weights=self.weights)
        log_ratio = self.delta * gain.score - 0.5 * self.delta**2 * gain.time
        total = state + np.where(state > self.accepts, log_ratio, 0.0)
        return Step(total, total, worse=True)
