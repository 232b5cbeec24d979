"""A level beyond a limit for a time, against the alert state machine of Prometheus written out in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Code
from simlab.guardrails.rules.limits import Above, Below
from simlab.guardrails.signal import Signal
from tests.looks import MINUTE, codes, level, make_look, run, statistics

# Few distinct levels, so that runs and levels on the limit itself are common; None is a look without data.
LEVELS = st.lists(st.one_of(st.sampled_from([0.0, 1.0, 2.0, 3.0]), st.none()), min_size=1, max_size=40)


def alarms(series: list[float | None], *, every: int, for_: int, limit: float, above: bool) -> list[bool | None]:
    """Return whether the alert fires at each look, None where there is nothing to judge.

    As Prometheus evaluates a rule: the alert becomes active at the first evaluation whose condition holds, fires once it has
    been active for at least `for_`, and ends at the first evaluation whose condition does not hold. Looks without data are
    not evaluations.
    """
    fires: list[bool | None] = []
    active_since: int | None = None
    evaluation = 0
    for value in series:
        if value is None:
            fires.append(None)
            continue
        evaluation += 1
        holds = value >= limit if above else value <= limit
        if not holds:
            active_since = None
        elif active_since is None:
            active_since = evaluation
        fires.append(active_since is not None and (evaluation - active_since) * every >= for_)
    return fires


@given(
    LEVELS,
    st.sampled_from([1, 5]).map(lambda minutes: minutes * MINUTE),
    st.integers(0, 16).map(lambda minutes: minutes * MINUTE),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.booleans(),
)
def test_a_guardrail_fires_when_prometheus_does(
    series: list[float | None], every: int, for_: int, limit: float, above: bool
) -> None:
    rule = Above(limit=limit, for_=for_) if above else Below(limit=limit, for_=for_)
    guardrail = Guardrail(Signal(watch="m", of="everyone"), rule, every)
    step = every // MINUTE
    looks = [
        make_look(level(value or 0.0), time=step * index, missing=value is None) for index, value in enumerate(series, start=1)
    ]
    expected = [
        Code.UNKNOWN if fires is None else Code.ALARM if fires else Code.OK
        for fires in alarms(series, every=every, for_=for_, limit=limit, above=above)
    ]
    assert codes(run(guardrail, looks)) == [[code] for code in expected]


def test_five_minute_looks_for_fifteen_minutes_take_four() -> None:
    rule = Above(limit=1.0, for_=15 * MINUTE)
    found = statistics(rule, np.full((5, 1), 1.0), every=5 * MINUTE)
    assert (found[:, 0] >= rule.threshold).tolist() == [False, False, False, True, True]


@pytest.mark.parametrize(("for_", "looks"), [(0, 1), (1, 2), (MINUTE, 2), (MINUTE + 1, 3), (10 * MINUTE, 11)])
def test_a_part_of_a_cadence_is_waited_for_in_full(for_: int, looks: int) -> None:
    rule = Above(limit=1.0, for_=for_)
    found = statistics(rule, np.full((12, 1), 1.0))[:, 0] >= rule.threshold
    assert int(np.argmax(found)) + 1 == looks


def test_the_limit_itself_is_beyond_the_limit() -> None:
    up, down = Above(limit=0.3), Below(limit=0.3)
    series = [[0.3, np.nextafter(0.3, 1), np.nextafter(0.3, 0)]]
    assert (statistics(up, series)[0] >= up.threshold).tolist() == [True, True, False]
    assert (statistics(down, series)[0] >= down.threshold).tolist() == [True, False, True]


def test_a_limit_that_is_missed_once_starts_again() -> None:
    rule = Below(limit=0.0, for_=2 * MINUTE)
    found = statistics(rule, np.array([[-1.0], [-1.0], [0.5], [0.0], [-2.0], [-3.0]]))
    assert (found[:, 0] >= rule.threshold).tolist() == [False, False, False, False, False, True]


@given(st.lists(st.lists(st.floats(-6, 6), min_size=3, max_size=3), min_size=1, max_size=20), st.integers(0, 4))
def test_lanes_together_are_lanes_alone(rows: list[list[float]], minutes: int) -> None:
    series = np.array(rows)
    for rule in (Above(limit=0.0, for_=minutes * MINUTE), Below(limit=0.0, for_=minutes * MINUTE)):
        together = statistics(rule, series)
        for lane in range(series.shape[1]):
            np.testing.assert_array_equal(together[:, [lane]], statistics(rule, series[:, [lane]]))
