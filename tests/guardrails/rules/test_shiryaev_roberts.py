"""Shiryaev-Roberts against the sum that it is, and its published run lengths."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simlab.guardrails.rules.shiryaev_roberts import ShiryaevRoberts
from simlab.run_lengths import run_length
from tests.looks import statistics


def test_the_statistic_is_the_sum_of_the_likelihood_ratios_of_every_change() -> None:
    series = np.random.default_rng(1).normal(size=(30, 4))
    found = statistics(ShiryaevRoberts(theta=0.7), series)
    for looks in (1, 2, 30):
        ratios = [np.exp((0.7 * series[change:looks] - 0.245).sum(axis=0)) for change in range(looks)]
        np.testing.assert_allclose(found[looks - 1], np.log(np.sum(ratios, axis=0)), rtol=1e-12, atol=1e-13)


def test_logs_hold_what_no_number_could() -> None:
    found = statistics(ShiryaevRoberts(), np.full((500, 1), 10.0))
    assert found[-1, 0] == pytest.approx(500 * 9.5, rel=1e-6)


def test_the_threshold_is_the_log_of_a() -> None:
    assert ShiryaevRoberts(A=100).threshold == math.log(100)
    assert ShiryaevRoberts(A=100).guarantee.claim == "when all is well the mean run length is at least 100 looks"


# Moustakides, Polunchenko & Tartakovsky (2009), theta = 1. An error of 6e-5 each.
@pytest.mark.parametrize(
    ("threshold", "shift", "published"), [(56.04, 0, 100.79), (56.04, 1, 6.71), (560.37, 0, 1000.79), (560.37, 1, 11.14)]
)
def test_published_run_length(threshold: float, shift: float, published: float) -> None:
    made = ShiryaevRoberts(theta=1, A=threshold)
    found = run_length(made, lambda rng, n: rng.normal(shift, 1.0, n), lanes=5_000, horizon=100_000, seed=2)
    assert found.mean is not None
    assert abs(found.mean.value - published) < 4 / 1.96 * (found.mean.high - found.mean.value) + 0.005
