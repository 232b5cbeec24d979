"""The aggregate world: cells of users instead of users, drawn so that the cells behave as N users would.

A cell is one stratum of one segment. Each lane draws, once, each cell's activity A (the mean of N gamma activities, itself gamma)
and for each proportion the activity-weighted mean B of N personal effects, with variance cv^2 (1 + 1/gamma) / N. Both last, so
that returning users make looks correlated. At each tick a cell has Poisson requests at A times its rate and binomial events at B
times the normal probability. A harm turns some of the requests that went well into events, by a stream of its own, so the base
draws never move.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from simlab.guardrails.look import COVARIATE_TERMS, USER_TERMS, Bools, Floats, Integers, Sums
from simlab.guardrails.rule import Rule, Takes
from simlab.guardrails.watch import Watch
from simlab.metrics import AmountMetric, DurationMetric, Metric, Proportion
from simlab.scenario import Scenario
from simlab.streams import stream_key, uniforms
from simlab.world import draws
from simlab.world.harms import NOT_YET, Exposure, HarmClock, RampHistory, harm_clock
from simlab.world.people import NO_SPREAD
from simlab.world.rates import rates_of
from simlab.world.strata import strata_of

_TABLED = 4095  # rows of 32 bytes: what fits the processor's cache


class Noise(NamedTuple):
    """All that is drawn at one tick, whoever is exposed; every array is float64[segments, strata, lanes].

    Attributes
    ----------
    tick : int
        The tick.
    requests : float64[segments, strata, lanes]
        Requests.
    sums : mapping of str to Sums
        For each watched or harmed metric: requests, total and squares without any harm.
    """

    tick: int
    requests: Floats
    sums: Mapping[str, Sums]


class Increments(NamedTuple):
    """What happened during one tick on one path, by arm.

    Attributes
    ----------
    sums : mapping of str to Sums
        For each watched metric, float64[segments, arms, lanes].
    first_seen : float64[steps, segments, 2, lanes] or None
        Users seen for the first time, by the step that assigned them; None if nobody watches.
    users : mapping of str to float64[terms, segments, 2, lanes]
        For metrics judged user by user: by how much the sums of `UserSums` grew.
    buckets : mapping of str to float64[buckets, segments, arms, lanes]
        For metrics of which a quantile is watched.
    reported : bool
        The world has already left out what telemetry loses.
    """

    sums: Mapping[str, Sums]
    first_seen: Floats | None
    users: Mapping[str, Floats] = MappingProxyType({})
    buckets: Mapping[str, Floats] = MappingProxyType({})
    reported: bool = False


@dataclass(frozen=True)
class Watched:
    """What the guardrails of a study look at; nothing else is drawn.

    Attributes
    ----------
    metrics : frozenset of str
        Names of metrics.
    first_seen : bool
        Whether any rule counts users.
    by_user, quantiles, covariates : frozenset of str
        Names of metrics that are judged user by user, of which quantiles are watched, and that are adjusted for a covariate.
    """

    metrics: frozenset[str]
    first_seen: bool
    by_user: frozenset[str] = frozenset()
    quantiles: frozenset[str] = frozenset()
    covariates: frozenset[str] = frozenset()

    @classmethod
    def by(cls, watches: Iterable[tuple[Watch, Rule]]) -> Watched:
        """Return what watches, each with the rule that is given it, look at."""
        every = list(watches)
        return cls(
            frozenset(name for watch, rule in every if rule.takes is not Takes.NOTHING for name in watch.metrics),
            any(watch.compare == "shares" for watch, _ in every),
            frozenset(name for watch, _ in every if watch.unit == "user" for name in watch.metrics),
            frozenset(name for watch, _ in every if watch.quantile is not None for name in watch.metrics),
            frozenset(name for watch, _ in every if watch.covariate is not None for name in watch.metrics),
        )

    @property
    def terms(self) -> dict[str, int]:
        """How many sums over users there are of each metric that is judged user by user, in order of names."""
        return {name: COVARIATE_TERMS if name in self.covariates else USER_TERMS for name in sorted(self.by_user)}


class AggregateWorld:
    """The world of one scenario for one block of lanes.

    Parameters
    ----------
    scenario : Scenario
        What the world is like.
    lanes : int64[lanes]
        Consecutive lane numbers.
    seed : int
        Of the study.
    watched : Watched
        What is looked at.
    """

    def __init__(self, scenario: Scenario, lanes: Integers, *, seed: int, watched: Watched) -> None:
        self.scenario = scenario
        self.clock = scenario.clock
        self.lanes = lanes
        self.seed = seed
        self.watched = watched
        self.strata = strata_of(scenario.rollout)
        self.segments = tuple(scenario.users.shares)
        self.rates = rates_of(scenario)
        self.gamma = scenario.users.activity.gamma
        shares = np.array(list(scenario.users.shares.values()))
        self.users = np.round(scenario.users.count * shares[:, None] * self.strata.widths)
        self._held: dict[str, tuple[float, Floats]] = {}
        self.drawn: dict[str, Metric] = {
            name: metric
            for name, metric in scenario.metrics.items()
            if name in watched.metrics or any(harm.metric == name for harm in scenario.harms)
        }
        self.harms = tuple(
            harm_clock(harm, clock=self.clock, strata=self.strata, lanes=lanes, seed=seed) for harm in scenario.harms
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Segments, strata, lanes."""
        return (len(self.segments), self.strata.count, len(self.lanes))

    def key(self, name: str) -> np.uint64:
        """Return the key of one of this world's streams."""
        return stream_key(self.seed, f"world.{name}")

    def _lasting(self, name: str, shape: Floats) -> Floats:
        """Return gamma draws of mean 1 and the given shapes [cells], one for each cell and lane."""
        from scipy.special import gammaincinv

        key = self.key(name)
        uniform = np.stack([uniforms(key, 0, self.lanes, cell=cell) for cell in range(shape.size)])
        return np.asarray(gammaincinv(shape.reshape(-1, 1), uniform) / shape.reshape(-1, 1))

    @cached_property
    def activity(self) -> Floats:
        """Mean activity of each cell's users, float64[cells, lanes]."""
        return self._lasting("activity", np.maximum(self.gamma * self.users, 1e-9))

    @cached_property
    def effects(self) -> dict[str, Floats]:
        """Mean personal effect of each cell by proportion, float64[cells, lanes]."""
        found = {}
        for name, metric in self.drawn.items():
            if isinstance(metric, Proportion):
                variance = metric.personal_cv**2 * (1 + 1 / self.gamma) / np.maximum(self.users, 1.0)
                effect = self._lasting(f"{name}.effect", 1 / variance) if metric.personal_cv >= NO_SPREAD else np.ones((1, 1))
                found[name] = np.ascontiguousarray(np.broadcast_to(effect, (self.users.size, len(self.lanes))))
        return found

    @cached_property
    def tables(self) -> dict[str, Floats]:
        """Parameters of the sums of durations by metric, for the numbers of requests that come often."""
        drawn = {name: metric for name, metric in self.drawn.items() if isinstance(metric, DurationMetric)}
        return {name: draws.duration_table(log_normal(each, factor=1.0)[1], _TABLED) for name, each in drawn.items()}

    def draw(self, tick: int) -> Noise:
        """Return the noise of a tick: the one place where a world draws without knowing who is exposed."""
        first, shape = int(self.lanes[0]), self.shape
        cells = (self.users.size, shape[2])
        mean = (self.rates.requests[:, tick, None] * self.strata.widths).ravel()
        requests = np.empty(cells)
        draws.draw_requests(self.key("requests"), tick, first, mean, self.activity, requests)
        count, sums = requests.reshape(shape), {}
        for name, metric in self.drawn.items():
            total = np.empty(cells)
            # Of what is 0 or 1 the sum of squares is the sum, one array for both, by which telemetry knows events.
            shaped = squared = total.reshape(shape)
            if isinstance(metric, Proportion):
                draws.draw_binomials(self.key(f"{name}.events"), tick, 0, first, requests, self._chances(name, tick), total)
            elif isinstance(metric, DurationMetric):
                squares = np.empty(cells)
                squared = squares.reshape(shape)
                keys = (self.key(f"{name}.total"), self.key(f"{name}.squares"))
                mu, sigma = log_normal(metric, factor=float(self.rates.factors[name][tick]))
                draws.draw_durations(keys, tick, first, mu, sigma, self.tables[name], requests, total, squares)
            sums[name] = Sums(count, shaped, squared)
        return Noise(tick, count, sums)

    def chance(self, name: str, tick: int) -> float:
        """Return the probability of an event of a proportion at a tick, without harm."""
        metric = self.drawn[name]
        if not isinstance(metric, Proportion):
            raise TypeError(f"{name} is no proportion")
        return min(1.0, metric.normal * float(self.rates.factors[name][tick]))

    def _chances(self, name: str, tick: int) -> Floats:
        """Return the probability of an event of a proportion in each cell, float64[cells, lanes], made anew where it drifts."""
        chance = self.chance(name, tick)
        if self._held.get(name, (math.nan, chance))[0] != chance:
            self._held[name] = chance, np.minimum(1.0, chance * self.effects[name])
        return self._held[name][1]

    def begin(self, *, harmed: bool) -> AggregatePath:
        """Return a path that starts at tick 0, with the harms or as the harmless twin."""
        return AggregatePath(self, self.harms if harmed else ())


class _Harmed(NamedTuple):
    """What a harm makes of the segments it is in: their sums, requests that are worse, and what of the metric it has added."""

    sums: Sums
    worse: Floats
    units: Floats


class AggregatePath:
    """One path through the world: what one policy's exposure makes of the noise.

    Attributes
    ----------
    onset : int64[lanes]
        First tick whose data a harm could change; `NOT_YET` if there was none.
    exposed, harmed : float64[segments, strata, lanes]
        Requests of exposed users, and of those the ones worse than under control.
    harm_units : dict of str to float64[lanes]
        By metric: events added, or seconds added.
    """

    def __init__(self, world: AggregateWorld, harms: tuple[HarmClock, ...]) -> None:
        self.world = world
        self.harms = harms
        lanes = len(world.lanes)
        self.onset = np.full(lanes, NOT_YET)
        self.exposed = np.zeros(world.shape)
        self.harmed = np.zeros(world.shape)
        self.harm_units = {clock.harm.metric: np.zeros(lanes) for clock in world.harms}
        self._ramp = RampHistory(len(world.strata.treated), lanes)
        self._so_far = np.zeros(world.shape if world.watched.first_seen else (0, 0, 0))

    def advance(self, noise: Noise, exposure: Exposure) -> Increments:
        """Return what happened during the noise's tick under an exposure, and count whom it hurt."""
        self._ramp.note(noise.tick, exposure.position)
        treated = self.world.strata.treated[exposure.position]
        draws.add_treated(noise.requests, treated, self.exposed)
        sums = dict(noise.sums)
        for clock in self.harms:
            intensity = clock.intensity(noise.tick, self._ramp.reached)
            if intensity.any():
                self._harm(clock, noise.tick, intensity, exposure, sums)
        control_from = self.world.strata.control_from[exposure.position]
        watched = {name: sums[name] for name in sums if name in self.world.watched.metrics}
        return Increments(_by_arm(watched, treated, control_from), self._first_seen(noise, treated, control_from))

    def truth(self, tick: int) -> Bools:
        """Return whether a harm that has touched this lane is under way, bool[lanes]; for people only."""
        under_way = np.zeros(len(self.onset), dtype=bool)
        for clock in self.harms:
            under_way |= clock.is_under_way(tick, self._ramp.reached)
        return under_way & (self.onset <= tick)

    def users_exposed(self) -> Floats:
        """Return the number of different users exposed so far, float64[lanes]."""
        return self._distinct(self.exposed)

    def users_harmed(self) -> Floats:
        """Return the number of different exposed users with an event worse than under control, float64[lanes]."""
        return np.minimum(self._distinct(self.harmed), self.users_exposed())

    def _distinct(self, events: Floats) -> Floats:
        world = self.world
        found = draws.distinct_users(world.key("users"), int(world.lanes[0]), events, world.users, world.gamma)
        return np.asarray(found)

    def _harm(self, clock: HarmClock, tick: int, intensity: Floats, exposure: Exposure, sums: dict[str, Sums]) -> None:
        """Apply one harm to `sums`, and add to those harmed."""
        world, name = self.world, clock.harm.metric
        metric, here = world.drawn[name], _place(world.segments, clock.harm.segment)
        dose = clock.dose(intensity, exposure, world.strata, away=tick - self._ramp.moved)
        touched = (dose > 0) & (world.users[here].max(axis=0) > 0)[:, None]
        self.onset = np.where(touched.any(axis=0), np.minimum(self.onset, tick), self.onset)
        given = Sums(*(values[here] for values in sums[name]))
        if isinstance(metric, Proportion):
            found = self._harm_proportion(clock, tick, dose, given, first_segment=here.start)
        elif isinstance(metric, DurationMetric):
            found = self._harm_duration(clock, metric, tick, dose, given, first_segment=here.start)
        else:
            raise TypeError(f"a {metric.kind} needs users one by one")
        sums[name] = _with(sums[name], here, found.sums)
        treated = world.strata.treated[np.where(exposure.position > 0, exposure.position, exposure.highest)]
        draws.add_treated(found.worse, treated, self.harmed[here])
        exposed_units = np.zeros(found.units.shape)
        draws.add_treated(found.units, treated, exposed_units)
        self.harm_units[name] = self.harm_units[name] + exposed_units.sum(axis=(0, 1))

    def _thinned(self, name: str, tick: int, trials: Floats, chance: Floats, *, first_segment: int) -> Floats:
        """Return Binomial(trials, chance) by segment, from the first one on, stratum and lane."""
        world = self.world
        cells = (trials.shape[0] * trials.shape[1], trials.shape[2])
        out = np.empty(cells)
        # A copy, since a view that cannot be written would be compiled for by itself.
        flat = np.array(np.broadcast_to(chance, trials.shape)).reshape(cells)
        cell, lane = first_segment * world.strata.count, int(world.lanes[0])
        key, flat_trials = stream_key(world.seed, name), np.ascontiguousarray(trials).reshape(cells)
        draws.draw_binomials(key, tick, cell, lane, flat_trials, flat, out)
        return out.reshape(trials.shape)

    def _harm_proportion(self, clock: HarmClock, tick: int, dose: Floats, given: Sums, *, first_segment: int) -> _Harmed:
        harm, stream = clock.harm, f"{clock.stream}.events"
        base = self.world.chance(harm.metric, tick)
        effect = harm.add.value if harm.add is not None else base * abs((harm.times or 1.0) - 1.0)
        requests, events, _ = given
        if self.world.drawn[harm.metric].worse == "down":
            chance = np.minimum(1.0, dose * effect / base)
            changed = self._thinned(stream, tick, events, chance, first_segment=first_segment)
            left = events - changed
        else:
            chance = np.minimum(1.0, dose * effect / max(1.0 - base, 1e-12))
            changed = self._thinned(stream, tick, requests - events, chance, first_segment=first_segment)
            left = events + changed
        return _Harmed(Sums(requests, left, left), changed, changed)

    def _harm_duration(
        self, clock: HarmClock, metric: DurationMetric, tick: int, dose: Floats, given: Sums, *, first_segment: int
    ) -> _Harmed:
        from scipy.special import ndtr

        harm = clock.harm
        times = 1.0 + ((harm.times or 1.0) - 1.0) * dose
        plus = (harm.add.value if harm.add is not None else 0.0) * dose
        requests, total, squares = given
        slower = times * total + plus * requests
        sums = Sums(requests, slower, times**2 * squares + 2 * times * plus * total + plus**2 * requests)
        mu, sigma = log_normal(metric, factor=float(self.world.rates.factors[harm.metric][tick]))
        limit = metric.harmed_above
        # Pushed over the limit: above it with the harm, at or below it without.
        from_ = np.maximum(limit - plus, 1e-12) / times
        chance = ndtr((math.log(limit) - mu) / sigma) - ndtr((np.log(from_) - mu) / sigma)
        pushed = self._thinned(f"{clock.stream}.slow", tick, requests, np.maximum(chance, 0.0), first_segment=first_segment)
        return _Harmed(sums, pushed, slower - total)

    def _first_seen(self, noise: Noise, treated: Integers, control_from: Integers) -> Floats | None:
        world = self.world
        if not world.watched.first_seen:
            return None
        out = np.empty((len(world.strata.treated) - 1, len(world.segments), 2, len(world.lanes)))
        expected = world.rates.requests[:, noise.tick, None] * world.strata.widths
        draws.draw_first_seen(
            world.key("first_seen"), noise.tick, int(world.lanes[0]), expected, world.users, world.gamma,
            treated, control_from, world.strata.cohort, self._so_far, out,
        )  # fmt: skip
        return out


def log_normal(metric: DurationMetric | AmountMetric, *, factor: float) -> tuple[float, float]:
    """Return mu and sigma of a log-normal from its median and 99th percentile, in logs of its unit."""
    mu = math.log(metric.median * factor)
    return mu, (math.log(metric.p99) - math.log(metric.median)) / 2.3263478740408408


def _by_arm(sums: Mapping[str, Sums], treated: Integers, control_from: Integers) -> dict[str, Sums]:
    """Return the sums [segments, arms, lanes] of cells [segments, strata, lanes]; a shared array is summed once."""
    done: dict[int, Floats] = {}

    def summed(values: Floats) -> Floats:
        if id(values) not in done:
            out = np.empty((values.shape[0], 3, values.shape[2]))
            draws.sum_arms(values, treated, control_from, out)
            done[id(values)] = out
        return done[id(values)]

    return {name: Sums(*(summed(values) for values in each)) for name, each in sums.items()}


def _place(segments: tuple[str, ...], segment: str | None) -> slice:
    """Return where a segment stands, or all of them."""
    if segment is None:
        return slice(0, len(segments))
    index = segments.index(segment)
    return slice(index, index + 1)


def _with(sums: Sums, here: slice, changed: Sums) -> Sums:
    """Return sums with some segments changed; arrays that are one before stay one."""
    total = sums.total.copy()
    total[here] = changed.total
    if sums.squares is sums.total:
        return Sums(sums.observations, total, total)
    squares = sums.squares.copy()
    squares[here] = changed.squares
    return Sums(sums.observations, total, squares)
