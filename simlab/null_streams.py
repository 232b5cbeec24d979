"""Streams in which nothing happens, each of them a way in which healthy traffic is not independent and standard normal.

Every stream is made for every kind of observation. Values are standardised (mean 0, variance 1 over the stream); counts have a
rate that the stream's structure moves by at most some tens of percent, the same for both arms where it is a cycle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Takes

PER_DAY = 288
"""Looks a day: one every five minutes."""

_USERS, _REQUESTS, _CHANCE, _LOST = 200.0, 5000, 0.0005, 0.01
_SWING = 0.1
"""How far one standard deviation of structure moves a rate."""


@dataclass(frozen=True)
class NullStream:
    """Looks without a change.

    Parameters
    ----------
    name : str
        As tables say it.
    correlation : float
        Of a look with the one before: AR(1) with this coefficient.
    cycle : float
        Amplitude of a daily sine, in standard deviations of the noise.
    """

    name: str
    correlation: float = 0.0
    cycle: float = 0.0

    def looks(self, takes: Takes, *, looks: int, lanes: int, streams: int, seed: int) -> Iterator[Observation]:
        """Yield observations of a kind, float64[streams, lanes] each.

        Parameters
        ----------
        takes : Takes
            What the rule takes.
        looks, lanes, streams : int
            How many.
        seed : int
            Of the generator.
        """
        generator = np.random.default_rng(seed)
        shape = (2, streams, lanes)
        structure = generator.standard_normal(shape)
        for look in range(looks):
            innovation = generator.standard_normal(shape)
            if look:
                structure = self.correlation * structure + math.sqrt(1 - self.correlation**2) * innovation
            cycle = self.cycle * math.sin(2 * math.pi * look / PER_DAY)
            yield self._observation(takes, structure, cycle, generator)

    def _observation(self, takes: Takes, structure: Floats, cycle: float, generator: np.random.Generator) -> Observation:
        shape = structure.shape[1:]
        value = (structure[0] + cycle) / math.sqrt(1 + self.cycle**2 / 2)
        # Counts vary by themselves; without any structure that is all there is.
        moved = _SWING * ((structure if self.correlation else 0.0 * structure) + cycle)
        rate = np.maximum(0.0, 1.0 + moved)
        counts = exposures = shares = None
        if takes is Takes.ARM_COUNTS:
            counts = generator.poisson(_USERS * rate)[None].astype(float)
            shares = np.full((1, 2, shape[1]), 0.5)
        elif takes in {Takes.EVENT_COUNTS, Takes.EVENTS}:
            events = generator.binomial(_REQUESTS, np.minimum(1.0, _CHANCE * rate))[None].astype(float)
            counts = events if takes is Takes.EVENT_COUNTS else events[:, :1]
            exposures = np.full_like(counts, _REQUESTS)
        elif takes is Takes.ARRIVALS:
            value = (generator.random(shape) < _LOST * rate[0]).astype(float)
        return Observation(
            value=value,
            information=np.ones(shape),
            counts=counts,
            shares=shares,
            valid=np.ones(shape, dtype=bool),
            time=0,
            lanes=np.arange(shape[1]),
            seed=0,
            exposures=exposures,
        )


NULL_STREAMS = (
    NullStream("noise"),
    NullStream("AR(1) .5", correlation=0.5),
    NullStream("AR(1) .9", correlation=0.9),
    NullStream("daily cycle", cycle=math.sqrt(2)),
)
"""Independent noise, noise that remembers, and a daily cycle as large as the noise."""
