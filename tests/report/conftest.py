"""A small result to report on, and one whose names try to get out of the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from simlab.results import Result, ScenarioResult
from simlab.runner import run_plan
from tests.worlds import CUSUM, plan

GATES = [
    {"false_alarms": {"max": "20%"}},
    {"detected": {"min": "30%"}, "within": "2h"},
    {"harmed_users": {"max": 5000}, "at": "p90"},
]
LEVEL = {
    "watch": "errors",
    "of": "everyone",
    "rule": {"above": {"limit": "2.2%"}},
    "every": "5m",
    "respond": "alert",
}
POLICIES = [
    {"name": "cusum", "guardrails": [CUSUM]},
    {"name": "today", "reference": True, "guardrails": [LEVEL]},
]


@pytest.fixture(scope="session")
def result() -> Result:
    """Return 60 lanes of the small scenario under two policies and three gates."""
    return run_plan(plan(policies=POLICIES, gates=GATES, start=60, cap=60), command="simlab run small.yaml")


@pytest.fixture(scope="session")
def precise() -> Result:
    """Return a run that ends as soon as its rates are known to 15 percentage points."""
    return run_plan(plan(start=20, cap=160, precision="15%"), command="simlab run precise.yaml")


@pytest.fixture(scope="session")
def renamed() -> Callable[..., Result]:
    """Return a function that gives a result's scenario and its first policy other names, everywhere."""

    def rename(result: Result, *, scenario: str, policy: str) -> Result:
        old = result.scenarios[0].performances[0].policy

        def name(held: str) -> str:
            return policy if held == old else held

        def renamed_scenario(each: ScenarioResult) -> ScenarioResult:
            policies = np.array([name(held) for held in each.rows["policy"]], dtype=object)
            return replace(
                each,
                name=scenario,
                about=scenario,
                rows=each.rows | {"policy": policies},
                performances=tuple(replace(p, scenario=scenario, policy=name(p.policy)) for p in each.performances),
                differences=tuple(
                    replace(d, scenario=scenario, first=name(d.first), second=name(d.second)) for d in each.differences
                ),
                traces=tuple(replace(trace, policy=name(trace.policy)) for trace in each.traces),
            )

        return replace(
            result,
            verdicts=tuple(replace(v, scenario=scenario, policy=name(v.policy)) for v in result.verdicts),
            scenarios=tuple(renamed_scenario(each) for each in result.scenarios),
        )

    return rename
