"""The chi-square test of the sample ratio: Pearson's statistic, ramps, and what repeating it does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2, chisquare

from simlab.guardrails.rules.srm_chi2 import SampleRatioChi2
from tests.guardrails.rules.contract import assert_contract, assert_spends, ever_alarmed, run_all, seen_counts
from tests.looks import MINUTE

# A two-sided error of 6e-5 for each probability.
Z = 4.0


def counted(*parts: tuple[float, float], shares: list[tuple[float, float]]) -> object:
    """Return one look of one lane."""
    return seen_counts(np.array(parts)[:, :, None, None], shares=np.array(shares)[:, :, None])


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_it_is_pearson_s(share: float) -> None:
    looks = [(60.0, 40.0), (55.0, 61.0), (5.0, 70.0)]
    found = run_all(SampleRatioChi2(), [counted(pair, shares=[(share, 1 - share)]) for pair in looks])[:, 0, 0]  # type: ignore[misc]
    totals = np.cumsum(looks, axis=0)
    expected = [chisquare(total, total.sum() * np.array([share, 1 - share])).statistic for total in totals]
    np.testing.assert_allclose(found, expected)
    assert SampleRatioChi2(alpha=0.02).threshold == pytest.approx(chi2(1).isf(0.02))


def test_parts_under_a_ramp_are_judged_by_their_own_shares() -> None:
    both = counted((5.0, 95.0), (60.0, 40.0), shares=[(0.02, 0.98), (0.5, 0.5)])
    excess, variance = 5 - 100 * 0.02 + 60 - 50, 100 * 0.02 * 0.98 + 100 * 0.25
    assert run_all(SampleRatioChi2(), [both])[0, 0, 0] == pytest.approx(excess**2 / variance)  # type: ignore[list-item]
    # Only the ratio of the two arms matters.
    same = counted((5.0, 95.0), (60.0, 40.0), shares=[(0.01, 0.49), (0.1, 0.1)])
    assert run_all(SampleRatioChi2(), [same])[0, 0, 0] == pytest.approx(excess**2 / variance)  # type: ignore[list-item]


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
def test_a_part_without_both_arms_is_ignored(shares: tuple[float, float]) -> None:
    alone = run_all(SampleRatioChi2(), [counted((60.0, 40.0), shares=[(0.5, 0.5)])])  # type: ignore[list-item]
    with_it = counted((60.0, 40.0), (70.0, 0.0), shares=[(0.5, 0.5), shares])
    np.testing.assert_array_equal(run_all(SampleRatioChi2(), [with_it]), alone)  # type: ignore[list-item]


def test_before_the_first_user_it_is_unknown() -> None:
    assert np.isnan(run_all(SampleRatioChi2(), [counted((0.0, 0.0), shares=[(0.5, 0.5)])])).all()  # type: ignore[list-item]


def test_one_look_keeps_the_error_and_many_do_not() -> None:
    lanes, rule = 50_000, SampleRatioChi2(alpha=0.05)

    def draw(generator: np.random.Generator, count: int) -> object:
        treated = generator.binomial(10_000, 0.3, count)
        return seen_counts(np.array([[treated, 10_000 - treated]])[:, :, None], shares=np.full((1, 2, count), [[[0.3], [0.7]]]))

    once = ever_alarmed(rule, draw, looks=1, lanes=lanes, seed=1).mean()  # type: ignore[arg-type]
    # The normal limit of 10,000 users is off by less than 1e-3.
    assert abs(once - 0.05) < Z * math.sqrt(0.05 * 0.95 / lanes) + 1e-3
    # Armitage, McPherson & Rowe, JRSS A 132 (1969): .19336 at ten looks.
    many = ever_alarmed(rule, draw, looks=10, lanes=lanes, seed=2).mean()  # type: ignore[arg-type]
    assert abs(many - 0.19336) < Z * math.sqrt(0.19336 * 0.80664 / lanes) + 2e-3


def test_it_keeps_the_contract() -> None:
    generator = np.random.default_rng(3)
    shares = generator.choice([0.0, 0.1, 0.5], size=(10, 2, 2, 5))
    looks = [seen_counts(generator.integers(0, 60, (2, 2, 3, 5)), shares=each) for each in shares]
    assert_contract(SampleRatioChi2(), looks)
    assert_spends(SampleRatioChi2())
    assert SampleRatioChi2().initial(2, 3, every=MINUTE).excess.shape == (2, 3)
