"""The engine: one SimPy environment for a block of lanes, one tick process with fixed phases.

`simulate` is pure and picklable: a plan and a block in, outcome rows and traces out. Neither the size of the block, nor the
process that runs it, nor the other policies of the plan change a bit of a lane's outcome.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import simpy

from simlab.guardrails.ladder import Ladder, LadderRecorder
from simlab.guardrails.look import Bools, Decision, Floats, Integers
from simlab.guardrails.policy import Policy
from simlab.guardrails.verdicts import COUNTED, count_looks
from simlab.response import Responder
from simlab.scenario import Response, Rollout, Telemetry
from simlab.telemetry import Pipeline, TelemetryNoise
from simlab.ticks import Clock
from simlab.world.aggregate import Increments, Watched
from simlab.world.harms import NOT_YET, Exposure
from simlab.world.ramp import ramp_plan
from simlab.world.strata import Strata


class Block(NamedTuple):
    """Consecutive lanes of one scenario of a plan.

    Attributes
    ----------
    scenario : int
        Index in the plan.
    first : int
        First lane.
    lanes : int
        How many.
    """

    scenario: int
    first: int
    lanes: int


class Path(Protocol):
    """What one policy's exposure makes of a world's noise."""

    onset: Integers
    harm_units: dict[str, Floats]

    def advance(self, noise: Any, exposure: Exposure) -> Increments:
        """Return what happened during the noise's tick under an exposure."""

    def truth(self, tick: int) -> Bools:
        """Return whether a harm is under way, for people only."""

    def users_exposed(self) -> Floats:
        """Return the number of different users exposed so far."""

    def users_harmed(self) -> Floats:
        """Return the number of different exposed users who were harmed."""


class World(Protocol):
    """Noise fixed in advance, and paths through it: generated, or read from a recording."""

    @property
    def clock(self) -> Clock:
        """The grid of ticks."""

    @property
    def strata(self) -> Strata:
        """Who is in which arm at each position of the ramp."""

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments."""

    def draw(self, tick: int) -> Any:
        """Return the noise of a tick."""

    def begin(self, *, harmed: bool) -> Path:
        """Return a path that starts at tick 0."""


class Setting(Protocol):
    """What a plan holds for one scenario or recording: everything that a block of lanes is made from."""

    @property
    def policies(self) -> tuple[Policy, ...]:
        """Who watches."""

    @property
    def twin(self) -> bool:
        """Whether every lane is also run without harm."""

    @property
    def rollout(self) -> Rollout | None:
        """The ramp, if there is one."""

    @property
    def telemetry(self) -> Telemetry:
        """What is seen, and when."""

    @property
    def response(self) -> Response | None:
        """How the organisation answers."""

    @property
    def watched(self) -> Watched:
        """What any policy looks at."""

    @property
    def lanes_at_once(self) -> int | None:
        """How many lanes its world can hold at once; None for any number."""

    def world(self, lanes: Integers, *, seed: int) -> World:
        """Return the world for a block of lanes."""


class Runnable(Protocol):
    """What `simulate` needs of a plan."""

    @property
    def seed(self) -> int:
        """The seed of all streams."""

    @property
    def traced(self) -> int:
        """Lanes of each scenario whose looks are kept."""

    @property
    def settings(self) -> tuple[Setting, ...]:
        """One setting for each scenario."""


@dataclass(frozen=True)
class Trace:
    """What happened, look by look, in the first lanes of a block.

    Attributes
    ----------
    policy : str
        Name of the policy.
    harmed : bool
        False for the harmless twin.
    lanes : int64[lanes]
        Lane numbers.
    exposed : float64[ticks, lanes]
        Share of users exposed during each tick.
    times : tuple of int64[looks]
        For each guardrail, when it looked.
    codes : tuple of int8[looks, lanes]
        For each guardrail, what it answered.
    statistics : tuple of float64[looks, lanes]
        For each guardrail, its statistic.
    unknown, skipped, retired : tuple of bool[looks, lanes]
        For each guardrail, looks that could not be judged, were too thin, or had lost their control.
    """

    policy: str
    harmed: bool
    lanes: Integers
    exposed: Floats
    times: tuple[Integers, ...]
    codes: tuple[np.ndarray, ...]
    statistics: tuple[Floats, ...]
    unknown: tuple[Bools, ...]
    skipped: tuple[Bools, ...]
    retired: tuple[Bools, ...]


@dataclass(frozen=True)
class PolicyLadders:
    """What the guardrails of one policy leave of their statistics, where they never act.

    Attributes
    ----------
    policy : str
        Name of the policy.
    harmed : bool
        False for the harmless twin.
    ladders : tuple of Ladder or None
        One for each guardrail; None for one that keeps its threshold.
    """

    policy: str
    harmed: bool
    ladders: tuple[Ladder | None, ...]


@dataclass(frozen=True)
class BlockResult:
    """Outcome rows of a block, policy by policy, each harmed and as its twin, lanes in order.

    Attributes
    ----------
    block : Block
        Which lanes.
    rows : dict of str to array[rows]
        Columns of the outcome table; times are ticks, -1 where a thing never happened.
    traces : tuple of Trace
        Of the first lanes of the study; empty in later blocks.
    ladders : tuple of PolicyLadders
        Of the policies that have guardrails which never act; of a block that was run in pieces, one of each piece, in order.
    """

    block: Block
    rows: dict[str, np.ndarray]
    traces: tuple[Trace, ...]
    ladders: tuple[PolicyLadders, ...] = ()

    @property
    def runs(self) -> int:
        """How many runs its rows come from: policies, each harmed and as its twin."""
        return len(self.rows["lane"]) // self.block.lanes


def simulate(plan: Runnable, block: Block) -> BlockResult:
    """Run every policy of a plan over one block of lanes.

    Raises
    ------
    RuleError
        If a rule fails; the message names the policy, the rule and the tick.
    """
    at_once = plan.settings[block.scenario].lanes_at_once or block.lanes
    end = block.first + block.lanes
    firsts = range(block.first, end, at_once)
    found = [_simulate(plan, block._replace(first=first, lanes=min(at_once, end - first))) for first in firsts]
    return found[0] if len(found) == 1 else _joined(block, found)


def _joined(block: Block, found: list[BlockResult]) -> BlockResult:
    """Return the result of a block that was run in pieces: rows by policy, lanes in order."""
    rows = {column: np.concatenate([each.rows[column] for each in found]) for column in found[0].rows}
    # Each piece holds its policies in the same order, so a stable sort by place in the piece puts the lanes back together.
    runs = np.concatenate([np.repeat(np.arange(each.runs), each.block.lanes) for each in found])
    order = np.argsort(runs, kind="stable")
    traces = [each.traces for each in found if each.traces]
    sorted_rows = {column: values[order] for column, values in rows.items()}
    ladders = tuple(ladder for each in found for ladder in each.ladders)
    return BlockResult(block, sorted_rows, tuple(_side_by_side(*of_policy) for of_policy in zip(*traces, strict=True)), ladders)


def _side_by_side(*traces: Trace) -> Trace:
    """Return one trace of the lanes of several."""

    def column(name: str) -> tuple[np.ndarray, ...]:
        return tuple(np.concatenate(each, axis=-1) for each in zip(*(getattr(trace, name) for trace in traces), strict=True))

    return replace(
        traces[0],
        lanes=np.concatenate([trace.lanes for trace in traces]),
        exposed=np.concatenate([trace.exposed for trace in traces], axis=-1),
        codes=column("codes"),
        statistics=column("statistics"),
        unknown=column("unknown"),
        skipped=column("skipped"),
        retired=column("retired"),
    )


def _simulate(plan: Runnable, block: Block) -> BlockResult:
    setting = plan.settings[block.scenario]
    lanes = np.arange(block.first, block.first + block.lanes)
    world = setting.world(lanes, seed=plan.seed)
    traced = min(max(0, plan.traced - block.first), block.lanes)
    noise = TelemetryNoise(setting.telemetry, world.clock, lanes, seed=plan.seed)
    runs = [
        _PolicyRun(policy, setting, world, noise, lanes=lanes, seed=plan.seed, harmed=harmed, traced=traced)
        for policy in setting.policies
        for harmed in ((True, False) if setting.twin else (True,))
    ]
    environment = simpy.Environment()
    environment.process(_ticks(environment, world, runs))
    environment.run()
    tables = [run.rows() for run in runs]
    rows = {column: np.concatenate([table[column] for table in tables]) for column in tables[0]}
    traces = tuple(run.trace() for run in runs) if traced else ()
    return BlockResult(block, rows, traces, tuple(run.ladders() for run in runs if any(run.recorders)))


def _ticks(environment: simpy.Environment, world: World, runs: list[_PolicyRun]) -> Generator[simpy.Event, None, None]:
    """Advance every policy over the same noise, tick by tick."""
    for tick in range(world.clock.horizon):
        noise = world.draw(tick)
        for run in runs:
            run.tick(tick, noise)
        yield environment.timeout(1)


class _PolicyRun:
    """One policy on one block of lanes, harmed or as the twin."""

    def __init__(
        self,
        policy: Policy,
        setting: Setting,
        world: World,
        noise: TelemetryNoise,
        *,
        lanes: Integers,
        seed: int,
        harmed: bool,
        traced: int,
    ) -> None:
        self.policy = policy
        self.world = world
        self.lanes = lanes
        self.harmed = harmed
        self.traced = traced
        self.path = world.begin(harmed=harmed)
        ramp = ramp_plan(setting.rollout, world.clock)
        self.planned = ramp.planned(world.clock.horizon)
        self.responder = Responder(setting.response, ramp, policy.guardrails, clock=world.clock, lanes=lanes, seed=seed)
        self.pipeline = Pipeline(
            noise, world.strata, watched=setting.watched, segments=len(world.segments), every=policy.cadences
        )
        self.initial = self.state = policy.initial(len(world.segments), len(lanes))
        count = len(lanes)
        self.behind = np.zeros(count, dtype=np.int64)
        self.counts = np.zeros((len(COUNTED), count), dtype=np.int64)
        # Evidence adds up over one test only: until a rollback ends the watch, or a clearance starts another.
        self._one_test = np.ones(count, dtype=bool)
        self._log_e_value = np.full(count, np.nan) if policy.log_e_value(self.state) is None else np.zeros(count)
        self.recorders = [LadderRecorder(count) if guardrail.is_quiet else None for guardrail in policy.guardrails]
        self._exposed: list[Floats] = []
        self._looked: list[list[tuple[int, Decision]]] = [[] for _ in policy.guardrails]

    def tick(self, tick: int, noise: Any) -> None:
        """Run the phases of one tick: world, telemetry, looks and decisions, people, ramp."""
        exposure = self.responder.exposure
        increments = self.path.advance(noise, exposure)
        self.behind += exposure.position < self.planned[tick]
        if self.traced:
            self._exposed.append(self.world.strata.shares[exposure.position[: self.traced], 0])
        time = tick + 1
        if self.policy.guardrails:
            self.pipeline.receive(tick, increments, exposure.position)
        self.responder.elapse()
        decisions = self._decide(time)
        if any(decision is not None for decision in decisions):
            self.responder.act(time, decisions)
        cleared = self.responder.settle(time, self.path.truth(tick))
        if cleared.any():
            self._one_test &= ~cleared
            self.state = self.policy.cleared(self.state, cleared, initial=self.initial)
        self.responder.move(time)

    def _decide(self, time: int) -> tuple[Decision | None, ...]:
        looks = {every: self.pipeline.look(time, every=every) for every in self.policy.cadences if time % every == 0}
        self.state, decisions = self.policy.step(self.state, looks)
        evidence = self.policy.log_e_value(self.state) if looks else None
        if evidence is not None:
            watching = self._one_test & ~self.responder.ended
            self._log_e_value = np.where(watching, np.maximum(self._log_e_value, evidence), self._log_e_value)
        for index, decision in enumerate(decisions):
            if decision is not None:
                self._count(index, time, decision)
                recorder = self.recorders[index]
                if recorder is not None and decision.reached is not None:
                    recorder.note(time, decision.end, decision.reached)
        return decisions

    def _count(self, index: int, time: int, decision: Decision) -> None:
        count_looks(self.responder.ended, decision.unknown, decision.skipped, decision.retired, self.counts)
        if self.traced:
            self._looked[index].append((time, decision))

    def rows(self) -> dict[str, np.ndarray]:
        """Return the outcome rows of this run, one a lane; times are ticks, -1 for never."""
        responder, count = self.responder, len(self.lanes)
        horizon = self.world.clock.horizon
        first = responder.first
        rows = {
            # One name for all lanes, where NumPy's full would make as many.
            "policy": np.array([self.policy.name] * count, dtype=object),
            "harmed": np.full(count, self.harmed),
            "lane": self.lanes,
            "onset": _or_never(self.path.onset),
            "action_time": _or_never(first.time),
            "action": first.action,
            "guardrail": first.guardrail,
            "evidence": _or_never(first.evidence),
            "worse": first.worse,
            "episodes": responder.episodes,
            "rollback_time": _or_never(responder.ended_at),
            "containment_time": _or_never(responder.contained),
            "completed_time": _or_never(responder.completed),
            "watched": np.minimum(responder.ended_at, horizon),
            "behind": self.behind,
            "log_e_value": self._log_e_value,
            "users_exposed": self.path.users_exposed(),
            "users_harmed": self.path.users_harmed(),
            **dict(zip(COUNTED, self.counts, strict=True)),
        }
        return rows | {f"harm_units.{name}": units for name, units in self.path.harm_units.items()}

    def ladders(self) -> PolicyLadders:
        """Return what the quiet guardrails have left."""
        left = tuple(None if recorder is None else recorder.ladder() for recorder in self.recorders)
        return PolicyLadders(self.policy.name, self.harmed, left)

    def trace(self) -> Trace:
        """Return what happened in the traced lanes."""

        def column(name: str) -> tuple[np.ndarray, ...]:
            return tuple(np.array([getattr(decision, name)[: self.traced] for _, decision in looked]) for looked in self._looked)

        return Trace(
            policy=self.policy.name,
            harmed=self.harmed,
            lanes=self.lanes[: self.traced],
            exposed=np.array(self._exposed),
            times=tuple(np.array([time for time, _ in looked]) for looked in self._looked),
            codes=column("code"),
            statistics=column("statistic"),
            unknown=column("unknown"),
            skipped=column("skipped"),
            retired=column("retired"),
        )


def _or_never(times: Integers) -> Integers:
    return np.where(times == NOT_YET, -1, times)
