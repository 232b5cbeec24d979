"""A single test at the end of the plan: what sequential tests are measured against."""

from __future__ import annotations

from statistics import NormalDist
from typing import ClassVar

import numpy as np

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Guarantee
from simlab.guardrails.rules.group_sequential import Z_TESTS, PlannedLooks
from simlab.settings import settings


@settings
class FixedHorizon(PlannedLooks):
    """|Z_K| >= z at the last of K planned looks and at no other, with Z_K = sum x_i sqrt(I_i) / sqrt(sum I_i).

    Until then the statistic is -inf; after it, it stays. Independent looks of known variance; any information, since there is
    one test only.

    Parameters
    ----------
    alpha : float
        Error probability of the test, both sides together where `sides` is 2.
    looks : int
        The number of the look that is tested, K.
    sides : {1, 2}
        1 alarms on harm only; 2 also on an improvement.

    Examples
    --------
    >>> round(FixedHorizon(looks=100).threshold, 6)
    1.959964
    """

    key: ClassVar[str] = "fixed_horizon"
    paper: ClassVar[str] = "none: a single z-test"
    ladder: ClassVar[str] = "|Z_K|, in standard errors"

    @property
    def guarantee(self) -> Guarantee:
        """The error of the one test, whatever its information."""
        return Guarantee(f"alarms with probability {self.alpha:g} at look {self.looks}, and at no other", Z_TESTS, exact=False)

    def critical_values(self) -> Floats:
        """Return no critical value but the last."""
        critical = np.full(self.looks, np.inf)
        critical[-1] = -NormalDist().inv_cdf(self.alpha / self.sides)
        return critical
