"""Precision on request: lanes until the intervals are as narrow as asked for, by a stopping rule that keeps their coverage.

Lane counts are fixed in the plan and at each of them an interval has the confidence that is left when the error is split over all
of them (Bonferroni). So all intervals of a schedule hold together with the stated confidence, and whichever of them is the
last, for whatever reason the run stopped there, holds too.
"""

from __future__ import annotations

from dataclasses import dataclass

from simlab.measures.estimates import CONFIDENCE, Estimate, proportion
from simlab.measures.outcomes import Outcomes


@dataclass(frozen=True)
class Precise:
    """A rate with the interval that decided whether more lanes were needed.

    Attributes
    ----------
    scenario, policy, measure : str
        Names.
    estimate : Estimate
        At the confidence of one look of the schedule.
    wanted : float
        Largest distance of the interval's ends from its middle, as a probability.
    """

    scenario: str
    policy: str
    measure: str
    estimate: Estimate
    wanted: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.estimate.high - self.estimate.low) / 2

    @property
    def reached(self) -> bool:
        """Whether the interval is narrow enough."""
        return self.half_width <= self.wanted


def precision_of(outcomes: Outcomes, wanted: float, *, scenario: str, looks: int) -> tuple[Precise, ...]:
    """Return how precise the false alarms of a policy are, and its detection where there is any harm.

    Parameters
    ----------
    outcomes : Outcomes
        Of one policy on all lanes so far.
    wanted : float
        Half-width, as a probability.
    scenario : str
        Name.
    looks : int
        Length of the schedule of lanes.
    """
    counts = {"false_alarms": (int(outcomes.twin_acted.sum()), outcomes.lanes)}
    if outcomes.limit:
        followed = outcomes.followed(outcomes.limit)
        counts["detected"] = int((outcomes.delay[followed] <= outcomes.limit).sum()), int(followed.sum())
    return tuple(
        Precise(scenario, outcomes.policy, measure, at_one_look(events, n, looks=looks), wanted)
        for measure, (events, n) in counts.items()
    )


def at_one_look(events: int, n: int, *, looks: int) -> Estimate:
    """Return a probability whose interval holds at all looks of a schedule together."""
    return proportion(events, n, confidence=1 - (1 - CONFIDENCE) / looks)
