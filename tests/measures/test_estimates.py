"""Estimates against other implementations, by exact coverage, and where there is nothing to be sure of."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from simlab.measures.estimates import Estimate, mean, proportion, quantile, rate, ratio

INFINITY = float("inf")


# -- proportions and rates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 40, 2000, 16000])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.9875])
def test_a_proportion_has_the_interval_of_clopper_and_pearson(n: int, confidence: float) -> None:
    for events in sorted({0, 1, n // 20, n // 2, n - 1, n}):
        found = proportion(events, n, confidence=confidence)
        exact = stats.binomtest(events, n).proportion_ci(confidence, method="exact")
        # SciPy searches for the limits, to within 2e-12.
        np.testing.assert_allclose((found.low, found.high), exact, rtol=1e-9, atol=2e-12)
        assert (found.value, found.n, found.confidence) == (events / n, n, confidence)


def test_the_interval_of_a_proportion_covers_at_least_as_often_as_it_says() -> None:
    n = 60
    intervals = [proportion(events, n) for events in range(n + 1)]
    for chance in np.linspace(0.001, 0.999, 197):
        weights = stats.binom.pmf(np.arange(n + 1), n, chance)
        below = sum(weight for weight, each in zip(weights, intervals, strict=True) if each.high < chance)
        above = sum(weight for weight, each in zip(weights, intervals, strict=True) if each.low > chance)
        assert below <= 0.025 + 1e-12
        assert above <= 0.025 + 1e-12


@pytest.mark.parametrize("events", [0, 1, 3, 50, 4000])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_a_rate_has_the_interval_of_garwood(events: int, confidence: float) -> None:
    exposure = 12.5
    found = rate(events, exposure, unit="per week", confidence=confidence)
    tail = (1 - confidence) / 2
    # Garwood (1936): half of the chi-squared quantiles at 2 k and 2 k + 2 degrees of freedom.
    low = stats.chi2.ppf(tail, 2 * events) / 2 if events else 0.0
    high = stats.chi2.isf(tail, 2 * events + 2) / 2
    np.testing.assert_allclose((found.low, found.high), (low / exposure, high / exposure), rtol=1e-9)
    assert found.value == events / exposure


# -- means and ratios ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 300])
def test_a_mean_has_the_interval_of_student(n: int) -> None:
    values = np.random.default_rng(n).gamma(2.0, size=n)
    found = mean(values, unit="min", confidence=0.9)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    np.testing.assert_allclose((found.low, found.high), expected, rtol=1e-9)
    assert (found.value, found.n, found.unit) == (pytest.approx(values.mean()), n, "min")


def test_a_mean_claims_nothing_beyond_what_there_can_be() -> None:
    values = np.array([0.0, 0.0, 60.0])
    found = mean(values, unit="min", support=(0.0, 60.0))
    assert (found.low, found.value, found.high) == (0.0, 20.0, 60.0)
    # Inside the support, the interval is Student's own.
    near = mean(np.array([29.0, 30.0, 31.0]), unit="min", support=(0.0, 60.0))
    assert near == mean(np.array([29.0, 30.0, 31.0]), unit="min")


def test_where_all_lanes_agree_a_mean_allows_for_those_that_went_unseen() -> None:
    values = np.full(50, 20.0)
    unseen = stats.binomtest(0, 50).proportion_ci(0.95, method="exact").high
    found = mean(values, unit="min", support=(0.0, 60.0))
    assert (found.low, found.value) == (pytest.approx(20 - unseen * 20), 20)
    assert found.high == pytest.approx(20 + unseen * 40)
    without = mean(values, unit="min")
    assert (without.low, without.value, without.high) == (-INFINITY, 20, INFINITY)


def test_a_ratio_is_that_of_the_sums() -> None:
    found = ratio(np.array([1.0, 0.0, 5.0]), np.array([1.0, 2.0, 3.0]), unit="per week")
    # Residuals t - 1 w = 0, -2, 2; their standard error over the mean weight 2 is sqrt(4 / 3) / 2.
    half = stats.t.ppf(0.975, 2) * np.sqrt(4 / 3) / 2
    assert (found.value, found.low, found.n) == (1.0, 0.0, 3)
    assert found.high == pytest.approx(1 + half)


def test_the_interval_of_a_ratio_covers_as_often_as_it_says() -> None:
    """Lanes differ in weight and in their own rate, so that a Poisson interval would be too short.

    4,000 repeats of 400 lanes: the coverage is within 4.5 standard errors of 95 % (two-sided error 7e-6); that of
    the Poisson interval is not, so the test can tell.
    """
    generator, repeats, lanes = np.random.default_rng(11), 4000, 400
    weights = generator.uniform(0.5, 1.5, size=(repeats, lanes))
    totals = generator.poisson(generator.gamma(2.0, 1.5, size=(repeats, lanes)) * weights).astype(float)
    truth = 3.0

    def covers(found: Estimate) -> bool:
        return found.low <= truth <= found.high

    covered = np.mean([covers(ratio(t, w, unit="")) for t, w in zip(totals, weights, strict=True)])
    poisson = np.mean([covers(rate(int(t.sum()), w.sum(), unit="")) for t, w in zip(totals, weights, strict=True)])
    error = np.sqrt(0.95 * 0.05 / repeats)
    assert abs(covered - 0.95) < 4.5 * error
    assert abs(poisson - 0.95) > 4.5 * error


def test_a_ratio_without_an_event_has_the_upper_bound_of_a_poisson_count() -> None:
    found = ratio(np.zeros(8), np.full(8, 0.5), unit="per week")
    assert (found.value, found.low, found.n) == (0.0, 0.0, 8)
    assert found.high == pytest.approx(-np.log(0.025) / 4)


# -- quantiles -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [Fraction(1, 2), Fraction(9, 10)])
def test_a_quantile_is_the_smallest_value_that_enough_lanes_do_not_exceed(p: Fraction) -> None:
    for n in (*range(1, 200), 1000, 2000, 16000):
        found = quantile(np.random.default_rng(n).permutation(np.arange(1.0, n + 1)), float(p), unit="min")
        assert found.value == -(-n * p.numerator // p.denominator)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_of_a_quantile_covers_by_exact_computation(p: float, confidence: float) -> None:
    tail = (1 - confidence) / 2
    for n in (*range(1, 60), 500, 2000):
        found = quantile(np.arange(n, dtype=float), p, unit="min", confidence=confidence)
        below = stats.binom(n, p)
        # How many values lie below the true quantile is binomial; it is missed if they are fewer than the rank of `low` or
        # at least the rank of `high`. Each tail holds what it may, and one rank less would not.
        rank_low = int(found.low) + 1 if np.isfinite(found.low) else 0
        rank_high = int(found.high) + 1 if np.isfinite(found.high) else n + 1
        assert below.cdf(rank_low - 1) <= tail
        assert below.sf(rank_high - 1) <= tail
        assert below.cdf(rank_low) >= tail * (1 - 1e-9)
        assert below.sf(rank_high - 2) >= tail * (1 - 1e-9)


@pytest.mark.parametrize(
    ("never", "p", "truth_is_never"), [(0.3, 0.9, True), (0.12, 0.9, True), (0.3, 0.5, False), (0.08, 0.9, False)]
)
def test_a_quantile_that_may_not_be_reached_covers_by_exact_computation(never: float, p: float, truth_is_never: bool) -> None:
    """Each lane never gets there with probability `never`; where the true quantile is infinite, so must `high` be."""
    for n in (1, 2, 10, 50, 300):
        right = 0.0
        for lanes, weight in enumerate(stats.binom.pmf(np.arange(n + 1), n, never)):
            values = np.r_[np.full(lanes, INFINITY), np.arange(n - lanes, dtype=float)]
            found = quantile(values, p, unit="min")
            assert found.low <= found.value <= found.high
            right += weight * (found.high == INFINITY if truth_is_never else found.low < INFINITY)
        assert right >= 0.95


def test_a_quantile_that_was_not_reached_is_infinite() -> None:
    found = quantile(np.array([3.0, INFINITY, 1.0, INFINITY]), 0.9, unit="min")
    assert (found.value, found.high) == (INFINITY, INFINITY)
    assert quantile(np.full(500, INFINITY), 0.5, unit="min").low == INFINITY


# -- no data, one lane -----------------------------------------------------------------------------------------------------

FEW = [
    proportion(0, 0),
    proportion(0, 1),
    proportion(1, 1),
    mean(np.array([]), unit="min"),
    mean(np.array([]), unit="min", support=(0.0, 60.0)),
    mean(np.array([5.0]), unit="min"),
    mean(np.array([5.0]), unit="min", support=(0.0, 60.0)),
    ratio(np.array([]), np.array([]), unit="per week"),
    ratio(np.array([0.0]), np.array([0.0]), unit="per week"),
    ratio(np.array([2.0]), np.array([0.3]), unit="per week"),
    ratio(np.array([0.0]), np.array([0.3]), unit="per week"),
    rate(0, 0.0, unit="per week"),
    rate(0, 1.0, unit="per week"),
    quantile(np.array([]), 0.9, unit="min"),
    quantile(np.array([5.0]), 0.9, unit="min"),
]


@pytest.mark.parametrize("found", FEW, ids=lambda each: f"{each.method}-{each.n}-{each.value}")
def test_no_lane_or_one_is_never_a_false_certainty(found: Estimate) -> None:
    # At 95 % one lane leaves at least 95 % of what there can be: of a probability, of the support, of the line.
    possible = {"probability": 1.0, "min": 60.0, "per week": INFINITY}[found.unit]
    wide = 3.6 if found.method == "Garwood" and np.isfinite(found.high) else 0.95 * possible
    assert found.high - found.low >= wide


@pytest.mark.parametrize(
    "found", [each for each in FEW if each.n == 0 and each.method != "Garwood"], ids=lambda each: each.method
)
def test_no_data_has_no_value(found: Estimate) -> None:
    assert np.isnan(found.value)


def test_another_unit_scales_value_and_interval() -> None:
    found = Estimate(2.0, 1.0, INFINITY, 9, "Student t", "h").scaled(60, unit="min")
    assert found == Estimate(120.0, 60.0, INFINITY, 9, "Student t", "min")


@pytest.mark.parametrize("events", [1, 3, 10])
def test_a_mean_of_rare_events_is_no_surer_than_their_exact_share(events: int) -> None:
    values = np.zeros(500)
    values[:events] = 60.0
    found, exact = mean(values, unit="min", support=(0.0, 100.0)), proportion(events, 500).scaled(60.0, unit="min")
    assert found.low <= exact.low + 1e-12
    assert found.high >= exact.high - 1e-12
