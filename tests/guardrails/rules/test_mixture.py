"""Normal mixtures: published boundaries, an exact expectation of one, and their error over many looks."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from simlab.guardrails.rules.mixture import MixtureSprt, NormalMixture, log_mixture, tuned_r
from tests.guardrails.rules.contract import assert_contract, assert_spends, ever_alarmed, random_values, run_all, seen, standard

# A one-sided error of 3e-5 for each simulated probability, if alpha were attained.
Z = 4.0

Sides = Literal[1, 2]


def bound(time: float, *, r: float, alpha: float = 0.05, sides: Sides = 2) -> float:
    """Return the score at which the mixture reaches 1 / alpha."""

    def short(score: float) -> float:
        return float(log_mixture(np.array(score), np.array(time), r=r, sides=sides)) + math.log(alpha)

    return float(brentq(short, 0.0, 1e3, xtol=1e-12))


# Howard et al., Ann. Stat. 49 (2021), v_opt = 100, alpha = .05; five decimals.
def test_published_boundaries() -> None:
    assert tuned_r(100, alpha=0.05) == pytest.approx(12.60056, abs=5e-6)
    assert tuned_r(100, alpha=0.05, sides=1) == pytest.approx(15.80063, abs=5e-6)
    assert bound(100, r=tuned_r(100, alpha=0.05)) == pytest.approx(30.35209, abs=5e-6)
    assert bound(100, r=tuned_r(100, alpha=0.05, sides=1), sides=1) == pytest.approx(27.66071, abs=5e-6)


def test_the_published_minimiser_is_where_the_boundary_is_lowest() -> None:
    def slope(r: float) -> float:
        return bound(100, r=r + 0.01) - bound(100, r=r - 0.01)

    assert brentq(slope, 10, 15) == pytest.approx(12.17735, abs=2e-5)


@given(st.floats(0.1, 1e6), st.floats(0.01, 1e4), st.floats(1e-6, 0.4))
def test_the_two_sided_boundary_in_closed_form(time: float, r: float, alpha: float) -> None:
    closed = math.sqrt((time + r) * (math.log((time + r) / r) - 2 * math.log(alpha)))
    found = log_mixture(np.array([closed, -closed]), np.array(time), r=r)
    assert found.tolist() == pytest.approx([-math.log(alpha)] * 2, rel=1e-9)


# Robbins 1970, Johari et al. 2017: critical |z| at n tau2 = 1 and 100.
@pytest.mark.parametrize(("looks", "tau2", "critical"), [(1, 1.0, 3.6564), (4, 25.0, 3.273), (100, 1.0, 3.273)])
def test_published_critical_values(looks: int, tau2: float, critical: float) -> None:
    rule = MixtureSprt(tau2=tau2)
    value = critical / math.sqrt(looks)
    statistic = run_all(rule, [seen([[value, -value]])] * looks)[-1, 0]
    # d log E / dz = z n tau2 / (1 + n tau2); the published |z| have three or four decimals.
    assert statistic.tolist() == pytest.approx(
        [rule.threshold] * 2, abs=critical * 5e-4 if critical == 3.273 else critical * 5e-5
    )


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize(("time", "r"), [(1.0, 0.5), (40.0, 12.6), (3.0, 1e-3)])
def test_its_expectation_is_one(sides: Sides, time: float, r: float) -> None:
    def weighed(z: float) -> float:
        score = np.array(z * math.sqrt(time))
        return math.exp(float(log_mixture(score, np.array(time), r=r, sides=sides)) + norm.logpdf(z))

    # The mean of E comes from effects of the size 1 / sqrt(r).
    reach = 12 * math.sqrt(1 + time / r)
    assert quad(weighed, -reach, reach, limit=500, points=[-5, 0, 5])[0] == pytest.approx(1.0, abs=1e-7)


@given(st.floats(-50, 50), st.floats(0, 1e4), st.floats(0.01, 100))
def test_the_two_halves_of_the_mixture_make_the_whole(score: float, time: float, r: float) -> None:
    one, other = (
        math.exp(float(log_mixture(np.array(s), np.array(time), r=r, sides=1)) - score**2 / (2 * (time + r)))
        for s in (score, -score)
    )
    whole = math.exp(float(log_mixture(np.array(score), np.array(time), r=r)) - score**2 / (2 * (time + r)))
    assert (one + other) / 2 == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize(
    "rule",
    [MixtureSprt(alpha=0.1), NormalMixture(alpha=0.1), NormalMixture(alpha=0.1, sides=1), NormalMixture(alpha=0.1, r=0.05)],
    ids=str,
)
def test_the_error_is_kept_over_many_looks(rule: Any) -> None:
    lanes = 10_000
    found = ever_alarmed(rule, standard(), looks=1000, lanes=lanes, seed=1).mean()
    assert 0.01 < found < 0.1 + Z * math.sqrt(0.1 * 0.9 / lanes)


def test_unequal_information_keeps_the_error_too() -> None:
    lanes, rule = 10_000, NormalMixture(alpha=0.1, v_opt=2e4, weights="information")
    found = ever_alarmed(
        rule,
        lambda generator, count: seen(generator.normal(size=count), information=generator.gamma(0.3, 1000.0, count)),
        looks=300,
        lanes=lanes,
        seed=2,
    ).mean()
    assert 0.01 < found < 0.1 + Z * math.sqrt(0.1 * 0.9 / lanes)


def test_one_side_alarms_on_harm_only_and_two_say_which() -> None:
    one, two = NormalMixture(sides=1), NormalMixture()
    assert not ever_alarmed(one, standard(-1.0), looks=200, lanes=50, seed=3).any()
    assert ever_alarmed(one, standard(1.0), looks=200, lanes=50, seed=3).all()
    step = two.update(two.initial(1, 2, every=60_000), seen([[50.0, -50.0]]))
    assert step.statistic[0, 0] == step.statistic[0, 1] > two.threshold
    np.testing.assert_array_equal(step.worse, [[True, False]])


def test_a_mixture_sprt_is_a_normal_mixture() -> None:
    looks = random_values(7)
    np.testing.assert_array_equal(
        run_all(MixtureSprt(tau2=0.25, weights="information"), looks), run_all(NormalMixture(r=4.0, weights="information"), looks)
    )


@pytest.mark.parametrize(
    "rule", [MixtureSprt(), NormalMixture(), NormalMixture(sides=1), NormalMixture(weights="information")], ids=str
)
def test_they_keep_the_contract(rule: Any) -> None:
    assert_contract(rule, random_values(8))
    assert_spends(rule)


def test_with_alpha_changes_nothing_else() -> None:
    rule = NormalMixture(alpha=0.05, v_opt=70, sides=1, weights="information")
    assert rule.with_alpha(0.01) == NormalMixture(alpha=0.01, v_opt=70, sides=1, weights="information")
    assert MixtureSprt(tau2=3, alpha=0.05).with_alpha(0.01) == MixtureSprt(tau2=3, alpha=0.01)
