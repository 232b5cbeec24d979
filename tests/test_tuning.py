"""Tuning a study from end to end, on few lanes; what tuning promises of false alarms is tested in test_calibration."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import simlab
from simlab.calibration import allowed_alarms
from simlab.cli import main
from simlab.errors import EXIT_INCONCLUSIVE, SimlabError
from simlab.plan import Plan, replanned
from simlab.report.tuning import print_tuning
from simlab.runner import Options, run_lanes, run_plan
from simlab.tuned import Prices, TuneOptions, TuneResult
from simlab.tuning import LANES_A, LANES_B, _Tuning, _written_like, changeable, tune_plan
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
        assert tuned.policies[0].today == "cusum-today"
        assert "cusum-today" in found
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
    # (1 - 0.2)^14 is below 0.05, the part of the error of each of two scenarios, and (1 - 0.2)^13 is not.
    assert few.policies[0].reason == "10 lanes cannot vouch for it, and 14 lanes could"


def test_a_guardrail_that_reaches_nothing_in_time_has_no_threshold() -> None:
    never = {**CUSUM, "rule": {"above": {"limit": "1%", "for": "13h"}}, "of": "everyone"}
    del never["compare"]
    (policy,) = tune_plan(studied([{"name": "never", "guardrails": [never]}]), QUICK).policies
    assert "whatever its threshold, it alarms in at most" in policy.reason


def test_a_percentage_stays_one() -> None:
    level = {"watch": "errors", "of": "everyone", "rule": {"above": {"limit": "5%"}}, "every": "10m", "respond": "alert"}
    (change,) = tune_plan(studied([{"name": "level", "guardrails": [level]}]), QUICK).policies[0].changes
    assert isinstance(change.new, str)
    assert 0 < float(change.new.removesuffix("%")) < 100
    assert _written_like("5%", 0.005915) == "0.5915%"
    assert _written_like("5%", 1.2e-6) == "0.00012%"
    assert _written_like("5m", 0.005915) == _written_like(None, 0.005915) == 0.005915


def test_no_name_that_tuning_gives_is_taken_for_a_policy_s() -> None:
    """The reference is called as points of the frontier are named, and another policy as today's settings would be."""
    other = {**CUSUM, "rule": {"cusum": {"k": 1, "h": 2}}}
    policies = [
        {"name": "cusum", "guardrails": [CUSUM]},
        {"name": "cusum-today", "guardrails": [CUSUM], "reference": True},
        {"name": "f0", "guardrails": [other], "reference": True},
    ]
    result = tune_plan(studied(policies), QUICK)
    assert result.policies[0].today == "cusum-today-2"
    points = [point for point in result.frontier if point.scenario == "small"]
    assert {point.policy for point in points} == {"cusum"}
    assert [point.kind for point in points].count("today") == 1
    of_f0 = next(each for each in result.result.scenarios[0].performances if each.policy == "f0")
    assert of_f0.estimates["false_alarms"].value not in {point.false_alarms.value for point in points}


def test_from_python_it_is_one_call(tuned: TuneResult) -> None:
    again = simlab.tune(studied(), replace(QUICK, run=Options(workers=2, block_lanes=17)))
    assert again.values == tuned.values
    assert again.frontier == tuned.frontier, "whatever the workers and blocks"


def test_without_a_budget_there_is_nothing_to_keep() -> None:
    with pytest.raises(SimlabError, match="give --budget"):
        tune_plan(studied(), replace(QUICK, budget=None))


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a study's file of the shipped canary, shortened, with its scenarios beside it."""
    from simlab.shipped import scenarios_folder

    (tmp_path / "studies").mkdir()
    for name in ("checkout-app-errors.yaml", "checkout-flapping.yaml"):
        (tmp_path / name).write_text(re.sub("(?m)^horizon: .*", "horizon: 7h", (scenarios_folder() / name).read_text()))
    path = tmp_path / "studies" / "checkout-canary.yaml"
    text = (scenarios_folder() / "studies" / path.name).read_text()
    path.write_text(re.sub(r"\{start: \d+, cap: \d+\}", "{start: 20, cap: 20}", text))
    monkeypatch.chdir(tmp_path)
    return path


def tune(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> object:
    """Return the exit code of ``simlab tune``."""
    command = ["simlab", "tune", *map(str, arguments), "--lanes", "60", "--budget", "20%", "--workers", "1"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_apply_writes_the_new_settings_and_keeps_comments(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = study.read_text()
    assert tune(monkeypatch, study, "--apply") in {0, 1, EXIT_INCONCLUSIVE}
    (old,) = (line for line in before.splitlines() if "cusum:" in line)
    (new,) = set(study.read_text().splitlines()) - set(before.splitlines())
    assert new.split(" h: ")[0] == old.split(" h: ")[0]
    assert float(new.split(" h: ")[1].split("}")[0]) < 9
    assert "# reported, never gated" in study.read_text()
    folder = study.parent.parent / "reports" / "checkout-canary-tune" / "latest"
    assert {"tune.json", "results.json", "report.html", "plan.json"} <= {path.name for path in folder.iterdir()}
    assert "at the budget, cross: today" in (folder / "figures" / "frontier.svg").read_text()
    shown = capsys.readouterr()
    assert "1 setting written" in shown.err
    assert re.search(r"at most [0-9.]+% with confidence 97.5 %, n = 60", " ".join(shown.out.split()))


def test_apply_refuses_a_place_that_cannot_be_written_to_before_anything_is_run(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = re.sub("(?m)^seed: .*", "seed: &shared 9", study.read_text())
    study.write_text(re.sub(r"\bh: [0-9.]+", "h: *shared", shared, count=1))
    monkeypatch.setattr("simlab.tuning.run_lanes", lambda *_, **__: pytest.fail("was run"))
    assert tune(monkeypatch, study, "--apply") == 2
    assert re.search(r"checkout-canary.yaml:\d+:\d+: error\[edit\]: policies\[0\].*by hand", capsys.readouterr().err)


def test_apply_does_not_write_to_a_file_that_was_changed_meanwhile(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed_text = study.read_text() + "# and more\n"

    def tuned_while_edited(*arguments: Any, **named: Any) -> TuneResult:
        study.write_text(changed_text)
        return tune_plan(*arguments, **named)

    monkeypatch.setattr("simlab.tuning.tune_plan", tuned_while_edited)
    assert tune(monkeypatch, study, "--apply") == 2
    shown = capsys.readouterr()
    assert "was changed while it was tuned" in shown.err
    assert "cusum.h" in shown.out, "what was found is told"
    assert study.read_text() == changed_text


@pytest.mark.parametrize("out", [(), ("--out", "in-the-way")])
def test_a_folder_that_cannot_be_written_is_told_before_anything_is_run(
    study: Path, out: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def not_to_be_run(*_arguments: Any, **_named: Any) -> TuneResult:
        pytest.fail("the lanes were run")

    monkeypatch.setattr("simlab.tuning.tune_plan", not_to_be_run)
    for name in ("reports", "in-the-way"):
        study.parents[1].joinpath(name).write_text("a file")
    assert tune(monkeypatch, study, *out) == 2
    assert "cannot write to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--set", "lanes.start=10"], "--apply does not go with --set"),
        ([], "writes to a study file of yours"),
        (["--policy", "cusum", "--references"], "--references does not go with --policy"),
        (["--likely", "a=1", "--likely", "a=2"], "a has a weight already"),
        (["--budget", "nan"], "is no number"),
        (["--confidence", "5.5"], "range 0<x<1"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    arguments: list[str], problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["simlab", "tune", "studies/checkout-canary", "--apply", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert problem in capsys.readouterr().err


PLACE = "policies.cusum.guardrails.0.rule.cusum"


@pytest.mark.parametrize(
    ("tries", "problem"),
    [
        ([f"{PLACE}.zz=[1, 2]"], "there is no key 'zz'|unknown|not known"),
        ([f"{PLACE}.k=[-1, 0.5, -2]"], f"policies.1..*\n *--try {PLACE}.k=-1\n(.|\n)*--try {PLACE}.k=-2\n"),
        (["policies.7.name=[a]"], "--try policies.7"),
        (
            [f"{PLACE}.k=0.5", "policies.7.name=[a]", "lanes.start=[5]"],
            "(.|\n)*".join(["is not path=.", "of a policy", "--try policies.7"]),
        ),
        ([f"{PLACE}.k=0.5"], "is not path=."),
        (["lanes.start=[5]"], "is not of one setting of a policy's guardrail"),
        (["policies.cusum.name=[a]"], "is not of one setting of a policy's guardrail"),
        (["policies.cusum.guardrails.0.rule=[{cusum: {k: 0.3}}, {ewma: {}}]"], "is not of one setting of a policy's guardrail"),
        (["policies.cusum.guardrails.0.respond=[hold]"], "respond=.hold.*cannot be tuned, no guardrail acts"),
        ([f"{PLACE}.k=[0.5]", f"{PLACE}.k=[1]"], "is tried already; write all its values in one list"),
        ([f"{PLACE}.h=[3, 5]"], "is the threshold, which tuning finds"),
        (["policies.other.guardrails.0.every=[10m]"], "of a policy that is not tuned"),
    ],
)
def test_settings_to_try_that_are_mistakes_are_told_before_anything_is_run(tries: list[str], problem: str) -> None:
    made = studied([{"name": "other", "guardrails": [CUSUM], "reference": True}, {"name": "cusum", "guardrails": [CUSUM]}])
    with pytest.raises(SimlabError, match=problem):
        changeable(made, replace(QUICK, tries=tuple(tries)))


CHEAP_STOPS = Prices(user=10.0, false_stop=1.0, harmful=0.5)
DEAR_STOPS = Prices(user=0.001, false_stop=1e6, harmful=0.5)


def test_prices_choose_the_budget() -> None:
    budgets = {}
    for name, prices in (("cheap", CHEAP_STOPS), ("dear", DEAR_STOPS)):
        (policy,) = tune_plan(studied(), replace(QUICK, prices=prices, lanes=200), command="simlab tune").policies
        budgets[name] = policy.budget
    # Where a false stop costs next to nothing more of them are bought, and the other way round.
    assert budgets["dear"] < QUICK.budget < budgets["cheap"] <= 4 * QUICK.budget


def test_what_each_budget_costs_is_told_and_where_the_cheapest_may_not_be_among_them() -> None:
    tuned = tune_plan(studied(), replace(QUICK, prices=DEAR_STOPS))
    (policy,) = tuned.policies
    costs = {each.budget: each.cost.value for each in policy.priced}
    assert min(costs, key=costs.__getitem__) == policy.budget == min(costs)
    assert all(each.cost.low < each.cost.value < each.cost.high and each.cost.n == LANES for each in policy.priced)
    # Half the rollouts are harmless, and the lanes of a budget are used up on lanes A as far as they go.
    assert costs[QUICK.budget] <= 0.5 * 1e6 * QUICK.budget + 1
    shown = printed(tuned)
    assert "less was not compared" in shown
    assert "more was not compared" not in shown
    assert "expected cost of a rollout, by budget" in shown


def printed(tuned: TuneResult) -> str:
    console = Console(width=200)
    with console.capture() as shown:
        print_tuning(tuned, console)
    return shown.get()


def test_what_is_tried_twice_is_one_candidate() -> None:
    made = studied([{"name": "cusum", "guardrails": [CUSUM]}])
    (policy,) = tune_plan(made, replace(QUICK, tries=(f"{PLACE}.k=[0.5, 0.5, 0.25]",))).policies
    assert policy.tried == 2


def test_a_budget_that_the_lanes_cannot_vouch_for_is_not_the_cheapest() -> None:
    (policy,) = tune_plan(studied(), replace(QUICK, prices=DEAR_STOPS)).policies
    assert not policy.reason
    assert policy.budget == QUICK.budget / 4, "60 lanes cannot vouch for an eighth of it"


def test_what_is_likely_weighs_the_harm_that_is_compared() -> None:
    tuning = _Tuning(studied(), replace(QUICK, likely={"small": 3.0, "worse": 1.0}), 0.2, LANES)
    lanes = [np.array([5.0, 15.0]), np.array([40.0, 60.0])]
    assert tuning._together(lanes).tolist() == [13.75, 26.25]
    assert _Tuning(studied(), QUICK, 0.2, LANES)._together(lanes).tolist() == [40.0, 60.0]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"likely": {"smal": 1.0}}, "no scenario 'smal'"),
        ({"likely": {"small": -1.0}}, "cannot be below 0"),
        ({"likely": {"small": 0.0}}, "nor all of it 0"),
        ({"prices": Prices(1.0, -1.0, 0.5)}, "prices cannot be below 0"),
        ({"prices": Prices(1.0, 1.0, 1.0)}, "between 0 and 1"),
        ({"prices": Prices(0.0, 0.0, 0.5)}, "nor both 0"),
        ({"prices": Prices(np.inf, 1.0, 0.5)}, "without bound"),
        ({"likely": {"small": np.inf}}, "without bound"),
        ({"policies": ("smal",)}, "no policy 'smal'"),
    ],
)
def test_weights_and_prices_that_mean_nothing_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(SimlabError, match=problem):
        tune_plan(studied(), replace(QUICK, **options))
