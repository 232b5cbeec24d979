"""Boundaries by recursive integration against published tables and an integration of another kind."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy.stats import multivariate_normal, norm

from simlab.guardrails.boundaries import (
    boundary_constant,
    crossing_probability,
    group_sequential_bounds,
    last_bound,
)
from simlab.guardrails.look import Floats

Sides = Literal[1, 2]


def equal(looks: int) -> Floats:
    return np.arange(1, looks + 1) / looks


def obrien_fleming_type(fractions: ArrayLike, alpha: float) -> Floats:
    return np.asarray(2 * norm.sf(norm.isf(alpha / 2) / np.sqrt(fractions)))


def stays_inside(bounds: ArrayLike, fractions: ArrayLike, *, sides: Sides, drift: float = 0.0) -> float:
    """Return the probability of crossing nowhere, from the joint normal distribution of the Z; to about 1e-6."""
    t = np.asarray(fractions, dtype=float)
    limits = np.asarray(bounds, dtype=float)
    covariance = np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))
    low = -limits if sides == 2 else np.full(t.size, -np.inf)
    joint = multivariate_normal(mean=drift * np.sqrt(t), cov=covariance, abseps=1e-8, releps=1e-8, maxpts=2_000_000, seed=1)
    return float(joint.cdf(limits, lower_limit=low))


# -- published values ----------------------------------------------------------------------------------------------------


# Armitage, McPherson & Rowe, JRSS A 132 (1969), |z| > 1.96.
@pytest.mark.parametrize(("looks", "published"), [(1, 0.05), (2, 0.08312), (5, 0.14169), (10, 0.19336), (50, 0.32045)])
def test_price_of_peeking(looks: int, published: float) -> None:
    assert crossing_probability([norm.isf(0.025)] * looks, equal(looks)).total == pytest.approx(published, abs=5e-6)


# Pocock, Biometrika 64 (1977), two-sided 5 %.
@pytest.mark.parametrize(("looks", "published"), [(1, 1.95996), (2, 2.17827), (3, 2.28948), (4, 2.3613), (5, 2.41318)])
def test_pocock(looks: int, published: float) -> None:
    assert boundary_constant(np.ones(looks), equal(looks), alpha=0.05) == pytest.approx(published, abs=5e-6)


# O'Brien & Fleming, Biometrics 35 (1979), two-sided 5 %.
@pytest.mark.parametrize(("looks", "published"), [(2, 1.97743), (3, 2.00404), (4, 2.0243), (5, 2.04007)])
def test_obrien_fleming(looks: int, published: float) -> None:
    found = boundary_constant(np.sqrt(1 / equal(looks)), equal(looks), alpha=0.05)
    assert found == pytest.approx(published, abs=5e-6)


# Lan & DeMets, Biometrika 70 (1983), K = 5: .025 spent on each side, and .05 in the formula for both sides together.
@pytest.mark.parametrize(
    ("spent", "published"),
    [
        (2 * obrien_fleming_type(equal(5), 0.025), [4.87688, 3.35701, 2.68028, 2.28982, 2.03103]),
        (obrien_fleming_type(equal(5), 0.05), [4.38261, 3.09973, 2.55335, 2.25385, 2.06350]),
    ],
)
def test_lan_demets(spent: Floats, published: list[float]) -> None:
    assert group_sequential_bounds(equal(5), spent).tolist() == pytest.approx(published, abs=5e-6)


# Jennison & Turnbull (2000), tables 2.2 and 2.4: information of a 5 % test with power 90 % at K = 5, over that of a fixed
# sample; three decimals, so that the power is known to 3e-4.
@pytest.mark.parametrize(("shape", "inflation"), [(np.ones(5), 1.207), (np.sqrt(1 / equal(5)), 1.026)])
def test_power_under_a_drift(shape: Floats, inflation: float) -> None:
    bounds = shape * boundary_constant(shape, equal(5), alpha=0.05)
    drift = (norm.isf(0.025) + norm.isf(0.1)) * math.sqrt(inflation)
    assert crossing_probability(bounds, equal(5), drift=drift).total == pytest.approx(0.9, abs=4e-4)


# -- against another integration -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("drift", [0.0, 2.5, -1.5])
@pytest.mark.parametrize("fractions", [(0.2, 0.5, 1.0), (0.01, 0.98, 1.0), (0.3, 0.302, 0.9)])
def test_crossing_is_what_the_joint_distribution_says(sides: Sides, drift: float, fractions: tuple[float, ...]) -> None:
    bounds = [2.4, 1.7, 2.0]
    found = crossing_probability(bounds, fractions, sides=sides, drift=drift)
    expected = 1 - stays_inside(bounds, fractions, sides=sides, drift=drift)
    assert found.total == pytest.approx(expected, abs=2e-6)
    assert (found.lower > 0).any() == (sides == 2)


@pytest.mark.parametrize("sides", [1, 2])
def test_unequal_information_spends_what_was_asked(sides: Sides) -> None:
    fractions, spent = np.array([0.05, 0.4, 0.41, 1.0]), np.array([0.002, 0.01, 0.02, 0.05])
    bounds = group_sequential_bounds(fractions, spent, sides=sides)
    for looks in range(1, 5):
        expected = 1 - stays_inside(bounds[:looks], fractions[:looks], sides=sides) if looks > 1 else sides * norm.sf(bounds[0])
        assert expected == pytest.approx(spent[looks - 1], abs=2e-6)


# -- what must hold exactly ----------------------------------------------------------------------------------------------

PLANS = st.lists(st.tuples(st.floats(1e-3, 1), st.floats(1e-6, 0.05)), min_size=1, max_size=12)


@given(PLANS, st.sampled_from([1, 2]))
def test_bounds_and_crossing_are_inverse(plan: list[tuple[float, float]], sides: Sides) -> None:
    fractions, spent = np.cumsum(np.array(plan), axis=0).T
    assume(spent[-1] < 0.9)
    bounds = group_sequential_bounds(fractions, spent, sides=sides)
    found = crossing_probability(bounds, fractions, sides=sides)
    np.testing.assert_allclose(np.cumsum(found.upper + found.lower), spent, atol=1e-8)
    # Each side of two spends half.
    np.testing.assert_allclose(found.lower, found.upper if sides == 2 else 0.0, atol=1e-12)


@given(st.lists(st.floats(1e-3, 1), min_size=1, max_size=8), st.floats(0.5, 3), st.floats(-4, 4))
def test_a_drift_the_other_way_crosses_the_other_side(steps: list[float], bound: float, drift: float) -> None:
    fractions = np.cumsum(steps)
    up = crossing_probability([bound] * len(steps), fractions, drift=drift)
    down = crossing_probability([bound] * len(steps), fractions, drift=-drift)
    np.testing.assert_allclose(up.upper, down.lower, atol=1e-9)


def test_the_unit_of_information_does_not_matter() -> None:
    spent = [0.01, 0.02, 0.05]
    one = group_sequential_bounds([0.1, 0.7, 1.0], spent)
    np.testing.assert_allclose(group_sequential_bounds([1e5, 7e5, 1e6], spent), one, atol=1e-7)


def test_looks_that_spend_nothing_change_nothing() -> None:
    found = group_sequential_bounds([0.1, 0.2, 0.5, 0.8, 1.0], [0.0, 0.0, 0.01, 0.01, 0.05])
    assert np.isinf(found[[0, 1, 3]]).all()
    np.testing.assert_allclose(found[[2, 4]], group_sequential_bounds([0.5, 1.0], [0.01, 0.05]), atol=1e-7)


@pytest.mark.parametrize("sides", [1, 2])
def test_a_single_look_is_a_z_test(sides: Sides) -> None:
    assert group_sequential_bounds([1.0], [0.05], sides=sides)[0] == pytest.approx(norm.isf(0.05 / sides), abs=1e-8)
    assert last_bound([], [1.0], alpha=0.05, sides=sides) == pytest.approx(norm.isf(0.05 / sides), abs=1e-8)
    power = crossing_probability([1.5], [1.0], sides=1, drift=2.0).total
    assert power == pytest.approx(norm.sf(-0.5), abs=1e-12)


def test_tiny_errors_are_spent_to_the_digit() -> None:
    spent = 2 * obrien_fleming_type(equal(50), 0.025)
    bounds = group_sequential_bounds(equal(50), spent)
    assert bounds[0] == pytest.approx(norm.isf(spent[0] / 2), abs=1e-7)  # 15.8 standard errors
    crossed = crossing_probability(bounds, equal(50))
    np.testing.assert_allclose(crossed.upper + crossed.lower, np.diff(spent, prepend=0), rtol=1e-6)


def test_many_looks_come_near_continuous_monitoring() -> None:
    # |W(t)| >= b on (0, 1]: P = 2 sum (-1)^j 2 Phi(-(2j + 1) b), and discrete looks overshoot by .5826 / sqrt(K) (Siegmund 1985).
    looks, spent = 600, 0.05
    constant = boundary_constant(np.sqrt(1 / equal(looks)), equal(looks), alpha=spent)
    continuous = constant + 0.5826 / math.sqrt(looks)
    crossed = 2 * sum((-1) ** j * 2 * norm.sf((2 * j + 1) * continuous) for j in range(4))
    assert crossed == pytest.approx(spent, abs=2e-4)


def test_the_last_bound_completes_the_error() -> None:
    final = last_bound([3.0, 2.8, 2.6], [0.1, 0.4, 0.6, 1.0], alpha=0.05)
    assert crossing_probability([3.0, 2.8, 2.6, final], [0.1, 0.4, 0.6, 1.0]).total == pytest.approx(0.05, abs=1e-8)
    with pytest.raises(ValueError, match=r"spend 0\.08312, which leaves nothing of 0\.05"):
        last_bound([norm.isf(0.025)] * 2, [1, 2, 3], alpha=0.05)


def test_answers_do_not_change_later_answers() -> None:
    first = group_sequential_bounds([0.5, 1.0], [0.01, 0.05])
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(group_sequential_bounds([0.5, 1.0], [0.01, 0.05]), kept)
    with pytest.raises(ValueError, match="read-only"):
        crossing_probability([2.0], [1.0]).upper[0] = 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: group_sequential_bounds([0.5, 0.5], [0.01, 0.05]),
        lambda: group_sequential_bounds([0.0, 0.5], [0.01, 0.05]),
        lambda: group_sequential_bounds([0.5, 0.5 + 1e-9], [0.01, 0.05]),
        lambda: group_sequential_bounds([0.5, np.nan], [0.01, 0.05]),
        lambda: group_sequential_bounds([0.5, np.inf], [0.01, 0.05]),
        lambda: group_sequential_bounds([], []),
        lambda: group_sequential_bounds([0.5, 1.0], [0.05, 0.01]),
        lambda: group_sequential_bounds([0.5, 1.0], [-0.05, 0.01]),
        lambda: group_sequential_bounds([0.5, 1.0], [0.5, 1.0]),
        lambda: group_sequential_bounds([0.5, 1.0], [0.5, np.nan]),
        lambda: group_sequential_bounds([0.5, 1.0], [0.05]),
        lambda: crossing_probability([2.0], [0.5, 1.0]),
        lambda: crossing_probability([2.0, -1.0], [0.5, 1.0]),
        lambda: crossing_probability([2.0, np.nan], [0.5, 1.0], sides=1),
        lambda: boundary_constant([1.0, 2.0], [0.5, 1.0], alpha=0.05),
        lambda: boundary_constant([0.5, 1.0], [0.5, 1.0], alpha=0.05),
        lambda: boundary_constant([1.0], [0.5, 1.0], alpha=0.05),
        lambda: boundary_constant([1.0], [1.0], alpha=0.5),
        lambda: last_bound([2.0, 2.0], [0.5, 1.0], alpha=0.05),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any) -> None:
    with pytest.raises(ValueError, match=r"must|need|has one number|have 1 bounds"):
        call()
