"""One's own traffic as the null: how often a policy cries wolf on lanes put together from the healthy time of a recording.

The lanes go through the same engine and the same guardrails as every other world. What is known of them is no more than was
recorded: intervals carry the uncertainty between blocks, and no probability is claimed that the recording is too short to show.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from simlab import __version__
from simlab.documents import read_document
from simlab.engine import Block, simulate
from simlab.errors import FileErrors, RecordingError
from simlab.guardrails.look import Bools, Floats, Integers
from simlab.guardrails.policy import Policy
from simlab.happenings import Harm
from simlab.hindsight import timeline
from simlab.measures.blocks import between_blocks, block_length, mean_between_blocks
from simlab.measures.estimates import Estimate
from simlab.measures.outcomes import Outcomes, Rows, detection_limit, outcomes_of, ticks_to_minutes
from simlab.replays import ReplayPlan, load_replay
from simlab.results import Provenance, plain, provenance, typed_command
from simlab.scenario import Response, Rollout, Telemetry
from simlab.schemas import read_settings
from simlab.settings import described
from simlab.shipped import shipped_path
from simlab.ticks import DAY, WEEK, Clock, parse_duration
from simlab.world.aggregate import Watched
from simlab.world.grafts import Graft, mistakes_in_graft
from simlab.world.recording import Series
from simlab.world.resampled import ResampledWorld, Resampling

GROUPS = 50
BLOCK_LANES = 500
LIMITS = (
    "Lanes repeat what was recorded in another order: what never happened in it does not happen in them, and what lasts longer "
    "than a block is cut. Alarms are counted by the horizon, each lane's guardrails starting anew."
)


@dataclass(frozen=True)
class NullOptions:
    """How own traffic is resampled.

    Attributes
    ----------
    lanes : int
        How many.
    horizon : int
        Milliseconds of a lane.
    cycle : {"day", "week"}
        Blocks are taken from the same phase of it.
    block : int or None
        Ticks of a block; chosen from the data if not given.
    seed : int
        Of all draws.
    harms : tuple of Harm
        Grafted on every lane, which is also run without them.
    """

    lanes: int = 2000
    horizon: int = DAY
    cycle: Literal["day", "week"] = "day"
    block: int | None = None
    seed: int = 0
    harms: tuple[Harm, ...] = ()


@dataclass(frozen=True)
class NullSetting:
    """Resampled traffic with the policies that watch it, as the engine takes it."""

    resampling: Resampling
    policies: tuple[Policy, ...]
    watched: Watched
    harms: tuple[Harm, ...] = ()
    rollout: Rollout | None = None
    telemetry: Telemetry = Telemetry()  # noqa: RUF009
    response: Response | None = None
    lanes_at_once: int | None = None

    def world(self, lanes: Integers, *, seed: int) -> ResampledWorld:
        """Return the world for a block of lanes."""
        return ResampledWorld(self.resampling, self.watched, lanes, seed=seed, harms=self.harms)

    @property
    def twin(self) -> bool:
        """Lanes on which harms are grafted are also run without them."""
        return bool(self.harms)


@dataclass(frozen=True)
class NullPlan:
    """What is resampled, and how."""

    settings: tuple[NullSetting, ...]
    documents: Mapping[str, object]
    options: NullOptions
    traced: int = 0

    @property
    def seed(self) -> int:
        """The seed of all draws."""
        return self.options.seed

    @property
    def canonical(self) -> str:
        """Return the plan as canonical JSON."""
        held = {"null": 1, "simlab": __version__, "options": described(self.options), **self.documents}
        return json.dumps(held, sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()


@dataclass(frozen=True)
class NullResult:
    """How often each policy cries wolf on resampled healthy time.

    Attributes
    ----------
    recording : str
        Its name.
    lanes : int
        How many were put together.
    tick : int
        Milliseconds.
    horizon : int
        Ticks of a lane.
    cycle : {"day", "week"}
        Of which blocks are taken at the same phase.
    block : int
        Ticks of a block.
    blocks : float
        How many of them the healthy time makes.
    worth : float
        How many independent horizons it makes: no probability below one over it is claimed.
    limit : int
        Ticks to which detection is followed after an onset; 0 if nothing was grafted.
    policies : dict of str to dict of str to Estimate
        By policy: ``false_alarms``, the probability of an alarm by the horizon where nothing was grafted, and, if something was,
        ``detected``, ``delay_restricted_mean`` and ``twin_alarm_in_the_same_window``.
    unknown_looks : dict of str to int
        By policy: looks that could not be judged.
    limits : str
        What this cannot tell.
    provenance : Provenance
        Where the numbers come from.
    """

    recording: str
    lanes: int
    tick: int
    horizon: int
    cycle: str
    block: int
    blocks: float
    worth: float
    limit: int
    policies: dict[str, dict[str, Estimate]]
    unknown_looks: dict[str, int]
    limits: str
    provenance: Provenance

    @property
    def judged(self) -> bool:
        """Whether any look of every policy could be judged."""
        return all(found["false_alarms"].n > 0 for found in self.policies.values())

    def to_dict(self) -> dict[str, Any]:
        """Return what ``results.json`` holds."""
        held: dict[str, Any] = plain({"schema": 1, "status": "resampled", **asdict(self)})
        return held

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load_null(
    recording: str | Path,
    *,
    policies: str | Path,
    data: Path | None = None,
    graft: str | Path | None = None,
    lanes: int = 2000,
    horizon: str = "1d",
    cycle: Literal["day", "week"] = "day",
    seed: int = 0,
) -> NullPlan:
    """Return the plan that resamples the healthy time of a recording.

    Parameters
    ----------
    recording, policies, data
        As of `simlab.replays.load_replay`.
    graft : str or Path, optional
        A file of harms.
    lanes, horizon, cycle, seed
        As of `NullOptions`; the horizon as files write durations.

    Raises
    ------
    FileErrors
        With every mistake of the files.
    UnitError
        If the horizon is no duration.
    RecordingError
        If the recording cannot be trusted, is too short, or leaves no choice of blocks.
    """
    replayed = load_replay(recording, policies=policies, data=data)
    options = NullOptions(lanes, parse_duration(horizon), cycle, seed=seed)
    if graft is None:
        return null_plan(replayed, options)
    document = read_document(shipped_path(graft))
    described_harms = read_settings(document, Graft)
    of = replayed.settings[0].series.recording
    mistakes = list(mistakes_in_graft(described_harms, document, of, horizon=options.horizon))
    if mistakes:
        raise FileErrors((document.file, mistake) for mistake in mistakes)
    return null_plan(replayed, replace(options, harms=described_harms.harms))


def null_plan(replayed: ReplayPlan, options: NullOptions) -> NullPlan:
    """Return the plan that resamples the healthy time of a recording.

    Raises
    ------
    RecordingError
        If the recording is too short, or leaves no choice of blocks.
    """
    setting = replayed.settings[0]
    series = setting.series
    if series.recording.kind == "cumulative":
        raise RecordingError("cumulative statistics cannot be resampled: the same users go on from one row to the next")
    if setting.watched.by_user or setting.watched.first_seen or setting.watched.quantiles:
        raise RecordingError("users first seen, sums over users and quantiles cannot be resampled: blocks are of sums by request")
    tick, cycle = series.clock.tick, DAY if options.cycle == "day" else WEEK
    healthy = timeline(series).healthy
    horizon, rest = divmod(options.horizon, tick)
    if rest or not horizon:
        raise RecordingError("the horizon must be a whole number of the recording's ticks")
    if healthy.sum() < 2 * horizon:
        raise RecordingError("the healthy time of the recording must be at least twice the horizon")
    block = options.block or longest_block(series, healthy, setting.watched, cycle=cycle)
    resampling = Resampling(series, healthy, cycle, block, horizon, GROUPS)
    watched = Watched(setting.watched.metrics | {harm.metric for harm in options.harms}, first_seen=False)
    resampled = NullSetting(resampling, setting.policies, watched, options.harms)
    return NullPlan((resampled,), {**replayed.documents, "block": block}, options)


def longest_block(series: Series, healthy: Bools, watched: Watched, *, cycle: int) -> int:
    """Return the block length that the most dependent of the watched series asks for, in ticks.

    Parameters
    ----------
    series : Series
        The recording.
    healthy : bool[ticks]
        What may be taken.
    watched : Watched
        The metrics that count.
    cycle : int
        Milliseconds of the cycle, which is taken out first.
    """
    ticks = series.clock.starts // series.clock.tick + np.arange(len(healthy))
    phase = ticks % (cycle // series.clock.tick)
    lengths = [block_length(_without_cycle(series.sums[name], healthy, phase)) for name in watched.metrics]
    return max(lengths, default=1)


def _without_cycle(sums: Floats, healthy: Bools, phase: Integers) -> Floats:
    """Return the level of each healthy tick less the mean of its phase, float64[ticks]; NaN elsewhere."""
    observations, total = sums[0].sum(axis=0), sums[1].sum(axis=0)
    known = healthy & (observations > 0)
    level = np.divide(total, observations, out=np.full(len(total), np.nan), where=known)
    phases = int(phase.max()) + 1
    usual = np.bincount(phase[known], level[known], phases) / np.maximum(np.bincount(phase[known], minlength=phases), 1)
    return np.asarray(level - usual[phase])


def run_null(plan: NullPlan, *, command: str | None = None) -> NullResult:
    """Run the policies over the resampled lanes.

    Raises
    ------
    RuleError
        If a rule fails.
    """
    setting, lanes = plan.settings[0], plan.options.lanes
    resampling = setting.resampling
    firsts = range(0, lanes, BLOCK_LANES)
    found = [simulate(plan, Block(0, first, min(BLOCK_LANES, lanes - first))).rows for first in firsts]
    rows = {column: np.concatenate([each[column] for each in found]) for column in found[0]}
    clock = Clock(resampling.series.clock.starts, resampling.series.clock.tick, resampling.horizon)
    onsets = [harm.onset.at + harm.onset.wait for harm in setting.harms if harm.onset.at is not None]
    limit = detection_limit(clock, min(onsets, default=None))
    return NullResult(
        recording=resampling.series.recording.recording,
        lanes=lanes,
        tick=clock.tick,
        horizon=clock.horizon,
        cycle=plan.options.cycle,
        block=resampling.block,
        blocks=resampling.blocks,
        worth=resampling.worth,
        limit=limit,
        policies={each.policy: _estimates(each, resampling) for each in outcomes_of(_with_twins(rows), clock=clock, limit=limit)},
        unknown_looks={each.name: int(rows["unknown"][rows["policy"] == each.name].sum()) for each in setting.policies},
        limits=LIMITS,
        provenance=provenance(plan.digest, seed=plan.seed, command=command or typed_command()),
    )


def _with_twins(rows: Rows) -> Rows:
    """Return rows in which lanes without a harm of their own are their own twins."""
    if not rows["harmed"].all():
        return rows
    twins = rows | {"harmed": np.zeros_like(rows["harmed"])}
    return {column: np.concatenate([rows[column], twins[column]]) for column in rows}


def _estimates(outcomes: Outcomes, resampling: Resampling) -> dict[str, Estimate]:
    group = resampling.group(outcomes.harmed["lane"])
    # A lane in which no look could be judged says nothing: no data is never green.
    judged = outcomes.twin["looks"] > outcomes.twin["unknown"]
    found = {"false_alarms": between_blocks(outcomes.twin_acted[judged], group[judged], worth=resampling.worth)}
    if not outcomes.limit:
        return found
    limit, followed = outcomes.limit, outcomes.followed(outcomes.limit)
    delay, group = outcomes.delay[followed], group[followed]
    minutes = np.minimum(delay, limit) * ticks_to_minutes(outcomes.clock)
    return found | {
        "detected": between_blocks(delay <= limit, group, worth=resampling.worth),
        "twin_alarm_in_the_same_window": between_blocks(
            outcomes.twin_acted_within(limit)[followed], group, worth=resampling.worth
        ),
        "delay_restricted_mean": mean_between_blocks(minutes, group, unit="min", worth=resampling.worth),
    }
