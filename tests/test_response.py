"""Alarms by hand: what they do to the ramp, when people answer, and which lane remembers what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Bools, Code, Decision, Integers
from simlab.guardrails.rules.limits import Above
from simlab.guardrails.signal import Signal
from simlab.response import ACTIONS, Responder
from simlab.scenario import People, RampStep, Response, Rollback, Rollout
from simlab.ticks import Clock, Span
from simlab.world.harms import NOT_YET
from simlab.world.ramp import RampPlan, ramp_plan

MINUTE = 60_000
CLOCK = Clock(starts=0, tick=MINUTE, horizon=40)
RAMP = RampPlan(np.array([0, 5, 7, NOT_YET]))
OK, ALARM, UNKNOWN = Code.OK, Code.ALARM, Code.UNKNOWN
EVERYBODY = np.arange(6)

# At a time, what each guardrail answers: one code for all lanes, one a lane, or None where it does not look.
Answers = Mapping[int, Sequence[Any]]


def exactly(minutes: int) -> Span:
    return Span(minutes * MINUTE, minutes * MINUTE)


def response(*, answer: int = 3, diagnose: int = 2, right: float = 1.0, takes: int = 4, succeeds: float = 1.0) -> Response:
    """Return an organisation that always takes the same time, in minutes; a tick is one minute."""
    people = People(answer=exactly(answer), diagnose=exactly(diagnose), right=right)
    return Response(people=people, rollback=Rollback(takes=exactly(takes), succeeds=succeeds))


def responder(
    *responds: str, settings: Response | None = None, lanes: Integers | None = None, ramp: RampPlan = RAMP, seed: int = 7
) -> Responder:
    """Return a responder for guardrails that respond so; `settings` None is the organisation of `response`."""
    signal, rule = Signal(watch="m", of="everyone"), Above(limit=1.0)
    guardrails = tuple(Guardrail(signal, rule, MINUTE, respond=each) for each in responds)  # type: ignore[arg-type]
    numbers = np.arange(2) if lanes is None else lanes
    return Responder(settings or response(), ramp, guardrails, clock=CLOCK, lanes=numbers, seed=seed)


def decision(code: Any, time: int, lanes: int, *, worse: bool = True, behind: int = 0) -> Decision:
    """Return a decision whose look ended `behind` ticks ago."""
    no = np.zeros(lanes, dtype=bool)
    return Decision(
        code=np.broadcast_to(np.asarray(code, dtype=np.int8), lanes).copy(),
        worse=np.full(lanes, worse),
        statistic=np.zeros(lanes),
        end=np.full(lanes, time - behind),
        unknown=no,
        skipped=no,
        retired=no,
    )


class History:
    """The ramp position during each tick, and the times at which lanes were cleared, [ticks, lanes]."""

    def __init__(self, held: Responder, ticks: int, answers: Answers | None = None, *, harm_from: int = NOT_YET) -> None:
        self.position: list[Integers] = []
        self.highest: list[Integers] = []
        self.cleared: list[Bools] = []
        lanes = len(held.lanes)
        for tick in range(ticks):
            self.position.append(held.exposure.position)
            self.highest.append(held.exposure.highest)
            self._end(held, tick + 1, (answers or {}).get(tick + 1), np.full(lanes, tick >= harm_from))

    def _end(self, held: Responder, time: int, given: Sequence[Any] | None, truth: Bools) -> None:
        """Run the phases at the end of a tick in the order of the engine."""
        held.elapse()
        if given is not None:
            lanes = len(held.lanes)
            held.act(time, [None if each is None else as_decision(each, time, lanes) for each in given])
        self.cleared.append(held.settle(time, truth))
        held.move(time)

    def first_at(self, position: int, lane: int = 0) -> int:
        """Return the first tick at a position."""
        return [int(each[lane]) for each in self.position].index(position)

    def cleared_at(self, lane: int = 0) -> list[int]:
        """Return when a lane was cleared."""
        return [tick + 1 for tick, each in enumerate(self.cleared) if each[lane]]


def as_decision(given: Any, time: int, lanes: int) -> Decision:
    return given if isinstance(given, Decision) else decision(given, time, lanes)


# -- the ramp --------------------------------------------------------------------------------------------------------------


def test_a_ramp_that_nothing_stops_keeps_its_soak_times_to_the_tick() -> None:
    held = responder()
    history = History(held, 40)
    planned = [1] * 5 + [2] * 7 + [3] * 28
    assert [int(each[0]) for each in history.position] == planned
    np.testing.assert_array_equal(np.array(history.highest), np.array(history.position))
    assert held.completed.tolist() == [12, 12]
    assert RAMP.planned(40).tolist() == planned


def test_a_ramp_begins_when_it_is_told_to() -> None:
    ramp = RampPlan(np.array([4, 5, NOT_YET]))
    history = History(responder(ramp=ramp), 15)
    assert [int(each[0]) for each in history.position] == [0] * 4 + [1] * 5 + [2] * 6
    assert ramp.planned(15).tolist() == [0] * 4 + [1] * 5 + [2] * 6


def test_the_last_step_lasts_whatever_its_soak() -> None:
    ramp = RampPlan(np.array([0, 5, 7]))
    held = responder(ramp=ramp)
    history = History(held, 40)
    assert [int(each[0]) for each in history.position] == ramp.planned(40).tolist() == [1] * 5 + [2] * 35
    assert held.completed.tolist() == [5, 5]


def test_the_plan_of_a_rollout_is_its_soak_times_rounded_up_to_ticks() -> None:
    steps = (RampStep(expose=0.1, soak=90_000), RampStep(expose=0.5, soak=7 * MINUTE), RampStep(expose=1.0, soak="rest"))
    assert ramp_plan(Rollout(steps=steps, begins=30_000), CLOCK).soak.tolist() == [1, 2, 7, NOT_YET]


def test_without_a_rollout_nobody_is_ever_exposed() -> None:
    ramp = ramp_plan(None, CLOCK)
    assert not np.array(History(responder(ramp=ramp), 40).position).any()
    assert not ramp.planned(40).any()


# -- what holds a step -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("respond", "code"), [("hold", ALARM), ("hold", UNKNOWN), ("alert", UNKNOWN), ("rollback", UNKNOWN)])
def test_a_step_waits_while_a_guardrail_holds_or_does_not_know(respond: str, code: Code) -> None:
    held = responder(respond)
    history = History(held, 40, {3: [code], 9: [OK]})
    # The soak runs on while the step waits: at tick 9 it is long over, and the next step takes its own.
    assert [history.first_at(2), history.first_at(3)] == [9, 16]
    assert held.first.time.tolist() == [NOT_YET] * 2
    assert not held.episodes.any()


def test_a_hold_that_ends_before_the_soak_costs_nothing() -> None:
    history = History(responder("hold"), 40, {1: [ALARM], 4: [OK]})
    assert [history.first_at(2), history.first_at(3)] == [5, 12]


def test_a_hold_at_the_very_tick_of_the_step_still_holds_it() -> None:
    assert History(responder("hold"), 40, {5: [ALARM], 6: [OK]}).first_at(2) == 6


def test_an_alert_does_not_hold_the_step() -> None:
    history = History(responder("alert"), 40, {3: [ALARM]})
    assert [history.first_at(2), history.first_at(3)] == [5, 12]


def test_a_guardrail_that_does_not_look_keeps_its_last_answer() -> None:
    history = History(responder("hold", "hold"), 40, {3: [ALARM, OK], 6: [None, OK], 9: [OK, None]})
    assert history.first_at(2) == 9


# -- alerts and pauses -----------------------------------------------------------------------------------------------------


def test_a_person_clears_a_false_alert_after_answer_and_diagnosis() -> None:
    held = responder("alert")
    # The alarm goes on while the person is on it: one episode. When it comes again afterwards, it is another.
    history = History(held, 40, {6: [ALARM], 7: [ALARM], 10: [ALARM], 11: [OK], 20: [ALARM]})
    assert history.cleared_at() == [11, 25]
    assert held.episodes.tolist() == [2, 2]
    assert held.first.time.tolist() == [6, 6]
    assert not held.ended.any()


def test_an_alarm_at_the_very_tick_of_the_diagnosis_belongs_to_the_page_that_it_ends() -> None:
    held = responder("alert")
    history = History(held, 40, {6: [ALARM], 11: [ALARM], 12: [ALARM]})
    assert history.cleared_at() == [11, 17]
    assert held.episodes.tolist() == [2, 2]


def test_a_person_who_takes_no_time_answers_at_once() -> None:
    held = responder("alert", settings=response(answer=0, diagnose=0))
    assert History(held, 40, {6: [ALARM], 7: [ALARM]}).cleared_at() == [6, 7]
    assert held.episodes.tolist() == [2, 2]


def test_a_person_who_sees_the_harm_rolls_back() -> None:
    held = responder("alert")
    history = History(held, 40, {6: [ALARM]}, harm_from=10)
    # Paged at 6, answered at 9, diagnosed at 11; the rollback takes 4 more.
    assert held.first.time.tolist() == [6, 6]
    assert held.ended_at.tolist() == [11, 11]
    assert held.contained.tolist() == [15, 15]
    assert history.cleared_at() == []
    assert [int(each[0]) for each in history.position[9:17]] == [2] * 6 + [0] * 2
    assert held.exposure.highest.tolist() == [2, 2]


def test_a_person_reads_the_truth_of_the_time_of_the_diagnosis() -> None:
    # A harm that begins with tick 11 has no data at 11, when people conclude; one of tick 10 has.
    for harm_from, ended in ((10, 11), (11, NOT_YET)):
        held = responder("alert")
        History(held, 20, {6: [ALARM]}, harm_from=harm_from)
        assert held.ended_at.tolist() == [ended] * 2


@pytest.mark.parametrize(("harm_from", "rolled_back"), [(0, False), (NOT_YET, True)])
def test_a_person_who_is_always_wrong_clears_the_harm_and_rolls_back_the_harmless(harm_from: int, rolled_back: bool) -> None:
    held = responder("alert", settings=response(right=0.0))
    history = History(held, 40, {6: [ALARM]}, harm_from=harm_from)
    assert held.ended.tolist() == [rolled_back] * 2
    assert history.cleared_at() == ([] if rolled_back else [11])
    assert held.contained.tolist() == [15 if rolled_back else NOT_YET] * 2


def test_people_are_right_at_their_rate() -> None:
    """4,000 lanes, 4.5 standard errors (two-sided error 7e-6)."""
    lanes = 4000
    held = responder("alert", settings=response(right=0.8), lanes=np.arange(lanes))
    History(held, 20, {6: [ALARM]})
    assert abs(held.ended.mean() - 0.2) < 4.5 * np.sqrt(0.8 * 0.2 / lanes)


def test_people_take_between_the_shortest_and_the_longest_time() -> None:
    people = People(answer=Span(2 * MINUTE, 5 * MINUTE), diagnose=Span(MINUTE, 3 * MINUTE), right=1.0)
    held = responder("alert", settings=Response(people=people), lanes=np.arange(400))
    history = History(held, 20, {6: [ALARM]})
    took = {history.cleared_at(lane)[0] - 6 for lane in range(400)}
    # Each time is rounded up: 3 to 5 ticks and 2 to 3.
    assert took == {5, 6, 7, 8}


def test_a_pause_keeps_the_step_and_the_soak_that_is_left() -> None:
    held = responder("pause")
    history = History(held, 40, {8: [ALARM]})
    # Step 2 from tick 5; 3 of its 7 ticks are over at 8; paused until 13; 4 more.
    assert history.cleared_at() == [13]
    assert [history.first_at(2), history.first_at(3)] == [5, 17]
    assert held.completed.tolist() == [17, 17]
    assert held.episodes.tolist() == [1, 1]


def test_a_pause_at_the_very_tick_of_a_step_keeps_it_until_it_is_cleared() -> None:
    assert History(responder("pause"), 40, {5: [ALARM]}).first_at(2) == 10


def test_a_pause_that_goes_on_alarming_is_one_episode() -> None:
    held = responder("pause")
    History(held, 13, {time: [ALARM] for time in range(8, 13)})
    assert held.episodes.tolist() == [1, 1]


def test_the_guardrail_of_a_cleared_lane_holds_no_more() -> None:
    # Nobody looks again after the clearance, so only the clearance itself can have forgotten the alarm.
    assert History(responder("pause", "hold"), 40, {8: [ALARM, ALARM]}).first_at(3) == 17


# -- rollbacks -------------------------------------------------------------------------------------------------------------


def test_a_rollback_takes_its_time_and_ends_the_watch() -> None:
    held = responder("rollback")
    history = History(held, 40, {8: [ALARM], 9: [ALARM], 20: [ALARM]})
    assert held.first.time.tolist() == held.ended_at.tolist() == [8, 8]
    assert held.contained.tolist() == [12, 12]
    assert held.episodes.tolist() == [1, 1]
    # Exposed until it is done, never more than when it was ordered, and never again.
    assert [int(each[0]) for each in history.position[7:]] == [2] * 5 + [0] * 28
    assert held.completed.tolist() == [NOT_YET] * 2


@pytest.mark.parametrize("time", [4, 5])
def test_a_rollback_that_was_ordered_stops_the_ramp_for_good(time: int) -> None:
    # At 5 the step's soak is over, and later looks find nothing any more.
    history = History(responder("rollback"), 40, {time: [ALARM], time + 1: [OK], time + 6: [OK]})
    assert [int(each[0]) for each in history.position] == [1] * (time + 4) + [0] * (36 - time)


def test_a_rollback_that_takes_no_time_acts_from_the_next_tick() -> None:
    held = responder("rollback", settings=response(takes=0))
    history = History(held, 20, {8: [ALARM]})
    assert held.contained.tolist() == [8, 8]
    assert [int(history.position[tick][0]) for tick in (7, 8)] == [2, 0]


def test_a_rollback_that_fails_is_tried_again_after_answer_and_diagnosis() -> None:
    held = responder("rollback", settings=response(succeeds=0.0))
    tries = []
    for tick in range(40):
        held.elapse()
        if tick + 1 == 8:
            held.act(8, [decision(ALARM, 8, 2)])
        due = held._rollback_due.copy()
        held.settle(tick + 1, np.ones(2, dtype=bool))
        if (held._rollback_due != due).any():
            tries.append(tick + 1)
        held.move(tick + 1)
    # Ordered at 8, done at 12; then 3 + 2 for people and 4 for the next try, again and again.
    assert tries == [12, 21, 30, 39]
    assert held.exposure.position.tolist() == [2, 2]
    assert held.contained.tolist() == [NOT_YET] * 2


@pytest.mark.parametrize(("takes", "answer", "diagnose"), [(4, 3, 2), (1, 0, 0), (0, 1, 0), (0, 0, 0)])
def test_rollbacks_succeed_at_their_rate_at_every_try(takes: int, answer: int, diagnose: int) -> None:
    """4,000 lanes, 4.5 standard errors (two-sided error 7e-6) at the first and at the second try."""
    lanes = 4000
    settings = response(succeeds=0.6, takes=takes, answer=answer, diagnose=diagnose)
    held = responder("rollback", settings=settings, lanes=np.arange(lanes))
    History(held, 40, {8: [ALARM]})
    first = 8 + takes
    # Where nobody and nothing takes any time, the next try is at the next tick.
    second = first + max(1, answer + diagnose + takes)
    for time, chance in ((first, 0.6), (second, 0.4 * 0.6)):
        assert abs((held.contained == time).mean() - chance) < 4.5 * np.sqrt(chance * (1 - chance) / lanes)
    assert not ((held.contained > first) & (held.contained < second)).any()


def test_a_rollback_takes_between_its_shortest_and_its_longest_time() -> None:
    settings = Response(rollback=Rollback(takes=Span(2 * MINUTE, 5 * MINUTE), succeeds=1.0))
    held = responder("rollback", settings=settings, lanes=np.arange(400))
    History(held, 40, {8: [ALARM]})
    assert set((held.contained - 8).tolist()) == {3, 4, 5}


# -- several guardrails ----------------------------------------------------------------------------------------------------


def test_a_pause_during_an_alert_stops_the_ramp_and_keeps_the_page() -> None:
    held = responder("alert", "pause")
    history = History(held, 40, {6: [ALARM, OK], 8: [OK, ALARM]})
    # The page of tick 6 is diagnosed at 11, and clears the pause of tick 8 as well: 3 ticks of soak late.
    assert history.cleared_at() == [11]
    assert history.first_at(3) == 12 + 3
    assert held.episodes.tolist() == [1, 1]
    assert held.first.action.tolist() == [ACTIONS.index("alert")] * 2


def test_a_rollback_during_an_alert_or_a_pause_takes_over() -> None:
    for respond in ("alert", "pause"):
        held = responder(respond, "rollback")
        history = History(held, 40, {6: [ALARM, OK], 8: [OK, ALARM]})
        assert held.ended_at.tolist() == [8, 8]
        assert held.contained.tolist() == [12, 12]
        # The diagnosis that was due at 11 is not made any more, though it would have cleared the lane.
        assert history.cleared_at() == []
        assert held.first.time.tolist() == [6, 6]
        assert held.first.action.tolist() == [ACTIONS.index(respond)] * 2
        assert held.episodes.tolist() == [1, 1]


@pytest.mark.parametrize(
    "order", [("alert", "pause", "rollback"), ("rollback", "pause", "alert"), ("pause", "rollback", "alert")]
)
def test_the_strongest_action_is_on_record_when_several_alarm_at_once(order: tuple[str, ...]) -> None:
    lanes = 4
    alarms = {
        "alert": np.array([1, 1, 1, 0]),
        "pause": np.array([0, 1, 1, 0]),
        "rollback": np.array([0, 0, 1, 0]),
    }
    held = responder(*order, lanes=np.arange(lanes))
    worse = {"alert": True, "pause": False, "rollback": True}
    given = [decision(alarms[each], 6, lanes, worse=worse[each], behind=number) for number, each in enumerate(order)]
    History(held, 20, {6: given})
    strongest = ["alert", "pause", "rollback"]
    assert [ACTIONS[action] for action in held.first.action] == [*strongest, "none"]
    assert held.first.guardrail.tolist() == [*(order.index(each) for each in strongest), -1]
    assert held.first.evidence.tolist() == [*(6 - order.index(each) for each in strongest), NOT_YET]
    assert held.first.worse[:3].tolist() == [worse[each] for each in strongest]
    assert held.first.time.tolist() == [6, 6, 6, NOT_YET]
    assert held.episodes.tolist() == [1, 1, 1, 0]
    assert held.ended.tolist() == [False, False, True, False]


def test_the_first_action_stays_on_record() -> None:
    held = responder("alert")
    given = [decision(ALARM, 6, 2, worse=False, behind=2)]
    History(held, 40, {6: given, 20: [ALARM], 30: [ALARM]})
    assert held.first.time.tolist() == [6, 6]
    assert held.first.evidence.tolist() == [4, 4]
    assert held.first.worse.tolist() == [False, False]
    assert held.episodes.tolist() == [3, 3]


def test_a_hold_is_no_action() -> None:
    held = responder("hold", "alert")
    History(held, 40, {3: [ALARM, OK], 9: [OK, ALARM]})
    assert held.first.time.tolist() == [9, 9]
    assert held.first.guardrail.tolist() == [1, 1]


# -- lanes -----------------------------------------------------------------------------------------------------------------


def random_answers(lanes: int, *, seed: int = 5) -> dict[int, list[np.ndarray]]:
    """Return codes of four guardrails at two ticks in three, for any number of lanes."""
    generator = np.random.default_rng(seed)
    drawn = generator.choice([OK, ALARM, UNKNOWN], p=[0.94, 0.02, 0.04], size=(40, 4, lanes))
    return {time: list(drawn[time]) for time in range(1, 40) if time % 3}


def test_lanes_do_not_interact() -> None:
    """Each lane alone has the same history as among others, whatever happens to those."""
    people = People(answer=Span(0, 6 * MINUTE), diagnose=exactly(1), right=0.7)
    settings = Response(people=people, rollback=Rollback(takes=Span(0, 5 * MINUTE), succeeds=0.5))
    responds, lanes = ("alert", "pause", "rollback", "hold"), 60
    answers = random_answers(lanes)
    whole = responder(*responds, settings=settings, lanes=np.arange(lanes))
    history = History(whole, 40, answers, harm_from=15)
    assert {0, 1, 2, 3} == set(whole.first.action.tolist())
    assert 0 < (whole.contained < NOT_YET).sum() < lanes
    for part in (slice(0, 1), slice(17, 40), slice(59, 60)):
        some = responder(*responds, settings=settings, lanes=np.arange(lanes)[part])
        cut = {time: [codes[part] for codes in given] for time, given in answers.items()}
        alone = History(some, 40, cut, harm_from=15)
        np.testing.assert_array_equal(np.array(alone.position), np.array(history.position)[:, part])
        np.testing.assert_array_equal(np.array(alone.cleared), np.array(history.cleared)[:, part])
        for name in ("contained", "completed", "episodes", "ended", "ended_at", "highest"):
            np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[part], err_msg=name)
        for mine, theirs in zip(some.first, whole.first, strict=True):
            np.testing.assert_array_equal(mine, theirs[part])


def test_an_alarm_in_one_lane_does_nothing_to_the_others() -> None:
    for respond in ("alert", "pause", "rollback", "hold"):
        held = responder(respond, lanes=EVERYBODY)
        only_one = np.where(EVERYBODY == 3, ALARM, OK)
        history = History(held, 40, {4: [only_one]})
        quiet = EVERYBODY != 3
        np.testing.assert_array_equal(np.array(history.position)[:, quiet], RAMP.planned(40)[:, None] + np.zeros((1, 5)))
        assert not np.array(history.cleared)[:, quiet].any()
        assert (held.first.time[quiet] == NOT_YET).all()
        assert not held.episodes[quiet].any()


def test_another_seed_gives_other_people() -> None:
    settings = Response(people=People(answer=Span(0, 6 * MINUTE), diagnose=exactly(1), right=0.5))
    ends = [responder("alert", settings=settings, lanes=np.arange(200), seed=seed) for seed in (1, 2)]
    for held in ends:
        History(held, 30, {6: [ALARM]})
    assert (ends[0].ended != ends[1].ended).any()


# -- recordings ------------------------------------------------------------------------------------------------------------


def recorded(*responds: str) -> Responder:
    """Return the responder of a recording, which has no ramp and no people."""
    made = responder(*responds)
    return Responder(None, ramp_plan(None, CLOCK), made.guardrails, clock=CLOCK, lanes=np.arange(2), seed=7)


@pytest.mark.parametrize("respond", ["alert", "pause", "rollback"])
def test_over_a_recording_an_alarm_is_an_episode_that_ends_by_itself(respond: str) -> None:
    held = recorded(respond)
    answers = {6: [ALARM], 7: [ALARM], 9: [OK], 12: [ALARM], 13: [UNKNOWN], 14: [np.array([ALARM, OK])], 15: [OK]}
    history = History(held, 30, answers, harm_from=0)
    assert held.episodes.tolist() == [3, 2]
    assert held.first.time.tolist() == [6, 6]
    # There is nobody to clear a lane and nothing to roll back, so no guardrail is put back and the watch goes on.
    assert not np.array(history.cleared).any()
    assert not held.ended.any()
    assert held.contained.tolist() == [NOT_YET] * 2


def test_over_a_recording_an_episode_lasts_while_any_guardrail_alarms() -> None:
    held = recorded("alert", "rollback")
    History(held, 30, {6: [ALARM, OK], 8: [ALARM, ALARM], 10: [OK, ALARM], 12: [ALARM, OK], 14: [OK, OK], 16: [OK, ALARM]})
    assert held.episodes.tolist() == [2, 2]
    assert held.first.action.tolist() == [ACTIONS.index("alert")] * 2
