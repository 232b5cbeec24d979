"""CUSUM: the sum of what exceeds half the shift one wants to find.

Page, "Continuous inspection schemes", Biometrika 41 (1954). With standard normal observations, k = 0.5 and h = 4 the mean
run length in control is 335.4 one-sided and 167.7 two-sided (Lucas & Crosier, "Fast initial response for CUSUM
quality-control schemes", Technometrics 24, 1982).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Gt

from simlab.errors import UnitError
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings


class CusumState(NamedTuple):
    """The two sums.

    Attributes
    ----------
    upper, lower : float64[streams, lanes]
        Evidence of harm and of improvement, in standard deviations.
    """

    upper: Floats
    lower: Floats


@settings
class Cusum:
    """S = max(0, S + x - k) >= h.

    With observations that are independent and standard normal when all is well its run lengths are known exactly. It promises
    no error probability: every CUSUM alarms in the end.

    Parameters
    ----------
    k : float
        Reference value in standard deviations of a look: half the shift to be found soonest.
    h : float
        Threshold in standard deviations of a look.
    sides : {1, 2}
        1 alarms on harm only; 2 also on an improvement.
    head_start : float
        Where the sums begin, in standard deviations of a look: Lucas & Crosier's fast initial response, for which they advise
        h / 2. It is a number of its own, so that the statistic does not depend on h.

    Raises
    ------
    UnitError
        If the sums would begin at the threshold or above.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(Cusum(k=0.5, h=4), [1.0, 2.0, -3.0, 0.25, 1.5])
    array([0.5, 2. , 0. , 0. , 1. ])
    >>> statistics(Cusum(k=0.5, h=4, head_start=2), [1.0, -3.0])
    array([2.5, 0. ])
    """

    k: Annotated[float, Ge(0)] = 0.5
    h: Annotated[float, Gt(0)] = 5.0
    sides: Literal[1, 2] = 1
    head_start: Annotated[float, Ge(0)] = 0.0

    key: ClassVar[str] = "cusum"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = "Page, Continuous inspection schemes, Biometrika 1954"
    ladder: ClassVar[str] = "S, in standard deviations of a look"

    def __post_init__(self) -> None:
        if self.head_start >= self.h:
            raise UnitError(f"head_start {self.head_start:g} must be below h, {self.h:g}")

    @property
    def threshold(self) -> float:
        """The decision interval h."""
        return self.h

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> CusumState:  # noqa: ARG002
        """Return both sums at the head start."""
        return CusumState(*np.full((2, streams, lanes), self.head_start))

    def update(self, state: CusumState, seen: Observation) -> Step:
        """Add one look."""
        upper = state.upper + seen.value
        upper -= self.k
        np.maximum(upper, 0.0, out=upper)
        if self.sides == 1:
            return Step(CusumState(upper, state.lower), upper, worse=True)
        lower = np.maximum(0.0, state.lower - seen.value - self.k)
        return Step(CusumState(upper, lower), np.maximum(upper, lower), worse=upper >= lower)
