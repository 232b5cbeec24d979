"""What an engine's lane was shown, fed to a monitor as plain numbers, has the same alarms to the tick: one path for simulated and live."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simlab.engine import Block, Trace, simulate
from simlab.guardrails.look import Look
from simlab.guardrails.monitor import Monitor
from simlab.plan import Plan
from simlab.telemetry import Pipeline
from tests.guardrails.test_monitor import SEGMENTS, facts, plain, seen
from tests.looks import only
from tests.test_engine import FULL
from tests.worlds import CUSUM, plan

# Nothing acts, so that no person clears a lane: what is compared is the whole horizon.
WATCH = {"every": "5m", "respond": "hold"}
COMPARED = {"watch": "errors", "compare": "difference", **WATCH}
TOGETHER = [
    {**CUSUM, **WATCH, "min_count": 2000},
    {**COMPARED, "rule": {"normal_mixture": {}}},
    {**COMPARED, "over": "30m", "rule": {"shewhart": {"sigmas": 3}}},
    {**COMPARED, "rule": {"canary_counts": {}}},
    {"compare": "shares", "rule": {"srm": {}}, **WATCH},
    {"watch": "latency", "of": "treatment", "baseline": "1h", "rule": {"ewma": {}}, **WATCH},
    {"watch": "errors", "of": "everyone", "rule": {"above": {"limit": "2%"}}, **WATCH},
]
LANES = 3


def recorded(made: Plan, monkeypatch: pytest.MonkeyPatch) -> tuple[Trace, dict[int, list[Look]]]:
    """Return the trace of the harmed lanes of a plan of one policy, and the looks that they had, by cadence."""
    looks: dict[int, dict[int, list[Look]]] = {}
    take = Pipeline.look

    def look(self: Pipeline, time: int, *, every: int) -> Look:
        found = take(self, time, every=every)
        looks.setdefault(id(self), {}).setdefault(every, []).append(found)
        return found

    monkeypatch.setattr(Pipeline, "look", look)
    trace = simulate(made, Block(0, 0, LANES)).traces[0]
    return trace, next(iter(looks.values()))


def of_engine(trace: Trace, time: int, lane: int) -> list[tuple[int, float]]:
    """Return the last code and statistic of every guardrail that has looked by a time."""
    found = []
    for times, codes, statistics in zip(trace.times, trace.codes, trace.statistics, strict=True):
        last = int(np.searchsorted(times, time, side="right")) - 1
        if last >= 0:
            found.append((int(codes[last, lane]), float(statistics[last, lane])))
    return found


def assert_same(monitor: list[tuple[int, float, bool]], engine: list[tuple[int, float]], time: int) -> None:
    assert [code for code, _, _ in monitor] == [code for code, _ in engine], f"tick {time}"
    np.testing.assert_allclose([value for _, value, _ in monitor], [value for _, value in engine], rtol=1e-9)


@pytest.mark.parametrize("saving", [False, True])
@pytest.mark.parametrize("combine", ["any", {"k_of_n": 2}])
def test_a_recorded_lane_lives_again(combine: Any, saving: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(scenarios=[FULL], policies=[{"name": "live", "guardrails": TOGETHER, "combine": combine}])
    trace, looks = recorded(made, monkeypatch)
    policy = made.settings[0].policies[0]
    codes = set()
    for lane in range(LANES):
        monitor = Monitor(policy, segments=SEGMENTS)
        for look in (only(each, [lane]) for each in looks[1]):
            if saving:
                saved, monitor = monitor.save(), Monitor(policy, segments=SEGMENTS)
                monitor.restore(saved)
            found = seen(monitor.look(look.time, *plain(look), **facts(look)))
            assert_same(found, of_engine(trace, look.time, lane), look.time)
            codes |= {code for code, _, _ in found}
    # There was something to be the same about: late and lost looks, alarms and all-clears.
    assert codes == {0, 1, 2}
    assert any(look.missing.any() for look in looks[1])
    assert any(((look.end < look.time) & ~look.missing).any() for look in looks[1])


def test_numbers_that_come_at_the_finest_cadence_serve_all(monkeypatch: pytest.MonkeyPatch) -> None:
    cadences = [{**COMPARED, "rule": {"cusum": {}}, "every": every} for every in ("5m", "15m", "1h")]
    made = plan(scenarios=[FULL], policies=[{"name": "live", "guardrails": cadences}])
    trace, looks = recorded(made, monkeypatch)
    coarser = {(every, look.time): look for every in (3, 12) for look in looks[every]}
    for lane in range(LANES):
        monitor = Monitor(made.settings[0].policies[0], segments=SEGMENTS)
        for look in (only(each, [lane]) for each in looks[1]):
            due = [each for every in (3, 12) if (each := coarser.get((every, look.time))) is not None]
            # Lost for all; where only the finest cadence has nothing new, the others have their look.
            lost = bool(look.missing[0]) and all(each.missing[lane] for each in due)
            # What has not been given cannot say which arms there are.
            arms = bool(look.one_armed[0]) if look.missing[0] else None
            reading = monitor.look(look.time, *plain(look), watermark=int(look.end[0]), missing=lost, one_armed=arms)
            assert_same(seen(reading), of_engine(trace, look.time, lane), look.time)
