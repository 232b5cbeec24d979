"""The visits of one tick, one by one, and what is measured of them: compiled draws that know nobody's exposure.

Sessions of a segment are Poisson; each falls on a seat in proportion to its activity, which is the same as Poisson sessions of
each user. They are drawn in the order of seats, so that memory is walked and not searched: uniforms in order are sums of
exponentials over the sum of one more of them (Renyi 1953). A visit's key is a pure function of (seed, tick, segment, lane, its
number there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simlab.compiled import compiled, vectorised
from simlab.guardrails.look import Bools, Floats, Integers
from simlab.inverse import normal_quantile, poisson_quantile
from simlab.metrics import Metric
from simlab.rows import WORK, fill_exponentials, fill_normals
from simlab.streams import cell_key, fill_uniforms, numbered, word_uniform
from simlab.world.people import Population, Seats, Words, effect_of, person_of

_PIECE = 512


class Visits(NamedTuple):
    """The requests of one tick, whoever is exposed; lane by lane.

    Attributes
    ----------
    tick : int
        The tick.
    begins : int64[lanes + 1]
        First request of each lane.
    seat, life : int32[requests]
        Who: the seat, and how many sat in it before.
    person, request : uint64[requests]
        Keys of the person and of the request.
    segment, stratum : int8[requests]
        Where the user belongs.
    opens, every : bool[requests]
        Whether it is the first of its session; and true.
    values : mapping of str to float64[requests]
        What is measured without any harm, by metric.
    """

    tick: int
    begins: Integers
    seat: Seats
    life: Seats
    person: Words
    request: Words
    segment: NDArray[np.int8]
    stratum: NDArray[np.int8]
    opens: Bools
    every: Bools
    values: Mapping[str, Floats]


class Effect(NamedTuple):
    """How a metric moves: by a factor, then by a difference."""

    times: float
    add: float


class Keys(NamedTuple):
    """Keys of the streams that visits are drawn from."""

    sessions: np.uint64
    visit: np.uint64
    who: np.uint64
    pages: np.uint64
    people: np.uint64
    lives: np.uint64
    bucket: np.uint64


@compiled
def _count(key: np.uint64, tick: int, first_lane: int, mean: Floats, counts: Integers) -> None:
    """Fill `counts` [lanes, groups] with Poisson(`mean` [lanes, groups])."""
    lanes, groups = counts.shape
    for group in range(groups):
        base = cell_key(key, tick, group)
        for lane in range(lanes):
            uniform = word_uniform(numbered(base, first_lane + lane), np.uint64(0))
            counts[lane, group] = poisson_quantile(uniform, mean[lane, group])


@compiled
def _pages(key: np.uint64, words: Words, mean: float, out: Integers) -> None:
    for index in range(len(words)):
        out[index] = 1 + poisson_quantile(word_uniform(words[index], key), mean - 1.0)


@compiled
def _words(key: np.uint64, tick: int, first_lane: int, counts: Integers, request: Words, after: Words) -> None:
    """Fill `request` with the keys of visits, and `after` [lanes, groups] with that of the one that would have come next."""
    lanes, groups = counts.shape
    at = 0
    for lane in range(lanes):
        for group in range(groups):
            base = numbered(cell_key(key, tick, group), first_lane + lane)
            for number in range(counts[lane, group]):
                request[at + number] = numbered(base, number)
            at += counts[lane, group]
            after[lane, group] = numbered(base, counts[lane, group])


@vectorised
def _seats(
    counts: Integers, gap: Floats, after: Floats, population: Population, bots: Integers, seat: Seats,
    in_segment: NDArray[np.int8],
) -> None:  # fmt: skip
    """Fill `seat` and `in_segment` [sessions] by walking each lane's seats."""
    lanes, groups = counts.shape
    segments = groups - len(bots)
    at = 0
    for lane in range(lanes):
        upto, guide = population.upto[lane], population.guide[lane]
        for group in range(groups):
            segment = group if group < segments else bots[group - segments, 0]
            begin, end = population.first[segment], population.first[segment + 1]
            size = end - begin if group < segments else bots[group - segments, 1]
            total = upto[end - 1]
            whole, place = after[lane, group], 0.0
            for number in range(counts[lane, group]):
                whole += gap[at + number]
            for _ in range(counts[lane, group]):
                place += gap[at]
                uniform = place / whole
                found = begin + min(int(uniform * size), size - 1)
                if group < segments:
                    found, upto_here = guide[found], uniform * total
                    # One step without a branch, which no processor could foretell; there are rarely more.
                    found += (found < end - 1) & (upto[found] <= upto_here)
                    while found < end - 1 and upto[found] <= upto_here:
                        found += 1
                seat[at], in_segment[at] = found, segment
                at += 1


@compiled
def _people(
    keys: Keys, tick: int, first_lane: int, begins: Integers, seat: Seats, stay: int, life: Seats, person: Words
) -> None:  # fmt: skip
    """Fill `life` and `person` [sessions]: who sits there now."""
    for lane in range(len(begins) - 1):
        of_lane = numbered(keys.people, first_lane + lane)
        if stay == 0:
            for at in range(begins[lane], begins[lane + 1]):
                person[at] = numbered(of_lane, seat[at])
            life[begins[lane] : begins[lane + 1]] = 0
            continue
        for at in range(begins[lane], begins[lane + 1]):
            person[at], life[at] = person_of(of_lane, keys.lives, stay, tick, seat[at])


def draw_visits(
    keys: Keys,
    tick: int,
    first_lane: int,
    *,
    population: Population,
    bots: Integers,
    mean: Floats,
    pages: float,
    stay: int,
    cuts: Floats,
) -> Visits:
    """Return the visits of a tick, nothing measured yet.

    Parameters
    ----------
    keys : Keys
        Of the streams.
    tick, first_lane : int
        When, and the first lane of the block.
    population : Population
        Of the block.
    bots : int64[bots, 2]
        Groups of users who send requests on top of all others, all alike: their segment, and how many of its users they are. They
        are its first ones, since seats are alike.
    mean : float64[lanes, segments + bots]
        Expected sessions.
    pages : float
        Mean requests of a session: one, and a Poisson number of others.
    stay : int
        Ticks after which a seat changes hands; 0 for never.
    cuts : float64[strata + 1]
        Of the buckets.
    """
    counts = np.empty(mean.shape, dtype=np.int64)
    _count(keys.sessions, tick, first_lane, mean, counts)
    sessions = int(counts.sum())
    seat, life = np.empty(sessions, dtype=np.int32), np.empty(sessions, dtype=np.int32)
    person, request = np.empty(sessions, dtype=np.uint64), np.empty(sessions, dtype=np.uint64)
    segment = np.empty(sessions, dtype=np.int8)
    word_after = np.empty(counts.shape, dtype=np.uint64)
    _words(keys.visit, tick, first_lane, counts, request, word_after)
    gap, after = np.empty(sessions), np.empty(counts.shape)
    for words, uniform in ((request, gap), (word_after.ravel(), after.ravel())):
        fill_uniforms(keys.who, words, uniform)
        # Whatever the sign: only shares of their sum are used.
        np.log(uniform, out=uniform)
    _seats(counts, gap, after, population, bots, seat, segment)
    begins = np.concatenate([[0], np.cumsum(counts.sum(axis=1))])
    _people(keys, tick, first_lane, begins, seat, stay, life, person)
    bucket = np.empty(sessions)
    fill_uniforms(keys.bucket, person, bucket)
    stratum = np.zeros(sessions, dtype=np.int8)
    for cut in cuts[1:-1]:
        stratum += bucket >= cut
    opens = np.ones(sessions, dtype=bool)
    if pages == 1.0:
        return Visits(tick, begins, seat, life, person, request, segment, stratum, opens, opens, {})
    each = np.empty(sessions, dtype=np.int64)
    _pages(keys.pages, request, pages, each)
    upto = np.concatenate([[0], np.cumsum(each)])
    number = np.arange(upto[-1]) - np.repeat(upto[:-1], each)
    # A page's key is its session's, moved on by its number; `word_uniform` mixes what is added.
    request = np.repeat(request, each) + number.astype(np.uint64) * np.uint64(0xD1342543DE82EF95)
    return Visits(
        tick,
        upto[begins],
        seat=np.repeat(seat, each),
        life=np.repeat(life, each),
        person=np.repeat(person, each),
        request=request,
        segment=np.repeat(segment, each),
        stratum=np.repeat(stratum, each),
        opens=number == 0,
        every=np.ones(len(number), dtype=bool),
        values={},
    )


@compiled
def effects_of_people(key: np.uint64, cv: float, person: Words, effect: Floats) -> None:
    """Fill `effect` [requests] with the personal effects of who made them."""
    for index in range(len(effect)):
        effect[index] = effect_of(person[index], key, cv)


@compiled
def effects_of_seats(people: np.uint64, key: np.uint64, cv: float, first_lane: int, effect: Floats) -> None:
    """Fill `effect` [lanes, seats] with the personal effects of those who sit there for good."""
    lanes, seats = effect.shape
    for lane in range(lanes):
        of_lane = numbered(people, first_lane + lane)
        for seat in range(seats):
            person, _ = person_of(of_lane, np.uint64(0), 0, 0, seat)
            effect[lane, seat] = effect_of(person, key, cv)


@compiled
def gather(begins: Integers, seat: Seats, held: Floats, effect: Floats) -> None:
    """Fill `effect` [requests] from what is held by [lanes, seats]."""
    for lane in range(len(begins) - 1):
        for at in range(begins[lane], begins[lane + 1]):
            effect[at] = held[lane, seat[at]]


@compiled
def draw_proportion(key: np.uint64, chance: float, effect: Floats, unit: Words, value: Floats) -> None:
    """Fill `value` with events of probability `chance` times the personal effect, at most 1."""
    for index in range(len(value)):
        value[index] = word_uniform(unit[index], key) < chance * effect[index]


@compiled
def draw_count(key: np.uint64, mean: float, effect: Floats, unit: Words, value: Floats) -> None:
    """Fill `value` with Poisson numbers around `mean` times the personal effect."""
    for index in range(len(value)):
        value[index] = poisson_quantile(word_uniform(unit[index], key), mean * effect[index])


@compiled
def draw_amount(
    keys: tuple[np.uint64, np.uint64],
    some: float,
    mu: float,
    sigma: float,
    cap: float,
    effect: Floats,
    unit: Words,
    value: Floats,
) -> None:
    """Fill `value` with nothing, or with probability `some` times the personal effect a log-normal amount of at most `cap`."""
    for index in range(len(value)):
        value[index] = 0.0
        if word_uniform(unit[index], keys[0]) < some * effect[index]:
            amount = math.exp(mu + sigma * normal_quantile(word_uniform(unit[index], keys[1])))
            value[index] = min(amount, cap)


@compiled
def draw_duration(key: np.uint64, mu: float, sigma: float, unit: Words, value: Floats) -> None:
    """Fill `value` with log-normal durations, piece by piece, so that each stays in the processor's cache."""
    uniform, normal, work = np.empty(_PIECE), np.empty(_PIECE), np.empty((WORK, _PIECE))
    for begin in range(0, len(unit), _PIECE):
        here = value[begin : begin + _PIECE]
        count = len(here)
        fill_uniforms(key, unit[begin : begin + count], uniform[:count])
        fill_normals(uniform[:count], normal[:count], work)
        for at in range(count):
            normal[at] = mu + sigma * normal[at]
        fill_exponentials(normal[:count], here, work)


def unit_of(metric: Metric, found: Visits) -> Words:
    """Return the keys of the units of a metric: what is measured once for a user does not depend on the request."""
    return found.person if metric.per == "user" else found.request


def counted(metric: Metric, noise: Visits, first: Bools) -> Bools:
    """Return which requests give an observation of a metric, bool[requests]."""
    if metric.per == "user":
        return first
    return noise.opens if metric.per == "session" else noise.every


def kept(noise: Visits, chosen: Bools) -> Visits:
    """Return the visits with only the chosen requests, bool[requests]."""
    upto = np.concatenate([[0], np.cumsum(chosen)])
    return Visits(
        noise.tick,
        upto[noise.begins],
        seat=noise.seat[chosen],
        life=noise.life[chosen],
        person=noise.person[chosen],
        request=noise.request[chosen],
        segment=noise.segment[chosen],
        stratum=noise.stratum[chosen],
        opens=noise.opens[chosen],
        every=noise.every[chosen],
        values={name: value[chosen] for name, value in noise.values.items()},
    )
