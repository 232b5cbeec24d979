"""LORD++ and SAFFRON: published levels, a hand calculation, and the false discovery rate over simulated sequences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr, zeta

from simlab.errors import UnitError
from simlab.guardrails.online_fdr import Lord, OnlineRule, Saffron

# The example of the documentation of the R package onlineFDR (Robertson, Liou, Ramdas & Karp 2022), in the order of its rows,
# with the levels that it prints for LORD(version = "++", w0 = alpha / 10) and SAFFRON(w0 = alpha / 2), alpha = 0.05.
P_VALUES = [2.90e-08, 0.06743, 0.01514, 0.08174, 0.00171, 3.60e-05, 0.79149, 0.27201, 0.28295, 7.59e-08,
            0.69274, 0.30443, 0.00136, 0.72342, 0.54757]  # fmt: skip
LORD = [0.0002675839, 0.0024664457, 0.0005732818, 0.0004872805, 0.0004059066, 0.0003447286, 0.0029745013, 0.0008450114,
        0.0007305648, 0.0006243143, 0.0032185913, 0.0010617227, 0.0009256825, 0.0008019657, 0.0007059610]  # fmt: skip
SAFFRON = [0.005468627, 0.010937254, 0.010937254, 0.010937254, 0.010937254, 0.021874508, 0.032811762, 0.010823845, 0.010823845,
           0.010823845, 0.021761099, 0.009265591, 0.009265591, 0.020202846, 0.009064367]  # fmt: skip


def levels(rule: OnlineRule, p_values: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return levels and rejections, [rollouts, lanes], of p-values of that shape."""
    series = np.asarray(p_values, dtype=float)
    series = series[:, None] if series.ndim == 1 else series
    state = rule.initial(series.shape[1])
    found, rejected = [], []
    for p_value in series:
        state, level, rejects = rule.step(state, p_value)
        found.append(level)
        rejected.append(rejects)
    return np.array(found), np.array(rejected)


@pytest.mark.parametrize(
    ("rule", "published", "digits", "rejections"),
    [
        (Lord(wealth=0.005), LORD, 10, [1, 6, 10]),
        (Saffron(wealth=0.025), SAFFRON, 9, [1, 5, 6, 10, 13]),
    ],
)
def test_published_levels_to_their_printed_digits(rule: OnlineRule, published: list[float], digits: int, rejections: Any) -> None:
    found, rejected = levels(rule, P_VALUES)
    assert found[:, 0].round(digits).tolist() == published
    assert (np.flatnonzero(rejected) + 1).tolist() == rejections


def gamma(rule: OnlineRule, place: int) -> float:
    return float(rule.gamma(np.array(place)))


def test_levels_by_hand() -> None:
    # Rejections at 2 and 3 (the second and third p-value); a = 0.1, W_0 = 0.04.
    p_values = [0.9, 1e-9, 1e-9, 0.2, 0.9, 0.9]
    lord = Lord(budget=0.1, wealth=0.04)
    by_hand = [
        math.fsum([0.04 * gamma(lord, t), *(0.06 * gamma(lord, t - 2) for _ in "x" if t > 2), *(0.1 * gamma(lord, t - 3) for _ in "x" if t > 3)])
        for t in range(1, 7)
    ]  # fmt: skip
    np.testing.assert_allclose(levels(lord, p_values)[0][:, 0], by_hand, rtol=1e-12)
    # SAFFRON with l = 0.5 counts t = 1 and 5 only, of the first five, as not being candidates.
    saffron = Saffron(budget=0.1, wealth=0.04)
    g = [gamma(saffron, place) for place in (1, 2, 3)]
    wealth = [0.04 * g[0], 0.04 * g[1], 0.04 * g[1] + 0.06 * g[0]]
    wealth += [wealth[2] + 0.1 * g[0]] * 2 + [0.04 * g[2] + 0.06 * g[1] + 0.1 * g[1]]
    np.testing.assert_allclose(levels(saffron, p_values)[0][:, 0], np.array(wealth) / 2, rtol=1e-12)


def test_the_sequences_sum_to_at_most_one() -> None:
    places = np.arange(1, 1_000_001)
    # What is left of LORD's: the integral of u exp(-sqrt(u)) from u = ln(n + 1/2), with s = sqrt(u).
    s = math.sqrt(math.log(1_000_000.5))
    left = 0.07720838 * 2 * math.exp(-s) * (s**3 + 3 * s**2 + 6 * s + 6)
    assert 0.97 < Lord().gamma(places).sum() + left <= 1
    # The tail of the zeta function beyond n is zeta(1.6, n + 1).
    assert Saffron().gamma(places).sum() + zeta(1.6, 1_000_001) / zeta(1.6) == pytest.approx(1, abs=1e-9)


def test_lanes_are_sequences_of_their_own() -> None:
    p_values = np.random.default_rng(3).uniform(0, 0.05, size=(40, 5))
    for rule in (Lord(), Saffron()):
        together, _ = levels(rule, p_values)
        apart = np.hstack([levels(rule, p_values[:, lane])[0] for lane in range(5)])
        np.testing.assert_allclose(together, apart, rtol=1e-13)


def test_a_step_keeps_the_state_before_and_reads_no_p_value_as_one() -> None:
    rule = Lord()
    state = rule.initial(2)
    before = [each.copy() for each in state]
    stepped = rule.step(state, np.array([0.0, np.nan]))
    assert stepped.rejected.tolist() == [True, False]
    for was, now in zip(before, state, strict=True):
        np.testing.assert_array_equal(was, now)


def test_a_wealth_above_the_budget_is_refused() -> None:
    with pytest.raises(UnitError, match=r"first wealth 0\.06 must be at most the budget 0\.05"):
        Lord(budget=0.05, wealth=0.06)


@pytest.mark.parametrize("harmed_share", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("rule", [Lord(budget=0.1), Saffron(budget=0.1)])
def test_the_false_discovery_rate_is_kept(rule: OnlineRule, harmed_share: float) -> None:
    generator = np.random.default_rng(5)
    sequences, rollouts = 1000, 150
    harmful = generator.uniform(size=(rollouts, sequences)) < harmed_share
    p_values = ndtr(-(generator.standard_normal(harmful.shape) + 3.0 * harmful))
    _, rejected = levels(rule, p_values)
    share = (rejected & ~harmful).sum(axis=0) / np.maximum(rejected.sum(axis=0), 1)
    # One-sided, z = 3.1: a rule that keeps its rate fails by chance less than once in 1,000.
    assert share.mean() <= 0.1 + 3.1 * share.std(ddof=1) / math.sqrt(sequences)
    # As many tests at the level of the budget would not keep it.
    naive = (p_values <= 0.1) & ~harmful
    unkept = naive.sum(axis=0) / np.maximum((p_values <= 0.1).sum(axis=0), 1)
    assert harmed_share > 0.4 or unkept.mean() > 0.4
    if harmed_share:
        assert (rejected & harmful).sum() / harmful.sum() > 0.15
