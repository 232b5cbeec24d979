"""Numbers in words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simlab.measures.estimates import Estimate, mean, proportion, quantile
from simlab.report.words import MEASURES, measure, percent, words
from simlab.results import Result


def estimate(value: float, low: float, high: float, unit: str) -> Estimate:
    return Estimate(value, low, high, 1234, "test", unit)


@pytest.mark.parametrize(
    ("held", "value", "interval"),
    [
        (estimate(0.05, 0.016431, 0.112834, "probability"), "5.00 %", "1.64 to 11.28"),
        (estimate(15.44, 15.0, 16.06, "min"), "15.4 min", "15.0 to 16.1"),
        (estimate(153.7, 149.8, 157.6, "users"), "154", "150 to 158"),
        (estimate(1_039_473.06, 1_033_758.1, 1_045_187.9, "users"), "1,039,473", "1,033,758 to 1,045,188"),
        (estimate(2.34, 1.9, 2.8, "users"), "2.3", "1.9 to 2.8"),
        (estimate(2.688, 0.329, 5.048, "h"), "2.69 h", "0.33 to 5.05"),
        (estimate(0.1212, 0.0118, 0.2306, "per week"), "0.121 per week", "0.012 to 0.231"),
        (estimate(0.0352, 0.03, 0.0404, "cost"), "0.0352", "0.0300 to 0.0404"),
        (estimate(352.4, 300.0, 404.0, "cost"), "352", "300 to 404"),
        (estimate(-0.001, -0.002, 0.001, "min"), "0.0 min", "0.0 to 0.0"),
    ],
)
def test_units_have_their_digits(held: Estimate, value: str, interval: str) -> None:
    assert (words(held).value, words(held).interval, words(held).n) == (value, interval, "1,234")


def test_a_difference_shows_its_sign_and_percentage_points() -> None:
    said = words(estimate(0.05, -0.01, 0.11, "probability"), signed=True)
    assert (said.value, said.interval) == ("+5.00 pp", "-1.00 to +11.00")
    assert words(estimate(-3.0, -4.0, -2.0, "min"), signed=True).value == "-3.0 min"


def test_a_quantile_that_was_not_reached_is_no_number() -> None:
    never = quantile(np.full(100, math.inf), 0.5, unit="min")
    assert str(words(never)) == "not reached, not reached, n = 100"
    half = quantile(np.where(np.arange(100) < 52, 10.0, math.inf), 0.5, unit="min")
    assert str(words(half)) == "10.0 min, 10.0 to no upper limit, n = 100"


def test_no_data_is_said() -> None:
    nothing = [proportion(0, 0), mean(np.array([]), unit="users"), quantile(np.array([]), 0.9, unit="min")]
    assert {str(words(each)) for each in nothing} == {"no data, n = 0"}


def test_one_lane_has_no_limits() -> None:
    assert words(mean(np.array([4.0]), unit="min")).interval == "no limits"


def test_every_measure_of_a_result_has_words(result: Result) -> None:
    for performance in result.scenarios[0].performances:
        named = {measure(name, limit_minutes=90.0) for name in performance.estimates}
        assert len(named) == len(performance.estimates)
    assert measure("harm_units.errors", limit_minutes=90.0) == "harm units: errors"
    assert measure("detected", limit_minutes=90.0) == "detected within 1h 30m"
    assert set(MEASURES) <= set(result.scenarios[0].performances[0].estimates)


def test_percent_has_no_more_digits_than_it_needs() -> None:
    assert [percent(share) for share in (0.05, 0.983333, 0.0001, 1.0)] == ["5 %", "98.33 %", "0.01 %", "100 %"]
