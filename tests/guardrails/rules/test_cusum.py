"""CUSUM against its published run lengths, and what its sums must do exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from simlab.guardrails.rules.cusum import Cusum
from tests.looks import MINUTE, observation, statistics

# A two-sided error of 6e-5 for each mean, so about 0.001 for the whole table.
Z = 4.0
LANES = 40_000


def run_lengths(rule: Cusum, *, shift: float, seed: int) -> NDArray[np.int64]:
    """Return the number of looks to the alarm in each lane; every lane runs until it alarms."""
    generator = np.random.default_rng(seed)
    lengths = np.zeros(LANES, dtype=np.int64)
    running = np.arange(LANES)
    state = rule.initial(1, LANES, every=MINUTE)
    while running.size:
        state, statistic, _ = rule.update(state, observation(generator.normal(shift, 1.0, running.size)))
        lengths[running] += 1
        goes_on = statistic[0] < rule.threshold
        running = running[goes_on]
        state = type(state)(*(array[:, goes_on] for array in state))
    return lengths


def assert_mean(lengths: NDArray[np.int64], published: float) -> None:
    error = lengths.std(ddof=1) / math.sqrt(lengths.size)
    # The published figures have four decimals.
    assert abs(lengths.mean() - published) < Z * error + 5e-4


# Lucas & Crosier, Technometrics 24 (1982), k = 0.5, zero state.
@pytest.mark.parametrize(
    ("shift", "published"),
    [
        (0, 167.6838), (0.25, 74.224), (0.5, 26.6302), (0.75, 13.2851), (1, 8.3831),
        (1.5, 4.7472), (2, 3.3428), (2.5, 2.6195), (3, 2.1945), (4, 1.7085),
    ],
)  # fmt: skip
def test_two_sided_run_length_at_four(shift: float, published: float) -> None:
    assert_mean(run_lengths(Cusum(k=0.5, h=4, sides=2), shift=shift, seed=1), published)


@pytest.mark.parametrize(("shift", "published"), [(0, 465.4435), (1, 10.376)])
def test_two_sided_run_length_at_five(shift: float, published: float) -> None:
    assert_mean(run_lengths(Cusum(k=0.5, h=5, sides=2), shift=shift, seed=2), published)


@pytest.mark.parametrize(("threshold", "published"), [(3, 117.5957), (4, 335.3676)])
def test_one_sided_run_length(threshold: float, published: float) -> None:
    assert_mean(run_lengths(Cusum(k=0.5, h=threshold), shift=0, seed=3), published)


@pytest.mark.parametrize(("threshold", "median"), [(4, 118), (5, 322)])
def test_median_of_a_skewed_run_length(threshold: float, median: float) -> None:
    lengths = run_lengths(Cusum(k=0.5, h=threshold, sides=2), shift=0, seed=4)
    # Under the published median, rounded to a whole look, half of the lanes have alarmed; error rate 6e-5 for each side.
    margin = Z * math.sqrt(0.25 / LANES)
    assert (lengths <= median + 0.5).mean() > 0.5 - margin
    assert (lengths <= median - 1.5).mean() < 0.5 + margin


def test_a_shift_to_the_better_alarms_two_sided_only_and_says_so() -> None:
    series = np.full((20, 1), -2.0)
    assert statistics(Cusum(k=0.5, h=4, sides=1), series).max() == 0.0
    rule = Cusum(k=0.5, h=4, sides=2)
    state = rule.initial(1, 1, every=MINUTE)
    for value in series:
        state, statistic, worse = rule.update(state, observation(value))
    assert statistic[0, 0] == 30.0
    assert not np.any(worse)


def test_the_sum_by_hand() -> None:
    found = statistics(Cusum(k=0.5, h=4), np.array([[1.0], [2.0], [-3.0], [0.25], [1.5]]))
    np.testing.assert_array_equal(found[:, 0], [0.5, 2.0, 0.0, 0.0, 1.0])


def test_a_sum_on_the_threshold_reaches_it() -> None:
    rule = Cusum(k=0.5, h=4)
    found = statistics(rule, np.array([[2.5, 2.5 - 1e-12], [2.5, 2.5]]))
    assert (found[-1] >= rule.threshold).tolist() == [True, False]


@given(
    st.lists(st.lists(st.floats(-6, 6), min_size=3, max_size=3), min_size=1, max_size=30),
    st.sampled_from([Cusum(k=0.5, h=4), Cusum(k=0.25, h=4, sides=2)]),
)
def test_lanes_together_are_lanes_alone(rows: list[list[float]], rule: Cusum) -> None:
    series = np.array(rows)
    together = statistics(rule, series)
    for lane in range(series.shape[1]):
        np.testing.assert_array_equal(together[:, [lane]], statistics(rule, series[:, [lane]]))


@given(st.lists(st.floats(-6, 6), min_size=1, max_size=30))
def test_larger_is_worse(values: list[float]) -> None:
    series = np.array(values)[:, None]
    found = statistics(Cusum(), np.concatenate([series, series + 0.5], axis=1))
    assert (found[:, 1] >= found[:, 0]).all()


def test_the_state_is_not_changed() -> None:
    rule = Cusum(sides=2)
    state = rule.initial(1, 3, every=MINUTE)
    for array in state:
        array.flags.writeable = False
    rule.update(state, observation([1.0, -2.0, 3.0]))


def test_no_number_in_is_no_number_out() -> None:
    _, statistic, _ = Cusum(sides=2).update(Cusum().initial(1, 1, every=MINUTE), observation([np.nan]))
    assert np.isnan(statistic).all()
