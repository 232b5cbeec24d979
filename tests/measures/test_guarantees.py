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


def test_it_applies_where_nothing_breaks_it() -> None:
    assert check(PLAIN, **Z).verdict == "applies as samples grow"
    assert check(PLAIN, compare="shares", rule={"srm": {}}).verdict == "applies"


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
        (PLAIN, {"watch": "latency", "of": "everyone", "rule": {"betting": {"m": 0.5}}}, "durations are not bounded"),
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
