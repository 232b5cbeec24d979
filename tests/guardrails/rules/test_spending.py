"""Error spending: published boundaries, the functions, and the error by simulation at equal and unequal information."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from simlab.errors import UnitError
from simlab.guardrails.boundaries import crossing_probability
from simlab.guardrails.rule import Assumption
from simlab.guardrails.rules.spending import HwangShihDeCani, KimDeMets, LanDeMets, Spending
from tests.guardrails.rules.contract import assert_contract, assert_spends, ever_alarmed, random_values, seen, standard

# A two-sided error of 6e-5 for each probability.
Z = 4.0
LANES = 100_000
RULES: tuple[Any, ...] = (LanDeMets, HwangShihDeCani, KimDeMets)


# Lan & DeMets, Biometrika 70 (1983), O'Brien-Fleming type, two-sided 5 %, K = 5.
@pytest.mark.parametrize(
    ("per_side", "published"),
    [
        (True, [4.87688, 3.35701, 2.68028, 2.28982, 2.03103]),
        (False, [4.38261, 3.09973, 2.55335, 2.25385, 2.06350]),
    ],
)
def test_lan_demets_is_as_published(per_side: bool, published: list[float]) -> None:
    rule = LanDeMets(looks=5, per_side=per_side)
    assert rule.critical_values().tolist() == pytest.approx(published, abs=5e-6)
    assert rule.threshold == pytest.approx(published[-1], abs=5e-6)


# Hwang, Shih & DeCani, Stat. Med. 9 (1990): one-sided 2.5 %, three looks, gamma -4; four decimals.
def test_hwang_shih_decani_is_as_published() -> None:
    rule = HwangShihDeCani(looks=3, gamma=-4, alpha=0.025, sides=1)
    assert rule.critical_values().tolist() == pytest.approx([3.0107, 2.5465, 1.9992], abs=5e-5)


def test_the_functions_by_hand() -> None:
    t = [0.25, 1.0]
    assert LanDeMets(looks=2, sides=1).spent(t).tolist() == pytest.approx([2 * norm.sf(norm.isf(0.025) * 2), 0.05])
    assert LanDeMets(looks=2).spent(t).tolist() == pytest.approx([4 * norm.sf(norm.isf(0.0125) * 2), 0.05])
    assert LanDeMets(looks=2, per_side=False).spent(t).tolist() == pytest.approx([2 * norm.sf(norm.isf(0.025) * 2), 0.05])
    pocock = 0.05 * math.log(1 + (math.e - 1) / 4)
    assert LanDeMets(looks=2, spending="pocock").spent(t).tolist() == pytest.approx([pocock, 0.05])
    hwang = 0.05 * (1 - math.exp(-0.5)) / (1 - math.exp(-2))
    assert HwangShihDeCani(looks=2, gamma=2).spent(t).tolist() == pytest.approx([hwang, 0.05])
    assert HwangShihDeCani(looks=2, gamma=0).spent(t).tolist() == pytest.approx([0.0125, 0.05])
    assert KimDeMets(looks=2, rho=3).spent(t).tolist() == pytest.approx([0.05 / 64, 0.05])


@given(
    st.lists(st.floats(0.001, 1.5), min_size=2, max_size=20, unique=True),
    st.sampled_from(
        [*(each(looks=2) for each in RULES), HwangShihDeCani(looks=2, gamma=40), LanDeMets(looks=2, spending="pocock")]
    ),
)
def test_all_is_spent_at_the_end_and_nothing_given_back(fractions: list[float], rule: Spending) -> None:
    spent = rule.spent([0.0 + 1e-9, *sorted(fractions), 1.0 if max(fractions) < 1 else 2.0])
    assert (np.diff(spent) >= 0).all()
    assert spent[-1] == pytest.approx(0.05, rel=1e-12)


def test_gamma_near_zero_is_its_limit() -> None:
    near, limit = HwangShihDeCani(looks=3, gamma=1e-9), HwangShihDeCani(looks=3, gamma=0)
    np.testing.assert_allclose(near.critical_values(), limit.critical_values(), atol=1e-6)


@pytest.mark.parametrize(
    "rule",
    [each(looks=5, alpha=0.05, sides=sides) for each in RULES for sides in (1, 2)]
    + [LanDeMets(looks=5, per_side=False), LanDeMets(looks=5, spending="pocock"), KimDeMets(looks=5, rho=0.5)],
    ids=str,
)
def test_the_error_is_alpha(rule: Spending) -> None:
    found = ever_alarmed(rule, standard(), looks=8, lanes=LANES, seed=1).mean()
    assert abs(found - 0.05) < Z * math.sqrt(0.05 * 0.95 / LANES)


@pytest.mark.parametrize("kind", RULES)
def test_unequal_information_as_planned_keeps_the_error(kind: Any) -> None:
    planned = (1.0, 2.0, 12.0, 60.0)
    rule = kind(looks=4, information=planned)
    increments = iter(np.diff(planned, prepend=0.0) * 700)
    found = ever_alarmed(
        rule,
        lambda generator, lanes: seen(generator.normal(size=lanes), information=next(increments)),
        looks=4,
        lanes=LANES,
        seed=2,
    ).mean()
    assert abs(found - 0.05) < Z * math.sqrt(0.05 * 0.95 / LANES)


def test_boundaries_for_any_information() -> None:
    rule = LanDeMets(looks=5)
    fractions = np.array([0.02, 0.3, 0.31, 0.9])
    crossed = crossing_probability(rule.boundaries(fractions), fractions)
    np.testing.assert_allclose(np.cumsum(crossed.upper + crossed.lower), rule.spent(fractions), atol=1e-8)
    np.testing.assert_array_equal(rule.boundaries(np.arange(1, 6) / 5), rule.critical_values())
    # All is spent at the planned maximum; what comes later cannot alarm.
    assert np.isinf(rule.boundaries([0.5, 1.0, 1.2])[-1])


def test_the_promise_names_its_information() -> None:
    equal, listed = KimDeMets(looks=2).guarantee, KimDeMets(looks=2, information=(1.0, 9.0)).guarantee
    assert Assumption.EQUAL_INFORMATION in equal.assumptions
    assert Assumption.EQUAL_INFORMATION not in listed.assumptions
    assert listed.claim == f"{equal.claim}, if they bring the information that is listed"


@pytest.mark.parametrize("information", [(1.0, 2.0), (1.0, 3.0, 3.0), (3.0, 2.0, 1.0)])
def test_information_must_fit_the_plan(information: tuple[float, ...]) -> None:
    with pytest.raises(UnitError, match="information"):
        KimDeMets(looks=3, information=information)


@pytest.mark.parametrize("kind", RULES)
def test_they_keep_the_contract(kind: Any) -> None:
    assert_contract(kind(looks=7), random_values(4))
    assert_spends(kind(looks=3))
