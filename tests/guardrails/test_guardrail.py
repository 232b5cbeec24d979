"""What a guardrail answers, and what must hold of every guardrail whatever its signal and rule."""

from __future__ import annotations

import copy
import pickle
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from simlab.guardrails.guardrail import Guardrail, OnUnknown
from simlab.guardrails.look import Code, Floats
from simlab.guardrails.rule import Observation, Step, Takes, choose
from simlab.guardrails.rules.baselines import Never, Random
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.limits import Above, Below
from simlab.guardrails.rules.repeated_z import RepeatedZ
from simlab.guardrails.rules.sample_ratio import SampleRatio
from simlab.guardrails.signal import Signal
from simlab.settings import settings
from tests.looks import (
    MINUTE,
    assert_same_decisions,
    by_arm,
    codes,
    events,
    level,
    make_look,
    only,
    random_looks,
    run,
    run_from,
    segments,
    start,
)

OK, ALARM, UNKNOWN = Code.OK, Code.ALARM, Code.UNKNOWN
LEVEL = Signal(watch="m", of="everyone")


def limited(**how: Any) -> Guardrail:
    """Return a guardrail that alarms on a level of at least 1."""
    return Guardrail(how.pop("signal", LEVEL), Above(limit=1.0), MINUTE, **how)


@settings
class Adding:
    """Sums what it sees, and has no number for anything above 100."""

    key: ClassVar[str] = "adding"
    takes: ClassVar[Takes] = Takes.LEVEL
    paper: ClassVar[str] = "none: a test"
    ladder: ClassVar[str] = "the sum"

    @property
    def threshold(self) -> float:
        return 3.0

    @property
    def guarantee(self) -> None:
        return None

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:  # noqa: ARG002
        return np.zeros((streams, lanes))

    def update(self, state: Floats, seen: Observation) -> Step:
        total = np.where(seen.value > 100, np.nan, state + seen.value)
        return Step(total, total, worse=True)


# -- ok, alarm, unknown --------------------------------------------------------------------------------------------------


def test_a_level_on_the_limit_alarms() -> None:
    looks = [make_look(level(value), time=time) for time, value in enumerate((0.5, 1.0, 1.5, 0.9), start=1)]
    assert codes(run(limited(), looks)) == [[OK], [ALARM], [ALARM], [OK]]


@pytest.mark.parametrize(("on_unknown", "reads"), [("hold", UNKNOWN), ("ignore", OK), ("alarm", ALARM)])
def test_a_look_that_cannot_be_judged_reads_as_told(on_unknown: OnUnknown, reads: Code) -> None:
    guardrail = limited(on_unknown=on_unknown)
    empty, quiet, loud = events((0, 0)), level(0.5), level(2.0)
    looks = [
        make_look(empty, time=1),
        make_look(quiet, time=2),
        make_look(quiet, time=3, missing=True),
        make_look(loud, time=4),
        make_look(empty, time=5),
        make_look(loud, time=6, missing=True),
    ]
    decisions = run(guardrail, looks)
    assert codes(decisions) == [[reads], [OK], [reads], [ALARM], [reads], [reads]]
    # Whatever it reads as, it is counted.
    assert [bool(decision.unknown[0]) for decision in decisions] == [True, False, True, False, True, True]


def test_before_the_first_observation_there_is_no_statistic() -> None:
    decision = run(limited(), [make_look(level(0.5), missing=True)])[0]
    assert decision.statistic[0] == -np.inf


def test_a_missing_look_keeps_the_state() -> None:
    guardrail = Guardrail(LEVEL, Adding(), MINUTE)
    looks = [make_look(level([1.0, 1.0]), time=time, missing=[False, time == 2]) for time in (1, 2, 3, 4)]
    decisions = run(guardrail, looks)
    assert [decision.statistic.tolist() for decision in decisions] == [[1, 1], [2, 1], [3, 2], [4, 3]]
    assert codes(decisions) == [[OK, OK], [OK, UNKNOWN], [ALARM, OK], [ALARM, ALARM]]


def test_no_number_is_no_verdict_and_keeps_the_state() -> None:
    guardrail = Guardrail(LEVEL, Adding(), MINUTE)
    looks = [make_look(level([value, 1.0]), time=time) for time, value in enumerate((1.0, 999.0, 1.0, 1.0), start=1)]
    decisions = run(guardrail, looks)
    assert codes(decisions) == [[OK, OK], [UNKNOWN, OK], [OK, ALARM], [ALARM, ALARM]]
    assert [decision.statistic[0] for decision in decisions] == [1, 1, 2, 3]


def test_under_the_minimum_the_last_verdict_stands() -> None:
    guardrail = limited(signal=Signal(watch="m", of="everyone", min_count=10))
    seen = [(5, 50), (5, 50), (5, 0), (9, 0)]
    decisions = run(guardrail, [make_look(events(each), time=time) for time, each in enumerate(seen, start=1)])
    assert codes(decisions) == [[UNKNOWN], [ALARM], [ALARM], [OK]]
    assert [bool(decision.skipped[0]) for decision in decisions] == [True, False, True, False]


def test_one_stream_is_enough_for_an_alarm_and_for_an_unknown() -> None:
    guardrail = limited(signal=Signal(watch="m", of="everyone", by="segment"))
    quiet, loud, empty = level(0.5), level(2.0), events((0, 0))
    pairs = [(quiet, empty), (loud, empty), (quiet, quiet), (quiet, loud)]
    decisions = run(guardrail, [make_look(segments(pair), time=time) for time, pair in enumerate(pairs, start=1)])
    assert codes(decisions) == [[UNKNOWN], [ALARM], [OK], [ALARM]]
    assert [decision.statistic[0] for decision in decisions] == [0.5, 2.0, 0.5, 2.0]


@pytest.mark.parametrize("on_unknown", ["hold", "alarm"])
def test_a_comparison_that_has_lost_control_by_plan_is_retired(on_unknown: OnUnknown) -> None:
    guardrail = Guardrail(Signal(watch="m", compare="difference"), Cusum(k=0, h=2), MINUTE, on_unknown=on_unknown)
    harm, alone = events((500, 60), (500, 20)), events((1000, 120), (0, 0))
    looks = [make_look(harm, time=1), make_look(alone, time=2, one_armed=True), make_look(harm, time=3)]
    decisions = run(guardrail, looks)
    assert codes(decisions) == [[ALARM], [OK], [ALARM]]
    assert [bool(decision.retired[0]) for decision in decisions] == [False, True, False]
    assert not decisions[1].unknown[0]
    # Its evidence is neither lost nor added to.
    assert decisions[1].statistic[0] == decisions[0].statistic[0]


def test_an_alarm_says_whether_it_points_to_harm() -> None:
    signal = Signal(watch="m", of="everyone", target=0.0, spread=1.0, by="segment")
    guardrail = Guardrail(signal, Cusum(k=0, h=4, sides=2), MINUTE)
    sums = segments([level([5.0, -5.0, -5.0, 1.0]), level([0.0, 3.0, 5.0, -1.0])])
    decision = run(guardrail, [make_look(sums)])[0]
    assert decision.code.tolist() == [ALARM, ALARM, ALARM, OK]
    # In the second lane only the improvement alarms; in the third one stream is better and one is worse.
    assert decision.worse.tolist() == [True, False, True, True]


def test_a_decision_carries_its_watermark() -> None:
    look = make_look(level([1.0, 1.0]), time=9, missing=[False, True])
    assert run(limited(), [look])[0].end.tolist() == [9, 8]


def test_warm_up_and_baseline_count_in_milliseconds_of_its_ticks() -> None:
    signal = Signal(watch="m", of="everyone", warmup=10 * MINUTE)
    guardrail = Guardrail(signal, Above(limit=1.0), 5 * MINUTE, tick=5 * MINUTE)
    assert guardrail.every_ticks == 1
    assert codes(run(guardrail, [make_look(level(2.0), time=time) for time in (1, 2, 3)])) == [
        [UNKNOWN],
        [UNKNOWN],
        [ALARM],
    ]


def test_a_sample_ratio_alarms_on_a_mismatch_only() -> None:
    guardrail = Guardrail(Signal(compare="shares"), SampleRatio(alpha=0.01, concentration=1000.0), MINUTE)
    looks = [make_look(first_seen=by_arm([500, 500], [500, 400]), time=time) for time in range(1, 6)]
    assert codes(run(guardrail, looks))[-1] == [OK, ALARM]


# -- whatever the signal and the rule ------------------------------------------------------------------------------------

COMPARED = Signal(watch="m", compare="difference", by="segment", min_count=10)
GUARDRAILS = {
    "never": Guardrail(Signal(), Never(), MINUTE),
    "random": Guardrail(Signal(), Random(rate=0.3), MINUTE),
    "cusum": Guardrail(COMPARED, Cusum(k=0.2, h=2, sides=2), MINUTE),
    "cusum of a baseline": Guardrail(
        Signal(watch="x", of="treatment", baseline=6 * MINUTE, min_count=30), Cusum(k=0.2, h=2), MINUTE
    ),
    "repeated z in windows": Guardrail(
        Signal(watch="x", compare="ratio", over=3 * MINUTE, warmup=2 * MINUTE), RepeatedZ(), MINUTE, on_unknown="alarm"
    ),
    "repeated z against a null": Guardrail(
        Signal(watch="m", compare="difference", null=0.05, worse="down"), RepeatedZ(sides=1), MINUTE
    ),
    "above for a time": Guardrail(Signal(watch="m", of="everyone", over=2 * MINUTE), Above(limit=0.19, for_=2 * MINUTE), MINUTE),
    "below a difference": Guardrail(
        Signal(watch="x", compare="difference", by="segment"), Below(limit=0.0), MINUTE, on_unknown="ignore"
    ),
    "sample ratio": Guardrail(Signal(compare="shares"), SampleRatio(alpha=0.3, concentration=30.0), MINUTE),
    "sample ratio by segment": Guardrail(
        Signal(compare="shares", by="segment"), SampleRatio(alpha=0.3, concentration=30.0), MINUTE
    ),
}
every_guardrail = pytest.mark.parametrize("guardrail", GUARDRAILS.values(), ids=GUARDRAILS.keys())
LOOKS, LANES = 24, 6


@every_guardrail
def test_the_looks_are_worth_watching(guardrail: Guardrail) -> None:
    decisions = run(guardrail, random_looks(1, count=LOOKS, lanes=LANES))
    assert any(decision.unknown.any() for decision in decisions)
    assert isinstance(guardrail.rule, Never) or {OK, ALARM} <= {code for each in codes(decisions) for code in each}


@every_guardrail
def test_a_step_does_not_change_its_state(guardrail: Guardrail) -> None:
    looks = random_looks(2, count=LOOKS, lanes=LANES)
    state = start(guardrail, looks[0])
    for look in looks:
        before, seen = copy.deepcopy(state), copy.deepcopy(look)
        after, _ = guardrail.step(state, look)
        assert pickle.dumps(state) == pickle.dumps(before)
        assert pickle.dumps(look) == pickle.dumps(seen)
        state = after


@every_guardrail
def test_stored_in_the_middle_it_goes_on_unbroken(guardrail: Guardrail) -> None:
    looks = random_looks(3, count=LOOKS, lanes=LANES)
    unbroken = run(guardrail, looks)
    for middle in (0, 5, LOOKS - 2):
        state = start(guardrail, looks[0])
        for look in looks[:middle]:
            state = guardrail.step(state, look).state
        stored, restored = pickle.loads(pickle.dumps((guardrail, state)))
        assert_same_decisions(unbroken[middle:], run_from(restored, stored, looks[middle:]))


@every_guardrail
@examples(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), lane=st.integers(0, LANES - 1))
def test_a_lane_does_not_feel_the_others(guardrail: Guardrail, seed: int, lane: int) -> None:
    others = [each for each in range(LANES) if each != lane]
    one = run(guardrail, random_looks(seed, count=LOOKS, lanes=LANES))
    moved = run(guardrail, random_looks(seed, count=LOOKS, lanes=LANES, moved=others))
    for mine, theirs in zip(one, moved, strict=True):
        for name in vars(mine).keys() - {"reached"}:
            assert getattr(mine, name)[lane] == getattr(theirs, name)[lane], name


@every_guardrail
def test_slicing_lanes_does_not_matter(guardrail: Guardrail) -> None:
    looks = random_looks(4, count=LOOKS, lanes=LANES)
    together = run(guardrail, looks)
    for lanes in ([0], [2, 3], [5, 1]):
        apart = run(guardrail, [only(look, lanes) for look in looks])
        for whole, part in zip(together, apart, strict=True):
            assert whole.reached is part.reached is None
            for name in vars(whole).keys() - {"reached"}:
                np.testing.assert_array_equal(getattr(whole, name)[lanes], getattr(part, name), err_msg=name)


@every_guardrail
def test_the_future_does_not_matter(guardrail: Guardrail) -> None:
    looks = random_looks(5, count=LOOKS, lanes=LANES)
    other = random_looks(6, count=LOOKS, lanes=LANES)
    whole = run(guardrail, looks)
    for known in (1, 9, LOOKS - 1):
        assert_same_decisions(whole[:known], run(guardrail, looks[:known]))
        assert_same_decisions(whole[:known], run(guardrail, looks[:known] + other[known:])[:known])


@every_guardrail
def test_a_lane_put_back_to_its_start_begins_again(guardrail: Guardrail) -> None:
    looks = random_looks(7, count=LOOKS, lanes=LANES)
    state = initial = start(guardrail, looks[0])
    for look in looks[:10]:
        state = guardrail.step(state, look).state
    again = np.arange(LANES) == 2
    mixed = run_from(choose(again, initial, state), guardrail, looks[10:])
    fresh, unbroken = run_from(initial, guardrail, looks[10:]), run_from(state, guardrail, looks[10:])
    for one, new, old in zip(mixed, fresh, unbroken, strict=True):
        np.testing.assert_array_equal(one.code, np.where(again, new.code, old.code))
        np.testing.assert_array_equal(one.statistic, np.where(again, new.statistic, old.statistic))
