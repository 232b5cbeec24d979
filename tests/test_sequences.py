"""A study's lanes as sequences of rollouts: realised false discovery rate and power, and the p-values that they rest on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import simlab
from simlab.errors import SimlabError, UnitError
from simlab.guardrails.online_fdr import Lord, Saffron
from simlab.results import Result, ScenarioResult
from simlab.runner import Options, run_plan
from tests.worlds import CUSUM, SCENARIO, changed, plan

PLAIN = changed(
    SCENARIO,
    metrics={"errors": {"kind": "proportion", "per": "request", "normal": "2%"}, "latency": SCENARIO["metrics"]["latency"]},
)
COMPARED = {"watch": "errors", "compare": "difference", "every": "5m", "respond": "hold"}
EVIDENCE = [{**COMPARED, "rule": {"normal_mixture": {"sides": 1}}}, {"compare": "shares", "rule": {"srm": {}}, "every": "5m"}]
LANES = 240


@pytest.fixture(scope="module")
def result() -> Result:
    policies = [
        {"name": "evidence", "guardrails": EVIDENCE},
        {"name": "stopping", "guardrails": [{**EVIDENCE[0], "respond": "rollback"}]},
        {"name": "cusum", "guardrails": [CUSUM]},
    ]
    return run_plan(plan(scenarios=[PLAIN], policies=policies, start=LANES, cap=LANES))


def rows(result: Result, policy: str, *, harmed: bool) -> dict[str, np.ndarray]:
    held = result.scenarios[0].rows
    mine = (held["policy"] == policy) & (held["harmed"] == harmed)
    return {name: values[mine] for name, values in held.items()}


def test_p_values_hold_where_all_is_well_and_find_harm(result: Result) -> None:
    twin, harmed = (rows(result, "evidence", harmed=harmed)["log_e_value"] for harmed in (False, True))
    assert (twin >= 0).all()
    for level in (0.5, 0.2, 0.05):
        # Ville's inequality; one-sided, z = 3.1, so that a valid p-value fails less than once in 1,000.
        assert (np.exp(-twin) <= level).mean() <= level + 3.1 * math.sqrt(level * (1 - level) / LANES)
    assert np.median(harmed) > 10
    assert np.isnan(rows(result, "cusum", harmed=True)["log_e_value"]).all()
    assert np.isnan(rows(result, "(never alarms)", harmed=True)["log_e_value"]).all()


def test_evidence_ends_with_a_rollback(result: Result) -> None:
    stopped = rows(result, "stopping", harmed=True)
    rolled_back = stopped["rollback_time"] >= 0
    assert rolled_back.mean() > 0.9
    # It was ordered at the first look at or beyond ln 20, and no look after it counts.
    assert (stopped["log_e_value"][rolled_back] >= math.log(20)).all()
    assert np.median(stopped["log_e_value"]) < np.median(rows(result, "evidence", harmed=True)["log_e_value"]) / 2


def test_evidence_ends_with_a_clearance() -> None:
    watching = {**EVIDENCE[0], "rule": {"normal_mixture": {"alpha": 0.4}}}
    policies = [{"name": name, "guardrails": [{**watching, "respond": name}]} for name in ("alert", "hold")]
    people = {"answer": "5m", "diagnose": "5m", "right": "100%"}
    scenario = changed(PLAIN, response={**SCENARIO["response"], "people": people})
    made = run_plan(plan(scenarios=[scenario], policies=policies, start=150, cap=150))
    paged, held = (rows(made, name, harmed=False) for name in ("alert", "hold"))
    cleared = paged["episodes"] > 0
    assert cleared.any()
    # After a clearance another test begins; what it finds is not added to the first one, though its data are the same.
    np.testing.assert_array_equal(paged["log_e_value"][~cleared], held["log_e_value"][~cleared])
    assert (paged["log_e_value"][cleared] <= held["log_e_value"][cleared]).all()
    assert (paged["log_e_value"][cleared] < held["log_e_value"][cleared]).any()


@pytest.mark.parametrize("rule", ["lord", "saffron"])
def test_a_sequence_of_a_studys_rollouts(result: Result, rule: str) -> None:
    found = simlab.sequence(result, policy="evidence", rule=rule, budget=0.1, harmed_share=0.2, rollouts=20)
    assert (found.sequences, found.rollouts) == (12, 20)
    assert found.false_discovery_rate.n == 12
    assert found.false_discovery_rate.low <= 0.1
    assert found.power.value > 0.9
    assert found.cut_off.value == 0
    assert repr(found).startswith(f"<{rule} at 0.1 over 12 sequences of 20 rollouts, small / evidence: false discovery rate ")
    assert simlab.sequence(result, policy="evidence", rule=rule, budget=0.1, harmed_share=0.2, rollouts=20) == found
    # A policy that rolls back by itself leaves no p-value far below its own error.
    stopping = simlab.sequence(result, policy="stopping", rule=rule, budget=0.1, harmed_share=0.2, rollouts=20)
    assert stopping.cut_off.value > 0.15
    assert stopping.power.value < found.power.value


def made_up(lanes: int, *, onset: int = 3) -> Result:
    """Return a result whose harmless rollouts have exactly uniform p-values, and whose harmed ones small ones."""
    generator = np.random.default_rng(9)
    base = run_plan(plan(policies=[{"name": "p", "guardrails": EVIDENCE}], start=1, cap=1), Options())
    lane = np.arange(lanes)
    columns: dict[str, Any] = {
        "policy": np.full(2 * lanes, "p", dtype=object),
        "harmed": np.repeat([True, False], lanes),
        "lane": np.tile(lane, 2),
        "onset": np.repeat([onset, -1], lanes),
        "action_time": np.full(2 * lanes, -1),
        "rollback_time": np.full(2 * lanes, -1),
        "log_e_value": np.concatenate([np.full(lanes, 12.0), -np.log(generator.uniform(size=lanes))]),
    }
    scenario: ScenarioResult = replace(base.scenarios[0], rows=columns)
    return replace(base, scenarios=(scenario,))


@pytest.mark.parametrize("rule", [Lord(budget=0.2), Saffron(budget=0.2)])
@pytest.mark.parametrize("harmed_share", [0.0, 0.3])
def test_the_realised_rate_is_within_the_budget(rule: Any, harmed_share: float) -> None:
    found = simlab.sequence(made_up(20_000), policy="p", rule=rule, harmed_share=harmed_share, rollouts=40)
    rate = found.false_discovery_rate
    assert found.sequences == 500
    # The 95 % interval is 1.96 standard errors each way; one-sided, z = 3.1.
    assert rate.value <= 0.2 + 3.1 / 1.96 * (rate.high - rate.value)
    assert rate.value > 0
    if harmed_share:
        assert found.power.value > 0.9
    else:
        assert found.power.n == 0


def test_every_lane_is_drawn_once_and_a_harm_that_never_began_is_none() -> None:
    result = made_up(100)
    everything = simlab.sequence(result, policy="p", harmed_share=1.0, rollouts=100, rule=Lord(budget=0.2))
    assert everything.power.value == 1
    assert everything.false_discovery_rate.value == 0
    never = simlab.sequence(made_up(100, onset=-1), policy="p", harmed_share=1.0, rollouts=100, rule=Lord(budget=0.2))
    assert never.false_discovery_rate.value == 1


@pytest.mark.parametrize(
    ("how", "error", "problem"),
    [
        ({"policy": "cusum"}, SimlabError, "not every rule of policy 'cusum' gives e-values"),
        ({"policy": "nobodys"}, SimlabError, "no policy 'nobodys'; there is: evidence, stopping, cusum"),
        ({"scenario": "other"}, SimlabError, "no scenario 'other'; there is: small"),
        ({"rule": "bonferroni"}, SimlabError, "no rule 'bonferroni' over sequences; there is: lord, saffron"),
        ({"rollouts": LANES + 1}, SimlabError, "240 lanes are too few for a sequence of 241"),
        ({"rollouts": "all"}, UnitError, "rollouts a whole number of at least 1, not 0.1 and 'all'"),
        ({"harmed_share": None}, UnitError, "harmed_share must be from 0 to 1"),
        ({"harmed_share": 1.5}, UnitError, "harmed_share must be from 0 to 1"),
        ({"budget": 0.0}, UnitError, "a budget must be between 0 and 1"),
    ],
)
def test_what_cannot_be_judged(result: Result, how: dict[str, Any], error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        simlab.sequence(result, **{"policy": "evidence", **how})
