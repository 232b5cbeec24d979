"""Every measure of a policy worked out by hand on eleven lanes, and alarms at random against a simulation of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simlab.measures.estimates import Estimate, mean, proportion, quantile, ratio
from simlab.measures.outcomes import Outcomes
from simlab.measures.performance import Performance, at_random, difference, performance
from simlab.ticks import WEEK
from tests.measures.rows import CLOCK, LIMIT, lane, outcomes

INFINITY = float("inf")

# Onsets and actions in ticks of 5 minutes; the horizon is tick 20 and detection is followed for 6 ticks. In brackets the delay.
HARMED = [
    lane(onset=5, action=8, containment_time=9, users_harmed=10.0, users_exposed=100.0),  # detected (3)
    lane(onset=5, users_harmed=80.0, users_exposed=800.0),  # missed
    lane(onset=5, action=3, users_harmed=1000.0, users_exposed=5.0),  # acted before
    lane(onset=5, action=7, evidence=5, users_harmed=1000.0),  # acted on data from before
    lane(onset=5, action=7, evidence=6, containment_time=13, users_harmed=20.0, users_exposed=200.0),  # detected (2)
    lane(onset=5, action=8, worse=False, users_harmed=60.0, users_exposed=600.0),  # wrong direction
    lane(users_harmed=0.0),  # never exposed to the harm
    lane(action=4),  # acted before there could be any
    lane(onset=16, action=18, users_harmed=30.0, users_exposed=300.0),  # detected (2), but watched for 4 ticks only
    lane(onset=14, action=20, containment_time=-1, users_harmed=40.0, users_exposed=400.0),  # detected (6)
    lane(onset=5, action=12, containment_time=12, users_harmed=50.0, users_exposed=500.0),  # detected (7), after the limit
]
TWINS = [
    lane(action=9),  # in the window of its lane, (5, 11]
    lane(action=5),  # before it
    lane(action=3),
    lane(action=7, evidence=5),  # in the window of a lane that was not at risk
    lane(action=11),  # at its end
    lane(action=12, worse=False),  # after it
    lane(),
    lane(action=4),
    lane(action=19),  # in the window of a lane that was not followed
    lane(),
    lane(),
]
FOLLOWED = 6


@pytest.fixture(scope="module")
def by_hand() -> Outcomes:
    return outcomes(HARMED, TWINS)


@pytest.fixture(scope="module")
def found(by_hand: Outcomes) -> Performance:
    return performance(by_hand, scenario="s", reference=False)


def test_every_lane_is_shown_under_its_status(found: Performance) -> None:
    assert found.statuses == {"detected": 5, "missed": 1, "false_alarm": 3, "wrong_direction": 1, "never_onset": 1}
    assert found.twin_statuses == {"false_alarm": 7, "wrong_direction": 1, "quiet": 3}
    assert sum(found.statuses.values()) == sum(found.twin_statuses.values()) == found.lanes == 11
    assert (found.policy, found.scenario, found.reference, found.limit_minutes) == ("p", "s", False, 30)


def test_false_alarms_are_first_actions_on_the_twin_in_either_direction(found: Performance) -> None:
    assert found.estimates["false_alarms"] == proportion(8, 11)


def test_false_alarms_per_week_are_episodes_over_the_time_watched(found: Performance) -> None:
    watched = np.array([9, 5, 3, 7, 11, 12, 20, 4, 19, 20, 20]) * CLOCK.tick / WEEK
    episodes = np.array([1.0, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0])
    assert found.estimates["false_alarms_per_week"] == ratio(episodes, watched, unit="per week")
    assert found.estimates["false_alarms_per_week"].value == pytest.approx(8 / (130 * 5 / (7 * 24 * 60)))


def test_detection_counts_the_lanes_at_risk_that_could_be_followed_and_all_lanes_beside(found: Performance) -> None:
    # Within 30 minutes: delays 3, 2 and 6 of 3, never, 2, wrong, 6 and 7; of all lanes also the one not followed.
    assert found.estimates["detected"] == proportion(3, FOLLOWED)
    assert found.estimates["detected_of_all_lanes"] == proportion(4, 11)
    assert found.estimates["acted_before_onset"] == proportion(3, 11)
    assert found.estimates["twin_alarm_in_the_same_window"] == proportion(2, FOLLOWED)


def test_undetected_is_not_zero(found: Performance) -> None:
    restricted = np.array([3.0, 6, 2, 6, 6, 6]) * 5
    assert found.estimates["delay_restricted_mean"] == mean(restricted, unit="min", support=(0.0, 30.0))
    assert found.estimates["delay_restricted_mean"].value == pytest.approx(29 * 5 / 6)


def test_quantiles_of_the_delay_count_those_that_were_never_detected(found: Performance) -> None:
    reached = np.array([3, 2, 6, INFINITY, INFINITY, INFINITY]) * 5
    assert found.estimates["delay_p50"] == quantile(reached, 0.5, unit="min")
    assert found.estimates["delay_p50"].value == 30
    assert found.estimates["delay_p90"].value == INFINITY
    assert found.estimates["delay_p90"].high == INFINITY


def test_containment_is_followed_as_detection_is(found: Performance) -> None:
    # After 4, never, 8, never, never and 7 ticks, restricted to 6.
    assert found.estimates["contained"] == proportion(1, FOLLOWED)
    assert found.estimates["containment_restricted_mean"] == mean(
        np.array([4.0, 6, 6, 6, 6, 6]) * 5, unit="min", support=(0.0, 30.0)
    )


def test_people_are_counted_where_the_harm_came_before_any_action_and_on_all_lanes_beside(found: Performance) -> None:
    at_risk = np.array([10.0, 80, 20, 60, 30, 40, 50])
    assert found.estimates["users_harmed"] == mean(at_risk, unit="users")
    assert found.estimates["users_exposed"] == mean(10 * at_risk, unit="users")
    assert found.estimates["users_harmed_p50"].value == 40
    assert found.estimates["users_harmed_p90"].value == 80
    everyone = np.array([10.0, 80, 1000, 1000, 20, 60, 0, 0, 30, 40, 50])
    assert found.estimates["users_harmed_of_all_lanes"] == mean(everyone, unit="users")


def test_harm_units_have_an_estimate_for_each_metric() -> None:
    held = outcomes([lane(onset=5, **{"harm_units.errors": units}) for units in (2.0, 4.0, 9.0)])
    assert performance(held, scenario="s", reference=False).estimates["harm_units.errors"].value == 5.0


def test_time_lost_by_the_ramp_is_measured_on_the_twin() -> None:
    held = outcomes([lane(behind=500)] * 2, [lane(behind=12), lane(behind=0)])
    lost = performance(held, scenario="s", reference=True).estimates["ramp_time_lost"]
    assert (lost.value, lost.unit) == (0.5, "h")


def test_looks_are_counted_on_lanes_and_twins_together() -> None:
    held = outcomes([lane(looks=20, unknown=3)] * 2, [lane(looks=10, skipped=4, retired=1)] * 2)
    counted = performance(held, scenario="s", reference=False).looks
    assert counted == {"looks": 60, "unknown": 6, "skipped": 8, "retired": 2}


def test_the_incidence_rises_to_the_probability_of_detection_and_stays_there(found: Performance) -> None:
    incidence = found.incidence
    assert incidence is not None
    assert incidence.n == FOLLOWED
    assert incidence.minutes == (0, 5, 10, 15, 20, 25, 30)
    assert incidence.value == tuple(count / 6 for count in (0, 0, 1, 2, 2, 2, 3))
    assert incidence.value[-1] == found.estimates["detected"].value
    for low, value, high in zip(incidence.low, incidence.value, incidence.high, strict=True):
        assert low <= value <= high


def test_without_a_harm_only_false_alarms_are_measured() -> None:
    found = performance(outcomes([lane()] * 3, [lane(action=3), lane(), lane()], limit=0), scenario="s", reference=False)
    assert set(found.estimates) == {"false_alarms", "false_alarms_per_week", "ramp_time_lost"}
    assert found.incidence is None


def test_where_no_lane_was_at_risk_nothing_is_claimed() -> None:
    found = performance(outcomes([lane(), lane(onset=5, action=2)]), scenario="s", reference=False)
    assert found.incidence is None
    for name in ("detected", "delay_restricted_mean", "delay_p50", "contained", "users_harmed", "users_harmed_p90"):
        estimate = found.estimates[name]
        assert estimate.n == 0
        assert math.isnan(estimate.value)
        possible = (0.0, 1.0) if estimate.unit == "probability" else (-INFINITY, INFINITY)
        assert (estimate.low, estimate.high) == possible


# -- alarms at random ------------------------------------------------------------------------------------------------------


def test_alarms_at_random_detect_as_a_simulation_of_them_does() -> None:
    """400,000 lanes, each alarming at each tick with the same chance; 4.5 standard errors (two-sided error 7e-6)."""
    chance, lanes, onset = 0.02, 400_000, 5
    first = np.random.default_rng(3).geometric(chance, size=lanes)
    false_alarms = (first <= CLOCK.horizon).mean()
    at_risk = first > onset
    detected = (first[at_risk] <= onset + LIMIT).mean()
    held = Estimate(float(false_alarms), 0.0, 1.0, lanes, "simulated", "probability")
    matched = at_random(held, CLOCK.horizon, LIMIT).value
    # d matched / d PFA is at most window / horizon / (1 - PFA)^(1 - window / horizon), below 0.4 here.
    of_matched = 0.4 * np.sqrt(false_alarms * (1 - false_alarms) / lanes)
    of_detected = np.sqrt(detected * (1 - detected) / at_risk.sum())
    assert abs(matched - detected) < 4.5 * np.hypot(of_matched, of_detected)
    assert matched == pytest.approx(1 - (1 - chance) ** LIMIT, abs=4.5 * of_matched)


def test_alarms_at_random_match_the_policys_own_rate_of_false_alarms(found: Performance) -> None:
    held, matched = found.estimates["false_alarms"], found.estimates["detected_at_random"]
    for of, luck in ((held.value, matched.value), (held.low, matched.low), (held.high, matched.high)):
        assert luck == pytest.approx(1 - (1 - of) ** (6 / 20))
    assert matched.n == 11


@pytest.mark.parametrize(("pfa", "luck"), [(0.0, 0.0), (1.0, 1.0)])
def test_alarms_at_random_at_the_ends(pfa: float, luck: float) -> None:
    assert at_random(Estimate(pfa, pfa, pfa, 5, "", "probability"), 20, 6).value == luck
    assert at_random(Estimate(0.3, 0.3, 0.3, 5, "", "probability"), 20, 20).value == pytest.approx(0.3)


# -- paired differences ----------------------------------------------------------------------------------------------------


def test_policies_are_compared_on_lanes_where_both_were_at_risk_and_followed() -> None:
    first = outcomes(
        [
            lane(onset=5, action=6, users_harmed=1.0),
            lane(onset=5, action=9, users_harmed=2.0),
            lane(onset=5, action=2, users_harmed=900.0),
            lane(onset=16, action=17, users_harmed=900.0),
            lane(onset=5, users_harmed=30.0),
        ],
        [lane(action=3), lane(), lane(action=2), lane(), lane()],
        policy="quick",
    )
    second = outcomes(
        [
            lane(onset=5, action=8, users_harmed=4.0),
            lane(onset=5, users_harmed=10.0),
            lane(onset=5, action=6, users_harmed=0.0),
            lane(onset=16, action=18, users_harmed=0.0),
            lane(onset=5, action=6, users_harmed=3.0),
        ],
        [lane(), lane(), lane(), lane(), lane(action=9)],
        policy="slow",
    )
    found = difference(first, second, scenario="s")
    assert (found.first, found.second, found.scenario) == ("quick", "slow", "s")
    delay = mean(np.array([1 - 3, 4 - 6, 6 - 1]) * 5.0, unit="min", support=(-30.0, 30.0))
    harmed = mean(np.array([-3.0, -8.0, 27.0]), unit="users")
    alarms = mean(np.array([1.0, 0, 1, 0, -1]), unit="probability", support=(-1.0, 1.0))
    for name, expected in (("delay_restricted_mean", delay), ("users_harmed", harmed), ("false_alarms", alarms)):
        estimate = found.estimates[name]
        assert (estimate.value, estimate.low, estimate.high, estimate.n) == pytest.approx(
            (expected.value, expected.low, expected.high, expected.n)
        )
        assert estimate.method == "paired, Student t"


def test_the_other_way_round_a_difference_has_the_other_sign() -> None:
    first, second = outcomes(HARMED, TWINS), outcomes([lane(onset=5, action=9)] * 11, TWINS[::-1])
    there, back = difference(first, second, scenario="s"), difference(second, first, scenario="s")
    for name, one in there.estimates.items():
        other = back.estimates[name]
        assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))


def test_two_policies_that_never_differ_are_not_certain_to_be_equal() -> None:
    held = outcomes([lane(onset=5, action=7)] * 40)
    found = difference(held, held, scenario="s")
    unseen = proportion(0, 40).high
    alarms = found.estimates["false_alarms"]
    assert (alarms.value, alarms.low, alarms.high) == pytest.approx((0.0, -unseen, unseen))
    delay = found.estimates["delay_restricted_mean"]
    assert (delay.value, delay.low, delay.high) == pytest.approx((0.0, -30 * unseen, 30 * unseen))


def test_without_a_harm_only_false_alarms_are_compared() -> None:
    held = outcomes([lane()] * 3, limit=0)
    assert set(difference(held, held, scenario="s").estimates) == {"false_alarms"}
