"""The CUSUM of missed looks: exact run lengths, and what counts as missed."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Code, Look
from simlab.guardrails.rules.heartbeat import Heartbeat
from simlab.guardrails.signal import Signal
from simlab.run_lengths import run_length, statistics
from tests.guardrails.rules.contract import assert_contract, random_values
from tests.looks import MINUTE, codes, events, make_look, run, segments

OK, ALARM, UNKNOWN = Code.OK, Code.ALARM, Code.UNKNOWN
EVERYONE = Signal(watch="m", of="everyone")


def exact_run_length(made: Heartbeat, *, missed: float, steps: int) -> float:
    """Return the mean run length, by the Markov chain of the sum in units of 1 / `steps`; exact where k and h are such units."""
    k, h = round(made.k * steps), round(made.h * steps)
    chain = np.zeros((h, h))
    for at in range(h):
        for gain, chance in ((steps - k, missed), (-k, 1 - missed)):
            to = max(0, at + gain)
            if to < h:
                chain[at, to] += chance
    return float(np.linalg.solve(np.eye(h) - chain, np.ones(h))[0])


@pytest.mark.parametrize(("k", "h", "missed"), [(0.25, 2.0, 0.1), (0.25, 2.0, 0.5), (0.125, 3.0, 0.1), (0.0, 3.0, 0.2)])
def test_the_run_length_is_that_of_its_markov_chain(k: float, h: float, missed: float) -> None:
    made = Heartbeat(k=k, h=h)
    found = run_length(made, lambda rng, lanes: (rng.random(lanes) < missed) * 1.0, lanes=20_000, horizon=10**6, seed=1)
    assert found.mean is not None
    error = (found.mean.high - found.mean.value) / 1.96
    # A two-sided error of 6e-5 for each.
    assert abs(found.mean.value - exact_run_length(made, missed=missed, steps=8)) < 4 * error


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 7), st.integers(1, 40))
def test_the_sum_by_hand(missed: list[bool], k: int, h: int) -> None:
    made = Heartbeat(k=k / 8, h=h / 8)
    total, exact = Fraction(0), []
    for each in missed:
        total = max(Fraction(0), total + each - Fraction(k, 8))
        exact.append(float(total))
    assert statistics(made, np.array(missed, dtype=float)).tolist() == exact


def test_the_default_alarms_at_the_third_in_a_row() -> None:
    found = statistics(Heartbeat(), np.ones(4)) >= Heartbeat().threshold
    assert found.tolist() == [False, False, True, True]
    assert math.ceil(2.5 / 0.9) == 3


def series(came: str, *, shares: tuple[float, float] = (0.5, 0.5)) -> list[Look]:
    """Return one look a letter: data, no observation (o), or a missing look (x)."""
    return [
        make_look(events((0, 0) if letter == "o" else (100, 1), (0, 0) if letter == "o" else (100, 1)),
                  time=time, missing=letter == "x", shares=shares)
        for time, letter in enumerate(came, start=1)
    ]  # fmt: skip


def test_a_missing_look_and_an_empty_one_are_data() -> None:
    guardrail = Guardrail(EVERYONE, Heartbeat(k=0.25, h=2), MINUTE)
    decisions = run(guardrail, series("..xox.xxoo...."))
    assert [decision.statistic[0] for decision in decisions] == [
        0, 0, 0.75, 1.5, 2.25, 2, 2.75, 3.5, 4.25, 5, 4.75, 4.5, 4.25, 4,
    ]  # fmt: skip
    assert codes(decisions) == [[OK]] * 4 + [[ALARM]] * 10
    assert all(decision.worse.all() and not decision.unknown.any() for decision in decisions)


def test_telemetry_that_never_comes_alarms() -> None:
    assert codes(run(Guardrail(EVERYONE, Heartbeat(), MINUTE), series("xxxx"))) == [[OK], [OK], [ALARM], [ALARM]]


def test_nothing_is_expected_in_the_warm_up() -> None:
    guardrail = Guardrail(replace(EVERYONE, warmup=2 * MINUTE), Heartbeat(k=0, h=1), MINUTE)
    assert codes(run(guardrail, series("xx.x"))) == [[UNKNOWN], [UNKNOWN], [OK], [ALARM]]


def test_an_arm_is_expected_while_its_share_is_planned() -> None:
    guardrail = Guardrail(Signal(watch="m", of="treatment"), Heartbeat(k=0, h=2), MINUTE)
    before, ramp, after = series("oox", shares=(0.0, 0.0)), series("x.xox", shares=(0.1, 0.1)), series("ox", shares=(0.0, 0.0))
    looks = [replace(look, time=time) for time, look in enumerate([*before, *ramp, *after], start=1)]
    expected = [UNKNOWN] * 4 + [OK, OK, ALARM, ALARM] + [UNKNOWN] * 2
    assert codes(run(guardrail, looks)) == [[code] for code in expected]


def test_fewer_than_the_minimum_are_missed() -> None:
    guardrail = Guardrail(Signal(watch="m", of="everyone", min_count=300), Heartbeat(k=0, h=2), MINUTE)
    assert codes(run(guardrail, series(".."))) == [[OK], [ALARM]]


def test_a_silent_segment_alarms_alone() -> None:
    guardrail = Guardrail(Signal(watch="m", of="everyone", by="segment"), Heartbeat(k=0, h=1), MINUTE)
    loud, silent = events((10, 1)), events((0, 0))
    looks = [make_look(segments(pair), time=time) for time, pair in enumerate([(loud, loud), (loud, silent)], start=1)]
    assert codes(run(guardrail, looks)) == [[OK], [ALARM]]


def test_lanes_do_not_feel_each_other() -> None:
    guardrail = Guardrail(EVERYONE, Heartbeat(k=0, h=1), MINUTE)
    looks = [make_look(events((10, [1, 1])), time=time, missing=[False, time == 2]) for time in (1, 2)]
    assert codes(run(guardrail, looks)) == [[OK, OK], [OK, ALARM]]


def test_it_keeps_the_contract() -> None:
    looks = [replace(look, value=np.where(look.value > 0, 1.0, 0.0)) for look in random_values(2)]
    assert_contract(Heartbeat(), looks)
