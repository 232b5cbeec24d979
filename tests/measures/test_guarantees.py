"""A guarantee is told with what breaks it in the scenario, and applies where nothing does."""

from __future__ import annotations

from typing import Any

import pytest

from simlab.guardrails.rule import Assumption, Guarantee
from simlab.guardrails.rules.sample_ratio import SampleRatio
from simlab.measures.guarantees import GuaranteeCheck, check_guarantees
from tests.worlds import SCENARIO, changed, plan

PLAIN = changed(
    SCENARIO,
    metrics={
        "errors": {"kind": "proportion", "per": "request", "normal": "2%"},
        "latency": SCENARIO["metrics"]["latency"],
    },
)


def check(world: dict[str, Any], **watch: Any) -> GuaranteeCheck:
    made = plan(scenarios=[world], policies=[{"name": "p", "guardrails": [{"every": "5m", **watch}]}])
    setting = made.settings[0]
    return check_guarantees(setting.policies, setting.scenario)[0]


COMPARED = {"watch": "errors", "compare": "difference"}
Z = {**COMPARED, "rule": {"repeated_z": {"looks": 144}}}
SRM = {"compare": "shares", "rule": {"srm": {}}}
PEOPLE = {"users": {**SCENARIO["users"], "count": 500, "detail": "individual"}}


def test_it_applies_where_nothing_breaks_it() -> None:
    assert check(PLAIN, **Z).verdict == "applies as samples grow"
    assert check(PLAIN, compare="shares", rule={"srm": {}}).verdict == "applies"
    assert check(PLAIN, **COMPARED, rule={"fixed_horizon": {"looks": 144}}).verdict == "applies as samples grow"
    assert check(PLAIN, **COMPARED, rule={"asymptotic_cs": {"start": 30}}).verdict == "applies as samples grow"


def test_a_rule_that_promises_nothing_says_so() -> None:
    assert check(PLAIN, **COMPARED, rule={"cusum": {}}).verdict == "no guarantee"


@pytest.mark.parametrize(
    ("world", "watch", "reason"),
    [
        (SCENARIO, Z, "request-level variance with returning users"),
        (PLAIN, {**Z, "over": "15m"}, "looks share data through their window"),
        (PLAIN, {**COMPARED, "rule": {"repeated_z": {}}}, "it may look 144 times and was planned for 1"),
        (PLAIN, {**COMPARED, "rule": {"msprt": {}}}, "the variance is estimated from the data (plug-in)"),
        (PLAIN, {**COMPARED, "rule": {"pocock": {"looks": 144}}}, "looks carry unequal information"),
        (PLAIN, {**COMPARED, "rule": {"fixed_horizon": {"looks": 145}}}, "it can look 144 times only and was planned for 145"),
        (
            PLAIN,
            {**COMPARED, "rule": {"asymptotic_cs": {"start": 29}}},
            "it judges before look 30, when the spread is hardly known",
        ),
        (PLAIN, {**Z, "on_unknown": "alarm"}, "what is unknown alarms"),
        (
            changed(PLAIN, telemetry={"shield": {"epsilon": 1.0}}),
            Z,
            "the noise that shields people is not in the variance that the rule knows",
        ),
        (changed(PLAIN, telemetry={"duplicated": "1%"}), Z, "records that come twice count as two"),
        (changed(PLAIN, telemetry={"lost_in": {"treatment": "1%"}}), SRM, "telemetry loses more in one arm"),
        (
            changed(PLAIN, telemetry={"clock_skew": {"control": "5m"}}),
            Z,
            "the clocks of the arms differ, so that other moments are compared",
        ),
        (
            changed(
                PLAIN, **PEOPLE, experiments=[{"name": "x", "salt": "rollout", "steps": [{"expose": "50%", "soak": "rest"}]}]
            ),
            Z,
            "the experiment x shares the salt, and looks like an effect",
        ),
    ],
)
def test_what_breaks_it_is_named(world: dict[str, Any], watch: dict[str, Any], reason: str) -> None:
    found = check(world, **watch)
    assert found.verdict.startswith("not applicable: ")
    assert reason in found.verdict


def test_a_constant_ratio_does_not_outlive_a_ramp_that_moves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    constant = Guarantee("holds at one ratio", (Assumption.CONSTANT_SHARES,), exact=True)
    monkeypatch.setattr(SampleRatio, "guarantee", constant)
    watch = {"compare": "shares", "rule": {"srm": {}}}
    the_rest = changed(PLAIN, rollout={**SCENARIO["rollout"], "control": "the_rest"})
    assert "the ramp moves the ratio of the arms" in check(the_rest, **watch).verdict
    assert check(PLAIN, **watch).verdict == "applies"


def of_policy(guardrails: list[dict[str, Any]], **how: Any) -> tuple[GuaranteeCheck, ...]:
    """Return the checks of a policy in a scenario whose users do not return."""
    held = [{"every": "5m", **each} for each in guardrails]
    setting = plan(scenarios=[PLAIN], policies=[{"name": "p", "guardrails": held, **how}]).settings[0]
    return tuple(each for each in check_guarantees(setting.policies, setting.scenario) if each.policy == "p")


COUNTS = {**COMPARED, "rule": {"canary_counts": {}}}
SRM = {"compare": "shares", "rule": {"srm": {}}}


@pytest.mark.parametrize("share", ["mean_e", "e_bh"])
def test_merged_evidence_has_one_guarantee_of_the_policy(share: str) -> None:
    (found,) = of_policy([COUNTS, SRM], budget="5%", share=share)
    assert (found.guardrail, found.rule, found.verdict) == (-1, share, "applies")
    assert found.claim.startswith("alarms with probability at most 0.05 when all is well however often it looks")
    assert ("at most 0.05 are expected false" in found.claim) == (share == "e_bh")


def test_a_divided_budget_adds_up_the_claims_of_every_stream() -> None:
    whole, counts, srm = of_policy([{**COUNTS, "by": "segment"}, SRM], budget="6%")
    assert (whole.guardrail, whole.rule, whole.verdict) == (-1, "bonferroni", "applies")
    assert whole.claim == "alarms with probability at most 0.06 when all is well if every guardrail keeps its own claim"
    assert counts.claim == "for each of its 2 streams: alarms with probability at most 0.02 however often it looks"
    assert srm.claim == "alarms with probability at most 0.02 however often it looks"


@pytest.mark.parametrize(
    ("guardrails", "reason"),
    [
        ([COUNTS, {**SRM, "every": "10m"}], "guardrails look at different times"),
        ([{**COMPARED, "rule": {"msprt": {}}, "min_count": 50}, SRM], "data that wait for their minimum count"),
        ([{**COMPARED, "rule": {"msprt": {}}}, SRM], "the variance is estimated from the data"),
    ],
)
def test_what_breaks_merged_evidence_is_named(guardrails: list[dict[str, Any]], reason: str) -> None:
    (found,) = of_policy(guardrails, budget="5%", share="mean_e")
    assert found.verdict.startswith("not applicable: ")
    assert reason in found.verdict


def test_without_a_budget_there_is_no_promise_of_the_policy() -> None:
    assert [each.guardrail for each in of_policy([COUNTS, SRM])] == [0, 1]
    assert [each.guardrail for each in of_policy([COUNTS, SRM], combine={"k_of_n": 2})] == [0, 1]
