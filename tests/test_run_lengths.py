"""Run lengths by simulation: against exact answers, and the honesty of what is said where lanes were cut off."""

from __future__ import annotations

import doctest
import math
import time
from typing import Any

import numpy as np
import pytest

from simlab import run_lengths
from simlab.errors import FileErrors, UnitError
from simlab.exact_run_lengths import exact_alarm_probability, exact_run_length
from simlab.guardrails.look import Bools, Floats, Integers
from simlab.guardrails.rule import Observation
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.shewhart import Shewhart
from simlab.run_lengths import RunLength, run_length, statistics, summarise
from tests.looks import statistics as step_by_step


def standard(rng: np.random.Generator, lanes: int) -> Floats:
    return rng.normal(size=lanes)


def geometric(seed: int, *, hazard: float, lanes: int, horizon: int) -> tuple[Integers, Bools]:
    drawn = np.random.default_rng(seed).geometric(hazard, lanes)
    return np.minimum(drawn, horizon), drawn <= horizon


def test_every_estimate_agrees_with_the_exact_answer() -> None:
    made = Cusum(k=0.5, h=4, sides=2)
    # Intervals of an error of 6e-5 each.
    found = run_length(made, standard, lanes=10_000, horizon=300, seed=1, confidence=0.99994)
    exact = exact_alarm_probability(made, looks=300)
    restricted = float((1 - exact[:-1]).sum())
    assert found.restricted_mean.low < restricted < found.restricted_mean.high
    assert found.alarm_probability.low < exact[-1] < found.alarm_probability.high
    for p in (0.05, 0.25, 0.5, 0.75):
        assert found.quantiles[p].low <= np.searchsorted(exact, p) <= found.quantiles[p].high
    assert found.median == found.quantiles[0.5]
    assert found.quantiles[0.95].value == math.inf


def test_the_mean_where_every_lane_alarmed() -> None:
    found = run_length(
        {"cusum": {"k": 0.5, "h": 5, "sides": 2}}, standard, lanes=20_000, horizon=10**6, seed=2, confidence=0.99994
    )
    assert found.mean is not None
    assert found.mean.low < 465.4435 < found.mean.high
    assert found.mean.method == "Student t, every lane alarmed"
    assert found.cut_off == 0
    assert found.mean.value == found.restricted_mean.value


def test_twenty_thousand_lanes_take_seconds() -> None:
    began = time.perf_counter()
    run_length({"cusum": {"k": 0.5, "h": 5, "sides": 2}}, standard, lanes=20_000, horizon=10**6, seed=2)
    assert time.perf_counter() - began < 10


def test_no_mean_without_a_tail_where_lanes_were_cut_off() -> None:
    found = run_length(Shewhart(), standard, lanes=500, horizon=100, seed=3)
    assert found.mean is None
    assert found.tail is None
    assert found.cut_off == 500 - int(found.alarmed.sum()) > 0
    assert found.restricted_mean.value < 100
    assert "mean" not in found.estimates


def test_the_mean_under_a_declared_geometric_tail() -> None:
    made = Cusum(k=0.5, h=4, sides=2)
    found = run_length(made, standard, lanes=10_000, horizon=250, seed=4, geometric_after=30, confidence=0.99994)
    assert found.mean is not None
    assert found.tail is not None
    assert found.tail.holds
    assert found.cut_off > 1_000
    assert found.mean.low < 167.6838 < found.mean.high
    assert found.mean.method.startswith("geometric tail declared after look 30, tested (p = ")


def test_a_tail_that_is_not_geometric_is_refused() -> None:
    # Lanes of two kinds: the hazard falls as the quick ones leave.
    quick, alarmed = geometric(5, hazard=0.05, lanes=2_000, horizon=200)
    slow, too = geometric(6, hazard=0.002, lanes=2_000, horizon=200)
    looks, both = np.concatenate([quick, slow]), np.concatenate([alarmed, too])
    found = summarise(looks, both, horizon=200, geometric_after=0)
    assert found.tail is not None
    assert not found.tail.holds
    assert found.mean is None


def test_a_tail_of_few_alarms_cannot_be_tested() -> None:
    looks, alarmed = geometric(7, hazard=0.0001, lanes=1_000, horizon=100)
    found = summarise(looks, alarmed, horizon=100, geometric_after=0)
    assert found.tail is not None
    assert math.isnan(found.tail.p_value)
    assert found.mean is None


@pytest.mark.parametrize(("hazard", "horizon"), [(0.01, 150), (0.2, 12), (0.003, 100)])
def test_the_tail_is_refused_as_often_as_stated_and_its_interval_covers(hazard: float, horizon: int) -> None:
    runs, covered, refused = 1_000, 0, 0
    chances = np.empty(runs)
    for seed in range(runs):
        looks, alarmed = geometric(seed, hazard=hazard, lanes=600, horizon=horizon)
        found = summarise(looks, alarmed, horizon=horizon, geometric_after=3)
        assert found.tail is not None
        refused += not found.tail.holds
        chances[seed] = found.tail.p_value
        covered += found.mean is not None and found.mean.low < 1 / hazard < found.mean.high
    # Of 1,000 runs 1 % refused and, of the rest, 95 % covered; the chi-square law is a limit, so half a per cent is allowed,
    # and two for the mean of a uniform number. Beyond that an error of 6e-5 on each side.
    assert refused / runs < 0.015 + 4 * math.sqrt(0.01 * 0.99 / runs)
    assert abs(chances.mean() - 0.5) < 0.02 + 4 * math.sqrt(1 / 12 / runs)
    assert covered / (runs - refused) > 0.945 - 4 * math.sqrt(0.95 * 0.05 / runs)


def test_the_same_arguments_give_the_same_lanes() -> None:
    first, again, other = (run_length(Cusum(h=3), standard, lanes=200, horizon=500, seed=seed) for seed in (8, 8, 9))
    np.testing.assert_array_equal(first.looks, again.looks)
    assert not np.array_equal(first.looks, other.looks)


def test_each_lane_stops_where_its_own_stream_first_alarms() -> None:
    drawn: list[Floats] = []

    def kept(rng: np.random.Generator, lanes: int) -> Floats:
        drawn.append(rng.normal(0.3, 1.0, lanes))
        return drawn[-1]

    found = run_length(Cusum(k=0.5, h=4), kept, lanes=40, horizon=60, seed=10)
    # Few lanes alarm within the first looks, so that none has been dropped yet.
    whole = np.array([row for row in drawn if row.size == 40])
    reached = step_by_step(Cusum(k=0.5, h=4), whole) >= 4
    first = np.where(reached.any(axis=0), reached.argmax(axis=0) + 1, 0)
    assert (first > 0).any()
    np.testing.assert_array_equal(found.looks[first > 0], first[first > 0])


def test_lanes_that_have_alarmed_are_dropped() -> None:
    sizes: list[int] = []

    def counted(rng: np.random.Generator, lanes: int) -> Floats:
        sizes.append(lanes)
        return rng.normal(1.0, 1.0, lanes)

    found = run_length(Cusum(h=4), counted, lanes=2_000, horizon=1_000, seed=11)
    assert len(sizes) == found.looks.max()
    assert sum(sizes) < 1.2 * found.looks.sum()


def test_the_numbers_of_the_lanes_go_with_them() -> None:
    # The rule draws by lane number; with a rate of 10 % a run length is geometric.
    found = run_length({"random": {"rate": 0.1}}, standard, lanes=4_000, horizon=1_000, seed=12, confidence=0.99994)
    assert found.mean is not None
    assert found.mean.low < 10 < found.mean.high


def test_a_look_without_a_number_is_no_look_for_the_rule() -> None:
    with_gaps = np.array([1.5, np.nan, 1.5, np.nan, 1.5])
    found = statistics(Cusum(k=0.5, h=4), with_gaps)
    np.testing.assert_array_equal(found, [1.0, np.nan, 2.0, np.nan, 3.0])

    looks = iter([*with_gaps.tolist(), 1.5])
    cut = run_length(Cusum(k=0.5, h=4), lambda rng, lanes: np.full(lanes, next(looks)), lanes=2, horizon=6)
    assert cut.cut_off == 0
    assert cut.looks.tolist() == [6, 6]


def test_several_streams_alarm_as_one() -> None:
    found = run_length(
        Shewhart(), lambda rng, lanes: rng.normal(size=(3, lanes)), lanes=4_000, horizon=10_000, seed=13, confidence=0.99994
    )
    assert found.mean is not None
    quiet = (1 - 1 / exact_run_length(Shewhart())) ** 3
    assert found.mean.low < 1 / (1 - quiet) < found.mean.high


def test_a_sample_may_be_a_whole_observation() -> None:
    def sample(rng: np.random.Generator, lanes: int) -> Observation:
        value = rng.normal(size=(1, lanes))
        nobody = np.zeros(0, dtype=np.int64)
        return Observation(value, np.full((1, lanes), 4.0), None, None, np.ones((1, lanes), dtype=bool), 0, nobody, 0)

    plain, whole = (run_length(Cusum(h=3), each, lanes=50, horizon=500, seed=14) for each in (standard, sample))
    np.testing.assert_array_equal(plain.looks, whole.looks)


def test_a_result_can_be_read() -> None:
    found = run_length(Shewhart(sigmas=2), standard, lanes=200, horizon=500, seed=15)
    assert isinstance(found, RunLength)
    assert repr(found).startswith("RunLength: 200 lanes, 0 cut off at 500 looks, seed 15\n  mean ")
    table = found.to_pandas()
    assert list(table.index) == ["mean", "restricted_mean", "alarm_probability", "p5", "p25", "p50", "p75", "p95"]
    assert table.loc["mean", "n"] == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lanes": 0}, "lanes and horizon must be positive"),
        ({"horizon": 0}, "lanes and horizon must be positive"),
        ({"lanes": "ten"}, "lanes and horizon must be positive whole numbers, not 'ten' and 100"),
        ({"confidence": None}, "confidence must be between 0 and 1, not None"),
        ({"geometric_after": 100}, "geometric_after must be from 0 to below the horizon 100, not 100"),
    ],
)
def test_a_mistake_is_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UnitError, match=message):
        run_length(Cusum(), standard, **{"lanes": 10, "horizon": 100, **arguments})


def test_a_sample_of_another_size_and_a_rule_that_is_none_are_mistakes() -> None:
    with pytest.raises(UnitError, match="one number for each of 10 lanes, not 3"):
        run_length(Cusum(), lambda rng, lanes: rng.normal(size=3), lanes=10, horizon=10)
    with pytest.raises(FileErrors, match="did you mean 'cusum'"):
        run_length({"cusun": {}}, standard, lanes=10, horizon=10)


def test_the_examples_of_the_docstrings() -> None:
    outcome = doctest.testmod(run_lengths)
    assert outcome.attempted > 0
    assert outcome.failed == 0
