"""The single test at the end of the plan."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from simlab.guardrails.rule import Assumption
from simlab.guardrails.rules.fixed_horizon import FixedHorizon
from tests.guardrails.rules.contract import assert_contract, assert_spends, ever_alarmed, random_values, run_all, seen, standard

# A two-sided error of 6e-5 for each probability.
Z = 4.0
LANES = 100_000


@pytest.mark.parametrize("sides", [1, 2])
def test_it_looks_once(sides: int) -> None:
    rule = FixedHorizon(looks=3, sides=sides)  # type: ignore[arg-type]
    found = run_all(rule, [seen([value]) for value in (9.0, 9.0, -1.0, 9.0, 9.0)])[:, 0, 0]
    assert found.tolist() == [-np.inf, -np.inf] + [pytest.approx(17 / math.sqrt(3))] * 3
    assert rule.threshold == pytest.approx(norm.isf(0.05 / sides), abs=1e-12)


@pytest.mark.parametrize("sides", [1, 2])
def test_its_error_is_alpha(sides: int) -> None:
    rule = FixedHorizon(looks=4, alpha=0.1, sides=sides)  # type: ignore[arg-type]
    found = ever_alarmed(rule, standard(), looks=10, lanes=LANES, seed=1).mean()
    assert abs(found - 0.1) < Z * math.sqrt(0.1 * 0.9 / LANES)


def test_looks_weigh_by_their_information() -> None:
    looks = [seen([1.0], information=4.0), seen([2.0], information=9.0)]
    assert run_all(FixedHorizon(looks=2), looks)[-1, 0, 0] == pytest.approx((2 + 6) / math.sqrt(13))


def test_lost_looks_do_not_count() -> None:
    found = run_all(FixedHorizon(looks=2), [seen([value]) for value in (1.0, np.nan, np.inf, 1.0)])[:, 0, 0]
    np.testing.assert_allclose(found, [-np.inf, np.nan, np.nan, math.sqrt(2)])


def test_its_promise_needs_no_equal_information() -> None:
    guarantee = FixedHorizon(looks=9).guarantee
    assert guarantee.claim == "alarms with probability 0.05 at look 9, and at no other"
    assert Assumption.EQUAL_INFORMATION not in guarantee.assumptions
    assert Assumption.FINAL_DATA in guarantee.assumptions


def test_it_keeps_the_contract() -> None:
    assert_contract(FixedHorizon(looks=6), random_values(1))
    assert_spends(FixedHorizon(looks=6))
