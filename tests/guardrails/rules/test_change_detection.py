"""What every rule of change detection must keep: lanes and streams alone, state untouched, no number in is no number out."""

from __future__ import annotations

import doctest
import importlib
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlab.guardrails.look import Bools, Floats
from simlab.guardrails.rule import Observation, Rule, State, Step, Takes, choose
from simlab.rule_from import rule
from tests.looks import MINUTE, observation, statistics

SETTINGS: dict[str, dict[str, Any]] = {
    "cusum one-sided": {"cusum": {"k": 0.5, "h": 4}},
    "cusum head start": {"cusum": {"k": 0.5, "h": 4, "sides": 2, "head_start": 2}},
    "ewma": {"ewma": {"lambda": 0.25, "L": 3}},
    "ewma one-sided": {"ewma": {"lambda": 0.25, "L": 3, "sides": 1}},
    "ewma exact": {"ewma": {"lambda": 0.1, "L": 2.8, "exact_limits": True}},
    "shewhart": {"shewhart": {"sigmas": 3}},
    "shewhart one-sided": {"shewhart": {"sigmas": 3, "sides": 1}},
    "shiryaev_roberts": {"shiryaev_roberts": {"theta": 1, "A": 500}},
    "page_hinkley": {"page_hinkley": {"delta": 0.1, "lambda": 5, "min_looks": 3}},
    "page_hinkley two-sided": {"page_hinkley": {"delta": 0.1, "lambda": 5, "sides": 2, "fading": 0.99}},
    "glr": {"glr": {"threshold": 10, "window": 7}},
    "glr one-sided": {"glr": {"threshold": 10, "window": 7, "sides": 1}},
    "focus": {"focus": {"threshold": 10}},
    "focus one-sided": {"focus": {"threshold": 10, "sides": 1}},
    "bocpd": {"bocpd": {"hazard": 0.01, "w": 3, "longest": 12}},
    "e_sr": {"e_sr": {"theta": 1}},
    "e_cusum": {"e_cusum": {"theta": 1}},
    "e_sr levels": {"e_sr": {"p0": 0.2, "p1": 0.4}},
    "e_cusum levels": {"e_cusum": {"p0": 0.2, "p1": 0.4}},
}
# Raising every observation can lower a statistic that has two sides or learns its baseline.
RISING = [name for name in SETTINGS if "one-sided" in name or name.startswith(("shiryaev", "e_"))]
MODULES = ("cusum", "ewma", "shewhart", "shiryaev_roberts", "page_hinkley", "glr", "focus", "bocpd", "e_detectors")

each_rule = pytest.mark.parametrize("name", list(SETTINGS))


def noise(made: Rule, *, looks: int, lanes: int, seed: int) -> Floats:
    """Return observations of the kind that the rule takes, float64[looks, lanes]; levels lie in [0, 1]."""
    generator = np.random.default_rng(seed)
    return generator.random((looks, lanes)) if made.takes is Takes.LEVEL else generator.normal(0.3, 1.0, (looks, lanes))


def of_lanes(state: State, which: Bools | slice) -> State:
    if isinstance(state, tuple):
        return type(state)(*(of_lanes(each, which) for each in state))
    return None if state is None else state[..., which]


def arrays(state: State) -> list[Any]:
    if isinstance(state, tuple):
        return [array for each in state for array in arrays(each)]
    return [] if state is None else [state]


def block(values: Floats, *, time: int) -> Observation:
    """Return what a rule sees of values [streams, lanes]."""
    ones = np.ones_like(values)
    return Observation(values, ones, None, None, ones > 0, time, np.arange(values.shape[1]), 7)


def first_alarm(made: Rule, *, shift: float) -> Step:
    """Return the step that alarms, or the last, of a quiet stream that shifts after 30 looks."""
    step = Step(made.initial(1, 1, every=MINUTE), np.zeros((1, 1)), worse=False)
    for value in [0.0] * 30 + [shift] * 40:
        step = made.update(step.state, observation([value]))
        if step.statistic[0, 0] >= made.threshold:
            break
    return step


@each_rule
def test_lanes_together_are_lanes_alone(name: str) -> None:
    made = rule(SETTINGS[name])
    series = noise(made, looks=60, lanes=37, seed=1)
    together = statistics(made, series)
    for lane in range(0, 37, 4):
        np.testing.assert_array_equal(together[:, [lane]], statistics(made, series[:, [lane]]))


@each_rule
def test_streams_together_are_streams_alone(name: str) -> None:
    made = rule(SETTINGS[name])
    series = noise(made, looks=40, lanes=6, seed=2).reshape(40, 3, 2)
    state = made.initial(3, 2, every=MINUTE)
    found = np.empty_like(series)
    for time, values in enumerate(series):
        state, found[time], _ = made.update(state, block(values, time=time))
    for stream in range(3):
        np.testing.assert_array_equal(found[:, stream], statistics(made, series[:, stream]))


@each_rule
def test_a_state_that_was_sliced_and_stored_goes_on_the_same(name: str) -> None:
    made = rule(SETTINGS[name])
    series = noise(made, looks=50, lanes=4, seed=3)
    whole = statistics(made, series)
    state = made.initial(1, 4, every=MINUTE)
    for row in series[:20]:
        state, _, _ = made.update(state, observation(row))
    state = pickle.loads(pickle.dumps(of_lanes(state, np.array([False, True, False, True]))))
    for row, expected in zip(series[20:, [1, 3]], whole[20:, [1, 3]], strict=True):
        state, statistic, _ = made.update(state, observation(row))
        np.testing.assert_array_equal(statistic[0], expected)


@each_rule
def test_the_state_is_not_changed_and_keeps_its_shape(name: str) -> None:
    made = rule(SETTINGS[name])
    state = made.initial(2, 3, every=MINUTE)
    for time, values in enumerate(noise(made, looks=40, lanes=6, seed=4).reshape(40, 2, 3)):
        before = [array.copy() for array in arrays(state)]
        for array in arrays(state):
            array.flags.writeable = False
            assert array.shape[-2:] == (2, 3)
        new, statistic, _ = made.update(state, block(values, time=time))
        assert statistic.shape == (2, 3)
        for old, array, kept in zip(before, arrays(state), arrays(new), strict=True):
            np.testing.assert_array_equal(array, old)
            assert kept.shape == array.shape
        state = new


@each_rule
def test_lanes_can_be_reset_one_by_one(name: str) -> None:
    made = rule(SETTINGS[name])
    series = noise(made, looks=30, lanes=2, seed=5)
    state = made.initial(1, 2, every=MINUTE)
    for row in series[:10]:
        state, _, _ = made.update(state, observation(row))
    state = choose(np.array([True, False]), made.initial(1, 2, every=MINUTE), state)
    afresh = statistics(made, series[10:])
    whole = statistics(made, series)
    for index, row in enumerate(series[10:]):
        state, statistic, _ = made.update(state, observation(row))
        assert statistic[0].tolist() == [afresh[index, 0], whole[10 + index, 1]]


@each_rule
@pytest.mark.parametrize("looks_before", [0, 5])
def test_no_number_in_is_no_number_out(name: str, looks_before: int) -> None:
    made = rule(SETTINGS[name])
    state = made.initial(1, 2, every=MINUTE)
    for row in noise(made, looks=looks_before, lanes=2, seed=6):
        state, _, _ = made.update(state, observation(row))
    with np.errstate(invalid="ignore"):
        _, statistic, _ = made.update(state, observation([np.nan, 0.5]))
    assert np.isnan(statistic[0]).tolist() == [True, False]


@each_rule
def test_a_constant_stream_of_no_shift_never_alarms(name: str) -> None:
    made = rule(SETTINGS[name])
    assert statistics(made, np.zeros((400, 1))).max() < made.threshold


@each_rule
def test_a_large_shift_alarms_and_says_that_it_is_harm(name: str) -> None:
    made = rule(SETTINGS[name])
    step = first_alarm(made, shift=1.0 if made.takes is Takes.LEVEL else 4.0)
    assert step.statistic[0, 0] >= made.threshold
    assert np.all(step.worse)


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in {*RISING, "page_hinkley"}])
def test_two_sides_alarm_on_an_improvement_and_say_so(name: str) -> None:
    made = rule(SETTINGS[name])
    step = first_alarm(made, shift=-4.0)
    assert step.statistic[0, 0] >= made.threshold
    assert not np.any(step.worse)


@pytest.mark.parametrize("name", RISING)
@given(values=st.lists(st.floats(-3, 3), min_size=1, max_size=20), extra=st.floats(0, 0.4))
def test_larger_is_worse(name: str, values: list[float], extra: float) -> None:
    made = rule(SETTINGS[name])
    series = np.array(values)[:, None]
    if made.takes is Takes.LEVEL:
        series = (series + 3) / 10
    found = statistics(made, np.concatenate([series, series + extra], axis=1))
    assert (found[:, 1] >= found[:, 0] - 1e-9).all()


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_the_docstrings(module: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"simlab.guardrails.rules.{module}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0
