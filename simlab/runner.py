"""From a plan to a result: blocks over local processes, lanes on the plan's schedule, finished blocks kept.

Which process runs a block, and in which order blocks end, never shows in a result: rows are put in lane order before any measure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Protocol

from simlab.engine import Block, BlockResult, simulate
from simlab.kept import keep, read_kept
from simlab.measures.gates import INCONCLUSIVE, Verdict, judge
from simlab.measures.guarantees import check_guarantees
from simlab.measures.outcomes import Outcomes, detection_limit, gather, outcomes_of
from simlab.measures.performance import difference, performance
from simlab.measures.precision import Precise, precision_of
from simlab.measures.privacy import spent
from simlab.plan import Plan, ScenarioSetting
from simlab.reading_scenarios import planned_onset
from simlab.results import Result, ScenarioResult, ShieldPrice, provenance, typed_command
from simlab.ticks import format_count
from simlab.workers import Workers, workers

BLOCK_LANES = 1000


class Progress(Protocol):
    """Who is told how far a run is."""

    def __call__(self, *, done: int, total: int, what: str) -> None:
        """Take note of `done` of `total` lanes, and of what is being simulated."""


def silent(*, done: int, total: int, what: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Options:
    """How a plan is run; nothing here changes a number.

    Attributes
    ----------
    workers : int
        Processes; 1 runs in this one.
    block_lanes : int
        Lanes in a block.
    kept : Path or None
        Folder in which finished blocks wait, so that an interrupted run goes on; None keeps nothing.
    progress : Progress
        Who is told.
    """

    workers: int = 1
    block_lanes: int = BLOCK_LANES
    kept: Path | None = None
    progress: Progress = silent


def run_plan(plan: Plan, options: Options = Options(), *, command: str | None = None) -> Result:
    """Run a plan to its verdict.

    Parameters
    ----------
    plan : Plan
        From `simlab.plan.load`.
    options : Options
        Workers, blocks, what is kept.
    command : str, optional
        For the provenance; that of this process if not given.

    Raises
    ------
    RuleError
        If a rule fails.
    OutputError
        If finished blocks cannot be written.
    WorkerDiedError
        If a worker process is ended from outside.
    """
    results: list[list[BlockResult]] = [[] for _ in plan.settings]
    decided: dict[tuple[str, str, int], Verdict] = {}
    precise: dict[int, tuple[Precise, ...]] = {}
    schedule = plan.study.lanes.schedule
    done = 0
    with workers(plan, options.workers) if options.workers > 1 else nullcontext() as pool:
        for count in schedule:
            undecided = [index for index in range(len(plan.settings)) if _undecided(plan, index, decided, precise)]
            blocks = [block for index in undecided for block in _blocks(index, done, count, options.block_lanes)]
            for result in _run_blocks(plan, blocks, pool, options, cap=count):
                results[result.block.scenario].append(result)
            for index in undecided:
                _judge(plan, index, results[index], decided)
                precise[index] = _precise(plan, index, results[index])
            done = count
    verdicts = [decided[key] for key in sorted(decided, key=lambda key: _order(plan, key))]
    scenarios = tuple(
        _scenario_result(setting, found, _prices(plan, index, found, options))
        for index, (setting, found) in enumerate(zip(plan.settings, results, strict=True))
    )
    origin = provenance(plan.digest, seed=plan.seed, command=command or typed_command())
    return Result(plan, tuple(verdicts), scenarios, origin, tuple(each for index in sorted(precise) for each in precise[index]))


def run_lanes(plan: Plan, options: Options, *, first: int, count: int) -> list[list[BlockResult]]:
    """Return the blocks of lanes [first, first + count) of each scenario of a plan; nothing is judged, and nothing kept.

    Raises
    ------
    RuleError
        If a rule fails.
    WorkerDiedError
        If a worker process is ended from outside.
    """
    results: list[list[BlockResult]] = [[] for _ in plan.settings]
    blocks = [block for index in range(len(results)) for block in _blocks(index, first, first + count, options.block_lanes)]
    with workers(plan, options.workers) if options.workers > 1 else nullcontext() as pool:
        for result in _run_blocks(plan, blocks, pool, replace(options, kept=None), cap=count):
            results[result.block.scenario].append(result)
    return results


def _blocks(scenario: int, first: int, end: int, size: int) -> list[Block]:
    """Return the blocks of lanes [first, end); they stand on a fixed grid, so that a longer run reuses them."""
    cuts = [first, *range((first // size + 1) * size, end, size), end]
    return [Block(scenario, a, b - a) for a, b in pairwise(cuts)]


def _undecided(
    plan: Plan, index: int, decided: dict[tuple[str, str, int], Verdict], precise: dict[int, tuple[Precise, ...]]
) -> bool:
    """Return whether a scenario needs more lanes: not yet judged, a gate is inconclusive, or an interval is too wide."""
    name = plan.settings[index].name
    mine = [verdict for (scenario, _, _), verdict in decided.items() if scenario == name]
    if index not in precise or not (mine or precise[index]):
        return True
    return any(verdict.decision == INCONCLUSIVE for verdict in mine) or not all(each.reached for each in precise[index])


def _precise(plan: Plan, index: int, blocks: list[BlockResult]) -> tuple[Precise, ...]:
    """Return how precise a scenario's rates are; nothing if the plan does not ask."""
    wanted, setting = plan.study.lanes.precision, plan.settings[index]
    if wanted is None:
        return ()
    gated = {policy.name for policy in setting.policies if not policy.reference}
    looks = len(plan.study.lanes.schedule)
    mine = [outcomes for outcomes in _outcomes(setting, blocks) if outcomes.policy in gated]
    return tuple(each for outcomes in mine for each in precision_of(outcomes, wanted, scenario=setting.name, looks=looks))


def _judge(plan: Plan, index: int, blocks: list[BlockResult], decided: dict[tuple[str, str, int], Verdict]) -> None:
    """Judge the gates of a scenario that are still open at this look of the schedule."""
    setting = plan.settings[index]
    gated = {policy.name for policy in setting.policies if not policy.reference}
    for outcomes in _outcomes(setting, blocks):
        for number, gate in enumerate(plan.gates):
            key = (setting.name, outcomes.policy, number)
            if outcomes.policy in gated:
                looks = len(plan.study.lanes.schedule)
                decided[key] = judge(gate, outcomes, scenario=setting.name, looks=looks, before=decided.get(key))


def _order(plan: Plan, key: tuple[str, str, int]) -> tuple[int, int, int]:
    scenario, policy, gate = key
    setting = next(index for index, each in enumerate(plan.settings) if each.name == scenario)
    names = [each.name for each in plan.settings[setting].policies]
    return setting, names.index(policy), gate


def _outcomes(setting: ScenarioSetting, blocks: list[BlockResult]) -> tuple[Outcomes, ...]:
    clock = setting.scenario.clock
    limit = detection_limit(clock, first_onset(setting))
    return outcomes_of(gather(blocks), clock=clock, limit=limit)


def first_onset(setting: ScenarioSetting) -> int | None:
    """Return when the first harm is planned to begin, milliseconds from the start; None if there is no harm."""
    scenario = setting.scenario
    return min((planned_onset(scenario, harm.onset) for harm in scenario.harms), default=None)


def _prices(plan: Plan, index: int, blocks: list[BlockResult], options: Options) -> tuple[ShieldPrice, ...]:
    """Return what the shield of a scenario costs each policy, by the same lanes run without it; nothing if it has none."""
    setting = plan.settings[index]
    telemetry = setting.scenario.telemetry
    if telemetry.shield is None:
        return ()
    scenario = replace(setting.scenario, telemetry=replace(telemetry, shield=None))
    unshielded = replace(setting, scenario=scenario, policies=tuple(each for each in setting.policies if each.guardrails))
    lanes = sum(block.block.lanes for block in blocks)
    (found,) = run_lanes(replace(plan, settings=(unshielded,), traced=0), options, first=0, count=lanes)
    # In the order of lanes, whichever block was done first.
    shielded, open_ = (sorted(each, key=lambda result: result.block.first) for each in (blocks, found))
    epsilon, without = telemetry.shield.epsilon, {each.policy: each for each in _outcomes(unshielded, open_)}
    return tuple(
        ShieldPrice(
            replace(difference(each, without[each.policy], scenario=setting.name), second=f"{each.policy}, without the shield"),
            None if epsilon is None else spent(policy, scenario.clock, epsilon),
        )
        for each, policy in zip(_outcomes(setting, shielded), setting.policies, strict=True)
        if policy.guardrails
    )


def _scenario_result(setting: ScenarioSetting, blocks: list[BlockResult], prices: tuple[ShieldPrice, ...]) -> ScenarioResult:
    outcomes = _outcomes(setting, blocks)
    reference = {policy.name: policy.reference for policy in setting.policies}
    performances = tuple(performance(each, scenario=setting.name, reference=reference[each.policy]) for each in outcomes)
    # Whoever decides, decides about candidates: two policies for reference need not be compared.
    pairs = [pair for pair in combinations(outcomes, 2) if not all(reference[each.policy] for each in pair)]
    differences = tuple(difference(first, second, scenario=setting.name) for first, second in pairs)
    first_block = min(blocks, key=lambda result: result.block.first)
    return ScenarioResult(
        name=setting.name,
        about=setting.scenario.about,
        clock=setting.scenario.clock,
        lanes=outcomes[0].lanes,
        planned_onset=first_onset(setting),
        rows=gather(blocks),
        performances=performances,
        differences=differences,
        guarantees=check_guarantees(setting.policies, setting.scenario),
        traces=first_block.traces,
        prices=prices,
    )


def _run_blocks(plan: Plan, blocks: list[Block], pool: Workers | None, options: Options, *, cap: int) -> Iterator[BlockResult]:
    """Yield the results of blocks as they are done: kept ones first, then simulated ones, each kept at once."""
    total, done = sum(block.lanes for block in blocks), 0

    def told(block: Block) -> None:
        options.progress(done=done, total=total, what=f"{plan.settings[block.scenario].name}, to {format_count(cap, 'lane')}")

    missing = []
    for block in blocks:
        held = read_kept(options.kept, block)
        if held is None:
            missing.append(block)
            continue
        done += block.lanes
        told(block)
        yield held
    for result in _simulated(plan, missing, pool):
        keep(options.kept, result)
        done += result.block.lanes
        told(result.block)
        yield result


def _simulated(plan: Plan, blocks: list[Block], pool: Workers | None) -> Iterator[BlockResult]:
    return pool.simulate(blocks) if pool else (simulate(plan, block) for block in blocks)
