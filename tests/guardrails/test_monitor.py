"""One live stream from plain numbers: the answers of the same guardrail over looks, saved and restored at any moment."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from simlab.errors import MonitorError, RuleError
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.live import Arrived, Assigned, Counts
from simlab.guardrails.look import ARMS, Look
from simlab.guardrails.monitor import Monitor, Reading
from simlab.guardrails.own_rules import own_rule
from simlab.guardrails.policy import Joined, Policy
from simlab.guardrails.rules.baselines import Random
from simlab.guardrails.rules.canary_counts import CanaryCounts
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.limits import Above
from simlab.guardrails.rules.mixture import MixtureSprt
from simlab.guardrails.rules.sample_ratio import SampleRatio
from simlab.guardrails.signal import Signal
from tests.looks import MINUTE, only, random_looks
from tests.own_code import ObjectCusum, dividing, stream_cusum

SEGMENTS = ("web", "app")
LEVEL = Guardrail(Signal(watch="errors", of="everyone"), Above(limit=0.5), MINUTE)
COMPARED = Guardrail(Signal(watch="m", compare="difference", by="segment", min_count=20), Cusum(k=0.5, h=2), MINUTE)
POLICY = Policy(
    "p",
    (
        COMPARED,
        Guardrail(Signal(compare="shares"), SampleRatio(alpha=0.2, concentration=50), MINUTE, "rollback"),
        Guardrail(Signal(watch="m", compare="ratio"), CanaryCounts(), MINUTE),
        Guardrail(Signal(watch="x", compare="difference", over=3 * MINUTE), MixtureSprt(), MINUTE),
        Guardrail(Signal(watch="x", of="treatment", baseline=4 * MINUTE), own_rule(ObjectCusum, threshold=3), MINUTE),
        Guardrail(
            Signal(watch="x", of="control", target=3.0, spread=0.1), own_rule(stream_cusum, threshold=3, start=0.0), MINUTE
        ),
    ),
    Joined(k_of_n=2),
)


def plain(look: Look, segments: tuple[str, ...] = SEGMENTS) -> tuple[Arrived, ...]:
    """Return the plain numbers of a look of one lane, part by part."""
    if look.missing[0]:
        return ()
    parts = []
    # An engine's look has room for more parts than there are.
    used = [part for part, shares in enumerate(look.shares) if shares.any()] or [0]
    for part in used:
        sums = {
            name: {
                arm: {
                    segment: Counts(*(float(values[part, row, column, 0]) for values in each))
                    for row, segment in enumerate(segments)
                }
                for column, arm in enumerate(ARMS)
            }
            for name, each in look.sums.items()
        }
        parts.append(Arrived(sums, tuple(look.shares[part, :, 0].tolist())))  # type: ignore[arg-type]
    if look.first_seen is None:
        return tuple(parts)
    groups = zip(look.first_seen.users, look.first_seen.shares, strict=True)
    first_seen = [
        Assigned(
            tuple(shares[:, 0].tolist()),  # type: ignore[arg-type]
            {arm: dict(zip(segments, users[:, column, 0].tolist(), strict=True)) for column, arm in enumerate(ARMS[:2])},
        )
        for users, shares in groups
    ]
    return (Arrived(parts[0].sums, parts[0].shares, first_seen), *parts[1:])


def facts(look: Look) -> dict[str, Any]:
    return {"watermark": int(look.end[0]), "missing": bool(look.missing[0]), "one_armed": bool(look.one_armed[0])}


def batch(policy: Policy, looks: Iterable[Look], lane: int) -> list[list[tuple[int, float, bool]]]:
    """Return what a policy answers to one lane of a batch: code, statistic, worse."""
    looks = list(looks)
    state = policy.initial(len(SEGMENTS), len(looks[0].lanes))
    found = []
    for look in looks:
        state, decisions = policy.step(state, {1: look})
        found.append([(int(each.code[lane]), float(each.statistic[lane]), bool(each.worse[lane])) for each in decisions if each])
    return found


def seen(reading: Reading) -> list[tuple[int, float, bool]]:
    codes = {"ok": 0, "alarm": 1, "unknown": 2}
    return [(codes[each.answer], each.statistic, each.worse) for each in reading.verdicts if each is not None]


@pytest.mark.parametrize("saving", [False, True])
def test_a_live_stream_is_answered_as_its_lane_in_a_batch(saving: bool) -> None:
    looks, lane = random_looks(8, count=40, lanes=3), 1
    expected = batch(POLICY, looks, lane)
    monitor = Monitor(POLICY, segments=SEGMENTS, seed=7)
    for look, answers in zip(looks, expected, strict=True):
        if saving:
            saved, monitor = monitor.save(), Monitor(POLICY, segments=SEGMENTS, seed=7)
            monitor.restore(saved)
        mine = only(look, [lane])
        reading = monitor.look(look.time, *plain(mine), **facts(mine))
        # Equal to the bit but for the order in which NumPy adds up one lane and three.
        for ours, theirs in zip(seen(reading), answers, strict=True):
            assert (ours[0], ours[2]) == (theirs[0], theirs[2])
            assert ours[1] == pytest.approx(theirs[1], rel=1e-12)
        assert reading.looked == tuple(range(len(POLICY.guardrails)))
    assert {code for answers in expected for code, _, _ in answers} == {0, 1, 2}


def errors(rate: float, *, requests: float = 100) -> Arrived:
    return Arrived({"errors": Counts(requests, rate * requests)})


def test_a_reading_in_words() -> None:
    monitor = Monitor(LEVEL)
    assert str(monitor.look(1, errors(0.25))) == "tick 1: ok: above on errors at 0.25, threshold 0.5"
    reading = monitor.look(2, errors(0.75))
    assert str(reading) == "tick 2: alarm: above on errors at 0.75, threshold 0.5, for the worse: alert"
    assert (reading.answer, reading.time) == ("alarm", 2)
    verdict = reading.deciding
    assert verdict is not None
    assert (verdict.statistic, verdict.threshold, verdict.worse, verdict.respond) == (0.75, 0.5, True, "alert")
    assert (verdict.time, verdict.watermark, verdict.skipped, verdict.retired) == (2, 2, False, False)


def test_without_data_nothing_is_green() -> None:
    monitor = Monitor(LEVEL)
    assert monitor.look(1).answer == "unknown"
    assert monitor.look(2, errors(0.25)).answer == "ok"
    assert monitor.look(3).answer == "unknown"
    assert monitor.look(4, errors(0.0, requests=0)).answer == "unknown"
    # The data of a lost look come with the next one: 60 of 200.
    assert monitor.look(5, errors(0.6), missing=True).answer == "unknown"
    verdict = monitor.look(6, errors(0.0)).deciding
    assert verdict is not None
    assert (verdict.statistic, verdict.watermark) == (0.3, 6)


def test_between_its_looks_the_last_verdict_stands_and_data_add_up() -> None:
    slow = Guardrail(Signal(watch="errors", of="everyone"), Above(limit=0.5), 3 * MINUTE, "rollback")
    monitor = Monitor(Policy("p", (LEVEL, slow)))
    readings = [monitor.look(time, errors(rate)) for time, rate in enumerate((0.2, 0.9, 0.6, 0.1, 0.1), start=1)]
    assert [reading.looked for reading in readings] == [(0,), (0,), (0, 1), (0,), (0,)]
    assert [reading.answer for reading in readings] == ["unknown", "alarm", "alarm", "alarm", "alarm"]
    assert readings[0].deciding is None
    last = readings[-1].deciding
    assert last is not None
    assert (last.guardrail, last.statistic, last.time) == (1, pytest.approx(1.7 / 3), 3)
    # A late look is taken when it comes, and the next one at its own time.
    assert monitor.look(8, errors(0.0)).looked == (0, 1)
    assert monitor.look(9, errors(0.0)).looked == (0, 1)


def test_allocations_are_kept_apart_and_equal_ones_added() -> None:
    slow = Guardrail(Signal(watch="m", compare="difference"), Cusum(k=0.0, h=100), 2 * MINUTE)
    arms = {"treatment": Counts(100, 10), "control": Counts(100, 4)}
    later = {"treatment": Counts(1000, 90), "control": Counts(1000, 60)}

    def statistic(*arrived: tuple[dict[str, Counts], tuple[float, float]]) -> float:
        monitor = Monitor(slow)
        for time, (cells, shares) in enumerate(arrived, start=1):
            reading = monitor.look(time, Arrived({"m": cells}, shares))
        assert reading.deciding is not None
        return reading.deciding.statistic

    added = {arm: Counts(1100, arms[arm].total + later[arm].total) for arm in arms}
    small, large = (0.1, 0.1), (0.5, 0.5)
    together = statistic((arms, small), (later, small))
    assert together == statistic(({"treatment": Counts(0, 0), "control": Counts(0, 0)}, small), (added, small))
    assert together != statistic((arms, small), (later, large))


def test_arms_that_are_not_two_are_retired() -> None:
    guardrail = Guardrail(Signal(watch="m", compare="difference"), Cusum(), MINUTE)
    monitor = Monitor(guardrail)
    two = {"treatment": Counts(100, 10), "control": Counts(100, 4)}
    everybody = {"treatment": Counts(200, 20)}

    def retired(time: int, *arrived: Arrived, **how: Any) -> bool:
        verdict = monitor.look(time, *arrived, **how).deciding
        return verdict is not None and verdict.retired

    assert not retired(1, Arrived({"m": two}, (0.5, 0.5)))
    assert not retired(2, Arrived({"m": two}, (0.5, 0.5)), Arrived({"m": everybody}, (1.0, 0.0)))
    assert retired(3, Arrived({"m": everybody}, (1.0, 0.0)))
    assert retired(4)  # nothing new: it is still so
    assert not retired(5, one_armed=False)


def test_clearing_puts_the_initial_state_in_place() -> None:
    monitor = Monitor(Guardrail(Signal(watch="x", of="everyone", target=0.0, spread=1.0), Cusum(k=0, h=5), MINUTE))
    value = Arrived({"x": Counts(1, 4.0, 16.0)})
    assert [monitor.look(time, value).answer for time in (1, 2)] == ["ok", "alarm"]
    monitor.clear()
    assert [monitor.look(time, value).answer for time in (3, 4)] == ["ok", "alarm"]


def test_a_rule_that_draws_draws_the_same_after_a_restart() -> None:
    guardrail = Guardrail(Signal(), Random(rate=0.5), MINUTE)
    runs = []
    for saving in (False, True):
        monitor, answers = Monitor(guardrail, seed=3), []
        for time in range(1, 30):
            if saving:
                saved, monitor = monitor.save(), Monitor(guardrail, seed=3)
                monitor.restore(saved)
            answers.append(monitor.look(time, Arrived({})).answer)
        runs.append(answers)
    assert runs[0] == runs[1]
    assert {"ok", "alarm"} == set(runs[0])


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({"arrived": [Arrived({})]}, "has no 'errors', which is watched"),
        ({"arrived": [errors(np.nan)]}, "nan is no number for errors"),
        ({"arrived": [Arrived({"errors": Counts(-1, 0)})]}, "-1 cannot be a number of errors"),
        ({"arrived": [Arrived({"errors": {"left": Counts(1, 0)}})]}, "there is no arm 'left'; arms: treatment, control, outside"),
        ({"arrived": [Arrived({"errors": {"control": {"ios": Counts(1, 0)}}})]}, "there is no segment 'ios'; segments: all"),
        ({"arrived": [Arrived({"errors": Counts(1, 0)}, (0.7, 0.7))]}, "more than everybody"),
        ({"time": 3}, "tick 3 does not come after the one at tick 3"),
        ({"time": 5, "watermark": 6, "arrived": [errors(0.1)]}, "watermark 6 is not between"),
        ({"time": 5, "watermark": 1, "arrived": [errors(0.1)]}, "watermark 1 is not between the last one, 2"),
    ],
)
def test_what_cannot_be_used_changes_nothing(how: dict[str, Any], problem: str) -> None:
    monitor = Monitor(LEVEL)
    monitor.look(3, errors(0.4), watermark=2)
    before = monitor.save()
    with pytest.raises(MonitorError, match=problem):
        monitor.look(how.pop("time", 4), *how.pop("arrived", []), **how)
    assert monitor.save() == before


def test_a_stream_by_segment_needs_its_numbers_by_segment() -> None:
    with pytest.raises(MonitorError, match="numbers that are not split by segment; segments: web, app"):
        Monitor(LEVEL, segments=SEGMENTS).look(1, errors(0.4))


def test_code_that_fails_changes_nothing() -> None:
    guardrail = Guardrail(Signal(watch="errors", of="everyone"), own_rule(dividing, threshold=9, takes="level", start=0), MINUTE)
    monitor = Monitor(guardrail)
    for time in (1, 2):
        monitor.look(time, errors(0.5))
    before = monitor.save()
    with pytest.raises(RuleError, match="the rule 'dividing' failed at tick 3"):
        monitor.look(3, errors(0.5))
    assert monitor.save() == before


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (
            Monitor(Guardrail(LEVEL.signal, Above(limit=0.6), MINUTE)),
            r"policy\.guardrails\[0\]\.rule\.limit was 0\.5 and is 0\.6",
        ),
        (
            Monitor(Guardrail(LEVEL.signal, Cusum(), MINUTE)),
            r"policy\.guardrails\[0\]\.rule\.is was '.*:Above' and is '.*:Cusum'",
        ),
        (Monitor(LEVEL, segments=SEGMENTS), r"segments was \['all'\] and is \['web', 'app'\]"),
        (Monitor(LEVEL, seed=1), "seed was 0 and is 1"),
        (Monitor(Policy("live", (LEVEL, LEVEL))), r"policy\.guardrails was .* and is "),
    ],
)
def test_a_monitor_of_other_settings_is_not_restored(other: Monitor, difference: str) -> None:
    monitor = Monitor(LEVEL)
    monitor.look(1, errors(0.4))
    with pytest.raises(MonitorError, match=f"saved with other settings: {difference}"):
        other.restore(monitor.save())


def test_what_is_no_saved_monitor_is_refused() -> None:
    saved = json.loads(Monitor(LEVEL).save())
    broken = [
        "",
        "[]",
        "{}",
        json.dumps(saved | {"monitor": 2}),
        json.dumps(saved | {"state": {"object": {"x": 1}}}),
        json.dumps(saved | {"time": "late"}),
        json.dumps(saved | {"verdicts": [{"guardrail": 0}]}),
    ]
    for text in broken:
        with pytest.raises(MonitorError):
            Monitor(LEVEL).restore(text)


def test_a_state_that_cannot_be_saved_is_told() -> None:
    def remembering(state: Any, x: float) -> tuple[Any, float]:
        return open, x

    monitor = Monitor(Guardrail(LEVEL.signal, own_rule(remembering, threshold=9, takes="level"), MINUTE))
    monitor.look(1, errors(0.5))
    with pytest.raises(MonitorError, match="cannot be saved"):
        monitor.save()


def test_a_guardrail_must_look_at_whole_ticks() -> None:
    with pytest.raises(MonitorError, match="every whole number of ticks"):
        Monitor(Guardrail(LEVEL.signal, LEVEL.rule, 90_000))
