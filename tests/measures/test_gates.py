"""Gates: their limits, what each kind asks of the rows, and that growing lanes do not let them peek."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from simlab.measures.estimates import Estimate, proportion
from simlab.measures.gates import FAILED, INCONCLUSIVE, PASSED, Verdict, decide, describe, judge
from simlab.measures.outcomes import Outcomes
from simlab.study import AtLeast, AtMost, AtMostUsers, GateEntry, Lanes
from tests.measures.rows import CLOCK, MINUTE, lane, outcomes

FALSE_ALARMS = GateEntry(false_alarms=AtMost(max=0.05))
DETECTED = GateEntry(detected=AtLeast(min=0.9), within=30 * MINUTE)
HARMED = GateEntry(harmed_users=AtMostUsers(max=500), at="p90")


# -- decide ----------------------------------------------------------------------------------------------------------------

DECISIONS = [
    # low, high, at most 0.05, at least 0.05
    (0.01, 0.04, PASSED, FAILED),
    (0.01, 0.05, PASSED, INCONCLUSIVE),
    (0.01, 0.06, INCONCLUSIVE, INCONCLUSIVE),
    (0.05, 0.06, INCONCLUSIVE, PASSED),
    (0.06, 0.07, FAILED, PASSED),
    (0.05, 0.05, PASSED, PASSED),
    (0.0, 1.0, INCONCLUSIVE, INCONCLUSIVE),
]


@pytest.mark.parametrize(("low", "high", "at_most", "at_least"), DECISIONS)
def test_a_gate_needs_its_whole_interval_on_one_side(low: float, high: float, at_most: str, at_least: str) -> None:
    estimate = Estimate((low + high) / 2, low, high, 100, "by hand", "probability")
    assert decide(estimate, 0.05, at_most=True) == at_most
    assert decide(estimate, 0.05, at_most=False) == at_least


@pytest.mark.parametrize("limit", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("at_most", [True, False])
def test_no_data_is_never_green(limit: float, at_most: bool) -> None:
    assert decide(proportion(0, 0), limit, at_most=at_most) == INCONCLUSIVE


def test_a_limit_of_nothing_is_never_passed_and_a_limit_of_everything_never_failed() -> None:
    for n in (1, 100, 16000):
        assert decide(proportion(0, n), 0.0, at_most=True) == INCONCLUSIVE
        assert decide(proportion(n, n), 1.0, at_most=False) == INCONCLUSIVE
        assert decide(proportion(n, n), 1.0, at_most=True) == PASSED
        assert decide(proportion(0, n), 0.0, at_most=False) == PASSED


# -- judge: what each kind asks --------------------------------------------------------------------------------------------


def judged(gate: GateEntry, held: Outcomes, looks: int = 1) -> Verdict:
    return judge(gate, held, scenario="s", looks=looks)


def test_a_false_alarm_gate_asks_how_many_twins_were_acted_on() -> None:
    twins = [lane(action=3), lane(action=20, worse=False), lane(), lane()]
    # What happens in the harmed lanes does not matter, nor whether an onset would have come before the alarm.
    held = outcomes([lane(onset=5, action=2), lane(), lane(onset=1, action=2), lane(action=9)], twins)
    found = judged(FALSE_ALARMS, held)
    assert found.estimate == proportion(2, 4)
    assert (found.limit, found.at_most, found.scenario, found.policy) == (0.05, True, "s", "p")


def test_a_detection_gate_asks_the_lanes_at_risk_that_could_be_followed() -> None:
    held = outcomes(
        [
            lane(onset=5, action=11),  # after 6 ticks, which are 30 minutes
            lane(onset=5, action=12),  # after 7
            lane(onset=5, action=7, evidence=5),  # on evidence from before: not at risk
            lane(onset=5, action=6, worse=False),  # in the wrong direction
            lane(onset=14, action=15),
            lane(onset=15, action=16),  # could be watched for 5 ticks only
            lane(),
        ]
    )
    found = judged(DETECTED, held)
    assert found.estimate == proportion(2, 4)
    assert (found.limit, found.at_most) == (0.9, False)


@pytest.mark.parametrize(("within", "events", "n"), [(5, 1, 2), (9, 1, 2), (10, 2, 2), (4, 0, 2), (75, 2, 2), (80, 0, 0)])
def test_a_detection_within_a_part_of_a_tick_is_not_claimed(within: int, events: int, n: int) -> None:
    held = outcomes([lane(onset=5, action=6), lane(onset=5, action=7)])
    found = judged(replace(DETECTED, within=within * MINUTE), held)
    assert found.estimate == proportion(events, n)


def test_a_users_gate_asks_how_many_lanes_exceed_the_limit() -> None:
    held = outcomes(
        [
            lane(onset=5, action=9, users_harmed=500.0, users_exposed=1.0),
            lane(onset=5, users_harmed=501.0, users_exposed=2.0),
            lane(onset=5, action=9, worse=False, users_harmed=9000.0, users_exposed=3.0),
            lane(onset=5, action=4, users_harmed=9000.0, users_exposed=9000.0),  # acted before the onset
            lane(users_harmed=9000.0, users_exposed=9000.0),  # never exposed to it
        ]
    )
    found = judged(HARMED, held)
    assert found.estimate == proportion(2, 3)
    assert (found.limit, found.at_most) == (0.1, True)
    exposed = judged(GateEntry(exposed_users=AtMostUsers(max=2), at="p75"), held)
    assert (exposed.estimate, exposed.limit) == (proportion(1, 3), 0.25)


@pytest.mark.parametrize(("at", "limit"), [("p50", 0.5), ("p75", 0.25), ("p90", 0.1), ("p95", 0.05), ("p99", 0.01)])
def test_a_quantile_is_a_limit_on_a_proportion(at: str, limit: float) -> None:
    gate = GateEntry(harmed_users=AtMostUsers(max=0), at=at)  # type: ignore[arg-type]
    assert judged(gate, outcomes([lane(onset=5)])).limit == limit


@pytest.mark.parametrize("gate", [DETECTED, HARMED])
def test_a_gate_on_lanes_that_are_not_there_is_inconclusive(gate: GateEntry) -> None:
    found = judged(gate, outcomes([lane(), lane(action=3)]))
    assert (found.decision, found.estimate.n, found.passed) == (INCONCLUSIVE, 0, False)
    assert "no lane to judge" in found.arithmetic


@pytest.mark.parametrize(("gate", "looks", "confidence"), [(FALSE_ALARMS, 1, 0.95), (FALSE_ALARMS, 4, 0.9875)])
def test_a_gate_splits_its_error_over_the_looks_of_the_schedule(gate: GateEntry, looks: int, confidence: float) -> None:
    found = judged(gate, outcomes([lane()] * 30), looks)
    assert found.estimate == proportion(0, 30, confidence=confidence)
    assert found.looks == looks
    assert judged(replace(gate, confidence=0.8), outcomes([lane()] * 30), looks).estimate.confidence == 1 - 0.2 / looks


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (FALSE_ALARMS, "false alarms at most 5 % of harmless rollouts"),
        (DETECTED, "detected at least 90 % within 30m"),
        (HARMED, "harmed users at most 500 at p90"),
        (GateEntry(exposed_users=AtMostUsers(max=2000), at="p50"), "exposed users at most 2000 at p50"),
    ],
)
def test_a_gate_says_what_it_asks(gate: GateEntry, words: str) -> None:
    assert describe(gate) == words


# -- no peeking ------------------------------------------------------------------------------------------------------------

SCHEDULE = Lanes(start=2000, cap=16000).schedule
REPEATS = 2000
# A share of 5 % among the repeats has this standard error; the bound is three of them above (one-sided error 0.2 %).
BOUND = 0.05 + 3 * np.sqrt(0.05 * 0.95 / REPEATS)


def alarming(chance: float, generator: np.random.Generator) -> Outcomes:
    """Return the most lanes of a study whose twins are acted on with a fixed chance."""
    acted = generator.random(SCHEDULE[-1]) < chance
    return Outcomes("p", CLOCK, {"lane": np.arange(acted.size)}, {"action_time": np.where(acted, 9, -1)}, 6)


def detecting(chance: float, generator: np.random.Generator) -> Outcomes:
    """Return the most lanes of a study that detects with a fixed chance among those at risk; one in five is not."""
    lanes = SCHEDULE[-1]
    acted, before = generator.random(lanes) < chance, generator.random(lanes) < 0.2
    action = np.where(before, 3, np.where(acted, 9, -1))
    onset, worse = np.full(lanes, 5), np.ones(lanes, dtype=bool)
    harmed = {"lane": np.arange(lanes), "onset": onset, "action_time": action, "evidence": action, "worse": worse}
    return Outcomes("p", CLOCK, harmed, {"action_time": np.full(lanes, -1)}, 6)


def first_lanes(held: Outcomes, count: int) -> Outcomes:
    """Return the outcomes of the lanes run so far."""
    cut = [{name: values[:count] for name, values in table.items()} for table in (held.harmed, held.twin)]
    return replace(held, harmed=cut[0], twin=cut[1])


def final(gate: GateEntry, held: Outcomes, *, looks: int = len(SCHEDULE)) -> Verdict:
    """Return the verdict of a gate at the end of the schedule."""
    verdict = None
    for count in SCHEDULE:
        verdict = judge(gate, first_lanes(held, count), scenario="s", looks=looks, before=verdict)
    assert verdict is not None
    return verdict


Study = Callable[[float, np.random.Generator], Outcomes]
KINDS = [(FALSE_ALARMS, alarming, 0.05), (DETECTED, detecting, 0.9)]


@pytest.mark.parametrize(("gate", "study", "limit"), KINDS)
def test_on_its_limit_a_gate_decides_no_more_often_than_its_error(gate: GateEntry, study: Study, limit: float) -> None:
    generator = np.random.default_rng(2024)
    studies = (study(limit, generator) for _ in range(REPEATS))
    decided = sum(final(gate, held).decision != INCONCLUSIVE for held in studies)
    assert decided / REPEATS < BOUND


def test_a_gate_that_peeked_would_decide_more_often_than_its_error() -> None:
    """The test above can tell: with a whole 5 % at every look, the share is beyond its bound."""
    generator = np.random.default_rng(2024)
    studies = (alarming(0.05, generator) for _ in range(REPEATS))
    decided = sum(final(FALSE_ALARMS, held, looks=1).decision != INCONCLUSIVE for held in studies)
    assert decided / REPEATS > BOUND


@pytest.mark.parametrize(
    ("gate", "study", "chance", "decision"),
    [
        (FALSE_ALARMS, alarming, 0.025, PASSED),
        (FALSE_ALARMS, alarming, 0.1, FAILED),
        (DETECTED, detecting, 0.95, PASSED),
        (DETECTED, detecting, 0.8, FAILED),
    ],
)
def test_off_its_limit_a_gate_decides_rightly(gate: GateEntry, study: Study, chance: float, decision: str) -> None:
    """Each of 200 repeats is wrong or open with a probability below 1e-4."""
    generator = np.random.default_rng(5)
    assert all(final(gate, study(chance, generator)).decision == decision for _ in range(200))


def test_the_first_look_that_decides_decides_for_good() -> None:
    good, bad = outcomes([lane()] * 200), outcomes([lane()] * 400, [lane(action=2)] * 400)
    passed = judge(FALSE_ALARMS, good, scenario="s", looks=2)
    assert passed.decision == PASSED
    assert judge(FALSE_ALARMS, bad, scenario="s", looks=2, before=passed) is passed
    failed = judge(FALSE_ALARMS, bad, scenario="s", looks=2)
    assert judge(FALSE_ALARMS, good, scenario="s", looks=2, before=failed) is failed
    open_ = judge(FALSE_ALARMS, outcomes([lane()] * 3), scenario="s", looks=2)
    assert open_.decision == INCONCLUSIVE
    assert judge(FALSE_ALARMS, bad, scenario="s", looks=2, before=open_) == failed


def test_lanes_double_from_the_start_to_the_cap() -> None:
    assert SCHEDULE == (2000, 4000, 8000, 16000)
    assert Lanes(start=1000, cap=3000).schedule == (1000, 2000, 3000)
    assert Lanes(start=500, cap=500).schedule == (500,)
