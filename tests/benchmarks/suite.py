"""What simlab promises of its speed, as ratios: both sides interleaved in one process, written to reports/benchmarks.json.

Run ``python -m tests.benchmarks.suite`` from the project's root; `README.md` beside this file says what is compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from simlab.engine import Block, BlockResult, simulate
from simlab.files import atomic_write
from simlab.guardrails.look import Floats, Integers
from simlab.guardrails.rule import Observation
from simlab.guardrails.rules.page_hinkley import PageHinkley
from simlab.ladders import first_actions, placed, quiet_plan, quiet_runs
from simlab.plan import Plan, load
from simlab.runner import Options, run_lanes
from tests.benchmarks import limits
from tests.benchmarks.measuring import Measured, Sizes, cpu_seconds, shipped
from tests.benchmarks.w1 import (
    STUDY,
    TARGET,
    TARGET_PER_LANE,
    Repeat,
    load_average,
    measured,
    naive_nanoseconds,
    workload_alone,
    workload_of,
)

W1_BLOCK = 2_500
"""Lanes of W1 in one block: its lanes are small, and what a tick costs once is shared by all of them."""
_PAIRS = 12
COLUMNS = ("action_time", "evidence", "action", "guardrail", "worse")


def with_threshold(plan: Plan, threshold: float) -> Plan:
    """Return the plan with its one guardrail alarming elsewhere."""
    setting = plan.settings[0]
    return replace(plan, settings=(replace(setting, policies=(placed(setting.policies[0], [threshold]),)),))


def every_threshold(sizes: Sizes) -> Measured:
    """Measure reading many thresholds off one run against as many runs."""
    plan = shipped(sizes)
    policy, thresholds = plan.settings[0].policies[0], np.linspace(2.0, 12.0, sizes.thresholds)
    block = Block(0, 0, sizes.lanes)
    ratios, same = [], True

    def read() -> dict[bool, Any]:
        (run,) = quiet_runs([policy], [simulate(quiet_plan(plan), block)])
        each = {True: run.harmed, False: run.twin}
        return {harmed: first_actions(policy, ladders, thresholds[:, None]) for harmed, ladders in each.items()}

    # Once for nothing, so that every kernel is loaded.
    read()
    for _ in range(sizes.repeats):
        once, found = cpu_seconds(read)
        rerun = 0.0
        for index, threshold in enumerate(thresholds):
            taken, result = cpu_seconds(partial(simulate, with_threshold(plan, float(threshold)), block))
            rerun += taken
            same &= all(same_actions(result, harmed, actions.columns(index)) for harmed, actions in found.items())
        ratios.append(rerun / once)
    return Measured(f"{sizes.thresholds} thresholds from one run, against {sizes.thresholds} runs", tuple(ratios), 40, same=same)


def same_actions(result: BlockResult, harmed: bool, columns: dict[str, np.ndarray]) -> bool:
    """Return whether a run's first actions are those read off, to the bit."""
    mine = result.rows["harmed"] == harmed
    return all(np.array_equal(columns[name], result.rows[name][mine]) for name in COLUMNS)


def ladder_overhead(sizes: Sizes) -> Measured:
    """Measure a run that leaves ladders against one on the same path that does not.

    Of many runs each, in turn, the cheapest counts, since whatever else the machine does only adds to it.
    """
    plan = load(STUDY, overrides=["scenarios.*.harms.0.onset={at: 3d}", "scenarios.*.horizon=4d"])
    setting = replace(plan.settings[0], policies=plan.settings[0].policies[:1])
    plan = replace(plan, settings=(setting,), traced=0)
    policy = setting.policies[0]
    silent = replace(plan, settings=(replace(setting, policies=(placed(policy, [1e300] * len(policy.guardrails)),)),))
    block = Block(0, 0, sizes.lanes)
    ratios = []
    simulate(silent, Block(0, 0, 1))
    sides = (silent, quiet_plan(plan))
    for _ in range(sizes.repeats):
        taken: tuple[list[float], list[float]] = ([], [])
        for pair in range(_PAIRS):
            # By turns one and the other goes first, since either leaves the machine as the next one finds it.
            for side in (pair % 2, 1 - pair % 2):
                taken[side].append(cpu_seconds(partial(simulate, sides[side], block))[0])
        without, with_ladders = map(min, taken)
        ratios.append(with_ladders / without)
    return Measured("a run of ten rules with ladders, against one without", tuple(ratios), 1.05, at_least=False)


@cache
def w1_measured(repeats: int) -> list[Repeat]:
    """Measure W1 and both models of it, once for all that is promised of it."""
    return measured(load(STUDY), lanes=W1_BLOCK, repeats=repeats)


def against_naive(sizes: Sizes) -> Measured:
    """Measure W1 against a naive SimPy model of it, per lane-tick."""
    ratios = tuple(each.ratio for each in w1_measured(sizes.repeats))
    return Measured("W1 per lane-tick, against naive SimPy", ratios, TARGET)


def against_one_a_lane(sizes: Sizes) -> Measured:
    """Measure W1 against one SimPy environment a lane with small NumPy draws, per lane-tick."""
    ratios = tuple(each.ratio_per_lane for each in w1_measured(sizes.repeats))
    return Measured("W1 per lane-tick, against one environment a lane", ratios, TARGET_PER_LANE)


def whole_w1(sizes: Sizes) -> Measured:
    """Measure the naive model's time for four lanes of W1 against 10,000 lanes on two processes, by the clock on the wall."""
    plan, ratios = workload_alone(load(STUDY)), []
    horizon = plan.settings[0].scenario.clock.horizon
    for seed in range(sizes.repeats):
        naive = 4 * horizon * naive_nanoseconds(workload_of(plan), horizon, seed=seed)
        begins = time.perf_counter_ns()
        run_lanes(plan, Options(workers=2, block_lanes=2 * W1_BLOCK), first=0, count=10_000)
        ratios.append(naive / (time.perf_counter_ns() - begins))
    return Measured("4 lanes of W1 by naive SimPy, against 10,000 on two processes", tuple(ratios), 1)


def two_workers(sizes: Sizes) -> Measured:
    """Measure two processes against one over twenty blocks, by the clock on the wall, start-up included; rows must be the same."""
    plan, ratios, same = shipped(sizes), [], True
    for _ in range(sizes.repeats):
        walls, rows = [], []
        for workers in (1, 2):
            begins = time.perf_counter()
            options = Options(workers=workers, block_lanes=2 * sizes.lanes)
            (blocks,) = run_lanes(plan, options, first=0, count=40 * sizes.lanes)
            walls.append(time.perf_counter() - begins)
            rows.append(sorted(blocks, key=lambda block: block.block.first))
        ratios.append(walls[0] / walls[1])
        same &= all(
            np.array_equal(one.rows[name], other.rows[name])
            for one, other in zip(*rows, strict=True)
            for name in ("action_time", "users_harmed", "users_exposed")
        )
    return Measured("two workers, against one, by the wall clock", tuple(ratios), 1.8, same=same)


def page_hinkley(sizes: Sizes) -> Measured:
    """Measure the rule over many lanes against river's loop, per sample; the first alarms must be the same."""
    name = "Page-Hinkley over 4,000 lanes per sample, against river"
    if importlib.util.find_spec("river") is None:
        return Measured(name, (), 100, skipped="river is not installed")
    lanes, few = 8 * sizes.lanes, max(2, sizes.lanes // 50)
    generator = np.random.default_rng(1)
    values = generator.normal(size=(sizes.samples, 1, lanes))
    values[sizes.samples // 2 :] += 1.0
    rule = PageHinkley(delta=0.25, lambda_=10.0, min_looks=30, fading=0.9999)
    ratios, same = [], True
    # So that the time to import river is not counted.
    river_alarms(rule, values[:2, 0, :1])
    for _ in range(sizes.repeats):
        ours, alarms = cpu_seconds(lambda: first_alarms(rule, values))
        theirs, expected = cpu_seconds(lambda: river_alarms(rule, values[:, 0, :few]))
        ratios.append((theirs / few) / (ours / lanes))
        same &= np.array_equal(alarms[:few], expected)
    return Measured(f"Page-Hinkley over {lanes:,} lanes per sample, against river", tuple(ratios), 100, same=same)


def first_alarms(rule: PageHinkley, values: Floats) -> Integers:
    """Return the look of each lane's first alarm, -1 for none."""
    lanes = values.shape[2]
    state, found = rule.initial(1, lanes, every=1), np.full(lanes, -1)
    numbers, valid, nothing = np.arange(lanes), np.ones((1, lanes), dtype=bool), np.ones((1, lanes))
    for look, value in enumerate(values):
        state, statistic, _ = rule.update(state, Observation(value, nothing, None, None, valid, look, numbers, 0))
        alarmed = statistic[0] >= rule.threshold
        if alarmed.any():
            found[alarmed & (found < 0)] = look
    return found


def river_alarms(rule: PageHinkley, values: Floats) -> Integers:
    """Return the same by river's detector, one sample at a time, as its users run it; each lane ends at its alarm or its end."""
    from river.drift import PageHinkley as Detector

    found = np.full(values.shape[1], -1)
    for lane in range(values.shape[1]):
        detector: Any = Detector(rule.min_looks, rule.delta, rule.lambda_, rule.fading, mode="up")
        for look, value in enumerate(values[:, lane].tolist()):
            detector.update(value)
            if detector.drift_detected and found[lane] < 0:
                found[lane] = look
    return found


BENCHMARKS: dict[str, Callable[[Sizes], Measured]] = {
    "thresholds": every_threshold,
    "ladder": ladder_overhead,
    "w1": against_naive,
    "w1_per_lane": against_one_a_lane,
    "w1_whole": whole_w1,
    "workers": two_workers,
    "page_hinkley": page_hinkley,
    "w2": limits.user_events,
    "users": limits.cost_by_users,
    "lanes": limits.memory_of_a_lane,
    "memory": limits.memory_by_lanes,
    "help": limits.help_seconds,
    "validate": limits.validate_seconds,
    "first_verdict": limits.first_verdict_seconds,
    "first_verdict_compiling": limits.first_verdict_compiling_seconds,
}


def as_json(found: dict[str, Measured], sizes: Sizes) -> str:
    """Return what was measured, on what, and under which load: on a busy machine wall times mean little."""
    machine = {"machine": platform.machine(), "cpus": os.cpu_count(), "load": load_average(), "python": platform.python_version()}
    held = {key: {**asdict(each), "ratio": each.ratio, "reached": each.reached} for key, each in found.items()}
    return json.dumps({"schema": 1, "sizes": asdict(sizes), **machine, "benchmarks": held}, indent=1) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.suite", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which; all if none is given")
    parser.add_argument("--lanes", type=int, default=Sizes.lanes)
    parser.add_argument("--repeats", type=int, default=Sizes.repeats)
    parser.add_argument("--thresholds", type=int, default=Sizes.thresholds)
    parser.add_argument("--samples", type=int, default=Sizes.samples)
    parser.add_argument("--horizon", default=Sizes.horizon)
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks.json"))
    options = parser.parse_args(arguments)
    if min(options.lanes, options.repeats, options.thresholds, options.samples) < 1:
        parser.error("sizes must be at least 1")
    sizes = Sizes(options.lanes, options.repeats, options.thresholds, options.samples, options.horizon)
    found: dict[str, Measured] = {}
    for name in options.names or BENCHMARKS:
        each = found[name] = BENCHMARKS[name](sizes)
        said = f"{each.ratio:,.2f}" if each.ratio is not None else f"skipped: {each.skipped}"
        kept = {True: "kept", False: "NOT kept", None: ""}[each.reached]
        numbers = {True: ", same numbers", False: ", OTHER NUMBERS", None: ""}[each.same]
        print(f"{each.name}: {said}; promised {'at least' if each.at_least else 'at most'} {each.target:g}, {kept}{numbers}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.out, as_json(found, sizes))
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
