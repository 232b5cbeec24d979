"""The calibrated threshold keeps its budget as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from simlab.calibration import allowed_alarms, calibrate, lanes_needed
from simlab.errors import UnitError


@pytest.mark.parametrize(("lanes", "budget", "error"), [(2000, 0.05, 0.05), (300, 0.1, 0.01), (59, 0.05, 0.05)])
def test_as_many_alarms_as_the_binomial_allows_and_no_more(lanes: int, budget: float, error: float) -> None:
    allowed = allowed_alarms(lanes, budget=budget, error=error)
    assert binom.cdf(allowed, lanes, budget) <= error < binom.cdf(allowed + 1, lanes, budget)


def test_calibrated_at_5_percent_with_95_percent_confidence_at_most_18_of_200_are_above() -> None:
    """The true probability is exact: the maxima are uniform. 200 repeats at 5 %: more than 18 has probability 0.5 %."""
    generator = np.random.default_rng(11)
    found = [calibrate(generator.random(1000), budget=0.05, error=0.05) for _ in range(200)]
    broken = sum(1 - each.threshold > 0.05 for each in found)
    assert 1 <= broken <= 18
    # Not by being needlessly strict: on average it uses most of the budget. Standard error 0.05 %.
    assert 0.035 < np.mean([1 - each.threshold for each in found]) < 0.045


def test_alarms_at_the_threshold_are_those_allowed() -> None:
    maxima = np.random.default_rng(1).normal(size=500)
    found = calibrate(maxima, budget=0.1, error=0.05)
    assert (maxima >= found.threshold).sum() == found.allowed == allowed_alarms(500, budget=0.1, error=0.05)


def test_ties_only_make_it_stricter() -> None:
    found = calibrate(np.repeat([1.0, 2.0], [950, 50]), budget=0.05, error=0.05)
    assert 0 <= found.allowed < 50
    assert found.threshold > 2.0


def test_too_few_lanes_vouch_for_nothing() -> None:
    found = calibrate(np.arange(58.0), budget=0.05, error=0.05)
    assert found.allowed == -1
    assert found.threshold == np.inf


@pytest.mark.parametrize(("budget", "error"), [(0.05, 0.05), (0.01, 0.05), (0.1, 0.001)])
def test_as_many_lanes_as_are_needed_vouch_and_one_less_does_not(budget: float, error: float) -> None:
    needed = lanes_needed(budget=budget, error=error)
    assert allowed_alarms(needed, budget=budget, error=error) == 0
    assert allowed_alarms(needed - 1, budget=budget, error=error) == -1


def test_where_more_lanes_reach_nothing_than_may_alarm_any_threshold_will_do() -> None:
    found = calibrate(np.array([1.0] + [-np.inf] * 499), budget=0.05, error=0.05)
    assert found.allowed >= 1
    assert found.threshold == -np.inf


def test_a_budget_is_a_probability() -> None:
    with pytest.raises(UnitError, match="between 0 and 1"):
        allowed_alarms(100, budget=5, error=0.05)
