"""A recording's healthy time, cut into blocks and put together anew: one's own traffic as the null.

A lane follows the recording for a block, then jumps to another block that begins at the same phase of the day, or of the week,
and so on. All series jump together. The first jump comes at a time of the lane's own, so that joints do not stand at one phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simlab.errors import RecordingError
from simlab.guardrails.look import Bools, Floats, Integers
from simlab.happenings import Harm
from simlab.streams import stream_key, uniforms
from simlab.ticks import WEEK, Clock, format_duration
from simlab.world.aggregate import Increments, Watched
from simlab.world.grafts import chances, grafted
from simlab.world.harms import Exposure, harm_clock
from simlab.world.recording import RecordedNoise, RecordedPath, Series, strata_of_arms

LEAST_WEEKS = 8
"""Weeks of a recording from which on blocks can come from the same phase of the week."""
_LEAST_CYCLES = 2


@dataclass(frozen=True, eq=False)
class Resampling:
    """How lanes are made of a recording.

    Parameters
    ----------
    series : Series
        The recording.
    healthy : bool[ticks]
        What may be taken.
    cycle : int
        Milliseconds after which traffic repeats itself: a day or a week.
    block : int
        Ticks of a block.
    horizon : int
        Ticks of a lane.
    groups : int
        How many groups of lanes see the blocks with weights of their own.

    Raises
    ------
    RecordingError
        If a tick does not divide the cycle, the recording is too short for it, or there is no block for some phase.
    """

    series: Series
    healthy: Bools
    cycle: int
    block: int
    horizon: int
    groups: int

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to choose from."""
        tick, recorded = self.series.clock.tick, len(self.healthy) * self.series.clock.tick
        if self.cycle % tick:
            raise RecordingError(f"a tick of {format_duration(tick)} does not divide {format_duration(self.cycle)}")
        if self.cycle == WEEK and recorded < LEAST_WEEKS * WEEK:
            problem = f"{LEAST_WEEKS} weeks are needed for blocks of the same phase of the week"
            raise RecordingError(f"{problem}, and {format_duration(recorded)} were recorded; resample by the day")
        healthy, cycle = self.seen * tick, "week" if self.cycle == WEEK else "day"
        if healthy < _LEAST_CYCLES * self.cycle:
            problem = f"{_LEAST_CYCLES} {cycle}s of healthy time are needed, so that there is a choice of blocks"
            raise RecordingError(f"{problem}, and {format_duration(healthy)} were recorded")
        none = [phase for phase, found in enumerate(self.candidates) if not len(found)]
        if none:
            at, length = format_duration(none[0] * tick), format_duration(self.block * tick)
            raise RecordingError(f"at {at} of the {cycle} there is no healthy block of {length}: record longer, or mask less")

    @property
    def phases(self) -> int:
        """Ticks in a cycle."""
        return self.cycle // self.series.clock.tick

    def phase(self, ticks: Integers) -> Integers:
        """Return the phases of ticks of the recording, or of a lane, which begins at the same one."""
        # The week is counted from Thursday 1970-01-01, as good a beginning as any.
        return np.asarray((self.series.clock.starts // self.series.clock.tick + ticks) % self.phases)

    @cached_property
    def candidates(self) -> tuple[Integers, ...]:
        """First ticks of the healthy blocks at each phase."""
        sick = np.concatenate([[0], np.cumsum(~self.healthy)])
        first = np.arange(max(0, len(self.healthy) - self.block + 1))
        first = first[sick[first + self.block] == sick[first]]
        phase = self.phase(first)
        return tuple(first[phase == each] for each in range(self.phases))

    @cached_property
    def seen(self) -> int:
        """Healthy ticks of which anything was recorded."""
        observed = np.any([sums[0].sum(axis=0) > 0 for sums in self.series.sums.values()], axis=0)
        return int((self.healthy & observed).sum())

    @property
    def blocks(self) -> float:
        """How many blocks the healthy ticks make of which anything was recorded."""
        return self.seen / self.block

    @property
    def worth(self) -> float:
        """How many independent horizons those ticks make."""
        return self.seen / max(self.block, self.horizon)

    def group(self, lanes: Integers) -> Integers:
        """Return the group of each lane."""
        return lanes % self.groups

    def weights(self, seed: int) -> Floats:
        """Return the weight of each piece of the recording, as long as a block: exponential, float64[groups, pieces]."""
        pieces = len(self.healthy) // self.block + 2
        key, groups = stream_key(seed, "null.weights"), np.arange(self.groups)
        return -np.log(np.stack([uniforms(key, piece, groups) for piece in range(pieces)], axis=1))


class ResampledWorld:
    """Lanes of resampled time: nobody exposed by us.

    Parameters
    ----------
    resampling : Resampling
        How lanes are made.
    watched : Watched
        The metrics that looks hold.
    lanes : int64[lanes]
        Lane numbers.
    seed : int
        Of all draws.
    harms : tuple of Harm
        Grafted on the harmed lanes.
    """

    def __init__(
        self, resampling: Resampling, watched: Watched, lanes: Integers, *, seed: int, harms: tuple[Harm, ...] = ()
    ) -> None:
        self.resampling = resampling
        self.segments = resampling.series.more.segments
        self.watched = watched
        self.lanes = lanes
        self.seed = seed
        self.harms = harms
        self.clock = Clock(resampling.series.clock.starts, resampling.series.clock.tick, resampling.horizon)
        self.strata = strata_of_arms(resampling.series.recording.arms)
        self._weights = resampling.weights(seed)
        self._group = resampling.group(lanes)
        self._source = np.full(len(lanes), -1, dtype=np.int64)
        first = uniforms(stream_key(seed, "null.first"), 0, lanes)
        self._left = np.ceil(first * resampling.block).astype(np.int64)
        self._jump(0, np.ones(len(lanes), dtype=bool))

    def draw(self, tick: int) -> RecordedNoise:
        """Return what each lane takes from the recording; ticks must come in order."""
        if tick:
            self._source = self._source + 1
            self._left = self._left - 1
            due = self._left <= 0
            if due.any():
                self._jump(tick, due)
                self._left = np.where(due, self.resampling.block, self._left)
        cells = self.resampling.series.cells
        return RecordedNoise(tick, {name: cells[name][..., self._source] for name in sorted(self.watched.metrics)})

    def begin(self, *, harmed: bool) -> RecordedPath:
        """Return a path, with the grafted harms or without."""
        return GraftedPath(self, harmed=harmed)

    def _jump(self, tick: int, due: Bools) -> None:
        """Begin a new block in some lanes: each candidate with the weight of the pieces of the recording that it covers."""
        resampling = self.resampling
        found = resampling.candidates[int(resampling.phase(np.array(tick)))]
        piece, into = np.divmod(found, resampling.block)
        share = into / resampling.block
        weight = (1 - share) * self._weights[:, piece] + share * self._weights[:, piece + 1]
        upto = np.cumsum(weight, axis=1)
        drawn = uniforms(stream_key(self.seed, "null.block"), tick, self.lanes)[due]
        mine = upto[self._group[due]]
        chosen = (mine < (drawn * mine[:, -1])[:, None]).sum(axis=1)
        self._source = self._source.copy()
        self._source[due] = found[chosen]


class GraftedPath(RecordedPath):
    """A path on which harms have changed what was recorded, or its twin."""

    def __init__(self, world: ResampledWorld, *, harmed: bool) -> None:
        super().__init__(world.watched, len(world.lanes))
        self._world = world
        self._chances = chances(world.resampling.series.sums)
        self._clocks = [
            harm_clock(harm, clock=world.clock, strata=world.strata, lanes=world.lanes, seed=world.seed)
            for harm in (world.harms if harmed else ())
        ]
        self.harm_units = {harm.metric: np.zeros(len(world.lanes)) for harm in world.harms}

    def advance(self, noise: RecordedNoise, exposure: Exposure) -> Increments:
        """Return the sums of the tick, changed."""
        recording, sums = self._world.resampling.series.recording, dict(noise.sums)
        for clock in self._clocks:
            name = clock.harm.metric
            on = clock.intensity(noise.tick, np.zeros((1, len(self.onset)), dtype=np.int64)) > 0
            if not on.any() or name not in sums:
                continue
            before = sums[name]
            sums[name] = grafted(
                before,
                clock,
                tick=noise.tick,
                chance=self._chances[name],
                up=recording.values[name].worse == "up",
                armed=recording.arms is not None,
            )
            self.onset = np.where(on, np.minimum(self.onset, noise.tick), self.onset)
            self.harm_units[name] = self.harm_units[name] + np.abs(sums[name][1] - before[1]).sum(axis=(0, 1))
        return super().advance(noise._replace(sums=sums), exposure)
