"""How many times faster a simulation of the study workload W1 is than a naive SimPy model of it.

Run ``python -m tests.benchmarks.w1`` from the project's root; `README.md` beside this file says what is compared.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from simlab.engine import Block, simulate
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.ewma import Ewma
from simlab.guardrails.rules.mixture import MixtureSprt
from simlab.guardrails.rules.page_hinkley import PageHinkley
from simlab.guardrails.rules.sample_ratio import SampleRatio
from simlab.guardrails.rules.shiryaev_roberts import ShiryaevRoberts
from simlab.guardrails.rules.sprt import Sprt
from simlab.ladders import quiet_plan
from simlab.metrics import DurationMetric, Proportion
from simlab.plan import Plan, load
from simlab.runner import BLOCK_LANES
from simlab.scenario import Scenario
from simlab.ticks import DAY
from simlab.world.aggregate import log_normal
from tests.benchmarks import naive_rules
from tests.benchmarks.naive import CONVERSIONS, ERRORS, LATENCY, SHARES, NaiveModel, Watching, Workload
from tests.benchmarks.per_lane import LaneModel

STUDY = Path(__file__).parent / "w1" / "studies" / "w1.yaml"
METRICS = {"errors": ERRORS, "conversions": CONVERSIONS, "latency": LATENCY}
TARGET, TARGET_PER_LANE = 4_000, 80
WINDOWS = 4


@dataclass(frozen=True)
class Repeat:
    """One measurement of all sides, one right after the other; nanoseconds per lane-tick.

    Attributes
    ----------
    naive, per_lane : float
        The naive model, and one environment a lane with small NumPy draws.
    simlab : float
        The workload alone, ladders on: one policy on the harmed lanes, as the naive model has it.
    whole : float
        A study's block: the same lanes harmed and as twins, and both again with nobody watching.
    """

    naive: float
    per_lane: float
    simlab: float
    whole: float

    @property
    def ratio(self) -> float:
        """How many times faster simlab is than the naive model."""
        return self.naive / self.simlab

    @property
    def ratio_per_lane(self) -> float:
        """How many times faster simlab is than one environment a lane."""
        return self.per_lane / self.simlab


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
        rules=tuple(
            Watching(
                SHARES if guardrail.signal.watch is None else METRICS[str(guardrail.signal.watch)],
                partial(NAIVE[guardrail.rule.key], guardrail.rule),
                guardrail.threshold,
            )
            for guardrail in setting.policies[0].guardrails
        ),
    )


def proportion(scenario: Scenario, name: str) -> Proportion:
    """Return a metric that must be a proportion."""
    metric = scenario.metrics[name]
    if not isinstance(metric, Proportion):
        raise TypeError(f"{name} is no proportion")
    return metric


NAIVE: dict[str, Callable[[Any], naive_rules.Rule | naive_rules.SampleRatio]] = {
    Cusum.key: lambda rule: naive_rules.Cusum(k=rule.k),
    Ewma.key: lambda rule: naive_rules.Ewma(weight=rule.lambda_),
    Sprt.key: lambda rule: naive_rules.Sprt(delta=rule.delta, accepts=rule.accepts),
    MixtureSprt.key: lambda rule: naive_rules.MixtureSprt(r=1 / rule.tau2),
    ShiryaevRoberts.key: lambda rule: naive_rules.ShiryaevRoberts(theta=rule.theta),
    PageHinkley.key: lambda rule: naive_rules.PageHinkley(delta=rule.delta, min_looks=rule.min_looks),
    SampleRatio.key: lambda rule: naive_rules.SampleRatio(concentration=rule.concentration),
}
"""How the naive model makes one of the workload's rules."""


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


def per_lane_nanoseconds(workload: Workload, horizon: int, *, seed: int) -> float:
    """Return the time per lane-tick of one environment a lane with small NumPy draws."""
    model = LaneModel(workload, seed=seed)
    begins = time.process_time_ns()
    model.run(horizon)
    return (time.process_time_ns() - begins) / horizon


def simlab_nanoseconds(plan: Plan, lanes: int) -> float:
    """Return simlab's time per lane-tick of a simulation, everything in it included."""
    begins = time.process_time_ns()
    simulate(plan, Block(0, 0, lanes))
    return (time.process_time_ns() - begins) / (lanes * plan.settings[0].scenario.clock.horizon)


def workload_alone(plan: Plan) -> Plan:
    """Return the plan without the harmless twin and without the lanes that nobody watches, as the naive model has it; ladders on."""
    setting = plan.settings[0]
    return quiet_plan(replace(plan, settings=(replace(setting, twin=False, policies=setting.policies[:1]),)))


def measured(plan: Plan, *, lanes: int, repeats: int) -> list[Repeat]:
    """Measure both sides in turn, in one process."""
    workload, horizon = workload_of(plan), plan.settings[0].scenario.clock.horizon
    # One lane is enough to compile or load every kernel.
    simulate(plan, Block(0, 0, 1))
    alone = workload_alone(plan)
    return [
        Repeat(
            naive_nanoseconds(workload, horizon, seed=seed),
            per_lane_nanoseconds(workload, horizon, seed=seed),
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
    naive, per_lane = [each.ratio for each in repeats], [each.ratio_per_lane for each in repeats]
    reached = statistics.median(naive) >= TARGET and statistics.median(per_lane) >= TARGET_PER_LANE
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "simpy"))
    return "\n".join(
        [
            f"W1, {lanes} lanes in one block, {len(repeats)} repeats, medians (smallest to largest), CPU time",
            f"naive SimPy model, ns per lane-tick     {spread([each.naive for each in repeats])}",
            f"one environment a lane, ns per lane-tick{spread([each.per_lane for each in repeats])}",
            f"simulate, ns per lane-tick              {spread([each.simlab for each in repeats])}",
            f"with twins and never-alarms baseline    {spread([each.whole for each in repeats])}",
            f"times faster than the naive model       {spread(naive)}",
            f"times faster than an environment a lane {spread(per_lane)}",
            f"targets: {TARGET:,} and {TARGET_PER_LANE} times: {'reached' if reached else 'NOT reached'}",
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
