"""Rows of draws against the same draws one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import gammaln

from simlab.inverse import LARGEST, binomial_quantiles, normal_quantiles, poisson_quantiles
from simlab.rows import (
    WORK,
    fill_binomials,
    fill_exponentials,
    fill_log_gammas,
    fill_logarithms,
    fill_normals,
    fill_one_poisson,
    fill_poisson,
)

LANES = 4001
EDGES = np.array([2.0**-53, 1.0 - 2.0**-53, 1e-12, 1.0 - 1e-12, 0.075, 0.925, 0.0749999, 0.5])


def uniforms(seed: int, lanes: int = LANES) -> np.ndarray:
    found = np.random.default_rng(seed).random(lanes)
    found[: len(EDGES)] = EDGES
    return found


def room(lanes: int = LANES) -> np.ndarray:
    return np.full((WORK, lanes), np.nan)


def ulps(found: np.ndarray, expected: np.ndarray) -> float:
    return float((np.abs(found - expected) / np.spacing(np.abs(expected))).max())


def test_exponentials_agree_with_the_library() -> None:
    x = np.concatenate([np.linspace(-708, 709, LANES - 3), [0.0, 1e-300, -1e-9]])
    out = np.empty(LANES)
    fill_exponentials(x, out, room())
    assert ulps(out, np.exp(x)) <= 2


def test_logarithms_agree_with_the_library() -> None:
    x = np.concatenate([10.0 ** np.linspace(-300, 300, LANES - 3), [1.0, 1.0 - 2.0**-53, 1.0 + 2.0**-52]])
    out = np.empty(LANES)
    fill_logarithms(x, out, room())
    assert ulps(out, np.log(x)) <= 2


def test_log_gammas_agree_with_the_library() -> None:
    # Near 1 and 2, where it is 0, in absolute terms.
    x = 10.0 ** np.linspace(-10, 12, LANES)
    out = np.empty(LANES)
    fill_log_gammas(x, out, room())
    np.testing.assert_allclose(out, gammaln(x), rtol=2e-15, atol=1e-14)


def test_normals_agree_with_those_one_by_one() -> None:
    out = np.empty(LANES)
    fill_normals(uniforms(1), out, room())
    assert ulps(out, normal_quantiles(uniforms(1))) <= 8


@pytest.mark.parametrize("mean", [0.0, 1e-9, 0.02, 0.4, 2.0, 4.9, 5.0, 8.0, 11.9, 12.1, 50.0, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_poisson_numbers_are_those_one_by_one(mean: float, spread: float) -> None:
    means = mean * np.exp(spread * np.random.default_rng(2).standard_normal(LANES))
    out = np.empty(LANES)
    fill_poisson(uniforms(3), means, out, room())
    np.testing.assert_array_equal(out, poisson_quantiles(uniforms(3), means))


@pytest.mark.parametrize("mean", [0.0, 1e-9, 0.02, 0.4, 2.0, 4.9, 11.9, 12.1, 50.0, 1e6])
def test_poisson_numbers_of_one_mean_are_those_one_by_one(mean: float) -> None:
    out = np.empty(LANES)
    fill_one_poisson(uniforms(3), mean, out, room())
    np.testing.assert_array_equal(out, poisson_quantiles(uniforms(3), np.full(LANES, mean)))


@pytest.mark.parametrize("trials", [0, 1, 7, 60, 300, 10**5, 10**9])
@pytest.mark.parametrize("chance", [0.0, 1e-9, 1e-4, 0.02, 0.3, 0.5, 0.7, 1.0])
def test_binomial_numbers_are_those_one_by_one(trials: int, chance: float) -> None:
    generator = np.random.default_rng(4)
    each = generator.poisson(trials, LANES)
    chances = np.minimum(1.0, chance * np.exp(0.1 * generator.standard_normal(LANES)))
    out = np.empty(LANES)
    fill_binomials(uniforms(5), each.astype(float), chances, out, room())
    np.testing.assert_array_equal(out, binomial_quantiles(uniforms(5), each, chances))


def test_a_number_beside_a_step_of_the_distribution_is_right() -> None:
    # P(X = 0) itself, and its neighbours among the floats: what a sum cannot tell is drawn again by itself.
    means = np.full(3, 0.7)
    beside = np.array([np.nextafter(math.exp(-0.7), 0.0), math.exp(-0.7), np.nextafter(math.exp(-0.7), 1.0)])
    out = np.empty(3)
    fill_poisson(beside, means, out, room(3))
    np.testing.assert_array_equal(out, poisson_quantiles(beside, means))
    fill_one_poisson(beside, 0.7, out, room(3))
    np.testing.assert_array_equal(out, poisson_quantiles(beside, means))


@pytest.mark.parametrize("wrong", [-1.0, np.nan, 2.0 * LARGEST])
def test_what_is_no_mean_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="mean between 0"):
        fill_poisson(np.full(2, 0.5), np.array([1.0, wrong]), np.empty(2), room(2))
    with pytest.raises(ValueError, match="mean between 0"):
        fill_one_poisson(np.full(2, 0.5), wrong, np.empty(2), room(2))


@pytest.mark.parametrize("wrong", [-0.1, np.nan, 1.1])
@pytest.mark.parametrize("trials", [1.0, 1000.0])
def test_what_is_no_probability_is_refused(wrong: float, trials: float) -> None:
    with pytest.raises(ValueError, match="p between 0 and 1"):
        fill_binomials(np.full(2, 0.5), np.full(2, trials), np.array([0.02, wrong]), np.empty(2), room(2))
