"""What must always hold of a simulation: common random numbers, twins, blocks, workers, the closed loop, no look-ahead."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from simlab.engine import Block, simulate
from simlab.errors import RuleError
from simlab.guardrails.rules.cusum import Cusum
from simlab.runner import Options, run_plan
from tests.worlds import CUSUM, SCENARIO, changed, plan

PEEKING = {**CUSUM, "rule": {"repeated_z": {"alpha": "5%"}}, "respond": "alert"}
PAUSING = {**CUSUM, "rule": {"cusum": {"k": 0.5, "h": 3}}, "respond": "pause"}
FULL = changed(
    SCENARIO,
    drift=[
        {"name": "sale", "shape": "spike", "traffic": "x3", "at": "5h", "for": "1h"},
        {"name": "cycle", "shape": "cycle", "metric": "errors", "times": "x1.2", "period": "6h"},
        {"name": "mix", "shape": "mix", "to": {"web": "60%", "app": "40%"}, "at": "4h", "over": "2h"},
    ],
    telemetry={"delay": "1m-12m", "lost": "1%", "missing_looks": "2%"},
)


def rows_of(made: Any, *, first: int = 0, lanes: int = 60, policy: str = "cusum") -> dict[str, np.ndarray]:
    rows = simulate(made, Block(0, first, lanes)).rows
    mine = rows["policy"] == policy
    return {name: values[mine] for name, values in rows.items()}


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_other_policies_do_not_change_a_bit() -> None:
    alone = plan(scenarios=[FULL])
    srm = {"compare": "shares", "rule": {"srm": {}}, "every": "10m", "respond": "alert"}
    latency = {"watch": "latency", "of": "everyone", "rule": {"above": {"limit": 0.4}}, "every": "5m"}
    others = [
        {"name": "peeking", "guardrails": [PEEKING, srm, latency]},
        {"name": "cusum", "guardrails": [CUSUM]},
        {"name": "pausing", "guardrails": [PAUSING]},
    ]
    assert_same(rows_of(alone), rows_of(plan(scenarios=[FULL], policies=others)))


@pytest.mark.parametrize("sizes", [(60,), (20, 40), (7, 13, 40)])
def test_block_sizes_do_not_change_a_bit(sizes: tuple[int, ...]) -> None:
    made = plan(scenarios=[FULL], policies=[{"name": "cusum", "guardrails": [CUSUM, PAUSING, PEEKING]}])
    whole = rows_of(made)
    starts = np.cumsum([0, *sizes[:-1]])
    parts = [rows_of(made, first=int(first), lanes=size) for first, size in zip(starts, sizes, strict=True)]
    for harmed in (True, False):
        for name, values in whole.items():
            joined = np.concatenate([part[name][part["harmed"] == harmed] for part in parts])
            np.testing.assert_array_equal(values[whole["harmed"] == harmed], joined, err_msg=name)


def test_workers_and_blocks_do_not_change_a_bit() -> None:
    made = plan(scenarios=[FULL], start=1000, cap=1000)
    tables = [
        run_plan(made, Options(workers=workers, block_lanes=size)).to_pandas().sort_values(["policy", "harmed", "lane"])
        for workers in (1, 2)
        for size in (1000, 500, 250, 125)
    ]
    for table in tables[1:]:
        np.testing.assert_array_equal(tables[0].to_numpy(dtype=str), table.to_numpy(dtype=str))


def test_a_lane_and_its_twin_are_equal_to_the_bit_before_the_onset() -> None:
    scenario = changed(FULL, harms=[{**FULL["harms"][0], "onset": {"at": "5h"}}])
    watching = [{"name": "cusum", "guardrails": [{**CUSUM, "respond": "hold"}]}]
    made = plan(scenarios=[scenario], policies=watching)
    harmed, twin = simulate(made, Block(0, 0, 4)).traces[:2]
    before = harmed.times[0] <= 60
    np.testing.assert_array_equal(harmed.statistics[0][before], twin.statistics[0][before])
    after = ~before
    assert not np.array_equal(harmed.statistics[0][after], twin.statistics[0][after])


def test_a_policy_that_pauses_at_the_first_step_exposes_exactly_its_users() -> None:
    always = {"watch": "errors", "of": "everyone", "rule": {"above": {"limit": 0}}, "every": "5m", "respond": "pause"}
    nobody_answers = {"people": {"answer": "1d", "diagnose": "0m", "right": "100%"}}
    only_first = changed(SCENARIO, rollout={"steps": [{"expose": "10%", "soak": "rest"}]})
    # The strata differ where a ramp goes on, so the first step's cells are compared within one ramp by a long soak.
    long_soak = copy.deepcopy(SCENARIO)
    long_soak["rollout"]["steps"][0]["soak"] = "1d"
    paused = plan(scenarios=[changed(SCENARIO, response=nobody_answers)], policies=[{"name": "pausing", "guardrails": [always]}])
    soaked = plan(scenarios=[long_soak])
    one = rows_of(paused, policy="pausing")
    other = rows_of(soaked, policy="(never alarms)")
    np.testing.assert_array_equal(one["users_exposed"], other["users_exposed"])
    np.testing.assert_array_equal(one["users_harmed"], other["users_harmed"])
    stopped_for_good = rows_of(plan(scenarios=[only_first]), policy="(never alarms)")
    assert (one["users_exposed"] <= 10_000).all()
    # Same law with other strata: means agree within 5 standard errors (two-sided error 6e-7).
    difference = one["users_exposed"].mean() - stopped_for_good["users_exposed"].mean()
    error = np.hypot(one["users_exposed"].std(), stopped_for_good["users_exposed"].std()) / np.sqrt(len(one["lane"]))
    assert abs(difference) < 5 * error


def test_pause_and_resume_equals_a_ramp_written_with_that_pause() -> None:
    once = {"watch": "errors", "of": "everyone", "rule": {"above": {"limit": 0}}, "every": "11h", "respond": "pause"}
    people = {"people": {"answer": "30m", "diagnose": "0m", "right": "0%"}}
    steps = [{"expose": "10%", "soak": "11h30m"}, {"expose": "50%", "soak": "rest"}]
    written = [{"expose": "10%", "soak": "12h"}, {"expose": "50%", "soak": "rest"}]
    base = changed(SCENARIO, horizon="14h", response=people)
    pausing = plan(
        scenarios=[changed(base, rollout={"steps": steps}, harms=None)],
        policies=[{"name": "pausing", "guardrails": [once]}],
    )
    plain = plan(scenarios=[changed(base, rollout={"steps": written}, harms=None)])
    # Without a harm a person who is always wrong orders a rollback; one who is always right clears the pause.
    right = changed(base, rollout={"steps": steps}, harms=None)
    right["response"]["people"]["right"] = "100%"
    pausing = plan(scenarios=[right], policies=[{"name": "pausing", "guardrails": [once]}])
    one, other = rows_of(pausing, policy="pausing"), rows_of(plain, policy="(never alarms)")
    assert (one["episodes"] == 1).all()
    for name in ("users_exposed", "completed_time"):
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_power_rises_with_exposure() -> None:
    detected = []
    for expose in ("2%", "10%", "50%"):
        rollout = {"steps": [{"expose": expose, "soak": "rest"}]}
        made = plan(scenarios=[changed(SCENARIO, rollout=rollout)])
        rows = rows_of(made, lanes=200)
        harmed = rows["harmed"]
        within = (rows["action_time"] - rows["onset"] <= 12) & (rows["evidence"] > rows["onset"])
        detected.append((within & (rows["action_time"] >= 0))[harmed].mean())
    assert detected[0] < detected[1] < detected[2]


def test_a_rollout_begins_although_nothing_can_be_compared_yet() -> None:
    late = changed(SCENARIO, rollout={**SCENARIO["rollout"], "begins": "2h"})
    rows = rows_of(plan(scenarios=[late], policies=[{"name": "cusum", "guardrails": [{**CUSUM, "on_unknown": "alarm"}]}]))
    assert (rows["onset"][rows["harmed"]] >= 24 + 10).all()
    assert (rows["action_time"][rows["action_time"] >= 0] > 24).all()


def test_two_identical_runs_are_equal_and_another_seed_is_not() -> None:
    one, same, other = (rows_of(plan(scenarios=[FULL], seed=seed)) for seed in (7, 7, 8))
    assert_same(one, same)
    assert not np.array_equal(one["users_exposed"], other["users_exposed"])


def test_no_decision_uses_what_had_not_arrived() -> None:
    late = changed(FULL, telemetry={"delay": "12m"}, harms=[{**FULL["harms"][0], "onset": {"at": "5h"}, "add": "90pp"}])
    made = plan(scenarios=[late], policies=[{"name": "cusum", "guardrails": [{**CUSUM, "respond": "hold"}]}])
    harmed, twin = simulate(made, Block(0, 0, 4)).traces[:2]
    # The onset is tick 60; its data are whole at tick 61 and arrive 12 min, so 3 ticks, later.
    before = harmed.times[0] < 64
    np.testing.assert_array_equal(harmed.statistics[0][before], twin.statistics[0][before])
    at = harmed.times[0] == 64
    assert (harmed.statistics[0][at] > twin.statistics[0][at]).any()


def test_a_rule_that_fails_is_a_typed_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(Cusum, "update", broken)
    with pytest.raises(RuleError, match=r"policy 'cusum': the rule 'cusum' failed at tick 1: ZeroDivisionError\('oh'\)"):
        simulate(plan(), Block(0, 0, 2))
