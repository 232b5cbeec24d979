"""EWMA by hand and against its published run lengths; the exact ones are in test_exact_run_lengths."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simlab.guardrails.rules.ewma import Ewma
from simlab.run_lengths import run_length
from tests.looks import statistics


def test_the_mean_by_hand() -> None:
    found = statistics(Ewma(lambda_=0.5, L=3), np.array([[2.0], [-4.0], [1.0]]))
    np.testing.assert_allclose(found[:, 0], np.array([1.0, 1.5, 0.25]) * math.sqrt(3), rtol=1e-14)


def test_exact_limits_are_those_of_the_weights() -> None:
    series = np.random.default_rng(1).normal(size=(40, 3))
    found = statistics(Ewma(lambda_=0.1, L=3, sides=1, exact_limits=True), series)
    for looks in (1, 2, 7, 40):
        weights = 0.1 * 0.9 ** np.arange(looks)[::-1]
        expected = weights @ series[:looks] / np.sqrt((weights**2).sum())
        np.testing.assert_allclose(found[looks - 1], expected, rtol=1e-12, atol=1e-13)


def test_exact_limits_become_the_asymptotic_ones() -> None:
    series = np.random.default_rng(2).normal(size=(600, 2))
    exact, asymptotic = (statistics(Ewma(lambda_=0.1, exact_limits=on), series) for on in (True, False))
    assert (exact[0] > 2 * asymptotic[0]).all()
    np.testing.assert_allclose(exact[-1], asymptotic[-1], rtol=1e-14)


def test_the_weight_of_one_is_a_shewhart_chart() -> None:
    series = np.random.default_rng(3).normal(size=(50, 2))
    np.testing.assert_array_equal(statistics(Ewma(lambda_=1.0, L=3), series), np.abs(series))


def test_one_side_sees_harm_only() -> None:
    assert statistics(Ewma(sides=1), np.full((50, 1), -5.0)).max() < 0


# Lucas & Saccucci, Technometrics 32 (1990). An error of 6e-5 each.
@pytest.mark.parametrize(("shift", "published"), [(0, 499.91), (0.25, 254.79), (0.5, 88.80), (1, 17.48), (2, 3.628), (3, 1.926)])
def test_published_run_length(shift: float, published: float) -> None:
    made = Ewma(lambda_=0.5, L=3.071)
    found = run_length(made, lambda rng, n: rng.normal(shift, 1.0, n), lanes=10_000, horizon=100_000, seed=4)
    assert found.mean is not None
    assert abs(found.mean.value - published) < 4 / 1.96 * (found.mean.high - found.mean.value) + 0.005
