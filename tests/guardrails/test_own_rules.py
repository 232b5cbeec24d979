"""Rules made of one's own code: the same alarms as the catalogue's, states that are never changed, failures with their place."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest

from simlab.errors import OwnRuleError, RuleError, UnitError
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Code, Look
from simlab.guardrails.own_rules import OwnEntry, OwnRule, check_portable, own_rule, register
from simlab.guardrails.policy import Policy
from simlab.guardrails.rule import Rule, Takes
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.signal import Signal
from tests.looks import MINUTE, assert_same_decisions, codes, level, make_look, random_looks, run, run_from, start
from tests.own_code import (
    ObjectCusum,
    Sums,
    dividing,
    lanes_cusum,
    leaving,
    mean_after_three,
    of_another_shape,
    only_the_statistic,
    stream_cusum,
)

COMPARED = Signal(watch="m", compare="difference", by="segment", min_count=20)
CUSUM = Cusum(k=0.5, h=2)
THREE_WAYS = [
    own_rule(ObjectCusum, threshold=2),
    own_rule(partial(ObjectCusum, k=0.5), threshold=2),
    own_rule(stream_cusum, threshold=2, start=0.0),
    own_rule(lanes_cusum, threshold=2, over="lanes", start=Sums(0.0, 0.0)),  # type: ignore[arg-type]
]


def looks() -> list[Look]:
    return random_looks(11, count=40, lanes=8)


@pytest.mark.parametrize("rule", THREE_WAYS, ids=["class", "partial", "stream", "lanes"])
def test_a_cusum_of_ones_own_answers_as_the_catalogue_does(rule: Rule) -> None:
    assert isinstance(rule, Rule)
    own, ours = (run(Guardrail(COMPARED, each, MINUTE), looks()) for each in (rule, CUSUM))
    assert_same_decisions(own, ours)
    assert any((decision.code == Code.ALARM).any() for decision in own)


@pytest.mark.parametrize("rule", [*THREE_WAYS, own_rule(mean_after_three, threshold=1, start=[])])
def test_a_state_is_never_changed_and_goes_on_after_a_restart(rule: Rule) -> None:
    guardrail = Guardrail(COMPARED, rule, MINUTE)
    state = start(guardrail, looks()[0])
    for look in looks()[:20]:
        state, _ = guardrail.step(state, look)
    before = pickle.dumps(state)
    onward = run_from(state, guardrail, looks()[20:])
    assert pickle.dumps(state) == before
    again, resumed = pickle.loads(pickle.dumps(guardrail)), pickle.loads(before)
    assert_same_decisions(run_from(resumed, again, looks()[20:]), onward)


def test_a_rule_that_learns_keeps_what_it_has_seen() -> None:
    guardrail = Guardrail(
        Signal(watch="m", of="everyone"), own_rule(mean_after_three, threshold=2, takes="level", start=[]), MINUTE
    )
    seen = [make_look(level([value, 9.0])) for value in (1.0, 2.0, 2.9, 2.1)]
    assert codes(run(guardrail, seen)) == [[2, 2], [2, 2], [0, 1], [1, 1]]


def test_a_first_state_may_be_made_for_all_lanes_and_lanes_start_apart() -> None:
    def begun(streams: int, lanes: int) -> np.ndarray:
        return np.arange(lanes, dtype=float) * np.ones((streams, 1))

    def adding(state: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        state += x  # the rule is given a copy
        return state, state

    guardrail = Guardrail(
        Signal(watch="m", of="everyone"), own_rule(adding, threshold=3, takes=Takes.LEVEL, over="lanes", start=begun), MINUTE
    )
    assert codes(run(guardrail, [make_look(level([1.0, 1.0, 1.0]))] * 2)) == [[0, 0, 1], [0, 1, 1]]


@pytest.mark.parametrize(
    ("rule", "tick", "problem"),
    [
        (own_rule(dividing, threshold=9, takes="level", start=0), 3, "ZeroDivisionError"),
        (own_rule(leaving, threshold=9, takes="level"), 1, "SystemExit"),
        (own_rule(only_the_statistic, threshold=9, takes="level"), 1, "it must return (state, statistic), not 1.0"),
        (own_rule(of_another_shape, threshold=9, takes="level", over="lanes"), 1, "must have the shape of x, (1, 1), not ()"),
    ],
)
def test_code_that_fails_is_told_with_policy_rule_and_tick(rule: Any, tick: int, problem: str) -> None:
    policy = Policy("mine", (Guardrail(Signal(watch="m", of="everyone"), rule, MINUTE),))

    def watch() -> None:
        state = policy.initial(1, 1)
        for time in range(1, 5):
            state, _ = policy.step(state, {1: make_look(level(1.0), time=time)})

    with pytest.raises(RuleError) as raised:
        watch()
    assert str(raised.value).startswith(f"policy 'mine': the rule '{rule.key}' failed at tick {tick}: ")
    assert problem in str(raised.value)
    assert raised.value.exit_code == 4


def test_code_that_fails_before_its_first_look_is_told_too() -> None:
    policy = Policy("mine", (Guardrail(COMPARED, own_rule(partial(ObjectCusum, no=1), threshold=2), MINUTE),))
    with pytest.raises(RuleError, match=r"policy 'mine': the rule 'ObjectCusum' failed before its first look: TypeError"):
        policy.initial(1, 1)


@pytest.mark.parametrize(
    ("code", "how", "problem"),
    [
        (3, {}, "made of a class or a function, not of 3"),
        (Sums, {}, "objects of Sums have no update"),
        (Cusum, {}, "Cusum follows the whole contract of a rule"),
        (ObjectCusum, {"over": "lanes"}, "judge one stream"),
        (ObjectCusum, {"start": 0.0}, "judge one stream"),
        (stream_cusum, {"takes": "arm counts"}, "not 'arm counts': for counts, follow the whole contract"),
    ],
)
def test_what_no_rule_can_be_made_of(code: Any, how: dict[str, Any], problem: str) -> None:
    with pytest.raises(OwnRuleError, match=problem):
        own_rule(code, threshold=1, **how)


def test_a_file_names_only_what_is_registered() -> None:
    register("mine", THREE_WAYS[0])
    assert OwnEntry(name="mine").rule == THREE_WAYS[0]
    assert OwnEntry(name="mine", threshold=7.0).rule.threshold == 7
    register("ours", CUSUM)
    assert OwnEntry(name="ours").rule is CUSUM
    with pytest.raises(UnitError, match="'ours' has settings of its own"):
        OwnEntry(name="ours", threshold=7.0)
    with pytest.raises(UnitError, match=r"no rule is registered as 'other' \(there is: .*mine, ours"):
        OwnEntry(name="other")
    with pytest.raises(OwnRuleError, match="is not a rule"):
        register("none", stream_cusum)  # type: ignore[arg-type]


def test_what_it_stands_for_changes_with_settings_and_code() -> None:
    register("mine", own_rule(stream_cusum, threshold=2, start=0.0))
    words = OwnEntry(name="mine").words
    assert "tests.own_code:stream_cusum" in words
    assert OwnEntry(name="mine", threshold=3.0).words != words
    register("mine", own_rule(dividing, threshold=2, start=0.0))
    assert OwnEntry(name="mine").words != words


def test_only_what_another_process_can_import_is_portable(monkeypatch: pytest.MonkeyPatch) -> None:
    check_portable([*THREE_WAYS, CUSUM])
    with pytest.raises(OwnRuleError, match=r"the rule '<lambda>' cannot be given to another process: .*top level of a module"):
        check_portable([own_rule(lambda state, x: (state, x), threshold=1)])
    typed = copy.copy(THREE_WAYS[2])
    assert isinstance(typed, OwnRule)
    monkeypatch.setattr(stream_cusum, "__module__", "__main__")
    monkeypatch.delattr("__main__.__file__", raising=False)
    monkeypatch.setattr("__main__.stream_cusum", stream_cusum, raising=False)
    with pytest.raises(OwnRuleError, match="typed in, so no file holds it"):
        check_portable([own_rule(stream_cusum, threshold=1)])
