"""Policies as files write them: how they combine and share a budget, every mistake with its place, and what the engine makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simlab.engine import Block, simulate
from simlab.errors import FileErrors
from simlab.guardrails.policy import Joined
from tests.worlds import CUSUM, SCENARIO, changed, plan

EVIDENCE = {**CUSUM, "rule": {"msprt": {}}}
QUICK = {**CUSUM, "by": None, "rule": {"shewhart": {"sigmas": 1.5, "sides": 1}}}
QUICK = {key: value for key, value in QUICK.items() if value is not None}


def of(guardrails: list[dict[str, Any]] | None = None, **how: Any) -> Any:
    return plan(policies=[{"name": "p", "guardrails": guardrails or [CUSUM, CUSUM], **how}])


@pytest.mark.parametrize(
    ("combine", "expected"),
    [("any", "any"), ({"k_of_n": 2}, Joined(k_of_n=2)), ({"critical": 1}, Joined(critical=1))],
)
def test_ways_to_combine(combine: Any, expected: Any) -> None:
    guardrails = [{**CUSUM, "critical": True}, CUSUM] if combine == {"critical": 1} else [CUSUM, CUSUM]
    policy = of(guardrails, combine=combine).settings[0].policies[0]
    assert policy.combine == expected
    assert [each.critical for each in policy.guardrails] == [combine == {"critical": 1}, False]


@pytest.mark.parametrize(
    ("guardrails", "how", "mistakes"),
    [
        (None, {"combine": "both"}, ["error[not-a-choice]: policies[0].combine: must be one of 'any', not 'both'"]),
        (None, {"combine": {"k": 2}}, ["error[unknown-key]: policies[0].combine.k: unknown key"]),
        (None, {"combine": {"k_of_n": 0}}, ["error[bound]: policies[0].combine.k_of_n: must be at least 1, not 0"]),
        (None, {"combine": {}}, ["error[unit]: policies[0].combine: must say either k_of_n or critical"]),
        (None, {"combine": {"k_of_n": 3}}, ["error[combine]: policies[0].combine: asks for 3 of 2 guardrails"]),
        (None, {"combine": {"critical": 1}}, ["error[combine]: policies[0].combine: no guardrail is critical"]),
        (
            [{**CUSUM, "critical": True}, CUSUM],
            {"combine": {"critical": 2}},
            ["error[combine]: policies[0].combine: asks for 2 of 1 guardrails that are not critical"],
        ),
        ([{**CUSUM, "critical": True}], {}, ["error[combine]: policies[0]: a guardrail is critical, which says nothing unless"]),
        ([EVIDENCE], {"share": "e_bh"}, ["error[budget]: policies[0].share: e_bh needs a budget to share"]),
        (
            [EVIDENCE, {**CUSUM, "rule": {"repeated_z": {}}}],
            {"share": "mean_e", "budget": "5%"},
            ["error[budget]: policies[0].guardrails[1].rule: repeated_z has no e-value that mean_e could merge"],
        ),
        (
            [{**CUSUM, "rule": {"haybittle_peto": {"looks": 20}}}],
            {"budget": "2%"},
            ["error[budget]: policies[0].guardrails[0].rule: haybittle_peto cannot have 0.01 of the budget: early 3 is too low"],
        ),
        ([EVIDENCE], {"budget": "60%"}, ["error[bound]: policies[0].budget: must be less than 0.5, not '60%'"]),
        ([EVIDENCE], {"share": "holm", "budget": "5%"}, ["error[not-a-choice]: policies[0].share: must be one of"]),
    ],
)
def test_every_mistake_has_its_place(guardrails: Any, how: dict[str, Any], mistakes: list[str]) -> None:
    with pytest.raises(FileErrors) as raised:
        of(guardrails, **how)
    told = [line for line in str(raised.value).splitlines() if "error[" in line]
    assert len(told) == len(mistakes)
    for line, mistake in zip(told, mistakes, strict=True):
        assert mistake in line


def test_merged_evidence_gives_each_rule_the_whole_budget() -> None:
    for share, parts in (("bonferroni", 4), ("e_bh", 1), ("mean_e", 1)):
        policy = of([EVIDENCE, EVIDENCE], budget="8%", share=share).settings[0].policies[0]
        assert (policy.share, policy.budget) == (share, 0.08)
        assert [each.rule.alpha for each in policy.guardrails] == [pytest.approx(0.08 / parts)] * 2


def outcomes(combine: Any, *guardrails: dict[str, Any], **scenario: Any) -> dict[str, np.ndarray]:
    made = plan(
        scenarios=[changed(SCENARIO, **scenario)], policies=[{"name": "p", "guardrails": list(guardrails), "combine": combine}]
    )
    rows = simulate(made, Block(0, 0, 80)).rows
    mine = (rows["policy"] == "p") & ~rows["harmed"]
    return {name: values[mine] for name, values in rows.items()}


def test_more_that_must_join_act_later_and_with_their_own_response() -> None:
    hasty = {**QUICK, "respond": "pause"}
    other = {**QUICK, "watch": "latency", "respond": "rollback"}
    alone, both = outcomes("any", hasty, other), outcomes({"k_of_n": 2}, hasty, other)

    def first(rows: dict[str, np.ndarray]) -> np.ndarray:
        return np.where(rows["action_time"] < 0, np.inf, rows["action_time"])

    assert (first(both) >= first(alone)).all()
    assert (first(both) > first(alone)).any()
    # Where two alarm at once, the stronger response is on record, with the guardrail whose it is.
    acted = both["action_time"] >= 0
    assert acted.any()
    assert set(both["guardrail"][acted].tolist()) == {1}
    assert set(both["action"][acted].tolist()) == {3}


def test_a_critical_one_acts_as_if_it_were_alone() -> None:
    critical = {**QUICK, "critical": True}
    chatty = {**QUICK, "watch": "latency", "respond": "pause"}
    alone, with_others = outcomes("any", QUICK), outcomes({"critical": 2}, critical, chatty, {**CUSUM, "rule": {"never": {}}})
    np.testing.assert_array_equal(alone["action_time"], with_others["action_time"])
    assert set(with_others["guardrail"].tolist()) == {0}


def test_what_is_unknown_holds_the_ramp_however_alarms_combine() -> None:
    # The second guardrail never has enough data, so it is never judged.
    never = {**CUSUM, "min_count": 10**9}
    for combine in ("any", {"k_of_n": 2}):
        rows = outcomes(combine, {**CUSUM, "rule": {"never": {}}}, never)
        assert (rows["completed_time"] == -1).all()
        assert (rows["action_time"] == -1).all()
