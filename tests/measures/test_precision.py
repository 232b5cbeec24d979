"""Precision on request stops at the first look that is narrow enough, and its intervals keep their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simlab.measures.gates import INCONCLUSIVE, PASSED
from simlab.measures.precision import Precise, at_one_look
from simlab.runner import run_plan
from simlab.study import Lanes
from tests.worlds import CUSUM, SCENARIO, changed, plan

SCHEDULE = Lanes(start=100, cap=1600).schedule


@pytest.mark.parametrize("truth", [0.03, 0.11])
def test_coverage_at_the_look_where_it_stops_is_at_least_nominal(truth: float) -> None:
    """2,000 repeats; a share missed above 5 % + 3 standard errors has probability under 0.2 % if the true one is 5 %."""
    generator = np.random.default_rng(5)
    repeats, missed, stopped = 2_000, 0, set()
    for _ in range(repeats):
        events = np.cumsum(generator.random(SCHEDULE[-1]) < truth)
        looks = (Precise("", "", "", at_one_look(int(events[n - 1]), n, looks=len(SCHEDULE)), 0.03) for n in SCHEDULE)
        found = next(each for each in looks if each.reached or each.estimate.n == SCHEDULE[-1])
        missed += not found.estimate.low <= truth <= found.estimate.high
        stopped.add(found.estimate.n)
    assert missed / repeats <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)
    # Where it stops does depend on what it has seen.
    assert len(stopped) > 1


def test_a_run_takes_lanes_until_it_is_as_precise_as_asked_for() -> None:
    entry = changed(CUSUM, rule={"cusum": {"k": 0.5, "h": 4.0}})
    found = {}
    for wanted in (None, "12%", "1%"):
        made = plan(
            scenarios=[changed(SCENARIO, horizon="4h")],
            policies=[{"name": "cusum", "guardrails": [entry]}],
            gates=[{"false_alarms": {"max": "95%"}}],
            start=30,
            cap=240,
            precision=wanted,
        )
        found[wanted] = run_plan(made)
    lanes = {wanted: result.scenarios[0].lanes for wanted, result in found.items()}
    assert lanes[None] == 30 < lanes["12%"] < lanes["1%"] == 240
    assert all(each.reached and each.half_width <= 0.12 for each in found["12%"].precise)
    assert {each.measure for each in found["12%"].precise} == {"false_alarms", "detected"}
    assert found["12%"].status == PASSED
    assert found["1%"].status == INCONCLUSIVE
    # The gate was decided at its first look and stays decided.
    assert found["1%"].verdicts[0].estimate.n == 30
