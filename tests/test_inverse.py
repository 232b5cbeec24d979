"""Inverse CDFs against published values, sums in extended precision, SciPy, and their promise of order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from simlab import inverse
from simlab.inverse import (
    LARGEST,
    binomial_count,
    binomial_quantile,
    binomial_quantiles,
    normal_quantile,
    normal_quantiles,
    poisson_quantile,
    poisson_quantiles,
)

SMALLEST_U = 2.0**-54
LARGEST_U = 1.0 - 2.0**-53
PROPERTY = settings(max_examples=300, deadline=None, derandomize=True)

uniforms = st.integers(1, 2**53 - 1).map(lambda bits: bits * 2.0**-53) | st.sampled_from([SMALLEST_U, LARGEST_U])
means = st.floats(-3.0, 7.0).map(lambda power: 10.0**power) | st.floats(4.9, 5.1)
probabilities = st.floats(0.0, 1.0) | st.floats(-9.0, 0.0).map(lambda power: 10.0**power)
trials = st.floats(0.0, 9.0).map(lambda power: int(10.0**power))


@dataclass(frozen=True)
class Steps:
    """The CDF of a count, in extended precision: P(X <= k) and P(X > k) at each k."""

    k: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    def rounding(self) -> float:
        """Return the error that the kernels claim for a CDF, relative to the smaller tail."""
        weight = np.diff(self.lower, prepend=0)
        mean = (weight * self.k).sum()
        return 1e-13 + 2e-16 * float((weight * (self.k - mean) ** 2).sum()) ** 0.5


def summed(first: int, mode: int, last: int, ratio: np.ndarray) -> Steps:
    """Return the steps from the ratios P(k + 1) / P(k), k = first to last - 1; their sum is what makes them 1."""
    rise = np.cumprod(1 / ratio[: mode - first][::-1])[::-1]
    weight = np.concatenate([rise, [np.longdouble(1)], np.cumprod(ratio[mode - first :])])
    total = weight.sum()
    above = np.append(np.cumsum(weight[::-1])[::-1][1:], 0)
    return Steps(np.arange(first, last + 1), np.cumsum(weight) / total, above / total)


def poisson_steps(mean: float) -> Steps:
    reach = int(12 * mean**0.5) + 80
    first, mode, last = max(0, int(mean) - reach), int(mean), int(mean) + reach
    return summed(first, mode, last, np.longdouble(mean) / np.arange(first + 1, last + 1))


def binomial_steps(n: int, p: float) -> Steps:
    reach = int(12 * (n * p * (1 - p)) ** 0.5) + 80
    first, mode, last = max(0, int(n * p) - reach), int(n * p), min(n, int(n * p) + reach)
    k = np.arange(first, last).astype(np.longdouble)
    return summed(first, mode, last, (n - k) / (k + 1) * (np.longdouble(p) / (1 - np.longdouble(p))))


def check_definition(steps: Steps, u: np.ndarray, k: np.ndarray) -> None:
    """Check F(k - 1) < u <= F(k) in the smaller tail, where 1 - u is exact."""
    at = k - steps.k[0]
    assert np.all((at >= 0) & (at < len(steps.k)))
    rounding = steps.rounding()
    low_u, high_u = u.astype(np.longdouble), 1 - u.astype(np.longdouble)
    below = np.where(at > 0, steps.lower[at - 1], 0)
    above_below = np.where(at > 0, steps.upper[at - 1], 1)
    in_lower = (below * (1 - rounding) < low_u) & (low_u <= steps.lower[at] * (1 + rounding))
    in_upper = (steps.upper[at] * (1 - rounding) <= high_u) & (high_u < above_below * (1 + rounding))
    wrong = np.flatnonzero(~np.where(u < 0.5, in_lower, in_upper))
    assert wrong.size == 0, (u[wrong[:3]], k[wrong[:3]])


def beside_steps(steps: Steps, count: int) -> np.ndarray:
    """Return uniforms a hair under and over up to `count` steps, and the extremes."""
    seen = np.flatnonzero((steps.lower > SMALLEST_U) & (steps.upper > 2.0**-53))
    chosen = seen[np.linspace(0, seen.size - 1, min(count, seen.size)).astype(int)] if seen.size else seen
    hairs = np.array([-1e-9, -3 * steps.rounding(), 3 * steps.rounding(), 1e-9])[:, None]
    low = (steps.lower[chosen] * (1 + hairs)).astype(float)
    high = (1 - steps.upper[chosen] * (1 + hairs)).astype(float)
    u = np.where(steps.lower[chosen] < 0.5, low, high).ravel()
    return np.concatenate([np.clip(u, SMALLEST_U, LARGEST_U), [SMALLEST_U, 2.0**-53, 0.5, LARGEST_U]])


def keyed_like(size: int, seed: int) -> np.ndarray:
    """Return uniforms as streams make them: odd multiples of 2**-53."""
    bits = np.random.default_rng(seed).integers(0, 2**52, size)
    return (bits + 0.5) * 2.0**-52


# Wichura (1988), section "Test data": PPND16.
@pytest.mark.parametrize(("u", "w"), [(0.25, -0.6744897501960817), (0.001, -3.090232306167814), (1e-20, -9.262340089798408)])
def test_normal_quantile_has_the_published_values(u: float, w: float) -> None:
    assert normal_quantile(u) == pytest.approx(w, rel=4e-16)


def test_normal_quantile_agrees_with_scipy_in_both_tails() -> None:
    u = np.concatenate([10.0 ** np.linspace(-300, -0.31, 20_001), np.linspace(0.01, 0.99, 20_000)])
    np.testing.assert_allclose(normal_quantiles(u), special.ndtri(u), rtol=3e-15, atol=1e-16)


@PROPERTY
@given(uniforms)
def test_normal_quantile_is_odd_about_one_half(u: float) -> None:
    if u > SMALLEST_U:  # 1 - 2**-54 is not a double
        assert normal_quantile(1.0 - u) == -normal_quantile(u)


@pytest.mark.parametrize("mean", [1e-9, 0.02, 0.5, 1.0, 3.3, 4.999, 5.0, 5.001, 8.0, 20.5, 100.0, 3e3, 1e5, 1e8])
def test_poisson_quantile_is_exact_beside_every_step(mean: float) -> None:
    steps = poisson_steps(mean)
    u = beside_steps(steps, 400 if mean < 1e6 else 40)
    check_definition(steps, u, poisson_quantiles(u, mean))


TRIALS = [
    *[(1, 0.3), (1, 0.75), (2, 0.5), (20, 0.49), (20, 0.51), (20, 0.5), (400, 0.005), (400, 0.0127), (400, 0.03)],
    *[(400, 0.995), (1000, 0.5), (1000, 0.83), (20_000, 0.01), (10**6, 1e-7), (10**6, 0.999), (10**8, 0.4)],
    *[(10**10, 1e-12), (10**10, 4e-10), (10**10, 1e-5), (10**10, 0.37), (10**10, 0.9999), (2**33, 1e-9), (2**34, 0.5)],
]


@pytest.mark.parametrize(("n", "p"), TRIALS)
def test_binomial_quantile_is_exact_beside_every_step(n: int, p: float) -> None:
    steps = binomial_steps(n, p)
    u = beside_steps(steps, 400 if n * p * (1 - p) < 1e6 else 40)
    check_definition(steps, u, binomial_quantiles(u, n, p))


def test_poisson_quantile_equals_scipy_or_is_right_where_they_differ() -> None:
    u = np.concatenate([keyed_like(200_000, seed=1), np.repeat([SMALLEST_U, LARGEST_U], 20)])
    mean = 10.0 ** np.random.default_rng(2).uniform(-3, 7, u.size)
    k = poisson_quantiles(u, mean)
    different = np.flatnonzero(k != stats.poisson.ppf(u, mean))
    assert different.size < 60  # SciPy compares with F, which rounds to 1 at the largest u
    for i in different:
        check_definition(poisson_steps(mean[i]), u[i : i + 1], k[i : i + 1])


def test_binomial_quantile_equals_scipy_or_is_right_where_they_differ() -> None:
    u = np.concatenate([keyed_like(200_000, seed=3), np.repeat([SMALLEST_U, LARGEST_U], 20)])
    rng = np.random.default_rng(4)
    n = (10.0 ** rng.uniform(0, 6, u.size)).astype(np.int64)
    p = np.where(rng.random(u.size) < 0.5, rng.random(u.size), 10.0 ** rng.uniform(-6, 0, u.size))
    p = np.where(rng.random(u.size) < 0.3, 1 - p, p)
    k = binomial_quantiles(u, n, p)
    different = np.flatnonzero(k != stats.binom.ppf(u, n, p))
    assert different.size < 60
    for i in different:
        check_definition(binomial_steps(int(n[i]), p[i]), u[i : i + 1], k[i : i + 1])


@PROPERTY
@given(uniforms, uniforms, means)
def test_poisson_quantile_never_falls_as_u_rises(one: float, other: float, mean: float) -> None:
    assert poisson_quantile(min(one, other), mean) <= poisson_quantile(max(one, other), mean)


@PROPERTY
@given(uniforms, uniforms, trials, probabilities)
def test_binomial_quantile_never_falls_as_u_rises(one: float, other: float, n: int, p: float) -> None:
    assert binomial_quantile(min(one, other), n, p) <= binomial_quantile(max(one, other), n, p)


@PROPERTY
@given(uniforms, means, means)
def test_poisson_quantile_never_falls_as_the_mean_rises(u: float, one: float, other: float) -> None:
    assert poisson_quantile(u, min(one, other)) <= poisson_quantile(u, max(one, other))


@PROPERTY
@given(uniforms, trials, trials, probabilities)
def test_binomial_quantile_never_falls_as_n_rises(u: float, one: int, other: int, p: float) -> None:
    assert binomial_quantile(u, min(one, other), p) <= binomial_quantile(u, max(one, other), p)


@PROPERTY
@given(uniforms, trials, probabilities, probabilities)
def test_binomial_quantile_never_falls_as_p_rises(u: float, n: int, one: float, other: float) -> None:
    assert binomial_quantile(u, n, min(one, other)) <= binomial_quantile(u, n, max(one, other))


def neighbours(u: float, count: int = 40) -> np.ndarray:
    """Return the doubles nearest to `u`, in order."""
    spacing = np.spacing(u)
    return np.unique(np.clip(u + spacing * np.arange(-count, count + 1), SMALLEST_U, LARGEST_U))


@PROPERTY
@given(uniforms, means, st.floats(1e-12, 1e-9))
def test_poisson_order_holds_on_the_steps_themselves(u: float, mean: float, gap: float) -> None:
    k = poisson_quantile(u, mean)
    near = neighbours(min(max(special.pdtr(k, mean), SMALLEST_U), LARGEST_U))
    draws = poisson_quantiles(near, mean)
    assert np.all(np.diff(draws) >= 0)
    assert np.all(poisson_quantiles(near, mean * (1 + gap)) >= draws)


@PROPERTY
@given(uniforms, trials, probabilities, st.floats(1e-12, 1e-9))
def test_binomial_order_holds_on_the_steps_themselves(u: float, n: int, p: float, gap: float) -> None:
    k = binomial_quantile(u, n, p)
    near = neighbours(min(max(stats.binom.cdf(k, n, p), SMALLEST_U), LARGEST_U))
    draws = binomial_quantiles(near, n, p)
    assert np.all(np.diff(draws) >= 0)
    assert np.all(binomial_quantiles(near, n + 1, p) >= draws)
    if p < 0.9:  # nearer to 1, a gap in p is none in 1 - p
        assert np.all(binomial_quantiles(near, n, p * (1 + gap)) >= draws)


@pytest.mark.parametrize("u", [SMALLEST_U, 1e-9, 0.003, 0.2, 0.5, 0.77, 0.9999, LARGEST_U])
def test_order_holds_across_the_switch_of_methods(u: float) -> None:
    mean = np.linspace(4.9, 5.1, 4001)
    assert np.all(np.diff(poisson_quantiles(u, mean)) >= 0)
    assert np.all(np.diff(binomial_quantiles(u, 400, mean / 400 / (1 - mean / 400))) >= 0)
    assert np.all(np.diff(binomial_quantiles(u, np.arange(1, 4001), 0.01)) >= 0)
    assert np.all(np.diff(binomial_quantiles(u, 20, np.linspace(0, 1, 4001))) >= 0)  # both switches and p = 1/2


def test_expansion_keeps_to_a_seventh_of_its_bound() -> None:
    cases = [(poisson_steps(mean), (mean,) * 5) for mean in np.geomspace(5, 3e4, 60)]
    for p in (0.5, 0.3, 0.1, 0.01):
        for variance in np.geomspace(5, 3e4, 20):
            n = int(np.ceil(variance / p / (1 - p)))
            v, pq = n * p * (1 - p), p * (1 - p)
            cumulants = (n * p, v, v * (1 - 2 * p), v * (1 - 6 * pq), v * (1 - 2 * p) * (1 - 12 * pq))
            cases.append((binomial_steps(n, p), cumulants))
    for steps, cumulants in cases:
        w = np.where(steps.lower < 0.5, special.ndtri(steps.lower.astype(float)), -special.ndtri(steps.upper.astype(float)))
        inside = np.flatnonzero(np.abs(w) <= 5)
        for i in inside[:: max(1, inside.size // 100)]:
            x, bound = inverse.expansion(w[i], *cumulants)
            assert abs(x - (steps.k[i] + 1)) < bound / 7


def chi_square_tail(draws: np.ndarray, steps: Steps) -> float:
    """Return the p-value of Pearson's test, cells of at least 10 expected draws, the rest joined to them."""
    cuts = np.unique(np.searchsorted(steps.lower, np.arange(1, 200) / 200))  # k where the next 0.5 % is passed
    edges = steps.lower[cuts[:-1]].astype(float)
    expected = np.diff(np.concatenate([[0.0], edges, [1.0]])) * draws.size
    cell = np.searchsorted(steps.k[cuts[:-1]], draws, side="left")
    observed = np.bincount(cell, minlength=expected.size)
    return float(stats.chisquare(observed, expected * draws.size / expected.sum()).pvalue)


# Seeded; a correct kernel fails each of these with probability 1e-4.
@pytest.mark.parametrize("mean", [0.7, 4.0, 6.0, 250.0, 2e4])
def test_poisson_draws_fit_their_distribution(mean: float) -> None:
    assert chi_square_tail(poisson_quantiles(keyed_like(400_000, seed=11), mean), poisson_steps(mean)) > 1e-4


@pytest.mark.parametrize(("n", "p"), [(5, 0.4), (400, 0.01), (400, 0.03), (20_000, 0.01), (300, 0.8)])
def test_binomial_draws_fit_their_distribution(n: int, p: float) -> None:
    assert chi_square_tail(binomial_quantiles(keyed_like(400_000, seed=12), n, p), binomial_steps(n, p)) > 1e-4


@pytest.mark.parametrize("u", [SMALLEST_U, 0.5, LARGEST_U])
def test_nothing_random_where_nothing_is_left_to_chance(u: float) -> None:
    assert poisson_quantile(u, 0.0) == 0
    assert [binomial_quantile(u, n, p) for n, p in [(0, 0.3), (0, 0.9), (9, 0.0), (9, 1.0)]] == [0, 0, 0, 9]


def test_the_rarest_events_keep_their_probability() -> None:
    assert poisson_quantile(LARGEST_U, 1e-16) == 0  # P(X > 0) = 1e-16 < 2**-53
    assert poisson_quantile(LARGEST_U, 1.2e-16) == 1
    assert binomial_quantile(LARGEST_U, 10**10, 1.2e-26) == 1
    assert poisson_quantile(LARGEST_U, 5e-324) == 0
    assert binomial_quantile(LARGEST_U, 1, 5e-324) == 0


@pytest.mark.parametrize("p", [0.25, 0.5, 0.75, 0.875])
def test_a_uniform_on_a_step_belongs_to_the_step(p: float) -> None:
    assert binomial_quantile(1 - p, 1, p) == 0  # F(0) = 1 - p to the bit
    assert binomial_quantile(float(np.nextafter(1 - p, 1)), 1, p) == 1


def test_counting_failures_gives_the_same_draws() -> None:
    u = keyed_like(20_000, seed=21)
    for n, p in [(7, 0.25), (1000, 0.375), (10**9, 0.0009765625)]:  # 1 - p is exact
        np.testing.assert_array_equal(binomial_quantiles(u, n, 1 - p), n - binomial_quantiles(1 - u, n, p))


def test_arrays_broadcast_and_equal_the_scalar_kernels() -> None:
    u, mean = keyed_like(50, seed=31)[:, None], np.array([0.0, 2.5, 90.0])
    counts = poisson_quantiles(u, mean)
    successes = binomial_quantiles(u, np.array([3, 40, 5000]), 0.25)
    assert counts.shape == successes.shape == (50, 3)
    assert counts.dtype == successes.dtype == np.int64
    assert counts.tolist() == [[poisson_quantile(x, m) for m in mean] for x in u[:, 0]]
    assert successes.tolist() == [[binomial_quantile(x, n, 0.25) for n in (3, 40, 5000)] for x in u[:, 0]]


def test_extreme_arguments_raise_no_floating_point_flag() -> None:
    u = np.array([SMALLEST_U, 1e-9, 0.5, 1 - 1e-9, LARGEST_U])[:, None, None]
    p = np.array([0.0, 5e-324, 1e-300, 1e-16, 1e-9, 0.3, 0.5, 0.9, 1.0 - 2.0**-53, 1.0])
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        assert np.all(np.diff(binomial_quantiles(u, np.array([0, 1, 7, 10**6, LARGEST])[:, None], p), axis=0) >= 0)
        assert np.all(np.diff(poisson_quantiles(u, p * LARGEST), axis=0) >= 0)


@pytest.mark.parametrize("u", [0.0, 1.0, -0.1, 1.1, np.nan])
def test_a_uniform_outside_the_open_interval_is_refused(u: float) -> None:
    for quantile in (lambda: normal_quantile(u), lambda: poisson_quantile(u, 2.0), lambda: binomial_quantile(u, 9, 0.1)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            quantile()
    with pytest.raises(ValueError, match="between 0 and 1"):
        poisson_quantiles(np.array([0.5, u]), 2.0)


@pytest.mark.parametrize("mean", [-1e-9, np.nan, np.inf, 2.0 * LARGEST])
def test_an_impossible_mean_is_refused(mean: float) -> None:
    with pytest.raises(ValueError, match="mean"):
        poisson_quantile(0.5, mean)


@pytest.mark.parametrize(("n", "p"), [(-1, 0.5), (2 * LARGEST, 0.5), (5, -0.1), (5, 1.1), (5, np.nan)])
def test_impossible_trials_are_refused(n: int, p: float) -> None:
    with pytest.raises(ValueError, match="n between"):
        binomial_quantile(0.5, n, p)


@PROPERTY
@given(share=st.floats(1e-6, 1 - 1e-6), n=st.integers(1, 10**6), p=st.floats(1e-8, 1 - 1e-8))
def test_a_count_without_a_compiler_is_the_quantile_of_the_distribution(share: float, n: int, p: float) -> None:
    k = binomial_count(share, n, p)
    # Where a probability and the share are alike but for rounding, either neighbour is right.
    assert stats.binom.cdf(k, n, p) >= share * (1 - 1e-12)
    assert stats.binom.cdf(k - 1, n, p) < share * (1 + 1e-12)
