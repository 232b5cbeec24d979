"""Two rules of another team: one that is of use, and one that fails."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings


@settings
class Streak:
    """So many looks in a row at or above a level.

    Parameters
    ----------
    level : float
        In standard deviations of a look.
    length : int
        How many in a row.
    """

    level: float = 1.0
    length: Annotated[int, Ge(1)] = 4

    key: ClassVar[str] = "streak"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = "Western Electric, Statistical Quality Control Handbook, 1956"
    ladder: ClassVar[str] = "looks in a row"
    guarantee: ClassVar[None] = None

    @property
    def threshold(self) -> float:
        """The length of the streak."""
        return float(self.length)

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:  # noqa: ARG002
        """Return no streak."""
        return np.zeros((streams, lanes))

    def update(self, state: Floats, seen: Observation) -> Step:
        """Count one look."""
        streak = np.where(seen.value >= self.level, state + 1, 0.0)
        return Step(streak, streak, worse=True)


@settings
class Fragile(Streak):
    """Fails at its first look."""

    key: ClassVar[str] = "fragile"

    def update(self, state: Floats, seen: Observation) -> Step:  # noqa: ARG002
        """Raise."""
        raise ArithmeticError("no rule at all")
