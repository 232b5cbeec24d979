"""The asymptotic confidence sequence: its formula, its error from a late enough start, and streams without a spread."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlab.guardrails.rules.asymptotic import AsymptoticCs
from tests.guardrails.rules.contract import assert_contract, assert_spends, ever_alarmed, random_values, run_all, seen, standard

# A one-sided error of 3e-5 for each simulated probability, if alpha were attained.
Z = 4.0


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=30), st.floats(0.01, 3), st.floats(0.001, 0.4))
def test_it_alarms_where_zero_leaves_the_published_interval(values: list[float], r: float, alpha: float) -> None:
    x, n = np.array(values), len(values)
    spread = x.std()
    if spread < 1e-3:
        return
    # Waudby-Smith et al. 2023, theorem 2.2.
    width = spread * math.sqrt(2 * (n * r**2 + 1) / (n**2 * r**2) * math.log(math.sqrt(n * r**2 + 1) / alpha))
    rule = AsymptoticCs(r=r, alpha=alpha, start=n)
    statistic = run_all(rule, [seen([value]) for value in values])[-1, 0, 0]
    if abs(abs(x.mean()) - width) > 1e-6 * width:
        assert (statistic >= rule.threshold) == (abs(x.mean()) >= width)


def test_it_is_tightest_where_it_was_tuned() -> None:
    def critical(n: int, rule: AsymptoticCs) -> float:
        weight = n * rule._r2
        return math.sqrt((weight + 1) / weight * (math.log1p(weight) + 2 * rule.threshold))

    tuned = critical(400, AsymptoticCs(n_opt=400))
    assert all(tuned < critical(400, AsymptoticCs(n_opt=400 * factor)) for factor in (0.5, 2.0))


@pytest.mark.parametrize("scale", [1.0, 7.0])
@pytest.mark.parametrize("shape", ["normal", "skewed"])
def test_the_error_is_about_alpha_whatever_the_variance(scale: float, shape: str) -> None:
    # Skewed values want a later start: from look 30 on the error is .12.
    lanes, rule = 10_000, AsymptoticCs(alpha=0.1, start=30 if shape == "normal" else 100)

    def draw(generator: np.random.Generator, count: int) -> np.ndarray:
        return generator.normal(0, scale, count) if shape == "normal" else scale * (generator.exponential(1, count) - 1)

    found = ever_alarmed(rule, lambda generator, count: seen(draw(generator, count)), looks=600, lanes=lanes, seed=1).mean()
    assert 0.01 < found < 0.1 + Z * math.sqrt(0.1 * 0.9 / lanes)


def test_the_unit_does_not_matter() -> None:
    values = np.random.default_rng(2).normal(0.3, 1, (50, 4))
    one, other = (run_all(AsymptoticCs(start=5), [seen(row * unit) for row in values]) for unit in (1.0, 8.0))
    np.testing.assert_array_equal(one, other)


def test_a_known_variance_that_is_wrong_is_no_matter_and_a_shift_is_found() -> None:
    assert ever_alarmed(AsymptoticCs(), lambda g, n: seen(5 * g.normal(0.8, 1, n)), looks=300, lanes=200, seed=3).all()
    assert not ever_alarmed(AsymptoticCs(start=200), standard(5.0), looks=199, lanes=20, seed=3).any()


def test_before_the_start_it_is_silent() -> None:
    found = run_all(AsymptoticCs(start=4), [seen([value]) for value in (9.0, 8.0, np.nan, 9.5, 9.2)])[:, 0, 0]
    assert np.isneginf(found[[0, 1, 3]]).all()
    assert np.isnan(found[2])
    assert np.isfinite(found[4])


def test_equal_values_have_no_spread_and_are_unknown() -> None:
    found = run_all(AsymptoticCs(start=3), [seen([value]) for value in (2.0, 2.0, 2.0, 2.0, 3.0)])[:, 0, 0]
    assert np.isneginf(found[:2]).all()
    assert np.isnan(found[2:4]).all()
    assert np.isfinite(found[4])


def test_direction() -> None:
    rule = AsymptoticCs(start=2)
    state = rule.initial(1, 2, every=60_000)
    for values in ([3.0, -3.0], [4.0, -4.0]):
        state, _, worse = rule.update(state, seen([values]))
    np.testing.assert_array_equal(worse, [[True, False]])


def test_it_keeps_the_contract() -> None:
    assert_contract(AsymptoticCs(start=4), random_values(9))
    assert_spends(AsymptoticCs())
