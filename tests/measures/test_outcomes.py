"""Outcome rows worked out by hand: every status, every denominator, every delay."""

from __future__ import annotations

import numpy as np
import pytest

from simlab.engine import Block, BlockResult
from simlab.measures.outcomes import HARMED_STATUSES, TWIN_STATUSES, detection_limit, gather, outcomes_of, ticks_to_minutes
from simlab.ticks import DAY, Clock
from tests.measures.rows import CLOCK, MINUTE, lane, outcomes, rows

INFINITY = float("inf")

# (the lane, its status, whether it was at risk, its delay in ticks)
LANES = {
    "detected": (lane(onset=5, action=8), "detected", True, 3),
    "detected by the first data that could show it": (lane(onset=5, action=6), "detected", True, 1),
    "detected late by evidence from before the action": (lane(onset=5, action=9, evidence=6), "detected", True, 4),
    "nobody acts": (lane(onset=5), "missed", True, INFINITY),
    "acted before the onset": (lane(onset=5, action=3), "false_alarm", False, INFINITY),
    "acted at the onset": (lane(onset=5, action=5), "false_alarm", False, INFINITY),
    "acted after the onset on evidence that ends at it": (lane(onset=5, action=7, evidence=5), "false_alarm", False, INFINITY),
    "acted after the onset on older evidence": (lane(onset=5, action=7, evidence=2), "false_alarm", False, INFINITY),
    "wrong direction after the onset": (lane(onset=5, action=8, worse=False), "wrong_direction", True, INFINITY),
    "wrong direction before the onset": (lane(onset=5, action=3, worse=False), "false_alarm", False, INFINITY),
    "the harm never begins": (lane(), "never_onset", False, INFINITY),
    "stopped before the harm could begin": (lane(action=4), "false_alarm", False, INFINITY),
    "onset at the first tick": (lane(onset=0, action=1), "detected", True, 1),
}


@pytest.mark.parametrize("name", LANES)
def test_a_lane_has_its_status_and_its_delay(name: str) -> None:
    held, status, at_risk, delay = LANES[name]
    found = outcomes([held])
    assert found.status.tolist() == [status]
    assert found.at_risk.tolist() == [at_risk]
    assert found.delay.tolist() == [delay]


def test_every_lane_has_exactly_one_status_and_lanes_do_not_mix() -> None:
    found = outcomes([held for held, *_ in LANES.values()])
    assert found.lanes == len(LANES)
    assert found.status.tolist() == [status for _, status, _, _ in LANES.values()]
    assert found.delay.tolist() == [delay for *_, delay in LANES.values()]
    assert set(found.status) == set(HARMED_STATUSES)
    assert set(found.twin_status) <= set(TWIN_STATUSES)


def test_only_a_lane_that_is_both_exposed_to_the_harm_and_not_stopped_before_is_at_risk() -> None:
    found = outcomes([held for held, *_ in LANES.values()])
    np.testing.assert_array_equal(found.at_risk, found.has_onset & ~found.acted_before)
    # A lane that never had an onset is in no denominator, whether anybody acted or not.
    assert not found.at_risk[~found.has_onset].any()


@pytest.mark.parametrize(("onset", "followed"), [(13, True), (14, True), (15, False), (19, False)])
def test_a_lane_is_followed_if_the_window_ends_by_the_horizon(onset: int, followed: bool) -> None:
    # The last look is at tick 20, the horizon; 14 + 6 = 20 still fits.
    found = outcomes([lane(onset=onset), lane(onset=onset, action=onset + 1)])
    assert found.followed(6).tolist() == [followed, followed]


def test_a_lane_that_is_not_at_risk_is_not_followed() -> None:
    assert not outcomes([lane(onset=5, action=4), lane(), lane(action=3)]).followed(1).any()


def test_a_twin_has_its_own_status() -> None:
    found = outcomes([lane()] * 3, [lane(), lane(action=7), lane(action=7, worse=False)])
    assert found.twin_status.tolist() == ["quiet", "false_alarm", "wrong_direction"]
    assert found.twin_acted.tolist() == [False, True, True]


def test_a_twins_alarm_counts_in_the_window_after_the_onset_of_its_lane() -> None:
    actions = [-1, 4, 5, 6, 11, 12]
    found = outcomes([lane(onset=5)] * 6, [lane(action=action) for action in actions])
    # The window (5, 11].
    assert found.twin_acted_within(6).tolist() == [False, False, False, True, True, False]


def test_containment_counts_from_the_onset_and_only_where_a_lane_was_at_risk() -> None:
    found = outcomes(
        [
            lane(onset=5, action=8, containment_time=10),
            lane(onset=5, action=8),
            lane(onset=5, action=3, containment_time=6),
            lane(action=3, containment_time=6),
        ]
    )
    assert found.containment.tolist() == [5, INFINITY, INFINITY, INFINITY]


def test_policies_and_twins_are_taken_apart_in_the_order_of_the_plan() -> None:
    quick, slow = [lane(onset=5, action=6), lane(onset=4)], [lane(onset=5, action=9), lane(onset=4, action=2)]
    quiet, loud = [lane(), lane()], [lane(action=1), lane()]
    tables = [
        rows(slow, policy="slow"),
        rows(loud, policy="slow", harmed=False),
        rows(quick, policy="quick"),
        rows(quiet, policy="quick", harmed=False),
    ]
    joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    first, second = outcomes_of(joined, clock=CLOCK, limit=6)
    assert (first.policy, second.policy) == ("slow", "quick")
    assert first.delay.tolist() == [4, INFINITY]
    assert second.delay.tolist() == [1, INFINITY]
    assert first.twin_acted.tolist() == [True, False]
    assert second.twin_acted.tolist() == [False, False]


def test_blocks_are_gathered_in_the_order_of_lanes() -> None:
    blocks = [BlockResult(Block(0, first, 2), {"lane": np.array([first, first + 1])}, ()) for first in (4, 0, 2)]
    assert gather(blocks)["lane"].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("horizon", "onset", "limit"),
    [
        (100, None, 0),
        (100, 0, 50),
        (100, 40 * 5 * MINUTE, 30),
        (101, 40 * 5 * MINUTE, 30),
        (100, 40 * 5 * MINUTE - 1, 30),
        (100, 99 * 5 * MINUTE, 1),
        (3000, 0, 288),
    ],
)
def test_detection_is_followed_for_half_of_what_is_left_at_most_a_day(horizon: int, onset: int | None, limit: int) -> None:
    clock = Clock(starts=0, tick=5 * MINUTE, horizon=horizon)
    assert detection_limit(clock, onset) == limit
    assert limit * clock.tick <= DAY


def test_a_tick_in_minutes() -> None:
    assert ticks_to_minutes(CLOCK) == 5
