"""Who the users are: activity, life, bucket and personal effects, each a pure function of (seed, lane, user), compiled.

A user sits in a seat. With ``users.stay`` every seat changes hands after that time, each at a moment of its own; who sits in it
is then somebody new, hashed anew, as active as the one who left. Arrays of people are [lanes, seats], walked lane by lane.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simlab.compiled import compiled, inlined
from simlab.guardrails.look import Floats, Integers
from simlab.inverse import normal_quantile
from simlab.streams import numbered, word_uniform

Words = NDArray[np.uint64]
Seats = NDArray[np.int32]


NO_SPREAD = 1e-6
"""A coefficient of variation too small to matter, or for its square to be inverted."""


class Population(NamedTuple):
    """How active each seat is, and how to find one by chance.

    Attributes
    ----------
    first : int64[segments + 1]
        First seat of each segment; the last entry is the number of seats.
    upto : float64[lanes, seats]
        Activity of the seats of a segment up to and with this one.
    guide : int32[lanes, seats]
        For the k-th of a segment's n seats: the first with ``upto`` above k / n of the segment's activity (Chen & Asau 1974).
    """

    first: Integers
    upto: Floats
    guide: Seats

    @property
    def activity(self) -> Floats:
        """Total activity by lane and segment, float64[lanes, segments]; its mean is the number of seats."""
        return self.upto[:, self.first[1:] - 1]


@compiled
def gamma_variate(word: np.uint64, shape: float) -> float:
    """Return a gamma variate of mean `shape` for the thing whose key is `word` (Marsaglia & Tsang 2000, boosted below 1)."""
    boosted = shape if shape >= 1.0 else shape + 1.0
    d = boosted - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    v, attempt = 0.0, 0
    while True:
        x = normal_quantile(word_uniform(numbered(word, attempt), np.uint64(1)))
        v = (1.0 + c * x) ** 3
        if v > 0.0:
            uniform = word_uniform(numbered(word, attempt), np.uint64(2))
            if math.log(uniform) < 0.5 * x * x + d - d * v + d * math.log(v):
                break
        attempt += 1
    boost = 1.0 if shape >= 1.0 else word_uniform(word, np.uint64(3)) ** (1.0 / shape)
    return float(d * v * boost)


@inlined
def effect_of(person: np.uint64, key: np.uint64, cv: float) -> float:
    """Return a person's effect on one metric: gamma, of mean 1 and coefficient of variation `cv`."""
    if cv < NO_SPREAD:
        return 1.0
    shape = 1.0 / (cv * cv)
    return gamma_variate(numbered(person + key, 0), shape) / shape


@compiled
def _populate(key: np.uint64, first_lane: int, gamma: float, first: Integers, upto: Floats, guide: Seats) -> None:
    for lane in range(upto.shape[0]):
        of_lane = numbered(key, first_lane + lane)
        for segment in range(len(first) - 1):
            begin, end = first[segment], first[segment + 1]
            total = 0.0
            for seat in range(begin, end):
                total += gamma_variate(numbered(of_lane, seat), gamma) / gamma
                upto[lane, seat] = total
            found = begin
            for index in range(end - begin):
                while found < end - 1 and upto[lane, found] <= total * (index / (end - begin)):
                    found += 1
                guide[lane, begin + index] = found


def population(key: np.uint64, first_lane: int, lanes: int, *, sizes: Integers, gamma: float) -> Population:
    """Return the population of a block of lanes.

    Parameters
    ----------
    key : numpy.uint64
        Of the stream of activities.
    first_lane, lanes : int
        Which lanes.
    sizes : int64[segments]
        Users of each segment, at least one.
    gamma : float
        Shape of the activity.
    """
    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    upto, guide = np.empty((lanes, first[-1])), np.empty((lanes, first[-1]), dtype=np.int32)
    _populate(key, first_lane, gamma, first, upto, guide)
    return Population(first, upto, guide)


@inlined
def person_of(of_lane: np.uint64, lives: np.uint64, stay: int, tick: int, seat: int) -> tuple[np.uint64, int]:
    """Return the key of who sits in a seat of the lane with the key `of_lane` at a tick, and how many have sat there before."""
    of_seat = numbered(of_lane, seat)
    if stay == 0:
        return of_seat, 0
    life = (tick + int(word_uniform(of_seat, lives) * stay)) // stay
    return numbered(of_seat, life), life


@compiled
def first_people(people: np.uint64, lane: int, out: Words) -> None:
    """Fill `out` with the keys of those who sit in a lane's first seats at first."""
    of_lane = numbered(people, lane)
    for seat in range(len(out)):
        out[seat] = numbered(of_lane, seat)
