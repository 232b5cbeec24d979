"""What may be seen of the world, and when: delay, loss, missing looks and the shield, gathered into looks.

Telemetry stands between what happened and what a guardrail is given. A tick's data arrive whole, `delay` after the tick's end and
never before the data of earlier ticks: the watermark of a look is the end of the last tick whose data had arrived.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from simlab.guardrails.look import ARMS, BUCKETS, Bools, FirstSeen, Floats, Integers, Look, Sums
from simlab.scenario import Telemetry
from simlab.shield import shielded
from simlab.streams import span_ticks, stream_key, uniforms
from simlab.ticks import Clock
from simlab.users_gathered import UsersGathered
from simlab.world import draws
from simlab.world.aggregate import Increments, Watched
from simlab.world.strata import Strata


class TelemetryNoise:
    """The chance in telemetry, fixed in advance and the same for every policy.

    Parameters
    ----------
    settings : Telemetry
        Delay, loss and missing looks.
    clock : Clock
        The grid of ticks.
    lanes : int64[lanes]
        Lane numbers.
    seed : int
        Of the study.
    """

    def __init__(self, settings: Telemetry, clock: Clock, lanes: Integers, *, seed: int) -> None:
        self.settings = settings
        self.clock = clock
        self.lanes = lanes
        self.seed = seed
        self.watermark = clock.ticks(settings.watermark)
        self.shortest = max(self.watermark, clock.ticks(settings.delay.low))
        self.longest = max(self.watermark, clock.ticks(settings.delay.high))
        self.loss = np.array(settings.loss)

    def lag(self, tick: int) -> Integers:
        """Return the ticks from the end of a tick to the arrival of its data, int64[lanes]."""
        if self.shortest == self.longest:
            return np.full(len(self.lanes), self.longest)
        uniform = uniforms(stream_key(self.seed, "telemetry.delay"), tick, self.lanes)
        return np.maximum(self.watermark, span_ticks(self.settings.delay, uniform, tick=self.clock.tick))

    def alive(self, time: Integers) -> Integers:
        """Return when what is due at a time comes through, int64[lanes]: at once, or when a dead pipeline has recovered."""
        for dead in self.settings.dead:
            begins = self.clock.ticks(dead.at)
            recovers = begins + self.clock.ticks(dead.for_)
            time = np.where((time >= begins) & (time < recovers), recovers, time)
        return time

    def missing(self, time: int) -> Bools:
        """Return which looks at a time never come, bool[lanes]."""
        if self.settings.missing_looks == 0:
            return np.zeros(len(self.lanes), dtype=bool)
        uniform = uniforms(stream_key(self.seed, "telemetry.missing"), time, self.lanes)
        return np.asarray(uniform < self.settings.missing_looks)

    def reported(self, tick: int, increments: Increments) -> Increments:
        """Return the increments that are left when records are lost and come twice, each by itself."""
        if increments.reported or not (self.loss.any() or self.settings.duplicated):
            return increments
        sums = {name: self._told(name, tick, each) for name, each in increments.sums.items()}
        seen = increments.first_seen
        return Increments(sums, None if seen is None else seen - self._lost("first_seen", tick, seen))

    def _told(self, name: str, tick: int, sums: Sums) -> Sums:
        if sums.squares is sums.total:
            events = self._records(f"{name}.events", tick, sums.total)
            return Sums(events + self._records(f"{name}.others", tick, sums.observations - sums.total), events, events)
        left = self._records(name, tick, sums.observations)
        # Which of the requests are lost does not depend on how long they took: their sums shrink with their number.
        share = left / np.maximum(sums.observations, 1.0)
        return Sums(left, sums.total * share, sums.squares * share)

    def _records(self, name: str, tick: int, records: Floats) -> Floats:
        """Return how many records of each arm are told: those not lost, and some of these twice."""
        left = records - self._lost(name, tick, records)
        if not self.settings.duplicated:
            return left
        return left + self._thinned(f"telemetry.duplicated.{name}", tick, left, np.full(3, self.settings.duplicated))

    def _lost(self, name: str, tick: int, records: Floats) -> Floats:
        return self._thinned(f"telemetry.lost.{name}", tick, records, self.loss)

    def _thinned(self, stream: str, tick: int, records: Floats, chance: Floats) -> Floats:
        """Return Binomial(records, chance by arm); `records` is [..., arms, lanes]."""
        flat = records.reshape(-1, records.shape[-1])
        out = np.empty(flat.shape)
        by_arm = np.broadcast_to(chance[: records.shape[-2], None], records.shape).reshape(flat.shape)
        draws.draw_binomials(stream_key(self.seed, stream), tick, 0, int(self.lanes[0]), flat, np.array(by_arm), out)
        return out.reshape(records.shape)


class _Batch(NamedTuple):
    """The data of one tick on their way.

    Attributes
    ----------
    tick : int
        Their tick.
    arrives : int64[lanes]
        When they arrive.
    increments : Increments
        The data.
    position : int64[lanes]
        Ramp position during the tick.
    """

    tick: int
    arrives: Integers
    increments: Increments
    position: Integers


class Pipeline:
    """The telemetry of one path: takes each tick's data in, gives looks out.

    Parameters
    ----------
    noise : TelemetryNoise
        Shared by all paths.
    strata : Strata
        For the planned shares of the arms.
    watched : Watched
        The metrics that looks hold.
    segments : int
        How many segments there are.
    every : tuple of int
        The cadences at which looks are wanted, in ticks.
    """

    def __init__(self, noise: TelemetryNoise, strata: Strata, *, watched: Watched, segments: int, every: tuple[int, ...]) -> None:
        self.noise = noise
        self._on_the_way: deque[_Batch] = deque()
        self._arrives = np.zeros(len(noise.lanes), dtype=np.int64)
        self._skewed = _Skew(noise.settings.clock_skew or {}, noise.clock)
        self._gathered = {cadence: _Gathered(noise, strata, watched, segments, every=cadence) for cadence in every}

    def receive(self, tick: int, increments: Increments, position: Integers) -> None:
        """Take the data of a tick; they arrive when their delay is over, and in order."""
        self._arrives = np.maximum(self._arrives, self.noise.alive(tick + 1 + self.noise.lag(tick)))
        reported = self._skewed(self.noise.reported(tick, increments))
        self._on_the_way.append(_Batch(tick, self._arrives, reported, position))
        time = tick + 1
        for batch in self._on_the_way:
            arrived = batch.arrives == time
            if arrived.any():
                for gathered in self._gathered.values():
                    gathered.add(batch, arrived)
        while self._on_the_way and (self._on_the_way[0].arrives <= time).all():
            self._on_the_way.popleft()

    def look(self, time: int, *, every: int) -> Look:
        """Return the look at a time for one cadence; what it holds is gone from the next one."""
        return self._gathered[every].take(time)


class _Skew:
    """What is stamped with each tick where the clocks of an arm run ahead: the arm's records of an earlier one."""

    def __init__(self, skews: Mapping[Literal["treatment", "control"], int], clock: Clock) -> None:
        self._ahead = {ARMS.index(arm): clock.ticks(skew) for arm, skew in skews.items() if skew}
        self._held: deque[Increments] = deque(maxlen=max(self._ahead.values(), default=0) + 1)

    def __call__(self, now: Increments) -> Increments:
        if not self._ahead:
            return now
        self._held.appendleft(now)
        every = list(self._held)
        sums = {name: [each.sums[name] for each in every] for name in now.sums}
        seen = [each.first_seen for each in every if each.first_seen is not None]
        return Increments(
            {name: Sums(*(self._stamped(index) for index in zip(*each, strict=True))) for name, each in sums.items()},
            self._stamped(seen) if seen else None,
            {name: self._stamped([each.users[name] for each in every]) for name in now.users},
            {name: self._stamped([each.buckets[name] for each in every]) for name in now.buckets},
            reported=now.reported,
        )

    def _stamped(self, held: Sequence[Floats]) -> Floats:
        """Return counts [..., arms, lanes] as they are stamped, from those of the latest ticks, the present one first."""
        found = held[0].copy()
        for arm, ticks in self._ahead.items():
            found[..., arm, :] = held[ticks][..., arm, :] if ticks < len(held) else 0.0
        return found


class _Planned(NamedTuple):
    """Planned shares of treatment and control at the positions of the ramp; the arrays are not written to.

    Attributes
    ----------
    position : int64[lanes]
        Where the ramp is.
    shares : float64[2, lanes]
        Of all users.
    cohort_shares : float64[steps, 2, lanes]
        By the step that assigned them; no steps where nobody counts users.
    """

    position: Integers
    shares: Floats
    cohort_shares: Floats


class _Gathered:
    """What has arrived since the last look of one cadence, split in parts where the ramp moved."""

    def __init__(self, noise: TelemetryNoise, strata: Strata, watched: Watched, segments: int, *, every: int) -> None:
        self.noise = noise
        self.every = every
        self.strata = strata
        lanes = len(noise.lanes)
        self.metrics = sorted(watched.metrics)
        self.counts_users = watched.first_seen
        self.quantiles = sorted(watched.quantiles)
        # Each tick's data stand at one position, so a look has at most as many parts as ticks can arrive in it. A missing look
        # leaves its ticks for later ones, but a ramp goes up once and perhaps, by a rollback, to nothing.
        of_ramp = len(strata.shares) + 1
        gathers = noise.settings.missing_looks or noise.settings.dead
        self.parts = of_ramp if gathers else min(every + noise.longest - noise.shortest, of_ramp)
        self._start = np.zeros(lanes, dtype=np.int64)
        self._end = np.zeros(lanes, dtype=np.int64)
        self._position = np.zeros(lanes, dtype=np.int64)
        self._nothing = np.zeros((self.parts, segments, len(ARMS), lanes))
        steps = len(strata.shares) - 1 if watched.first_seen else 0
        self._nobody = np.zeros((self.parts, steps, segments, 2, lanes))
        self._no_shares = np.zeros((self.parts, 2, lanes)), np.zeros((self.parts, steps, 2, lanes))
        self._planned = _Planned(self._position, *(np.zeros_like(none[0]) for none in self._no_shares))
        self._by_user = UsersGathered(watched.terms, parts=self.parts, segments=segments, lanes=lanes)
        self._clear(np.ones(lanes, dtype=bool))

    def _clear(self, lanes: Bools) -> None:
        """Forget what these lanes have been given."""
        if lanes.all():
            self._sums: dict[str, list[Floats]] = {}
            self._buckets = {name: np.zeros((BUCKETS, *self._nothing.shape)) for name in self.quantiles}
            self._first_seen = self._nobody
            self._part = np.zeros(len(lanes), dtype=np.int64)
            self._empty = np.ones(len(lanes), dtype=bool)
            self._shares: Floats = self._no_shares[0]
            self._cohort_shares: Floats = self._no_shares[1]
            return
        kept = ~lanes
        self._sums = {name: [values * kept for values in each] for name, each in self._sums.items()}
        self._buckets = {name: counts * kept for name, counts in self._buckets.items()}
        self._first_seen = self._first_seen * kept
        self._part = self._part * kept
        self._empty = self._empty | lanes
        self._shares = self._shares * kept
        self._cohort_shares = self._cohort_shares * kept

    def add(self, batch: _Batch, arrived: Bools) -> None:
        """Add a tick's data for the lanes where they have arrived."""
        moved = arrived & ~self._empty & (batch.position != self._position)
        self._part = np.minimum(self._part + moved, self.parts - 1)
        self._position = np.where(arrived, batch.position, self._position)
        self._empty = self._empty & ~arrived
        self._end = np.where(arrived, batch.tick + 1, self._end)
        if batch.increments.users:
            self._by_user.add(batch.increments.users, self.strata.allocation[batch.position], self._part, arrived)
        for part in range(self.parts):
            here = arrived & (self._part == part)
            if here.any():
                self._add_part(part, here, batch)

    def _add_part(self, part: int, here: Bools, batch: _Batch) -> None:
        everywhere = bool(here.all())
        self._plan(part, here, batch.position, everywhere=everywhere)
        for name, sums in batch.increments.sums.items():
            kept = self._sums.setdefault(name, [])
            shared = sums.squares is sums.total
            for index, values in enumerate(sums[:2] if shared else sums):
                coming = values if everywhere else np.where(here, values, 0.0)
                if self.parts == 1:
                    # Not in place: a look that holds one tick holds what the world has made of it.
                    kept[index : index + 1] = [kept[index] + coming if index < len(kept) else coming[None]]
                    continue
                if index == len(kept):
                    kept.append(np.zeros((self.parts, *values.shape)))
                kept[index][part] += coming
        for name, counts in batch.increments.buckets.items():
            self._buckets[name][:, part] += np.where(here, counts, 0.0)
        if batch.increments.first_seen is not None:
            seen = batch.increments.first_seen if everywhere else np.where(here, batch.increments.first_seen, 0.0)
            if self.parts == 1:
                self._first_seen = seen[None] if self._first_seen is self._nobody else self._first_seen + seen
            else:
                self._first_seen = self._first_seen.copy()
                self._first_seen[part] += seen

    def _plan(self, part: int, here: Bools, position: Integers, *, everywhere: bool) -> None:
        """Note the planned shares of these lanes; they are looked up where the ramp has moved."""
        if self._planned.position is not position:
            cohorts = self.strata.cohort_shares[position] if self.counts_users else np.zeros((len(position), 0, 2))
            planned = self.strata.shares[position].T, np.moveaxis(cohorts, 0, -1)
            self._planned = _Planned(position, *(np.ascontiguousarray(shares) for shares in planned))
        shares, cohort_shares = self._planned.shares, self._planned.cohort_shares
        if self.parts == 1:
            self._shares = shares[None] if everywhere else np.where(here, shares, self._shares)
            self._cohort_shares = cohort_shares[None] if everywhere else np.where(here, cohort_shares, self._cohort_shares)
            return
        if self._shares is self._no_shares[0]:
            self._shares, self._cohort_shares = self._no_shares[0].copy(), self._no_shares[1].copy()
        self._shares[part] = np.where(here, shares, self._shares[part])
        self._cohort_shares[part] = np.where(here, cohort_shares, self._cohort_shares[part])

    def take(self, time: int) -> Look:
        """Return the look at `time`. A missing look leaves its data for the next one; without new data it is missing too."""
        missing = self.noise.missing(time) | self._empty
        given = ~missing
        one_armed = self.strata.one_armed[self._position] & ~((self._shares[:, 0] > 0) & (self._shares[:, 1] > 0)).any(axis=0)
        look = Look(
            time=time,
            start=self._start,
            end=np.where(given, self._end, self._start),
            lanes=self.noise.lanes,
            seed=self.noise.seed,
            sums=self._given(given),
            first_seen=self._users(given) if self.counts_users else None,
            shares=self._shares,
            missing=missing,
            one_armed=one_armed,
            users=self._by_user.given(given),
            buckets={name: counts * given for name, counts in self._buckets.items()},
        )
        self._start = np.where(given, self._end, self._start)
        self._by_user.clear(given)
        self._clear(given)
        shield = self.noise.settings.shield
        return look if shield is None else shielded(look, shield, every=self.every)

    def _users(self, given: Bools) -> FirstSeen:
        """Return the users first seen: what one step assigned is a group of its own in every part."""
        held = self._first_seen if given.all() else self._first_seen * given
        users = held.reshape(-1, *held.shape[2:])
        return FirstSeen(users, self._cohort_shares.reshape(-1, *self._cohort_shares.shape[2:]))

    def _given(self, given: Bools) -> Mapping[str, Sums]:
        everywhere = bool(given.all())
        found = {}
        for name in self.metrics:
            each = self._sums.get(name, [self._nothing])
            values = each if everywhere else [array * given for array in each]
            found[name] = Sums(values[0], values[min(1, len(values) - 1)], values[-1])
        return found
