"""Tuning a study from end to end, on few lanes; what tuning promises of false alarms is tested in test_calibration."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import simlab
from simlab.calibration import allowed_alarms
from simlab.cli import main
from simlab.errors import EXIT_INCONCLUSIVE, SimlabError
from simlab.plan import Plan, replanned
from simlab.runner import Options, run_lanes, run_plan
from simlab.tuned import Prices, TuneOptions, TuneResult, today_of
from simlab.tuning import LANES_A, LANES_B, _Tuning, tune_plan
from tests.worlds import CUSUM, SCENARIO, changed, plan

LANES = 60
QUICK = TuneOptions(budget=0.2, confidence=0.9, lanes=LANES)
RULE = ("policies", 0, "guardrails", 0, "rule", "cusum")


def studied(policies: list[dict[str, Any]] | None = None) -> Plan:
    """Return a study of two short scenarios, the second with more harm."""
    short = changed(SCENARIO, horizon="5h")
    worse = changed(short, scenario="worse", harms=[{**SCENARIO["harms"][0], "add": "4pp"}])
    return plan(scenarios=[short, worse], policies=policies, start=30, cap=30)


@pytest.fixture(scope="module")
def tuned() -> TuneResult:
    return tune_plan(studied(), QUICK, command="simlab tune")


def test_no_set_of_lanes_meets_another() -> None:
    largest = 10_000_000
    assert largest < LANES_A < LANES_A + largest < LANES_B < LANES_B + largest < 2**62


def test_the_new_setting_keeps_to_the_alarms_that_are_allowed_in_the_worst_scenario(tuned: TuneResult) -> None:
    (policy,) = tuned.policies
    (change,) = policy.changes
    assert (change.path, change.old) == ((*RULE, "h"), 5.0)
    allowed = allowed_alarms(LANES, budget=0.2, error=0.1 / 2)
    counts = [round(each.value * each.n) for each in policy.false_alarms.values()]
    # Four digits cost hardly any alarm, and the worst scenario uses what is allowed.
    assert allowed - 1 <= max(counts) <= allowed
    assert all(each.high <= 0.2 and each.confidence == pytest.approx(0.95) for each in policy.false_alarms.values())


def test_false_alarms_on_lanes_b_are_those_of_a_run_there(tuned: TuneResult) -> None:
    made = studied()
    study: Any = made.documents["study"]
    entry = changed(CUSUM, rule={"cusum": {"k": 0.5, "h": tuned.values[(*RULE, "h")]}})
    again = replanned(made, {**study, "policies": [{"name": "cusum", "guardrails": [entry]}]})
    blocks = run_lanes(again, Options(block_lanes=25), first=LANES_B, count=LANES)
    for name, found in zip(("small", "worse"), blocks, strict=True):
        acted = [
            (result.rows["action_time"] >= 0)[(result.rows["policy"] == "cusum") & ~result.rows["harmed"]] for result in found
        ]
        assert np.concatenate(acted).mean() == pytest.approx(tuned.policies[0].false_alarms[name].value, abs=1e-12)


def test_lanes_c_are_the_study_s_own_so_that_a_run_of_the_new_study_prints_the_same(tuned: TuneResult) -> None:
    made = studied()
    study: Any = made.documents["study"]
    entry = changed(CUSUM, rule={"cusum": {"k": 0.5, "h": tuned.values[(*RULE, "h")]}})
    again = run_plan(replanned(made, {**study, "policies": [{"name": "cusum", "guardrails": [entry]}]}))
    for one, other in zip(again.scenarios, tuned.result.scenarios, strict=True):
        found = {each.policy: each.estimates for each in other.performances}
        assert one.performances[0].estimates == found["cusum"]
        assert today_of("cusum") in found
    assert tuned.exit_code == EXIT_INCONCLUSIVE  # the study has no gates


def test_the_frontier_holds_today_s_the_chosen_and_other_thresholds_with_less_harm_where_alarms_are_more(
    tuned: TuneResult,
) -> None:
    for scenario in ("small", "worse"):
        points = [point for point in tuned.frontier if point.scenario == scenario]
        assert {point.kind for point in points} == {"today", "chosen", "other"}
        # The others run on the same lanes: a rollback that comes no later harms no more.
        ordered = sorted(points, key=lambda point: (point.false_alarms.value, -point.users_harmed.value))
        harm = [point.users_harmed.value for point in ordered]
        assert harm == sorted(harm, reverse=True)
        assert harm[0] > harm[-1]


def test_chooses_among_settings_the_one_with_the_least_harm_at_the_budget() -> None:
    options = replace(QUICK, tries=("policies.cusum.guardrails.0.rule.cusum.k=[0.5, 30]",))
    (policy,) = tune_plan(studied(), options).policies
    assert policy.tried == 2
    # A reference value of 30 standard deviations sees nothing.
    assert [change.path[-1] for change in policy.changes] == ["h"]


def test_several_guardrails_share_the_budget_and_a_hold_keeps_its_threshold() -> None:
    level = {"watch": "errors", "of": "everyone", "rule": {"above": {"limit": "5%"}}, "every": "10m", "respond": "alert"}
    hold = {**CUSUM, "respond": "hold"}
    (policy,) = tune_plan(studied([{"name": "both", "guardrails": [CUSUM, level, hold]}]), QUICK).policies
    assert {change.path[3] for change in policy.changes} == {0, 1}
    assert all(each.value > 0 and each.high <= 0.2 for each in policy.false_alarms.values())


def test_says_why_a_policy_cannot_be_tuned() -> None:
    rules = {"sprt": {"sprt": {"delta": 1}}, "never": {"never": {}}}
    policies = [{"name": name, "guardrails": [{**CUSUM, "rule": rule}]} for name, rule in rules.items()]
    shared = {"name": "shared", "budget": "5%", "guardrails": [{**CUSUM, "rule": {"msprt": {}}}]}
    result = tune_plan(studied([*policies, shared]), QUICK)
    reasons = {each.policy: each.reason for each in result.policies}
    assert "no setting that moves its threshold alone" in reasons["sprt"]
    assert "no ladder coordinate" in reasons["never"]
    assert "budget" in reasons["shared"]
    assert result.exit_code == EXIT_INCONCLUSIVE
    assert not result.values
    few = tune_plan(studied(), replace(QUICK, lanes=10))
    assert "cannot vouch" in few.policies[0].reason


def test_from_python_it_is_one_call(tuned: TuneResult) -> None:
    again = simlab.tune(studied(), replace(QUICK, run=Options(workers=2, block_lanes=17)))
    assert again.values == tuned.values
    assert again.frontier == tuned.frontier, "whatever the workers and blocks"


def test_without_a_budget_there_is_nothing_to_keep() -> None:
    with pytest.raises(SimlabError, match="give --budget"):
        tune_plan(studied(), replace(QUICK, budget=None))


def test_apply_writes_the_new_settings_and_keeps_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simlab.shipped import scenarios_folder

    (tmp_path / "studies").mkdir()
    for name in ("checkout-app-errors.yaml", "checkout-flapping.yaml"):
        (tmp_path / name).write_text(re.sub("(?m)^horizon: .*", "horizon: 7h", (scenarios_folder() / name).read_text()))
    study = tmp_path / "studies" / "checkout-canary.yaml"
    before = re.sub(
        r"\{start: \d+, cap: \d+\}", "{start: 20, cap: 20}", (scenarios_folder() / "studies" / study.name).read_text()
    )
    study.write_text(before)
    command = ["simlab", "tune", str(study), "--lanes", "60", "--budget", "0.2", "--workers", "1", "--apply"]
    monkeypatch.setattr("sys.argv", command)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in {0, 1, EXIT_INCONCLUSIVE}
    (old,) = (line for line in before.splitlines() if "cusum:" in line)
    (new,) = set(study.read_text().splitlines()) - set(before.splitlines())
    assert new.split(" h: ")[0] == old.split(" h: ")[0]
    assert float(new.split(" h: ")[1].split("}")[0]) < 9
    assert "# reported, never gated" in study.read_text()
    folder = tmp_path / "reports" / "checkout-canary-tune" / "latest"
    assert {"tune.json", "results.json", "report.html", "plan.json"} <= {path.name for path in folder.iterdir()}
    assert "at the budget, cross: today" in (folder / "figures" / "frontier.svg").read_text()


def test_apply_does_not_write_thresholds_of_another_study(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["simlab", "tune", "studies/checkout-canary", "--apply", "--set", "lanes.start=10"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--apply does not go with --set" in capsys.readouterr().err


CHEAP_STOPS = Prices(user=10.0, false_stop=1.0, harmful=0.5)
DEAR_STOPS = Prices(user=0.001, false_stop=1e6, harmful=0.5)


def test_prices_choose_the_budget() -> None:
    budgets = {}
    for name, prices in (("cheap", CHEAP_STOPS), ("dear", DEAR_STOPS)):
        (policy,) = tune_plan(studied(), replace(QUICK, prices=prices, lanes=200), command="simlab tune").policies
        budgets[name] = policy.budget
    # Where a false stop costs next to nothing more of them are bought, and the other way round.
    assert budgets["dear"] < QUICK.budget < budgets["cheap"] <= 4 * QUICK.budget


def test_what_is_likely_weighs_the_harm_that_is_compared() -> None:
    tuning = _Tuning(studied(), replace(QUICK, likely={"small": 3.0, "worse": 1.0}), 0.2, LANES)
    assert tuning._together([10.0, 50.0]) == 20.0
    assert _Tuning(studied(), QUICK, 0.2, LANES)._together([10.0, 50.0]) == 50.0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"likely": {"smal": 1.0}}, "no scenario 'smal'"),
        ({"likely": {"small": -1.0}}, "cannot be below 0"),
        ({"likely": {"small": 0.0}}, "nor all of it 0"),
        ({"prices": Prices(1.0, -1.0, 0.5)}, "prices cannot be below 0"),
        ({"prices": Prices(1.0, 1.0, 1.0)}, "between 0 and 1"),
    ],
)
def test_weights_and_prices_that_mean_nothing_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(SimlabError, match=problem):
        tune_plan(studied(), replace(QUICK, **options))
