"""A path through the individual world: whom one policy's exposure reaches, harms and counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simlab.guardrails.look import ARMS, BUCKETS, TREATMENT, Bools, Floats, Sums
from simlab.happenings import InTreatment, NoveltyDrift
from simlab.metrics import DurationMetric, Proportion
from simlab.streams import stream_key
from simlab.world import tallies
from simlab.world.aggregate import Increments
from simlab.world.harms import NOT_YET, Exposure, HarmClock, RampHistory
from simlab.world.people import Seats
from simlab.world.tallies import Bits, Small
from simlab.world.visits import Effect, Visits, counted, kept

if TYPE_CHECKING:
    from simlab.world.individual import IndividualWorld


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
