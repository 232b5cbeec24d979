"""Bayesian online change points against the posterior summed over every segmentation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from simlab.errors import FileErrors, UnitError
from simlab.guardrails.look import Floats
from simlab.guardrails.rules.bocpd import Bocpd
from simlab.rule_from import rule
from tests.looks import MINUTE, observation, statistics


def by_enumeration(values: Floats, made: Bocpd) -> Floats:
    """Return P(r = 0, 1, ..., t | x_1..x_t) summed over every set of change points, float64[t + 1]."""
    looks = len(values)
    posterior = np.zeros(looks + 1)
    for changes in itertools.product([False, True], repeat=looks):
        ends = [look + 1 for look in range(looks) if changes[look]]
        weight = made.hazard ** len(ends) * (1 - made.hazard) ** (looks - len(ends))
        edges = [0, *ends] if ends and ends[-1] == looks else [0, *ends, looks]
        for begin, end in itertools.pairwise(edges):
            length = end - begin
            covariance = np.eye(length) + made.variance
            weight *= float(multivariate_normal.pdf(values[begin:end], np.full(length, made.mean), covariance))
        posterior[looks - (ends[-1] if ends else 0)] += weight
    return np.asarray(posterior / posterior.sum())


@pytest.mark.parametrize("made", [Bocpd(hazard=0.2, w=3, variance=4, mean=0.5, longest=20), Bocpd(hazard=0.01, w=1, longest=20)])
def test_the_posterior_is_that_over_every_segmentation(made: Bocpd) -> None:
    values = np.array([0.3, -1.0, 0.2, 3.0, 2.5, 2.8, -0.5, 0.1])
    state = made.initial(1, 1, every=MINUTE)
    for looks, value in enumerate(values, start=1):
        state, statistic, _ = made.update(state, observation([value]))
        posterior = by_enumeration(values[:looks], made)
        np.testing.assert_allclose(np.exp(state.log_posterior[: looks + 1, 0, 0]), posterior, rtol=1e-9)
        # The run that began with the stream is no change, however short it is.
        assert statistic[0, 0] == pytest.approx(posterior[: min(made.w + 1, looks)].sum(), rel=1e-9)


def test_a_run_of_no_looks_has_the_probability_of_the_hazard_whatever_the_data() -> None:
    made = Bocpd(hazard=0.03)
    state = made.initial(1, 2, every=MINUTE)
    for row in np.random.default_rng(1).normal(size=(50, 2)) * np.array([1.0, 30.0]):
        state, _, _ = made.update(state, observation(row))
    np.testing.assert_allclose(np.exp(state.log_posterior[0]), 0.03, rtol=1e-12)


def test_the_posterior_sums_to_one_when_long_runs_are_cut_short() -> None:
    made = Bocpd(hazard=0.01, w=3, longest=15)
    state = made.initial(1, 3, every=MINUTE)
    for row in np.random.default_rng(2).normal(size=(100, 3)):
        state, _, _ = made.update(state, observation(row))
        np.testing.assert_allclose(np.exp(state.log_posterior).sum(axis=0), 1.0, rtol=1e-12)


def test_cutting_long_runs_short_changes_nothing_until_runs_are_that_long_and_no_alarm_then() -> None:
    series = np.random.default_rng(3).normal(size=(300, 20)) + 2.0 * (np.arange(300) >= 200)[:, None]
    short, long = (statistics(Bocpd(hazard=0.01, longest=longest), series) for longest in (80, 400))
    np.testing.assert_allclose(short[:80], long[:80], rtol=1e-12)
    assert not np.array_equal(short, long)
    alarms = [(found[200:] >= 0.5).argmax(axis=0) for found in (short, long)]
    assert np.abs(alarms[0] - alarms[1]).max() <= 1
    assert alarms[1].max() < 10


def test_values_far_out_do_not_break_it() -> None:
    found = statistics(Bocpd(), np.array([[0.0], [1e6], [-1e6], [0.0]]))
    assert np.isfinite(found).all()
    assert found[1, 0] <= 1.0 + 1e-12


def test_w_must_be_shorter_than_the_longest_run() -> None:
    with pytest.raises(UnitError, match="w 20 must be below longest, 20"):
        Bocpd(w=20, longest=20)
    with pytest.raises(FileErrors, match="w 20 must be below longest, 20"):
        rule({"bocpd": {"w": 20, "longest": 20}})


def test_the_hazard_reads_per_cent() -> None:
    made = rule({"bocpd": {"hazard": "1%"}})
    assert isinstance(made, Bocpd)
    assert math.isclose(made.hazard, 0.01)
