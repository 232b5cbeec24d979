"""Block lengths follow the dependence of a series; intervals follow how much was recorded."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from simlab.measures.blocks import between_blocks, block_length, mean_between_blocks
from simlab.measures.estimates import proportion


def autoregressive(rho: float, ticks: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(ticks + 500)
    return np.asarray(lfilter([np.sqrt(1 - rho**2)], [1, -rho], noise))[500:]


@pytest.mark.parametrize("rho", [0.5, 0.8, 0.9])
def test_it_is_near_the_best_length_of_an_autoregression(rho: float) -> None:
    # R(k) = rho^|k|: G = 2 rho / (1 - rho)^2 and the sum of R is (1 + rho) / (1 - rho), all known.
    slope, long_run, ticks = 2 * rho / (1 - rho) ** 2, (1 + rho) / (1 - rho), 8064
    best = (2 * slope**2 / (4 / 3 * long_run**2)) ** (1 / 3) * ticks ** (1 / 3)
    found = [block_length(autoregressive(rho, ticks, seed)) for seed in range(20)]
    # The estimate is of order n^(1/3) and noisy; its median stays within a third of the best length.
    assert abs(np.median(found) / best - 1) < 1 / 3


def test_noise_has_short_blocks_and_a_constant_none() -> None:
    assert np.median([block_length(autoregressive(0.0, 2000, seed)) for seed in range(20)]) <= 5
    assert block_length(np.full(100, 7.0)) == 1
    assert block_length(np.full(100, np.nan)) == 1


def test_what_is_missing_does_not_count() -> None:
    series = autoregressive(0.8, 8064, 1)
    holes = series.copy()
    holes[np.random.default_rng(2).random(len(holes)) < 0.02] = np.nan
    assert abs(block_length(holes) / block_length(series) - 1) < 0.5


def test_groups_that_agree_are_worth_the_whole_recording() -> None:
    events, group = np.tile([True, False], 500), np.arange(1000) // 2 % 50
    found, exact = between_blocks(events, group, worth=40.0), proportion(20, 40)
    assert (found.value, found.n) == (0.5, 40)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_groups_that_differ_are_worth_less() -> None:
    group = np.arange(5000) % 50
    # Every second group always, the others never: one trial is all there is.
    found = between_blocks(group % 2 == 0, group, worth=40.0)
    assert found.n == 1
    assert (found.low, found.high) == (pytest.approx(0.0, abs=0.02), pytest.approx(1.0, abs=0.02))


@pytest.mark.parametrize("events", [0, 3])
def test_no_probability_below_one_over_its_worth_is_claimed(events: int) -> None:
    found = between_blocks(np.arange(1000) < events, np.arange(1000) % 50, worth=28.0)
    assert np.isnan(found.value)
    assert found.low == 0
    assert found.high >= 1 / 28


def test_a_mean_is_as_unsure_as_its_groups() -> None:
    group = np.arange(5000) % 50
    found = mean_between_blocks(group.astype(float), group, unit="min", worth=1e9)
    assert found.value == 24.5
    assert found.high - found.value == pytest.approx(1.96 * np.arange(50).std(ddof=1), rel=1e-3)
