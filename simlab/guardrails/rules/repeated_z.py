"""A z-test repeated at every look: peeking, and its Bonferroni repair.

Armitage, McPherson & Rowe, "Repeated significance tests on accumulating data", JRSS A 132 (1969): testing at a fixed level at
every look raises the false-alarm probability, from 5 % at one look to 14 % at five and 32 % at fifty.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from annotated_types import Ge

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Assumption, Guarantee, Observation, Step, Takes
from simlab.settings import settings
from simlab.ticks import Probability


class ZState(NamedTuple):
    """Sums over looks.

    Attributes
    ----------
    score : float64[streams, lanes]
        Sum of x sqrt(I).
    information : float64[streams, lanes]
        Sum of I.
    """

    score: Floats
    information: Floats


@settings
class RepeatedZ:
    """|Z_k| >= z at every look, with Z_k = sum x_i sqrt(I_i) / sqrt(sum I_i).

    Parameters
    ----------
    alpha : float
        Error probability of one look, both sides together where `sides` is 2.
    looks : int
        Divide `alpha` by this number of looks (Bonferroni); 1 is peeking.
    sides : {1, 2}
        1 alarms on harm only.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(RepeatedZ(), [1.0, 2.0, 1.0]).round(4).tolist(), round(RepeatedZ().threshold, 4)
    ([1.0, 2.1213, 2.3094], 1.96)
    """

    alpha: Probability = 0.05
    looks: Annotated[int, Ge(1)] = 1
    sides: Literal[1, 2] = 2

    key: ClassVar[str] = "repeated_z"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = "Armitage, McPherson & Rowe, Repeated significance tests on accumulating data, 1969"
    ladder: ClassVar[str] = "|Z_k|, in standard errors"

    @property
    def threshold(self) -> float:
        """Critical |z|."""
        return -NormalDist().inv_cdf(self.alpha / self.looks / self.sides)

    @property
    def guarantee(self) -> Guarantee:
        """The error of its looks, added up."""
        looks = f"{self.looks} looks" if self.looks > 1 else "one look"
        claim = f"alarms with probability at most {self.alpha:g} over {looks}; more looks than that void it"
        needed = (Assumption.INDEPENDENT, Assumption.NORMAL, Assumption.KNOWN_VARIANCE, Assumption.PLANNED_LOOKS)
        return Guarantee(claim, needed, exact=False)

    def with_alpha(self, alpha: float) -> RepeatedZ:
        """Return the same test at the error probability `alpha`."""
        return replace(self, alpha=alpha)

    def initial(self, streams: int, lanes: int, *, every: int) -> ZState:  # noqa: ARG002
        """Return empty sums."""
        return ZState(np.zeros((streams, lanes)), np.zeros((streams, lanes)))

    def update(self, state: ZState, seen: Observation) -> Step:
        """Add one look's score and information."""
        score = state.score + seen.value * np.sqrt(seen.information)
        information = state.information + seen.information
        z = score / np.sqrt(information)
        if self.sides == 1:
            return Step(ZState(score, information), z, worse=True)
        return Step(ZState(score, information), np.abs(z), worse=z > 0)
