"""How long each position of a ramp lasts, as planned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simlab.guardrails.look import Integers
from simlab.scenario import Rollout
from simlab.ticks import Clock
from simlab.world.harms import NOT_YET


@dataclass(frozen=True)
class RampPlan:
    """How long each position of the ramp lasts; position 0 is the time before the first exposure.

    Attributes
    ----------
    soak : int64[positions]
        Ticks; `NOT_YET` for the rest of the horizon.
    """

    soak: Integers

    def planned(self, horizon: int) -> Integers:
        """Return the planned position at each tick if nothing stops the ramp, int64[horizon]."""
        ends = np.cumsum(np.minimum(self.soak, horizon))
        return np.minimum(np.searchsorted(ends, np.arange(horizon), side="right"), len(self.soak) - 1)


def ramp_plan(rollout: Rollout | None, clock: Clock) -> RampPlan:
    """Return the ramp of a rollout in ticks; without a rollout there is only position 0."""
    if rollout is None:
        return RampPlan(np.array([NOT_YET]))
    soaks = [NOT_YET if step.soak == "rest" else clock.ticks(step.soak) for step in rollout.steps]
    return RampPlan(np.array([clock.ticks(rollout.begins), *soaks]))
