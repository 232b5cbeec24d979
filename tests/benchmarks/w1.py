"""How many times faster a simulation of the study workload W1 is than a naive SimPy model of it.

Run ``python -m tests.benchmarks.w1`` from the project's root; `README.md` beside this file says what is compared.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from simlab.engine import Block, simulate
from simlab.guardrails.rules.cusum import Cusum
from simlab.metrics import DurationMetric, Proportion
from simlab.plan import Plan, load
from simlab.runner import BLOCK_LANES
from simlab.scenario import Scenario
from simlab.ticks import DAY
from simlab.world.aggregate import log_normal
from tests.benchmarks.naive import CONVERSIONS, ERRORS, LATENCY, NaiveModel, Rule, Workload

STUDY = Path(__file__).parent / "w1" / "studies" / "w1.yaml"
METRICS = {"errors": ERRORS, "conversions": CONVERSIONS, "latency": LATENCY}
TARGET = 300
WINDOWS = 4


@dataclass(frozen=True)
class Repeat:
    """One measurement of both sides, one right after the other; nanoseconds per lane-tick.

    Attributes
    ----------
    naive : float
        The naive model.
    simlab : float
        The workload alone: one policy on the harmed lanes, as the naive model has it.
    whole : float
        A study's block: the same lanes harmed and as twins, and both again with nobody watching.
    """

    naive: float
    simlab: float
    whole: float

    @property
    def ratio(self) -> float:
        """How many times faster simlab is."""
        return self.naive / self.simlab


def workload_of(plan: Plan) -> Workload:
    """Return what the naive model needs to know of the plan's one scenario and one policy."""
    setting = plan.settings[0]
    scenario, clock = setting.scenario, setting.scenario.clock
    errors, conversions = proportion(scenario, "errors"), proportion(scenario, "conversions")
    latency, daily, harm = scenario.metrics["latency"], scenario.traffic.daily, scenario.harms[0]
    if not isinstance(latency, DurationMetric) or daily is None or harm.add is None or harm.onset.at is None:
        raise TypeError("the naive model knows the workload W1 only")
    mu, sigma = log_normal(latency, factor=1.0)
    begins = [scenario.rollout.begins]
    for step in scenario.rollout.steps[:-1]:
        begins.append(begins[-1] + (0 if step.soak == "rest" else step.soak))
    return Workload(
        requests=scenario.traffic.requests * clock.tick,
        day=DAY / clock.tick,
        swing=daily.swing,
        peak=daily.peak / clock.tick,
        segments=tuple(scenario.users.shares.values()),
        ramp=tuple((clock.ticks(at), step.expose) for at, step in zip(begins, scenario.rollout.steps, strict=True)),
        error=errors.normal,
        error_cv=errors.personal_cv,
        conversion=conversions.normal,
        mu=mu,
        sigma=sigma,
        harm=harm.add.value,
        harm_from=clock.ticks(harm.onset.at),
        harm_segment=list(scenario.users.shares).index(harm.segment or ""),
        rules=tuple(rule_of(guardrail.signal.watch, guardrail.rule) for guardrail in setting.policies[0].guardrails),
    )


def proportion(scenario: Scenario, name: str) -> Proportion:
    """Return a metric that must be a proportion."""
    metric = scenario.metrics[name]
    if not isinstance(metric, Proportion):
        raise TypeError(f"{name} is no proportion")
    return metric


def rule_of(metric: str | None, rule: object) -> Rule:
    """Return a CUSUM as the naive model takes it."""
    if metric is None or not isinstance(rule, Cusum):
        raise TypeError("the naive model knows CUSUMs of a metric only")
    return Rule(METRICS[metric], rule.k, rule.h)


def naive_nanoseconds(workload: Workload, horizon: int, *, seed: int) -> float:
    """Return the naive model's time per lane-tick; setting up and running in are not counted.

    It runs a quarter of a day in each quarter of the horizon, each time another quarter of the day, so that it meets the
    workload's mean traffic exactly.
    """
    ticks = round(workload.day / WINDOWS)
    starts = [index * horizon // WINDOWS for index in range(WINDOWS)]
    models = [
        NaiveModel(workload, seed=seed * WINDOWS + index, start=start + (index * ticks - start) % round(workload.day))
        for index, start in enumerate(starts)
    ]
    begins = time.process_time_ns()
    for model in models:
        model.run(ticks)
    return (time.process_time_ns() - begins) / (len(models) * ticks)


def simlab_nanoseconds(plan: Plan, lanes: int) -> float:
    """Return simlab's time per lane-tick of a simulation, everything in it included."""
    begins = time.process_time_ns()
    simulate(plan, Block(0, 0, lanes))
    return (time.process_time_ns() - begins) / (lanes * plan.settings[0].scenario.clock.horizon)


def workload_alone(plan: Plan) -> Plan:
    """Return the plan without the harmless twin and without the lanes that nobody watches: what the naive model simulates."""
    setting = plan.settings[0]
    return replace(plan, settings=(replace(setting, twin=False, policies=setting.policies[:1]),))


def measured(plan: Plan, *, lanes: int, repeats: int) -> list[Repeat]:
    """Measure both sides in turn, in one process."""
    workload, horizon = workload_of(plan), plan.settings[0].scenario.clock.horizon
    # One lane is enough to compile or load every kernel.
    simulate(plan, Block(0, 0, 1))
    alone = workload_alone(plan)
    return [
        Repeat(
            naive_nanoseconds(workload, horizon, seed=seed),
            simlab_nanoseconds(alone, lanes),
            simlab_nanoseconds(plan, lanes),
        )
        for seed in range(repeats)
    ]


def spread(values: list[float]) -> str:
    """Return the median with the smallest and the largest value."""
    return f"{statistics.median(values):>12,.0f}   ({min(values):,.0f} to {max(values):,.0f})"


def report(repeats: list[Repeat], *, lanes: int) -> str:
    """Return what was measured, and where."""
    ratio = statistics.median(each.ratio for each in repeats)
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "simpy"))
    return "\n".join(
        [
            f"W1, {lanes} lanes in one block, {len(repeats)} repeats, medians (smallest to largest), CPU time",
            f"naive SimPy model, ns per lane-tick     {spread([each.naive for each in repeats])}",
            f"simulate, ns per lane-tick              {spread([each.simlab for each in repeats])}",
            f"with twins and never-alarms baseline    {spread([each.whole for each in repeats])}",
            f"times faster, repeat by repeat          {spread([each.ratio for each in repeats])}",
            f"target: at least {TARGET} times faster: {'reached' if ratio >= TARGET else 'NOT reached'}",
            f"machine: {platform.node()}, {platform.machine()}, {os.cpu_count()} CPUs, load {load_average()}",
            f"software: Python {platform.python_version()}, {versions}",
        ]
    )


def load_average() -> str:
    """Return the load of the last minute, where the system tells it: on a busy machine only ratios mean something."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.w1", description=__doc__)
    parser.add_argument("--lanes", type=int, default=BLOCK_LANES, help="lanes in the block (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each side (default: %(default)s)")
    options = parser.parse_args(arguments)
    if min(options.lanes, options.repeats) < 1:
        parser.error("lanes and repeats must be at least 1")
    repeats = measured(load(STUDY), lanes=options.lanes, repeats=options.repeats)
    print(report(repeats, lanes=options.lanes))


if __name__ == "__main__":
    main()
