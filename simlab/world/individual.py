"""The individual world: users one by one, behind the same face as the aggregate one.

Every lane has users with a gamma activity, a hashed bucket that sticks (so that how many users a stratum holds is chance), and a
personal effect on each metric. Their sessions come one by one; what is measured of each is drawn whoever is exposed. A path marks
which users were seen, exposed and harmed, so that different users are counted, not estimated.

A tick costs the visits that happen in it, and memory holds every user of every lane of a block: `LANES_TIMES_USERS` at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from simlab.guardrails.look import ARMS, BUCKETS, TREATMENT, Bools, Floats, Integers, Sums
from simlab.happenings import BotsDrift, InTreatment, NoveltyDrift
from simlab.metrics import CountMetric, DurationMetric, Metric, Proportion
from simlab.scenario import Scenario
from simlab.streams import stream_key
from simlab.world import tallies, visits
from simlab.world.aggregate import Increments, Watched, log_normal
from simlab.world.experiments import running, salted
from simlab.world.harms import NOT_YET, Exposure, HarmClock, RampHistory, harm_clock
from simlab.world.people import NO_SPREAD, Population, Seats, population
from simlab.world.rates import rates_of
from simlab.world.strata import strata_of
from simlab.world.tallies import Bits, Small
from simlab.world.visits import Keys, Visits, counted, kept, unit_of

LANES_TIMES_USERS = 2_000_000
"""Users of all lanes of a block that are held at once: 12 bytes each, and about 25 for each path and metric judged by user."""


def lanes_at_once(scenario: Scenario) -> int:
    """Return how many lanes of a scenario's individual world fit in a block."""
    return max(1, LANES_TIMES_USERS // scenario.users.count)


class IndividualWorld:
    """The world of one scenario for one block of lanes, user by user.

    Parameters
    ----------
    scenario : Scenario
        What the world is like.
    lanes : int64[lanes]
        Consecutive lane numbers.
    seed : int
        Of the study.
    watched : Watched
        What is looked at; nothing else is drawn.
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
        self.sizes = seats_by_segment(scenario)
        self.bots = _bots_of(scenario, self.segments)
        self.stay = 0 if scenario.users.stay is None else self.clock.ticks(scenario.users.stay)
        self.drawn = {
            name: metric
            for name, metric in scenario.metrics.items()
            if name in watched.metrics or any(harm.metric == name for harm in scenario.harms)
        }
        self.harms = tuple(
            harm_clock(harm, clock=self.clock, strata=self.strata, lanes=lanes, seed=seed) for harm in scenario.harms
        )
        told = scenario.telemetry
        reported = not (any(told.loss) or told.misassigned)
        # Where all is reported, of the arm it happened in, who comes first is who is seen first.
        self.loses = not reported or any(harm.silent or harm.drops_users or harm.turns_away for harm in scenario.harms)
        self._held: dict[str, Floats] = {}
        self._ones = np.ones(0)
        names = ("sessions", "visit", "who", "pages", "people", "lives", "bucket")
        keys = Keys(*(self.key(name) for name in names))
        self.keys = keys._replace(bucket=salted(keys.bucket, scenario.rollout.salt))
        self.experiments = running(scenario, keys.bucket)

    def key(self, name: str) -> np.uint64:
        """Return the key of one of this world's streams."""
        return stream_key(self.seed, f"world.individual.{name}")

    @cached_property
    def population(self) -> Population:
        """How active each seat of each lane is."""
        gamma = self.scenario.users.activity.gamma
        return population(self.key("activity"), int(self.lanes[0]), len(self.lanes), sizes=self.sizes, gamma=gamma)

    def draw(self, tick: int) -> Visits:
        """Return the noise of a tick: the one place where a world draws without knowing who is exposed."""
        pages = self.scenario.users.pages
        mean = np.hstack([self.rates.requests[:, tick] * self.population.activity / self.sizes, self._of_bots(tick)]) / pages
        found = visits.draw_visits(
            self.keys, tick, int(self.lanes[0]), population=self.population, bots=self.bots, mean=mean,
            pages=pages, stay=self.stay, cuts=self.strata.cuts,
        )  # fmt: skip
        values = {name: self._measured(name, metric, found) for name, metric in self.drawn.items()}
        for name, each in self.experiments.items():
            metric = each.experiment.metric
            if metric in values:
                effect, key = Effect(each.experiment.times or 1.0, 0.0), stream_key(self.seed, f"experiment.{name}.events")
                values[metric] = self.moved(metric, found, values[metric], key, effect, each.taking_part(tick, found.person))
        return found._replace(values=values)

    def _of_bots(self, tick: int) -> Floats:
        """Return the requests that are expected of each group of bots, float64[lanes, bots]."""
        now = tick * self.clock.tick
        drifts = (drift for drift in self.scenario.drift if isinstance(drift, BotsDrift))
        each = [drift.requests * self.clock.tick * (drift.at <= now < drift.at + drift.for_) for drift in drifts]
        return np.tile(np.array(each, dtype=np.float64), (len(self.lanes), 1))

    def _measured(self, name: str, metric: Metric, found: Visits) -> Floats:
        """Return what is measured of each request, without any harm."""
        value = np.empty(len(found.seat))
        unit, factor = unit_of(metric, found), float(self.rates.factors[name][found.tick])
        if isinstance(metric, DurationMetric):
            mu, sigma = log_normal(metric, factor=factor)
            visits.draw_duration(self.key(f"{name}.duration"), mu, sigma, unit, value)
            return value
        effect = self._effects(name, metric.personal_cv, found)
        if isinstance(metric, Proportion):
            visits.draw_proportion(self.key(f"{name}.events"), min(1.0, metric.normal * factor), effect, unit, value)
        elif isinstance(metric, CountMetric):
            visits.draw_count(self.key(f"{name}.count"), metric.mean * factor, effect, unit, value)
        else:
            mu, sigma = log_normal(metric, factor=factor)
            keys, cap = (self.key(f"{name}.some"), self.key(f"{name}.amount")), metric.cap or math.inf
            visits.draw_amount(keys, metric.some, mu, sigma, cap, effect, unit, value)
        return value

    def _effects(self, name: str, cv: float, found: Visits) -> Floats:
        """Return the personal effect on a metric of who made each request, float64[requests]."""
        if cv < NO_SPREAD:
            if len(self._ones) < len(found.seat):
                self._ones = np.ones(2 * len(found.seat))
            return self._ones[: len(found.seat)]
        effect = np.empty(len(found.seat))
        key = self.key(f"{name}.effect")
        if self.stay:
            visits.effects_of_people(key, cv, found.person, effect)
            return effect
        # Who stays for good is worth remembering: a gamma variate costs more than all else that is drawn of a request.
        if name not in self._held:
            self._held[name] = np.empty(self.population.upto.shape)
            visits.effects_of_seats(self.keys.people, key, cv, int(self.lanes[0]), self._held[name])
        visits.gather(found.begins, found.seat, self._held[name], effect)
        return effect

    def moved(self, name: str, noise: Visits, before: Floats, key: np.uint64, effect: Effect, doses: Floats) -> Floats:
        """Return a metric's values moved by an effect, up or down, the base draws unmoved."""
        metric, value = self.drawn[name], before.copy()
        unit, factor = unit_of(metric, noise), float(self.rates.factors[name][noise.tick])
        if isinstance(metric, Proportion):
            base = min(1.0, metric.normal * factor)
            change = effect.add + base * (effect.times - 1.0)
            if change > 0:
                tallies.more_events(key, min(1.0, change / max(1.0 - base, 1e-12)), unit, doses, value)
            elif base > 0:
                tallies.fewer_events(key, min(1.0, -change / base), unit, doses, value)
        elif isinstance(metric, CountMetric) and effect.times > 1:
            mean = metric.mean * factor * (effect.times - 1.0)
            tallies.more_counts(key, self.key(f"{name}.effect"), mean, metric.personal_cv, unit, noise.person, doses, value)
        elif isinstance(metric, CountMetric):
            tallies.fewer_events(key, 1.0 - effect.times, unit, doses, value)
        else:
            value = value * (1.0 + (effect.times - 1.0) * doses) + effect.add * doses
        return value

    def begin(self, *, harmed: bool) -> IndividualPath:
        """Return a path that starts at tick 0, with the harms or as the harmless twin."""
        return IndividualPath(self, self.harms if harmed else ())


def seats_by_segment(scenario: Scenario) -> Integers:
    """Return how many users each segment has, int64[segments]; at least one each."""
    shares = np.array(list(scenario.users.shares.values()))
    return np.maximum(1, np.round(scenario.users.count * shares)).astype(np.int64)


def _bots_of(scenario: Scenario, segments: tuple[str, ...]) -> Integers:
    """Return the segment of each group of bots, the first one if none is said, and how many they are, int64[bots, 2]."""
    drifts = [drift for drift in scenario.drift if isinstance(drift, BotsDrift)]
    held = [(0 if drift.segment is None else segments.index(drift.segment), drift.users) for drift in drifts]
    return np.array(held, dtype=np.int64).reshape(-1, 2)


class Happened(NamedTuple):
    """One tick on one path, request by request.

    Attributes
    ----------
    visits : Visits
        Those that no harm turned away.
    arm : int8[requests]
        Treatment, control or outside, as the data have it.
    first : bool[requests]
        The first one that is reported of a user since a step assigned them.
    weight : uint8[requests]
        How often it is reported: 0 if it is lost, 2 if it comes twice.
    values : mapping of str to float64[requests]
        What is measured, by metric.
    """

    visits: Visits
    arm: Small
    first: Bools
    weight: Bits
    values: Mapping[str, Floats]


class Effect(NamedTuple):
    """How a metric moves: by a factor, then by a difference."""

    times: float
    add: float


@dataclass
class _ByUser:
    """A metric's totals and units by user in an allocation, [2, lanes, seats], and in which; and before the rollout began."""

    held: Floats
    since: Seats
    before: Floats


class IndividualPath:
    """One path through the world: what one policy's exposure makes of the noise.

    Attributes
    ----------
    onset : int64[lanes]
        First tick whose data a harm could change; `NOT_YET` if there was none.
    harm_units : dict of str to float64[lanes]
        By metric: events, counts, amounts or seconds that a harm made worse.
    """

    def __init__(self, world: IndividualWorld, harms: tuple[HarmClock, ...]) -> None:
        self.world = world
        self.harms = harms
        lanes, seats = len(world.lanes), int(world.sizes.sum())
        self.onset = np.full(lanes, NOT_YET)
        self.harm_units = {clock.harm.metric: np.zeros(lanes) for clock in world.harms}
        self._exposed, self._harmed = np.zeros(lanes), np.zeros(lanes)
        self._bits = np.zeros((lanes, seats), dtype=np.uint8)
        self._lives = np.zeros((lanes, seats if world.stay else 0), dtype=np.int32)
        self._ramp = RampHistory(len(world.strata.treated), lanes)
        self._by_user = {
            name: _ByUser(
                np.zeros((2, lanes, seats)),
                np.zeros((lanes, seats), dtype=np.int32),
                np.zeros((2, lanes, seats if name in world.watched.covariates else 0)),
            )
            for name in world.watched.terms
        }

    def advance(self, noise: Visits, exposure: Exposure) -> Increments:
        """Return what happened during the noise's tick under an exposure, summed, and count whom it hurt."""
        return self._told(self.happen(noise, exposure), exposure)

    def happen(self, noise: Visits, exposure: Exposure) -> Happened:
        """Return what happened during the noise's tick under an exposure, request by request, and count whom it hurt."""
        world, strata = self.world, self.world.strata
        self._ramp.note(noise.tick, exposure.position)
        treated, control_from = strata.treated[exposure.position], strata.control_from[exposure.position]
        arm, first = np.empty(len(noise.seat), dtype=np.int8), np.empty(len(noise.seat), dtype=bool)
        tallies.arms_of(noise.begins, noise.stratum, treated, control_from, arm)
        tallies.meet(noise.begins, noise.seat, noise.life, arm, self._bits, self._lives, self._exposed, first)
        come = self._come(noise, exposure)
        if come is not None:
            noise, arm, first = kept(noise, come), arm[come], first[come]
        values, weight = dict(noise.values), np.ones(len(noise.seat), dtype=np.uint8)
        told, names = world.scenario.telemetry, ("telemetry.lost", "telemetry.duplicated")
        if any(told.loss) or told.duplicated:
            lost, twice = (stream_key(world.seed, name) for name in names)
            tallies.lose((lost, twice), np.array(told.loss), told.duplicated, noise.request, arm, weight)
        for drift in world.scenario.drift:
            if isinstance(drift, InTreatment) and drift.metric in values:
                self._drift(drift, noise, arm, values)
        for clock in self.harms:
            dose = self._dose(clock, noise.tick, exposure)
            if dose.any():
                self._harm(clock, noise, dose, exposure, values, first, weight)
                self._drop(clock, noise, dose, arm)
        if told.misassigned:
            tallies.swap(stream_key(world.seed, "telemetry.misassigned"), told.misassigned, noise.request, arm)
        if world.loses:
            tallies.report(noise.begins, noise.seat, arm, weight, self._bits, first)
        return Happened(noise, arm, first, weight, values)

    def _dose(self, clock: HarmClock, tick: int, exposure: Exposure) -> Floats:
        """Return the share of a harm's full effect by stratum, float64[strata, lanes]."""
        intensity = clock.intensity(tick, self._ramp.reached)
        return clock.dose(intensity, exposure, self.world.strata, away=tick - self._ramp.moved)

    def _doses(self, clock: HarmClock, noise: Visits, dose: Floats) -> Floats:
        """Return the dose of each request, float64[requests]."""
        doses, segment = np.empty(len(noise.seat)), clock.harm.segment
        only = -1 if segment is None else self.world.segments.index(segment)
        tallies.doses_of(noise.begins, noise.segment, noise.stratum, dose, only, doses)
        if clock.harm.among is not None:
            doses = doses * self.world.experiments[clock.harm.among].taking_part(noise.tick, noise.person)
        return doses

    def _come(self, noise: Visits, exposure: Exposure) -> Bools | None:
        """Return which requests no harm turns away, bool[requests], or None if that is all; who is turned away is harmed."""
        come = None
        for clock in self.harms:
            dose = self._dose(clock, noise.tick, exposure) if clock.harm.turns_away else np.zeros(1)
            if not dose.any():
                continue
            come = np.ones(len(noise.seat), dtype=bool) if come is None else come
            doses, gone = self._doses(clock, noise, dose), np.zeros(len(noise.seat))
            key = stream_key(self.world.seed, f"{clock.stream}.turned-away")
            tallies.more_events(key, clock.harm.turns_away, noise.request, doses, gone)
            self._count(clock, noise, dose, exposure, gone > 0, gone, come)
            come = come & (gone == 0)
        return come

    def _drop(self, clock: HarmClock, noise: Visits, dose: Floats, arm: Small) -> None:
        """Let a second hash take users of treatment out of its data, in proportion to their effect on the harm's metric."""
        if clock.harm.drops_users:
            metric = self.world.drawn[clock.harm.metric]
            key, effect = stream_key(self.world.seed, f"{clock.stream}.hash"), self.world.key(f"{clock.harm.metric}.effect")
            cv = 0.0 if isinstance(metric, DurationMetric) else metric.personal_cv
            tallies.drop(key, effect, clock.harm.drops_users, cv, noise.person, self._doses(clock, noise, dose), arm)

    def _drift(self, drift: InTreatment, noise: Visits, arm: Small, values: dict[str, Floats]) -> None:
        """Apply what moves a metric in treatment only and harms nobody."""
        clock = self.world.clock
        if isinstance(drift, NoveltyDrift):
            age = np.maximum(0, noise.tick - self._ramp.reached[1])
            intensity = 0.5 ** (age * clock.tick / drift.fades)
        else:
            intensity = (noise.tick - self._ramp.moved < clock.ticks(drift.for_)).astype(np.float64)
        doses = np.repeat(intensity, np.diff(noise.begins)) * (arm == TREATMENT)
        key = stream_key(self.world.seed, f"drift.{drift.name}.events")
        values[drift.metric] = self.world.moved(drift.metric, noise, values[drift.metric], key, Effect(drift.times, 0.0), doses)

    def truth(self, tick: int) -> Bools:
        """Return whether a harm that has touched this lane is under way, bool[lanes]; for people only."""
        under_way = np.zeros(len(self.onset), dtype=bool)
        for clock in self.harms:
            under_way |= clock.is_under_way(tick, self._ramp.reached)
        return under_way & (self.onset <= tick)

    def users_exposed(self) -> Floats:
        """Return the number of different users exposed so far, float64[lanes]."""
        return self._exposed.copy()

    def users_harmed(self) -> Floats:
        """Return the number of different exposed users with a unit worse than under control, float64[lanes]."""
        return self._harmed.copy()

    def _harm(
        self,
        clock: HarmClock,
        noise: Visits,
        dose: Floats,
        exposure: Exposure,
        values: dict[str, Floats],
        first: Bools,
        weight: Bits,
    ) -> None:
        """Apply one harm to `values`, silence whom it silences, and count those harmed."""
        harm, name, doses = clock.harm, clock.harm.metric, self._doses(clock, noise, dose)
        metric, before = self.world.drawn[name], values[name]
        key = stream_key(self.world.seed, f"{clock.stream}.events")
        add = 0.0 if harm.add is None else harm.add.value * (1.0 if metric.worse == "up" else -1.0)
        values[name] = self.world.moved(name, noise, before, key, Effect(harm.times or 1.0, add), doses)
        worse = values[name] != before
        if isinstance(metric, DurationMetric):
            worse = (values[name] > metric.harmed_above) & (before <= metric.harmed_above)
        self._count(clock, noise, dose, exposure, worse, np.abs(values[name] - before), counted(metric, noise, first))
        if harm.silent:
            quiet = np.zeros(len(worse))
            tallies.more_events(
                stream_key(self.world.seed, f"{clock.stream}.silent"), harm.silent, noise.request, worse.astype(float), quiet
            )
            weight[quiet > 0] = 0
        if harm.flatters is not None and harm.flatters.metric in values:
            flattered, key = harm.flatters, stream_key(self.world.seed, f"{clock.stream}.flatters")
            values[flattered.metric] = self.world.moved(
                flattered.metric, noise, values[flattered.metric], key, Effect(flattered.times, 0.0), doses
            )

    def _count(
        self, clock: HarmClock, noise: Visits, dose: Floats, exposure: Exposure, worse: Bools, gained: Floats, units: Bools
    ) -> None:
        """Count the exposed users with a unit that is worse than under control, and what it costs."""
        self.onset = np.where((dose > 0).any(axis=0), np.minimum(self.onset, noise.tick), self.onset)
        treated = self.world.strata.treated[np.where(exposure.position > 0, exposure.position, exposure.highest)]
        tallies.count_harmed(
            noise.begins, noise.seat, noise.stratum, treated, units, worse,
            gained, self._bits, self._harmed, self.harm_units[clock.harm.metric],
        )  # fmt: skip

    def _told(self, happened: Happened, exposure: Exposure) -> Increments:
        """Return the sums of what is reported."""
        noise, arm, first, weight, values = happened
        world, lanes, segments = self.world, len(self.world.lanes), len(self.world.segments)
        sums, users, buckets, observed = {}, {}, {}, {}
        for name in sorted(world.watched.metrics):
            metric = world.drawn[name]
            units = counted(metric, noise, first)
            if metric.per not in observed:
                observed[metric.per] = np.zeros((segments, len(ARMS), lanes))
                tallies.tally_units(noise.begins, noise.segment, arm, units, weight, observed[metric.per])
            total, binary = np.zeros((segments, len(ARMS), lanes)), isinstance(metric, Proportion)
            squares = np.zeros((0, 0, 0)) if binary else np.zeros_like(total)
            tallies.tally(noise.begins, noise.segment, arm, units, weight, values[name], total, squares)
            sums[name] = Sums(observed[metric.per], total, total if binary else squares)
            if name in world.watched.by_user:
                users[name] = np.zeros((world.watched.terms[name], segments, 2, lanes))
                by_user = self._by_user[name]
                if name in world.watched.covariates:
                    begun = self._ramp.reached[1] <= noise.tick
                    tallies.tally_before(noise.begins, noise.seat, units, weight, values[name], begun, by_user.before)
                tallies.tally_users(
                    noise.begins, noise.seat, noise.life, noise.segment, arm, units, weight, values[name],
                    world.strata.allocation[exposure.position], by_user.since, by_user.held, by_user.before, users[name],
                )  # fmt: skip
            if name in world.watched.quantiles:
                buckets[name] = np.zeros((BUCKETS, segments, len(ARMS), lanes))
                tallies.tally_buckets(noise.begins, noise.segment, arm, weight, values[name], buckets[name])
        seen = None
        if world.watched.first_seen:
            seen = np.zeros((len(world.strata.treated) - 1, segments, 2, lanes))
            tallies.count_first(noise.begins, np.flatnonzero(first), noise.segment, noise.stratum, arm, world.strata.cohort, seen)
        return Increments(sums, seen, users, buckets, reported=True)
