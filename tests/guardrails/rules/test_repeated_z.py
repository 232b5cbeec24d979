"""Repeated z-tests against the published price of peeking."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from simlab.guardrails.rule import SpendsError
from simlab.guardrails.rules.repeated_z import RepeatedZ
from tests.looks import MINUTE, observation, statistics

# A two-sided error of 6e-5 for each probability.
Z = 4.0
LANES = 200_000


def alarm_probability(rule: RepeatedZ, *, looks: int, seed: int, drift: float = 0.0) -> float:
    """Return how many lanes ever reach the threshold, over looks of equal information."""
    generator = np.random.default_rng(seed)
    state = rule.initial(1, LANES, every=MINUTE)
    alarmed = np.zeros(LANES, dtype=bool)
    for _ in range(looks):
        state, statistic, _ = rule.update(state, observation(generator.normal(drift, 1.0, LANES), information=3.0))
        alarmed |= statistic[0] >= rule.threshold
    return float(alarmed.mean())


def margin(probability: float) -> float:
    return Z * math.sqrt(probability * (1 - probability) / LANES)


# Armitage, McPherson & Rowe, JRSS A 132 (1969), |z| > 1.96.
@pytest.mark.parametrize(("looks", "published"), [(1, 0.05), (2, 0.08312), (5, 0.14169), (10, 0.19336), (50, 0.32045)])
def test_peeking_costs_what_is_published(looks: int, published: float) -> None:
    # The published figures have five decimals.
    assert abs(alarm_probability(RepeatedZ(), looks=looks, seed=looks) - published) < margin(published) + 5e-6


def test_one_side_at_two_looks() -> None:
    rule = RepeatedZ(alpha=0.05, sides=1)
    within = multivariate_normal(cov=[[1, math.sqrt(0.5)], [math.sqrt(0.5), 1]]).cdf([rule.threshold] * 2)
    exact = 1 - float(within)
    assert abs(alarm_probability(rule, looks=2, seed=20) - exact) < margin(exact)


def test_one_side_never_alarms_on_an_improvement() -> None:
    assert alarm_probability(RepeatedZ(sides=1), looks=5, seed=21, drift=-8.0) == 0.0
    assert alarm_probability(RepeatedZ(sides=1), looks=5, seed=21, drift=8.0) == 1.0


def test_two_sides_tell_harm_from_improvement() -> None:
    rule = RepeatedZ(sides=2)
    _, statistic, worse = rule.update(rule.initial(1, 2, every=MINUTE), observation([3.0, -3.0]))
    np.testing.assert_array_equal(statistic, [[3.0, 3.0]])
    np.testing.assert_array_equal(worse, [[True, False]])


@pytest.mark.parametrize(("sides", "tail"), [(1, 0.05 / 10), (2, 0.05 / 20)])
def test_looks_divide_the_error(sides: int, tail: float) -> None:
    rule = RepeatedZ(alpha=0.05, looks=10, sides=sides)  # type: ignore[arg-type]
    assert rule.threshold == pytest.approx(norm.isf(tail), rel=1e-12)


def test_bonferroni_keeps_its_promise_over_its_looks() -> None:
    # One-sided at 4 standard errors: error rate 3e-5. The bound is far from attained, since the looks are correlated.
    assert alarm_probability(RepeatedZ(alpha=0.05, looks=10), looks=10, seed=22) < 0.05 + margin(0.05)


def test_a_statistic_on_the_threshold_reaches_it() -> None:
    rule = RepeatedZ()
    at = rule.threshold
    assert (statistics(rule, [[at, np.nextafter(at, 0), -at]])[0] >= rule.threshold).tolist() == [True, False, True]


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 100)), min_size=1, max_size=20))
def test_looks_weigh_by_their_information(looks: list[tuple[float, float]]) -> None:
    rule = RepeatedZ(sides=1)
    state = rule.initial(1, 1, every=MINUTE)
    for x, information in looks:
        state, z, _ = rule.update(state, observation([x], information=information))
    # The inverse-variance mean of the differences d = x / sqrt(I), over its own standard error.
    weights = np.array([information for _, information in looks])
    differences = np.array([x for x, _ in looks]) / np.sqrt(weights)
    expected = np.average(differences, weights=weights) * math.sqrt(weights.sum())
    assert z[0, 0] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.lists(st.lists(st.floats(-6, 6), min_size=3, max_size=3), min_size=1, max_size=20))
def test_lanes_together_are_lanes_alone(rows: list[list[float]]) -> None:
    series = np.array(rows)
    together = statistics(RepeatedZ(), series)
    for lane in range(series.shape[1]):
        np.testing.assert_array_equal(together[:, [lane]], statistics(RepeatedZ(), series[:, [lane]]))


def test_the_state_is_not_changed() -> None:
    rule = RepeatedZ()
    state = rule.initial(1, 2, every=MINUTE)
    for array in state:
        array.flags.writeable = False
    rule.update(state, observation([1.0, 2.0]))


def test_its_error_can_be_set_by_a_budget() -> None:
    rule = RepeatedZ(alpha=0.05, looks=4, sides=1)
    assert isinstance(rule, SpendsError)
    assert rule.with_alpha(0.01) == RepeatedZ(alpha=0.01, looks=4, sides=1)
