"""The seasonal residual against plain Python, its blindness to the future, and what harm does to what it has learnt."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student

from simlab.errors import UnitError
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Code, Floats
from simlab.guardrails.rules.seasonal import Seasonal
from simlab.guardrails.signal import Signal
from simlab.run_lengths import statistics
from tests.guardrails.rules.contract import assert_contract, random_values
from tests.looks import MINUTE, codes, level, make_look, run

HOUR = 60 * MINUTE
# Three phases of two looks each.
SMALL = Seasonal(period=6 * MINUTE, phase=2 * MINUTE, periods=2)


def by_hand(made: Seasonal, series: list[float | None]) -> list[float]:
    """Return z at each look by plain lists: of each phase in each period, the looks that were learnt."""
    phases = made.period // made.phase
    learnt: dict[int, list[float]] = {}
    found = []
    for look, value in enumerate(series):
        occurrence = look * MINUTE // made.phase
        before = [learnt[each] for each in range(occurrence % phases, occurrence, phases) if learnt.get(each)]
        known = [each for values in before for each in values]
        z = math.nan
        if value is not None and len(before) >= made.periods and len(set(known)) > 1:
            t = (value - float(np.mean(known))) / (float(np.std(known, ddof=1)) * math.sqrt(1 + 1 / len(known)))
            z = math.copysign(norm.isf(student.sf(abs(t), len(known) - 1)), t)
        if value is not None and not abs(z) > made.left_out:
            learnt.setdefault(occurrence, []).append(value)
        found.append(z)
    return found


@given(st.lists(st.one_of(st.none(), st.integers(-20, 20).map(float)), min_size=30, max_size=60), st.sampled_from([1.0, 3.0]))
def test_it_is_the_standardised_residual_of_the_periods_before(series: list[float | None], left_out: float) -> None:
    made = replace(SMALL, left_out=left_out)
    values = np.array([math.nan if value is None else value for value in series])
    np.testing.assert_allclose(statistics(made, values), by_hand(made, series), rtol=1e-9, atol=1e-9)


def test_below_is_the_mirror_and_two_sides_are_both() -> None:
    series = np.random.default_rng(1).normal(size=(60, 4))
    above, below = statistics(SMALL, series), statistics(replace(SMALL, harm="below"), series)
    np.testing.assert_array_equal(above, -below)
    np.testing.assert_array_equal(statistics(replace(SMALL, sides=2), series), np.abs(above))


def test_a_daily_cycle_alarms_only_out_of_its_time() -> None:
    generator = np.random.default_rng(2)
    hours = np.arange(14 * 24)
    series = 100 + 50 * np.sin(2 * math.pi * hours / 24) + generator.normal(size=hours.size)
    # What is usual at the height of the day comes in the middle of the night.
    series[13 * 24 + 18] = 150
    found = statistics(Seasonal(periods=5), series, every=HOUR)
    assert np.isnan(found[: 5 * 24]).all()
    assert (found[5 * 24 :] >= 4).nonzero()[0].tolist() == [8 * 24 + 18]
    # The same limits without a season would have to let all of it pass.
    assert abs(series[13 * 24 + 18] - series.mean()) < 2 * series.std()


def test_the_future_does_not_matter() -> None:
    generator = np.random.default_rng(3)
    one, other = generator.normal(size=(2, 60))
    other[:40] = one[:40]
    np.testing.assert_array_equal(statistics(SMALL, one)[:40], statistics(SMALL, other)[:40])


def test_harm_is_not_learnt_and_keeps_alarming() -> None:
    generator = np.random.default_rng(4)
    series = generator.normal(size=600)
    series[60:] += 20.0
    found = statistics(SMALL, series)
    assert (found[60:] > SMALL.threshold).all()
    # A day after a year of it, the same look is judged as on the first day of the harm.
    assert statistics(SMALL, np.append(series[:594], [30.0]))[-1] == statistics(SMALL, np.append(series[:60], [30.0]))[-1]


def test_what_is_left_out_does_not_depend_on_the_threshold() -> None:
    series = np.random.default_rng(5).standard_t(3, size=(200, 4))
    np.testing.assert_array_equal(statistics(SMALL, series), statistics(replace(SMALL, threshold=0.5), series))


@pytest.mark.parametrize("threshold", [1.0, 2.0, 3.0])
def test_on_noise_z_is_standard_normal_however_few_were_learnt(threshold: float) -> None:
    made = Seasonal(period=4 * MINUTE, phase=MINUTE, periods=2, left_out=30.0)
    # Each phase is judged from its third look on, with one degree of freedom and more.
    found = statistics(made, np.random.default_rng(6).normal(7.0, 3.0, size=(40, 20_000)))[8:]
    # The looks of a lane share what was learnt, so each lane is one observation; an error of 6e-5.
    shares = (found >= threshold).mean(axis=0)
    assert abs(shares.mean() - norm.sf(threshold)) < 4 * shares.std() / math.sqrt(shares.size)


def test_a_constant_phase_is_unknown_until_it_varies() -> None:
    found = statistics(SMALL, np.array([0.1] * 24 + [0.3] * 6 + [0.1] * 6))
    assert np.isnan(found[:30]).all()
    assert np.isfinite(found[30:]).all()


def test_a_guardrail_learns_while_it_is_unknown() -> None:
    guardrail = Guardrail(Signal(watch="m", of="everyone"), SMALL, MINUTE)
    values = [*np.random.default_rng(7).normal(size=12), 1.0, 0.0, 0.0, 0.0, 0.0, 500.0]
    looks = [make_look(level(value), time=time, missing=time == 16) for time, value in enumerate(values, start=1)]
    looks.append(make_look(level(np.nan), time=19))
    found = codes(run(guardrail, looks))
    assert found[:12] == [[Code.UNKNOWN]] * 12
    assert found[12:15] == [[Code.OK]] * 3
    assert found[15:] == [[Code.UNKNOWN], [Code.OK], [Code.ALARM], [Code.UNKNOWN]]


def test_a_look_has_the_phase_of_its_time_however_many_were_missing() -> None:
    generator = np.random.default_rng(8)
    base = np.tile([0.0, 0.0, 100.0, 100.0, 200.0, 200.0], 10) + generator.normal(size=60)
    gaps = generator.random(60) < 0.4
    found = statistics(SMALL, np.where(gaps, np.nan, base))
    assert np.nanmax(np.abs(found)) < SMALL.threshold


def test_an_infinite_level_is_neither_judged_nor_learnt() -> None:
    series: Floats = np.random.default_rng(9).normal(size=40)
    broken = series.copy()
    broken[[7, 20]] = [np.inf, -np.inf]
    found = statistics(SMALL, broken)
    assert np.isnan(found[[7, 20]]).all()
    assert np.isfinite(found[24:]).all()


def test_phases_fill_the_period() -> None:
    with pytest.raises(UnitError, match="period 1d must be a whole number of phases, 7h each"):
        Seasonal(phase=7 * HOUR)


def test_it_keeps_the_contract() -> None:
    looks = [replace(look, elapsed=look.time * MINUTE) for look in random_values(10, looks=40)]
    assert_contract(SMALL, looks)
