"""Other experiments on the same users: who takes part is a hash of the user with the experiment's own salt.

Experiments with different salts have independent buckets, so that each reaches both arms of any other alike. With one salt they
divide the users at the same places, and each is confounded with the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simlab.guardrails.look import Floats
from simlab.scenario import Experiment, Scenario
from simlab.streams import fill_uniforms, stream_key
from simlab.world.people import Words
from simlab.world.ramp import ramp_plan


class Running(NamedTuple):
    """An experiment on the grid of ticks.

    Attributes
    ----------
    experiment : Experiment
        As the file says it.
    key : numpy.uint64
        Of the hash.
    exposed : float64[ticks]
        Share of users in its treatment.
    """

    experiment: Experiment
    key: np.uint64
    exposed: Floats

    def taking_part(self, tick: int, person: Words) -> Floats:
        """Return 1 for each request of somebody whom it exposes, else 0, float64[requests]."""
        bucket = np.empty(len(person))
        fill_uniforms(self.key, person, bucket)
        return np.asarray(bucket < self.exposed[tick], dtype=np.float64)


def salted(bucket: np.uint64, salt: str) -> np.uint64:
    """Return the key of the hash with a salt, from that of the stream of buckets."""
    return bucket ^ stream_key(0, f"salt.{salt}")


def running(scenario: Scenario, bucket: np.uint64) -> dict[str, Running]:
    """Return the other experiments of a scenario by name; they go on as planned, whatever becomes of the rollout."""
    found = {}
    for experiment in scenario.experiments:
        planned = ramp_plan(experiment.rollout, scenario.clock).planned(scenario.clock.horizon)
        exposed = np.array([0.0, *(step.expose for step in experiment.steps)])[planned]
        found[experiment.name] = Running(experiment, salted(bucket, experiment.rollout.salt), exposed)
    return found
