"""Pocock, O'Brien-Fleming and Haybittle-Peto: published values, their error by simulation, and what happens after the plan."""

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
from simlab.guardrails.rules.group_sequential import HaybittlePeto, OBrienFleming, PlannedLooks, Pocock
from tests.guardrails.rules.contract import assert_contract, assert_spends, ever_alarmed, random_values, run_all, seen, standard

# A two-sided error of 6e-5 for each probability.
Z = 4.0
LANES = 100_000
RULES: tuple[Any, ...] = (Pocock, OBrienFleming, HaybittlePeto)


# Pocock, Biometrika 64 (1977), and O'Brien & Fleming, Biometrics 35 (1979), two-sided 5 %.
@pytest.mark.parametrize(
    ("looks", "pocock", "obrien_fleming"),
    [(2, 2.17827, 1.97743), (3, 2.28948, 2.00404), (4, 2.3613, 2.0243), (5, 2.41318, 2.04007)],
)
def test_published_constants(looks: int, pocock: float, obrien_fleming: float) -> None:
    assert Pocock(looks=looks).threshold == pytest.approx(pocock, abs=5e-6)
    assert OBrienFleming(looks=looks).threshold == pytest.approx(obrien_fleming, abs=5e-6)


def test_published_boundary() -> None:
    expected = [4.56174, 3.22564, 2.63372, 2.28087, 2.04007]
    assert OBrienFleming(looks=5).critical_values().tolist() == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize("rule", [each(looks=5, alpha=0.05, sides=sides) for each in RULES for sides in (1, 2)], ids=str)
def test_the_error_is_alpha(rule: PlannedLooks) -> None:
    found = ever_alarmed(rule, standard(), looks=9, lanes=LANES, seed=3).mean()
    assert abs(found - 0.05) < Z * math.sqrt(0.05 * 0.95 / LANES)


@pytest.mark.parametrize("rule", [each(looks=4) for each in RULES], ids=str)
def test_the_power_is_as_integrated(rule: PlannedLooks) -> None:
    drift = 0.9
    exact = crossing_probability(rule.critical_values(), [1, 2, 3, 4], drift=drift).total
    found = ever_alarmed(rule, standard(drift), looks=4, lanes=LANES, seed=4).mean()
    assert abs(found - exact) < Z * math.sqrt(exact * (1 - exact) / LANES)


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=5), st.sampled_from(RULES), st.sampled_from([1, 2]))
def test_the_ladder_is_the_boundary(values: list[float], kind: Any, sides: Any) -> None:
    rule = kind(looks=5, sides=sides)
    statistics = run_all(rule, [seen([value]) for value in values])[:, 0, 0]
    z = np.cumsum(values) / np.sqrt(np.arange(1, len(values) + 1))
    size = z if sides == 1 else np.abs(z)
    np.testing.assert_allclose(statistics, size * rule.threshold / rule.critical_values()[: len(values)], atol=1e-12)


@pytest.mark.parametrize("kind", RULES)
def test_on_the_boundary_it_alarms(kind: Any) -> None:
    rule = kind(looks=3)
    first = rule.critical_values()[0]
    values = np.array([[first * (1 + 1e-12), first * (1 - 1e-9), -first * (1 + 1e-12)]])
    assert (run_all(rule, [seen(values)])[0, 0] >= rule.threshold).tolist() == [True, False, True]


@pytest.mark.parametrize("kind", RULES)
def test_after_the_last_planned_look_nothing_moves(kind: Any) -> None:
    rule = kind(looks=2)
    found = run_all(rule, [seen([[0.5, 5.0]]) for _ in range(2)] + [seen([[50.0, -50.0]]) for _ in range(3)])[:, 0]
    assert (found >= rule.threshold)[:, 0].tolist() == [False] * 5
    np.testing.assert_array_equal(found[2:], np.broadcast_to(found[1], (3, 2)))


def test_two_sides_tell_harm_from_improvement() -> None:
    rule = Pocock(looks=2)
    step = rule.update(rule.initial(1, 2, every=60_000), seen([[4.0, -4.0]]))
    np.testing.assert_array_equal(step.statistic, [[4.0, 4.0]])
    np.testing.assert_array_equal(step.worse, [[True, False]])
    assert ever_alarmed(Pocock(looks=2, sides=1), standard(-9.0), looks=2, lanes=100, seed=5).sum() == 0


def test_without_information_there_is_no_verdict() -> None:
    assert np.isnan(run_all(Pocock(looks=2), [seen([1.0], information=0.0)])).all()


def test_haybittle_peto_as_published_spends_more_and_says_so() -> None:
    rule = HaybittlePeto(looks=5, last="unadjusted")
    assert rule.critical_values().tolist() == pytest.approx([3, 3, 3, 3, norm.isf(0.025)], abs=1e-8)
    assert rule.guarantee.claim.startswith("alarms with probability 0.05332 ")
    found = ever_alarmed(rule, standard(), looks=5, lanes=LANES, seed=6).mean()
    assert abs(found - 0.05332) < Z * math.sqrt(0.05 * 0.95 / LANES)
    # A budget means the whole error, so that the last look is adjusted.
    assert rule.with_alpha(0.04) == HaybittlePeto(looks=5, alpha=0.04)


def test_haybittle_peto_refuses_early_looks_that_spend_it_all() -> None:
    with pytest.raises(UnitError, match=r"early 2 is too low: .* spend 0\.1\d+, which leaves nothing of 0\.05"):
        HaybittlePeto(looks=6, early=2.0)


@pytest.mark.parametrize("kind", RULES)
def test_they_keep_the_contract(kind: Any) -> None:
    assert_contract(kind(looks=7), random_values(2))
    assert_contract(kind(looks=7, sides=1), random_values(3))
    assert_spends(kind(looks=3, early=4.0) if kind is HaybittlePeto else kind(looks=3))
