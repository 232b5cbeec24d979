"""Rare alarms against exact probabilities; the weights are likelihood ratios, so that what is common comes out as well."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import simlab
from simlab.errors import SimlabError, UnitError
from simlab.exact_run_lengths import solve
from simlab.rare import SHIFTS, _weights, rare_alarm_probability
from simlab.rule_from import rule

RULES: dict[str, tuple[dict[str, Any], str]] = {
    "cusum": ({"k": 0.5}, "h"),
    "ewma": ({"lambda": 0.25}, "L"),
    "shewhart": ({"sides": 2}, "sigmas"),
    "e_sr": ({}, "alpha"),
    "e_cusum": ({}, "alpha"),
    "shiryaev_roberts": ({}, "A"),
}


def at(key: str, *, pfa: float, horizon: int) -> dict[str, Any]:
    settings, threshold = RULES[key]
    return {key: {**settings, threshold: simlab.threshold_for({key: settings}, pfa=pfa, looks=horizon)}}


@pytest.mark.parametrize("key", RULES)
def test_one_in_a_million_with_three_per_cent(key: str) -> None:
    chosen = at(key, pfa=1e-6, horizon=100)
    found = rare_alarm_probability(chosen, horizon=100, relative_error=0.03, seed=5)
    assert found.relative_error <= 0.03
    # Four standard errors: a seeded check that errs in 6e-5 of rules.
    assert found.probability.value == pytest.approx(1e-6, rel=4 * found.relative_error)
    assert found.probability.n < 1e6, "crude simulation would need a billion lanes"


def test_the_interval_holds_the_exact_value_in_90_of_100_repeats() -> None:
    chosen = at("cusum", pfa=1e-6, horizon=20)
    exact = 1.0 - float(solve(rule(chosen), 0.0).survival(20)[-1])
    held = [rare_alarm_probability(chosen, horizon=20, relative_error=0.03, seed=seed).probability for seed in range(100)]
    # Of 95 % intervals fewer than 90 of 100 hold the truth with probability 1.1 %; the seeds are fixed.
    assert sum(each.low <= exact <= each.high for each in held) >= 90


def test_a_common_alarm_comes_out_too() -> None:
    chosen = at("cusum", pfa=0.2, horizon=50)
    found = rare_alarm_probability(chosen, horizon=50, relative_error=0.02, seed=2)
    assert found.probability.value == pytest.approx(0.2, rel=4 * found.relative_error)


def test_the_same_seed_gives_the_same_number() -> None:
    one, other, third = (
        rare_alarm_probability({"cusum": {"h": 9}}, horizon=20, relative_error=0.1, seed=seed) for seed in (1, 1, 2)
    )
    assert one == other
    assert one.probability.value != third.probability.value


@pytest.mark.parametrize(
    ("given", "how", "error", "problem"),
    [
        ({"never": {}}, {}, UnitError, "a shift drives to alarm: above, below, cusum"),
        ({"srm": {}}, {}, UnitError, "a shift drives to alarm"),
        ({"bocpd": {}}, {}, UnitError, "a shift drives to alarm"),
        ({"cusum": {}}, {"horizon": 0}, UnitError, "positive whole number"),
        ({"cusum": {}}, {"horizon": True}, UnitError, "positive whole number"),
        ({"cusum": {}}, {"seed": -1}, UnitError, "at least 0"),
        ({"cusum": {}}, {"confidence": 2.0}, UnitError, "between 0 and 1"),
        ({"cusum": {}}, {"relative_error": 0.0}, UnitError, "between 0 and 1"),
        ({"cusum": {}}, {"relative_error": 1e-5}, SimlabError, "lanes would be needed"),
        ({"cusum": {}}, {"relative_error": "a"}, UnitError, "between 0 and 1, not 'a'"),
        ({"cusum": {}}, {"confidence": None}, UnitError, "between 0 and 1"),
        ({"shewhart": {"sigmas": 40}}, {}, SimlabError, "hardly alarms"),
        ({"cusum": {"k": 0.5, "h": 300}}, {"horizon": 100}, SimlabError, "less than 1e-100 of horizons"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    given: dict[str, Any], how: dict[str, Any], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        rare_alarm_probability(given, **{"horizon": 20, **how})


def test_weights_are_a_likelihood_ratio() -> None:
    """Their mean over all lanes, alarm or not, is 1: a rule that alarms at once at the last look counts every lane."""

    def counting(state: Any, x: np.ndarray) -> tuple[Any, np.ndarray]:
        return state + 1, state + 1

    always = simlab.rule(counting, threshold=10, over="lanes")
    for shift in SHIFTS:
        weights = _weights(always, 10, shift, lanes=20_000, generator=np.random.default_rng(3))
        # Seven checks at four standard errors: a seeded check that errs once in 2,000.
        assert abs(weights.mean() - 1.0) <= 4 * weights.std() / np.sqrt(len(weights))


def test_what_alarms_in_other_ways_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simlab.rare.BY_SHIFT", {"page_hinkley"})
    with pytest.raises(SimlabError, match="inconclusive: the relative error came to"):
        rare_alarm_probability({"page_hinkley": {"lambda": 14}}, horizon=60, relative_error=0.1, seed=1)


def test_a_rule_that_ends_by_itself_long_before_the_horizon() -> None:
    chosen = rule({"sprt": {"alpha": 1e-5}})
    exact = 1.0 - float(solve(chosen, 0.0).survival(600)[-1])
    found = rare_alarm_probability(chosen, horizon=600, relative_error=0.05, seed=7)
    # Four standard errors: a seeded check that errs in 6e-5 of rules.
    assert found.probability.value == pytest.approx(exact, rel=4 * found.relative_error)


def test_a_limit_that_must_be_passed_at_several_looks() -> None:
    """Three in a row of twenty looks above 2.5: exact by the chain of how many were above."""
    p, state = 0.00620966532577613, np.array([1.0, 0.0, 0.0, 0.0])
    for _ in range(20):
        state = np.array([state[:3].sum() * (1 - p), state[0] * p, state[1] * p, state[3] + state[2] * p])
    found = rare_alarm_probability({"above": {"limit": 2.5, "for": "2m"}}, horizon=20, relative_error=0.03, seed=6)
    assert found.probability.value == pytest.approx(state[3], rel=4 * found.relative_error)
