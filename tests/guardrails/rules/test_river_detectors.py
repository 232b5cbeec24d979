"""ADWIN and KSWIN: river's own alarms, states that are never changed, and a clear word where river is not installed."""

from __future__ import annotations

import builtins
import pickle
from typing import Any

import numpy as np
import pytest

from simlab.catalogue import list_of_rules, page_of
from simlab.errors import EXIT_RULE_FAILED, RuleError, UnitError
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Code, Floats
from simlab.guardrails.rule import Rule, choose
from simlab.guardrails.rules.adwin import Adwin
from simlab.guardrails.rules.kswin import Kswin
from simlab.guardrails.signal import Signal
from tests.guardrails.rules.contract import run_all, seen
from tests.looks import MINUTE, codes, level, make_look, run
from tests.worlds import plan

RULES: dict[str, Rule] = {"adwin": Adwin(clock=4), "kswin": Kswin(window_size=40, stat_size=15, alpha=0.001)}
each_rule = pytest.mark.parametrize("name", RULES)


def series(shift: float, *, looks: int = 160, lanes: int = 3, seed: int = 1) -> Floats:
    """Return levels that shift half way, float64[looks, 1 stream, lanes]."""
    found = np.random.default_rng(seed).normal(0.3, 0.05, size=(looks, 1, lanes))
    found[looks // 2 :] += shift
    return found


def statistics(made: Rule, values: Floats) -> Floats:
    return run_all(made, [seen(row, time=time) for time, row in enumerate(values, start=1)])


# -- with river ----------------------------------------------------------------------------------------------------------


@each_rule
def test_alarms_come_when_river_has_them(name: str) -> None:
    drift = pytest.importorskip("river.drift")
    values = series(0.3)
    found = statistics(RULES[name], values)
    assert set(np.unique(found)) == {0.0, 1.0}
    if name == "kswin":
        # Its draws are its own; the change is found all the same, and soon.
        assert ((found[80:].argmax(axis=0) < 30) & found[80:].any(axis=0)).all()
        return
    for lane in range(3):
        detector = drift.ADWIN(clock=4)
        theirs = []
        for value in values[:, 0, lane]:
            detector.update(float(value))
            theirs.append(float(detector.drift_detected))
        assert found[:, 0, lane].tolist() == theirs


def test_kswin_is_river_s_with_a_seed_of_its_own() -> None:
    drift = pytest.importorskip("river.drift")
    made, values = Kswin(window_size=40, stat_size=15), series(0.02)
    detectors = [drift.KSWIN(window_size=40, stat_size=15, seed=_seed_of(lane)) for lane in range(3)]
    theirs = np.zeros(values.shape)
    for look, row in enumerate(values[:, 0]):
        for lane, value in enumerate(row):
            detectors[lane].update(float(value))
            theirs[look, 0, lane] = detectors[lane].drift_detected
    np.testing.assert_array_equal(statistics(made, values), theirs)


def _seed_of(lane: int) -> int:
    # Keyed by the seed of the looks, 7, the stream and the lane.
    return int(np.random.SeedSequence([7, 0, lane]).generate_state(1)[0])


@each_rule
@pytest.mark.parametrize(("shift", "worse"), [(0.4, True), (-0.4, False)])
def test_the_direction_is_that_of_the_mean(name: str, shift: float, worse: bool) -> None:
    pytest.importorskip("river")
    made = RULES[name]
    state, said = made.initial(1, 3, every=MINUTE), []
    for row in series(shift):
        state, statistic, direction = made.update(state, seen(row))
        said += np.asarray(direction)[statistic == 1.0].tolist()
    assert said
    assert set(said) == {worse}


@each_rule
def test_lanes_and_streams_are_alone_and_the_state_survives(name: str) -> None:
    pytest.importorskip("river")
    made = RULES[name]
    values = np.concatenate([series(0.3), series(0.1, seed=2)], axis=1)
    together = statistics(made, values)
    looks = [seen(row, time=time) for time, row in enumerate(values)]
    state = made.initial(2, 3, every=MINUTE)
    for index, look in enumerate(looks):
        if index == 90:
            stored = pickle.loads(pickle.dumps(state))
            branch = state
        state, statistic, _ = made.update(state, look)
        np.testing.assert_array_equal(statistic, together[index])
    # Neither the updates since nor those of a stored copy have moved what was before.
    for state in (stored, branch):
        now = state
        for index, look in enumerate(looks[90:], start=90):
            now, statistic, _ = made.update(now, look)
            np.testing.assert_array_equal(statistic, together[index])


@each_rule
def test_a_lane_put_back_to_its_start_begins_again(name: str) -> None:
    pytest.importorskip("river")
    made, values = RULES[name], series(0.3)
    state = initial = made.initial(1, 3, every=MINUTE)
    for row in values[:70]:
        state, _, _ = made.update(state, seen(row))
    state = choose(np.array([True, False, False]), initial, state)
    afresh, whole = statistics(made, values[70:]), statistics(made, values)[70:]
    for index, row in enumerate(values[70:]):
        state, statistic, _ = made.update(state, seen(row))
        assert statistic[0].tolist() == [afresh[index, 0, 0], *whole[index, 0, 1:]]


@each_rule
def test_what_is_missing_or_not_finite_is_left_out(name: str) -> None:
    pytest.importorskip("river")
    made, values = RULES[name], series(0.3, lanes=1)
    broken = np.insert(values, [5, 50, 90], [[[np.nan]], [[np.inf]], [[-np.inf]]], axis=0)
    found = statistics(made, broken)
    gone = ~np.isfinite(broken[:, 0, 0])
    assert np.isnan(found[gone]).all()
    np.testing.assert_array_equal(found[~gone], statistics(made, values))
    assert not statistics(made, np.full((200, 1, 1), 0.3)).any()


@each_rule
def test_a_guardrail_alarms_for_one_look(name: str) -> None:
    pytest.importorskip("river")
    guardrail = Guardrail(Signal(watch="m", of="everyone"), RULES[name], MINUTE)
    values = series(0.5, lanes=1)[:, 0, 0]
    found = [
        code for (code,) in codes(run(guardrail, [make_look(level(each), time=t) for t, each in enumerate(values, start=1)]))
    ]
    assert found.count(Code.ALARM) == 1
    assert found.index(Code.ALARM) > 80


# -- without ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_river(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **named: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == "river":
            raise ImportError("No module named 'river'")
        return real(name, *args, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.usefixtures("no_river")
@each_rule
def test_without_river_it_says_what_to_install(name: str) -> None:
    with pytest.raises(RuleError, match=rf"the rule '{name}' needs the library river: pip install \"simlab\[river\]\"") as raised:
        RULES[name].initial(1, 1, every=MINUTE)
    assert raised.value.exit_code == EXIT_RULE_FAILED


@pytest.mark.usefixtures("no_river")
def test_without_river_a_study_ends_before_it_begins() -> None:
    entry = {"watch": "errors", "of": "everyone", "rule": {"adwin": {}}, "every": "5m"}
    with pytest.raises(RuleError, match="the rule 'adwin' needs the library river"):
        plan(policies=[{"name": "it", "guardrails": [entry]}])


@pytest.mark.usefixtures("no_river")
def test_without_river_they_are_listed_with_what_they_need() -> None:
    listed = {line.split("\t")[0]: line for line in list_of_rules().splitlines()}
    for name in RULES:
        assert listed[name].endswith("; needs simlab[river]")
        assert "needs simlab[river]" in page_of(name)
    assert "needs" not in listed["cusum"]


def test_a_window_must_hold_both_samples() -> None:
    with pytest.raises(UnitError, match="stat_size 30 must be at most half of window_size, 50"):
        Kswin(window_size=50)
