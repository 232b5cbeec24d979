"""MEWMA against its published run lengths, Hotelling's T^2 and the plain EWMA."""

from __future__ import annotations

import numpy as np
import pytest

from simlab.guardrails.look import Floats
from simlab.guardrails.rules.ewma import Ewma
from simlab.guardrails.rules.mewma import Mewma
from simlab.run_lengths import run_length, statistics
from tests.guardrails.rules.vectors import assert_vector_contract, equicorrelated, run_vectors

LANES = 20_000


def mean_run_length(made: Mewma, *, metrics: int, shift: float = 0.0, seed: int) -> tuple[float, float]:
    """Return the simulated mean run length and its standard error; the shift is of the first of independent metrics."""

    def sample(rng: np.random.Generator, lanes: int) -> Floats:
        drawn = rng.normal(size=(metrics, lanes))
        drawn[0] += shift
        return drawn

    found = run_length(made, sample, lanes=LANES, horizon=10**6, seed=seed)
    assert found.mean is not None
    return found.mean.value, (found.mean.high - found.mean.value) / 1.96


# Zero state, asymptotic covariance: the setting of Runger & Prabhu (JASA 91, 1996, table 1) by the program of Molnau et al. (Journal
# of Quality Technology 33, 2001), a Markov chain of 25 x 25 states that is off by about 0.01 looks or 0.3 %.
@pytest.mark.parametrize(
    ("shift", "published"), [(0.0, 199.78), (0.5, 35.05), (1.0, 12.17), (1.5, 7.22), (2.0, 5.19), (3.0, 3.42)]
)
def test_four_metrics_with_weight_a_tenth(shift: float, published: float) -> None:
    value, error = mean_run_length(Mewma(r=0.1, h=12.73), metrics=4, shift=shift, seed=1)
    # A two-sided error of 6e-5 for each, and what the chain is off.
    assert abs(value - published) < 4 * error + max(0.01, 0.003 * published)


# Limits for a run length in control: Prabhu & Runger (1997), and for four metrics with r = 0.25 Rigdon (Journal of Statistical
# Computation and Simulation 52, 1995, table 1), with as many digits as they print.
@pytest.mark.parametrize(("metrics", "r", "h", "published"), [(2, 0.1, 8.64, 200), (4, 0.25, 16.38, 500), (4, 0.1, 12.73, 200)])
def test_run_length_in_control(metrics: int, r: float, h: float, published: float) -> None:
    value, error = mean_run_length(Mewma(r=r, h=h), metrics=metrics, seed=2)
    # Half a unit of the last digit of h moves the run length by about 0.3 %.
    assert abs(value - published) < 4 * error + 0.003 * published


def test_the_limit_of_the_first_paper() -> None:
    # Lowry et al. (1992) found h4 = 8.66 for 200 looks by simulation, and round figures out of control.
    value, error = mean_run_length(Mewma(r=0.1, h=8.66), metrics=2, seed=3)
    # Their own simulation had 6,000 runs of about this spread.
    assert abs(value - 200) < 4 * error * np.sqrt(1 + LANES / 6_000)


def test_correlated_metrics_have_the_run_length_of_independent_ones() -> None:
    made = Mewma(r=0.2, h=8.0, correlation=0.7)
    found = run_length(
        made, lambda rng, lanes: equicorrelated(rng, 3, lanes, correlation=0.7), lanes=LANES, horizon=10**6, seed=4
    )
    value, error = mean_run_length(Mewma(r=0.2, h=8.0), metrics=3, seed=5)
    assert found.mean is not None
    # Two simulations, an error of 6e-5.
    assert abs(found.mean.value - value) < 4 * np.hypot(error, (found.mean.high - found.mean.value) / 1.96)


def test_with_all_weight_on_the_newest_look_it_is_the_squared_distance() -> None:
    z = np.random.default_rng(6).normal(size=(5, 3, 4))
    np.testing.assert_allclose(run_vectors(Mewma(r=1.0), z)[:, 0], (z**2).sum(axis=1), rtol=1e-13)


@pytest.mark.parametrize("exact", [False, True])
def test_one_metric_is_the_square_of_an_ewma(exact: bool) -> None:
    series = np.random.default_rng(7).normal(size=(50, 4))
    found = run_vectors(Mewma(r=0.2, exact_limits=exact), series[:, None])[:, 0]
    np.testing.assert_allclose(found, statistics(Ewma(lambda_=0.2, exact_limits=exact), series) ** 2, rtol=1e-12)


def test_it_keeps_the_contract_of_several_metrics() -> None:
    assert_vector_contract(Mewma(correlation=0.4))
    assert_vector_contract(Mewma(exact_limits=True))
