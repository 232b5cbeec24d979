"""Wald's test: its exact error and sample number, its bounds, and acceptance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlab.guardrails.rules.sprt import Sprt
from tests.guardrails.rules.contract import assert_contract, assert_spends, ever_alarmed, random_values, run_all, seen, standard
from tests.looks import MINUTE

# A two-sided error of 6e-5 for each figure.
Z = 4.0
LANES = 200_000


def ends(rule: Sprt, *, drift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how many looks each lane takes to either bound, and whether it was the upper one."""
    generator = np.random.default_rng(seed)
    looks, alarmed = np.zeros(LANES), np.zeros(LANES, dtype=bool)
    running, state = np.arange(LANES), rule.initial(1, LANES, every=MINUTE)
    while running.size:
        state, statistic, _ = rule.update(state, standard(drift)(generator, running.size))
        looks[running] += 1
        alarmed[running] = statistic[0] >= rule.threshold
        goes_on = (statistic[0] < rule.threshold) & (statistic[0] > rule.accepts)
        running, state = running[goes_on], state[:, goes_on]
    return looks, alarmed


# Exact values for N(0, 1), delta = 1, alpha = beta = .05; the test is symmetric. Wald's approximations are 5.30 and .05.
@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_exact_error_and_sample_number(drift: float) -> None:
    rule = Sprt(delta=1.0, alpha=0.05, beta=0.05)
    assert (rule.threshold, rule.accepts) == (pytest.approx(2.9444, abs=5e-5), pytest.approx(-2.9444, abs=5e-5))
    looks, alarmed = ends(rule, drift=drift, seed=1)
    assert abs(looks.mean() - 6.920) < Z * looks.std(ddof=1) / math.sqrt(LANES) + 5e-4
    wrong = alarmed.mean() if drift == 0 else 1 - alarmed.mean()
    assert abs(wrong - 0.02864) < Z * math.sqrt(0.02864 * 0.97136 / LANES) + 5e-6


@pytest.mark.parametrize("beta", [0.05, 0.4])
def test_it_keeps_its_promise_for_ever(beta: float) -> None:
    rule = Sprt(delta=0.3, alpha=0.1, beta=beta)
    lanes, promised = 20_000, 0.1 / (1 - beta)
    found = ever_alarmed(rule, standard(), looks=1000, lanes=lanes, seed=2).mean()
    assert 0 < found < promised + Z * math.sqrt(promised * (1 - promised) / lanes)
    assert f"{promised:.4g}" in rule.guarantee.claim


def test_a_budget_is_what_is_promised() -> None:
    rule = Sprt(beta=0.4).with_alpha(0.01)
    assert rule.threshold == pytest.approx(math.log(100))
    assert rule.guarantee.claim.startswith("alarms with probability at most alpha / (1 - beta) = 0.01 ")
    assert_spends(Sprt())


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=30))
def test_the_ratio_of_the_two_likelihoods(values: list[float]) -> None:
    rule = Sprt(delta=0.5, beta=1e-9)  # accepts almost never
    ratios = np.cumsum([-0.5 * (x - 0.5) ** 2 + 0.5 * x**2 for x in values])
    np.testing.assert_allclose(run_all(rule, [seen([x]) for x in values])[:, 0, 0], ratios, atol=1e-9)


def test_what_is_accepted_stays_accepted() -> None:
    rule = Sprt(delta=1.0)
    found = run_all(rule, [seen([[x, 1.0]]) for x in (-2.5, 9.0, -1.0, 9.0)])[:, 0]
    assert found[:, 0].tolist() == [-3.0] * 4
    assert found[:, 1].tolist() == [0.5, 1.0, 1.5, 2.0]


def test_by_information_the_harm_is_in_the_metric_s_unit() -> None:
    rule = Sprt(delta=0.02, weights="information")
    looks = [seen([1.5], information=900.0), seen([0.5], information=2500.0)]
    # Two differences of .05 and .01 with standard errors 1/30 and 1/50.
    ratios = [0.02 * 0.05 * 900 - 0.5 * 0.02**2 * 900, 0.02 * 0.01 * 2500 - 0.5 * 0.02**2 * 2500]
    np.testing.assert_allclose(run_all(rule, looks)[:, 0, 0], np.cumsum(ratios))


def test_it_keeps_the_contract() -> None:
    assert_contract(Sprt(delta=0.5), random_values(5))
    assert_contract(Sprt(delta=0.1, weights="information"), random_values(6))
