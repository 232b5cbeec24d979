"""Exact run lengths to the digits in print, and against simulation where nothing is in print."""

from __future__ import annotations

import doctest
import math
from typing import Any

import numpy as np
import pytest

from simlab import exact_run_lengths
from simlab.errors import SimlabError, UnitError
from simlab.exact_run_lengths import exact_alarm_probability, exact_run_length, exact_sprt
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.e_detectors import ECusum, ESr
from simlab.guardrails.rules.shiryaev_roberts import ShiryaevRoberts
from simlab.guardrails.rules.sprt import Sprt
from simlab.run_lengths import run_length


def last_digit(published: str) -> float:
    """Return half a unit of the last digit in print, with room for the rounding of the number itself."""
    decimals = len(published.partition(".")[2])
    return 0.5 * 10.0**-decimals * (1 + 1e-9)


def assert_printed(exact: float, published: str) -> None:
    assert abs(exact - float(published)) <= last_digit(published)


# Lucas & Crosier, Technometrics 24 (1982), recomputed to more digits; k = 0.5, zero state.
@pytest.mark.parametrize(
    ("h", "sides", "shift", "published"),
    [
        (4, 2, 0, "167.6838"), (4, 2, 0.25, "74.224"), (4, 2, 0.5, "26.6302"), (4, 2, 0.75, "13.2851"), (4, 2, 1, "8.3831"),
        (4, 2, 1.5, "4.7472"), (4, 2, 2, "3.3428"), (4, 2, 2.5, "2.6195"), (4, 2, 3, "2.1945"), (4, 2, 4, "1.7085"),
        (5, 2, 0, "465.4435"), (5, 2, 1, "10.376"), (3, 1, 0, "117.5957"), (4, 1, 0, "335.3676"),
    ],
)  # fmt: skip
def test_cusum(h: float, sides: int, shift: float, published: str) -> None:
    assert_printed(exact_run_length({"cusum": {"k": 0.5, "h": h, "sides": sides}}, shift), published)


# The same paper, table 2: k = 0.5, head start h / 2.
@pytest.mark.parametrize(
    ("h", "shift", "published"),
    [
        (4, 0, "149"), (4, 0.5, "20.1"), (4, 1, "5.29"), (4, 2, "2.01"), (4, 3, "1.33"), (4, 4, "1.07"),
        (5, 0, "430"), (5, 0.5, "28.7"), (5, 1, "6.35"), (5, 2, "2.36"), (5, 3, "1.54"), (5, 4, "1.16"),
    ],
)  # fmt: skip
def test_cusum_with_a_head_start(h: float, shift: float, published: str) -> None:
    assert_printed(exact_run_length({"cusum": {"k": 0.5, "h": h, "sides": 2, "head_start": h / 2}}, shift), published)


# Lucas & Saccucci, Technometrics 32 (1990). Theirs at 0.25 is 254.79; the equation has 254.785 below the half, 254.7847.
@pytest.mark.parametrize(
    ("shift", "published"), [(0, "499.91"), (0.25, "254.785"), (0.5, "88.80"), (1, "17.48"), (2, "3.628"), (3, "1.926")]
)
def test_ewma(shift: float, published: str) -> None:
    assert_printed(exact_run_length({"ewma": {"lambda": 0.5, "L": 3.071}}, shift), published)


@pytest.mark.parametrize(("shift", "published"), [(0, "370.3983"), (0.5, "155.2242"), (1, "43.8947"), (2, "6.303"), (3, "2.0")])
def test_shewhart(shift: float, published: str) -> None:
    assert_printed(exact_run_length({"shewhart": {"sigmas": 3}}, shift), published)


# Moustakides, Polunchenko & Tartakovsky (2009), theta = 1.
@pytest.mark.parametrize(
    ("threshold", "shift", "published"),
    [(56.04, 0, "100.79"), (56.04, 1, "6.71"), (560.37, 0, "1000.79"), (560.37, 1, "11.14")],
)
def test_shiryaev_roberts(threshold: float, shift: float, published: str) -> None:
    assert_printed(exact_run_length({"shiryaev_roberts": {"theta": 1, "A": threshold}}, shift), published)


def test_sprt() -> None:
    # Wald's bounds for a = b = 0.05; his own approximation says 5.30 looks and an error of 0.05.
    found = exact_sprt(-2.9444, 2.9444, delta=1)
    assert_printed(found.average_sample_number, "6.920")
    assert_printed(found.upper_probability, "0.02864")
    assert found.lower_probability == pytest.approx(1 - found.upper_probability)
    turned = exact_sprt(-2.9444, 2.9444, delta=1, shift=1)
    assert turned.lower_probability == pytest.approx(found.upper_probability, rel=1e-10)
    assert turned.average_sample_number == pytest.approx(found.average_sample_number, rel=1e-10)


def test_sprt_by_simulation() -> None:
    generator = np.random.default_rng(1)
    total, looks = np.zeros(20_000), np.zeros(20_000)
    going = np.ones(20_000, dtype=bool)
    while going.any():
        total[going] += 0.5 * generator.normal(0.3, 1.0, int(going.sum())) - 0.125
        looks[going] += 1
        going = (total > -1.5) & (total < 3)
    exact = exact_sprt(-1.5, 3, delta=0.5, shift=0.3)
    # An error of 6e-5 each.
    assert abs(looks.mean() - exact.average_sample_number) < 4 * looks.std() / math.sqrt(20_000)
    chance = exact.upper_probability
    assert abs((total >= 3).mean() - chance) < 4 * math.sqrt(chance * (1 - chance) / 20_000)


def test_sprt_as_a_rule() -> None:
    made = Sprt(delta=1, alpha=0.05, beta=0.05)
    assert_printed(exact_run_length(made), "6.920")
    # All but none have ended after 200 looks: then the alarms are those of the error of the first kind.
    reached = exact_alarm_probability(made, looks=200)
    assert_printed(reached[-1], "0.02864")
    found = run_length(made, lambda rng, n: rng.normal(size=n), lanes=20_000, horizon=200, seed=3)
    for looks in (1, 3, 5, 200):
        # An error of 6e-5 each.
        chance = reached[looks]
        assert abs((found.alarmed & (found.looks <= looks)).mean() - chance) < 4 * math.sqrt(chance * (1 - chance) / 20_000)


# A median of 118 is published for h = 4. For h = 5 the published 322 comes from a simulation: the exact median is 325.
@pytest.mark.parametrize(("h", "median"), [(4, 118), (5, 325)])
def test_median_of_a_two_sided_cusum(h: float, median: int) -> None:
    reached = exact_alarm_probability({"cusum": {"k": 0.5, "h": h, "sides": 2}}, looks=400)
    assert int(np.searchsorted(reached, 0.5)) == median
    assert abs(exact_alarm_probability({"cusum": {"k": 0.5, "h": 5, "sides": 2}}, looks=322)[-1] - 0.5) < 0.003


SIMULATED: list[tuple[dict[str, Any], float]] = [
    ({"cusum": {"k": 0.25, "h": 4, "sides": 2}}, 0.3),
    ({"cusum": {"k": 0, "h": 6, "sides": 2}}, 0.0),
    ({"cusum": {"k": 0.5, "h": 4, "head_start": 3.5}}, 0.0),
    ({"cusum": {"k": 0.5, "h": 4, "sides": 2, "head_start": 2.5}}, 0.4),
    ({"cusum": {"k": 0.5, "h": 4, "sides": 2, "head_start": 2}}, -0.4),
    ({"ewma": {"lambda": 0.05, "L": 2.2}}, 0.1),
    ({"ewma": {"lambda": 0.1, "L": 2, "sides": 1}}, 0.2),
    ({"ewma": {"lambda": 0.1, "L": 2, "exact_limits": True}}, 0.2),
    ({"ewma": {"lambda": 0.3, "L": 2, "sides": 1, "exact_limits": True}}, 0.0),
    ({"ewma": {"lambda": 1, "L": 2}}, 0.0),
    ({"shewhart": {"sigmas": 2, "sides": 1}}, 0.0),
    ({"shiryaev_roberts": {"theta": 0.3, "A": 60}}, -0.1),
    ({"shiryaev_roberts": {"theta": 2, "A": 60}}, 0.5),
    ({"e_sr": {"theta": 0.5, "alpha": 0.02}}, 0.0),
    ({"e_cusum": {"theta": 0.5, "alpha": 0.1}}, 0.0),
]


@pytest.mark.parametrize(("mapping", "shift"), SIMULATED)
def test_simulation_agrees(mapping: dict[str, Any], shift: float) -> None:
    # Two intervals of an error of 6e-5 each: the mean, and the chance of an alarm by look 20.
    lanes = 4_000
    found = run_length(mapping, lambda rng, n: rng.normal(shift, 1.0, n), lanes=lanes, horizon=10**6, seed=2, confidence=0.99994)
    assert found.mean is not None
    assert found.mean.low < exact_run_length(mapping, shift) < found.mean.high
    chance = exact_alarm_probability(mapping, looks=20, shift=shift)[-1]
    assert abs((found.looks <= 20).mean() - chance) < 4 * math.sqrt(chance * (1 - chance) / lanes)


@pytest.mark.parametrize(("mapping", "shift"), SIMULATED)
def test_the_mean_is_the_survival_summed(mapping: dict[str, Any], shift: float) -> None:
    exact = exact_run_length(mapping, shift)
    # What lies beyond is e^-20 or less.
    reached = exact_alarm_probability(mapping, looks=math.ceil(30 * exact), shift=shift)
    assert reached[0] == 0
    assert (np.diff(reached) > -1e-12).all()
    assert (1 - reached).sum() == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize("looks", [0, 1, 2, 63, 64, 65, 200])
def test_probabilities_do_not_depend_on_how_many_are_asked_for(looks: int) -> None:
    for mapping in ({"cusum": {"sides": 2}}, {"ewma": {"exact_limits": True}}):
        found = exact_alarm_probability(mapping, looks=looks)
        assert len(found) == looks + 1
        np.testing.assert_allclose(found, exact_alarm_probability(mapping, looks=300)[: looks + 1], atol=1e-13)


def test_e_detectors_are_the_rules_that_they_equal() -> None:
    assert exact_run_length(ESr(theta=1, alpha=1 / 56.04)) == exact_run_length(ShiryaevRoberts(theta=1, A=56.04))
    assert exact_run_length(ECusum(theta=1, alpha=math.exp(-4))) == pytest.approx(exact_run_length(Cusum(k=0.5, h=4)), rel=1e-12)


def test_a_threshold_that_every_first_look_passes() -> None:
    assert exact_run_length(ShiryaevRoberts(theta=0.01, A=1e-9)) == pytest.approx(1)


def test_promises_hold() -> None:
    for threshold in (2, 20, 500):
        assert exact_run_length(ShiryaevRoberts(theta=1, A=threshold)) >= threshold
        assert exact_run_length(ESr(alpha=1 / threshold)) >= threshold
        assert exact_run_length(ECusum(alpha=1 / threshold)) >= threshold


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"focus": {}}, "focus has no exact run length; simulate it"),
        ({"e_sr": {"p0": 0.1, "p1": 0.2}}, "e_sr has an exact run length on standardised looks only"),
        ({"cusum": {"h": 4, "sides": 2, "head_start": 3}}, "at most h / 2 \\+ k"),
        ({"cusum": {"h": 2000}}, "too far for an exact answer; simulate it"),
    ],
)
def test_no_exact_answer_is_no_number(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(SimlabError, match=message):
        exact_run_length(mapping)


@pytest.mark.parametrize(("lower", "upper", "delta"), [(1, 2, 1), (-1, -0.5, 1), (-1, 1, 0)])
def test_bounds_of_an_sprt_must_stand_on_both_sides_of_zero(lower: float, upper: float, delta: float) -> None:
    with pytest.raises(UnitError, match="both sides of 0"):
        exact_sprt(lower, upper, delta=delta)


def test_the_examples_of_the_docstrings() -> None:
    outcome = doctest.testmod(exact_run_lengths)
    assert outcome.attempted > 0
    assert outcome.failed == 0
