"""Betting on a mean: an exact expectation of one, its bets, its error and its power."""

from __future__ import annotations

import math
from itertools import product
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlab.guardrails.rules.betting import Betting
from tests.guardrails.rules.contract import assert_contract, assert_spends, ever_alarmed, run_all, seen

# A one-sided error of 3e-5 for each simulated probability, if alpha were attained.
Z = 4.0


def wealth(values: list[float], *, m: float, cap: float) -> list[float]:
    """Return the wealth after each value, for harm above m, one bet at a time."""
    money, made, mean, squares = 1.0, [], m, 0.0
    for count, value in enumerate(values):
        variance = (min(m, 1 - m) ** 2 / 4 + squares) / (count + 1)
        bet = min(max((mean - m) / (variance + (mean - m) ** 2), 0.0), cap / m)
        money *= 1 + bet * (value - m)
        made.append(money)
        mean = (m + sum(values[: count + 1])) / (count + 2)
        squares += (value - mean) ** 2
    return made


@given(st.lists(st.floats(0, 1), min_size=1, max_size=25), st.floats(0.01, 0.9), st.floats(0.1, 0.9))
def test_the_bets_are_as_written(values: list[float], m: float, cap: float) -> None:
    found = run_all(Betting(m=m, cap=cap), [seen([value]) for value in values])[:, 0, 0]
    np.testing.assert_allclose(np.exp(found), wealth(values, m=m, cap=cap), rtol=1e-7)


@pytest.mark.parametrize("harm", ["above", "below"])
@pytest.mark.parametrize("m", [0.1, 0.5, 0.8])
def test_the_expected_wealth_is_one_at_the_null_and_less_beyond(m: float, harm: Literal["above", "below"]) -> None:
    paths = np.array(list(product([0.0, 1.0], repeat=10)))
    log_wealth = run_all(Betting(m=m, harm=harm), [seen(column) for column in paths.T])[-1, 0]
    ones = paths.sum(axis=1)
    for mean, expected in ((m, 1.0), (m * 0.7 if harm == "above" else 1 - (1 - m) * 0.7, None)):
        total = float((mean**ones * (1 - mean) ** (10 - ones) * np.exp(log_wealth)).sum())
        assert total == pytest.approx(1.0, abs=1e-12) if expected else total < 1.0


def test_below_is_above_with_values_turned_round() -> None:
    values = np.random.default_rng(1).uniform(0, 1, (30, 3))
    above = run_all(Betting(m=0.25), [seen(row) for row in values])
    below = run_all(Betting(m=0.75, harm="below"), [seen(1 - row) for row in values])
    np.testing.assert_allclose(above, below, atol=1e-9)


@pytest.mark.parametrize(
    ("m", "draw"),
    [
        (0.05, lambda generator, lanes: generator.binomial(1, 0.05, lanes)),
        (0.02, lambda generator, lanes: generator.beta(2, 98, lanes)),
        (0.5, lambda generator, lanes: generator.uniform(0, 1, lanes)),
        (0.01, lambda generator, lanes: generator.binomial(2000, 0.01, lanes) / 2000),
    ],
)
def test_the_error_is_kept_over_many_looks(m: float, draw: object) -> None:
    lanes = 10_000
    found = ever_alarmed(
        Betting(m=m, alpha=0.1),
        lambda generator, count: seen(draw(generator, count)),
        looks=500,
        lanes=lanes,
        seed=2,  # type: ignore[operator]
    ).mean()
    assert 0 < found < 0.1 + Z * math.sqrt(0.1 * 0.9 / lanes)


def test_a_worse_rate_is_found() -> None:
    worse = ever_alarmed(Betting(m=0.01), lambda g, n: seen(g.binomial(2000, 0.02, n) / 2000), looks=50, lanes=500, seed=3)
    fewer = ever_alarmed(
        Betting(m=0.4, harm="below"), lambda g, n: seen(g.binomial(200, 0.3, n) / 200), looks=200, lanes=500, seed=3
    )
    # Every lane is 20 standard errors or more from harmless, so that one miss would be a miracle.
    assert worse.all()
    assert fewer.all()


def test_values_that_are_no_shares_are_unknown_and_leave_no_trace() -> None:
    rule = Betting(m=0.2)
    found = run_all(rule, [seen([value]) for value in (0.5, -0.1, 1.1, np.nan, np.inf, 0.6)])[:, 0, 0]
    assert np.isnan(found[1:5]).all()
    np.testing.assert_array_equal(found[[0, 5]], run_all(rule, [seen([0.5]), seen([0.6])])[:, 0, 0])


def test_the_edges_are_values() -> None:
    assert np.isfinite(run_all(Betting(m=0.2), [seen([[0.0, 1.0]])] * 40)).all()
    assert np.isfinite(run_all(Betting(m=0.2, harm="below"), [seen([[0.0, 1.0]])] * 40)).all()


def test_it_keeps_the_contract() -> None:
    generator = np.random.default_rng(4)
    looks = [seen(generator.uniform(-0.1, 1.0, (2, 5))) for _ in range(15)]
    assert_contract(Betting(m=0.3), looks)
    assert_contract(Betting(m=0.3, harm="below"), looks)
    assert_spends(Betting(m=0.3))
