"""When a harm is on, and how strongly: a pure function of the lane's own ramp and of noise keyed by lane.

The dose of a harm is its share of the full effect on one stratum of one lane at one tick: all of it in treatment,
`spill_to_control` of it in control, and, once the ramp has been rolled back, `survives_rollback` of it where users had been
exposed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simlab.guardrails.look import Bools, Floats, Integers
from simlab.happenings import CliffHarm, FlapHarm, Harm, LatentHarm, LeakHarm, LearningHarm
from simlab.streams import stream_key, uniforms
from simlab.ticks import DAY, Clock
from simlab.world.strata import Strata

NOT_YET = np.iinfo(np.int64).max // 4
"""A tick that never comes."""


class Exposure(NamedTuple):
    """Who is exposed during one tick.

    Attributes
    ----------
    position : int64[lanes]
        Position of the ramp; 0 exposes nobody.
    highest : int64[lanes]
        Highest position that the lane has ever had: after a rollback, those who had been exposed.
    """

    position: Integers
    highest: Integers


class RampHistory:
    """What a path remembers of its ramp.

    Attributes
    ----------
    reached : int64[positions, lanes]
        First tick of each position.
    moved : int64[lanes]
        First tick of the present position.
    """

    def __init__(self, positions: int, lanes: int) -> None:
        self.reached = np.full((positions, lanes), NOT_YET)
        self.moved = np.zeros(lanes, dtype=np.int64)
        self._position = np.zeros(lanes, dtype=np.int64)

    def note(self, tick: int, position: Integers) -> None:
        """Take the position during a tick down."""
        if np.array_equal(position, self._position):
            return
        for step in range(1, len(self.reached)):
            first_time = (position >= step) & (self.reached[step] == NOT_YET)
            self.reached[step][first_time] = tick
        self.moved = np.where(position != self._position, tick, self.moved)
        self._position = position


@dataclass(frozen=True)
class HarmClock:
    """One harm on the lanes of one block.

    Attributes
    ----------
    harm : Harm
        Its settings.
    clock : Clock
        The grid of ticks.
    waits_for : int
        The ramp position whose first tick starts it; 0 if it starts at a time of its own.
    delay : int64[lanes]
        Ticks from that event (or from tick 0) to its start, with the lane's jitter.
    lanes : int64[lanes]
        Lane numbers.
    seed : int
        Of the study.
    """

    harm: Harm
    clock: Clock
    waits_for: int
    delay: Integers
    lanes: Integers
    seed: int

    @property
    def stream(self) -> str:
        """Prefix of the names of its streams."""
        return f"harm.{self.harm.name}"

    def start(self, reached: Integers) -> Integers:
        """Return the tick at which it starts, int64[lanes]; `reached` [positions, lanes] holds first ticks."""
        return self.delay + (reached[self.waits_for] if self.waits_for else 0)

    def intensity(self, tick: int, reached: Integers) -> Floats:
        """Return how much of the full effect there is at a tick, float64[lanes] in [0, 1]."""
        age = tick - self.start(reached)
        on = age >= 0
        if self.harm.lasts is not None:
            on = on & (age < self.clock.ticks(self.harm.lasts))
        if not on.any():
            return np.zeros(len(self.lanes))
        return np.where(on, self._shape(tick, np.where(on, age, 0)), 0.0)

    def _shape(self, tick: int, age: Integers) -> Floats:
        if isinstance(self.harm, LeakHarm):
            return np.minimum(1.0, (age + 1) * self.clock.tick / self.harm.over)
        if isinstance(self.harm, FlapHarm):
            # Periods stand on the world's clock, as a job that pushes a file every few minutes does.
            period = self.clock.ticks(self.harm.period)
            drawn = uniforms(stream_key(self.seed, f"{self.stream}.flap"), tick // period, self.lanes)
            rises = self.clock.ticks(self.harm.rises)
            risen = np.minimum(1.0, (age + 1) / rises) if rises else 1.0
            return np.asarray(drawn < self.harm.chance * risen, dtype=float)
        if isinstance(self.harm, LearningHarm):
            return -np.expm1(-self.harm.per_day * (age + 1) * self.clock.tick / DAY)
        return np.ones(len(age))

    def is_under_way(self, tick: int, reached: Integers) -> Bools:
        """Return whether it has begun and not ended, bool[lanes]; between two bad periods a flapping harm is."""
        age = tick - self.start(reached)
        ended = age >= self.clock.ticks(self.harm.lasts) if self.harm.lasts is not None else np.zeros_like(age, bool)
        return np.asarray((age >= 0) & ~ended)

    def dose(self, intensity: Floats, exposure: Exposure, strata: Strata, *, away: Integers | None = None) -> Floats:
        """Return the share of the full effect by stratum, float64[strata, lanes].

        Parameters
        ----------
        intensity : float64[lanes]
            From `intensity`.
        exposure : Exposure
            Who is exposed.
        strata : Strata
            Who moves together.
        away : int64[lanes], optional
            Ticks since the ramp went back to nothing, for what fades.
        """
        stratum = np.arange(strata.count)[:, None]
        treated = stratum < strata.treated[exposure.position]
        control = stratum >= strata.control_from[exposure.position]
        left = (stratum < strata.treated[exposure.highest]) & (exposure.position == 0)
        share = np.where(treated, 1.0, np.where(control, self.harm.spill_to_control, 0.0))
        survives = np.full(intensity.shape, self.harm.survives_rollback)
        if self.harm.fades is not None and away is not None:
            survives = survives * 0.5 ** (away * self.clock.tick / self.harm.fades)
        if isinstance(self.harm, CliffHarm):
            intensity = intensity * (strata.shares[exposure.position, 0] > self.harm.above)
        return intensity * np.where(left, np.maximum(share, survives), share)


def harm_clock(harm: Harm, *, clock: Clock, strata: Strata, lanes: Integers, seed: int) -> HarmClock:
    """Return a harm's clock for the lanes of a block, its jitter drawn."""
    onset = harm.onset
    waits_for = 0
    if onset.after is not None:
        exposed = strata.shares[1, 0] if onset.step is None else onset.step
        waits_for = int(np.argmin(np.abs(strata.shares[:, 0] - exposed)))
    drawn = uniforms(stream_key(seed, f"harm.{harm.name}.jitter"), 0, lanes)
    dormant = np.zeros(len(lanes))
    if isinstance(harm, LatentHarm):
        asleep = uniforms(stream_key(seed, f"harm.{harm.name}.dormant"), 0, lanes)
        dormant = harm.dormant.low + (harm.dormant.high - harm.dormant.low) * asleep
    wait = dormant + (onset.at or 0) + onset.wait + onset.jitter * (2 * drawn - 1)
    delay = np.maximum(0, np.round(wait / clock.tick)).astype(np.int64)
    return HarmClock(harm, clock, waits_for, delay, lanes, seed)
