"""What users were like before the rollout makes the same difference stand out sooner, and keeps the level.

Harmless twins of one ramp step, 300 lanes; each comparison allows 4.5 standard errors (two-sided error 7e-6).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from simlab.errors import FileErrors
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Takes
from simlab.guardrails.signal import Signal
from simlab.telemetry import Pipeline, TelemetryNoise
from simlab.world.aggregate import Watched
from simlab.world.harms import Exposure
from simlab.world.individual import IndividualWorld
from tests.worlds import CUSUM, SCENARIO, changed, plan, scenario

LANES, BEFORE, TICKS = 300, 24, 48
WORLD: dict[str, Any] = {
    "users": {"count": 400, "detail": "individual", "activity": {"gamma": 2}, "segments": {"all": "100%"}},
    "traffic": {"requests": "160/m"},
    "metrics": {"clicks": {"kind": "count", "per": "request", "mean": 1.5, "worse": "down", "personal_cv": 0.8}},
    "rollout": {"begins": "2h", "steps": [{"expose": "50%", "soak": "rest"}]},
    "harms": [],
}
SIGNALS = {
    name: Signal(watch="clicks", compare="difference", unit="user", covariate=name, worse="down")  # type: ignore[arg-type]
    for name in (None, "pre_period")
}


def seen(**changes: Any) -> dict[str | None, tuple[Floats, Floats]]:
    """Return the cumulative z and information of the whole time after the beginning, float64[lanes], by covariate."""
    made = scenario(**(WORLD | changes))
    watched = Watched.by((signal, CUSUM_RULE) for signal in SIGNALS.values())
    world = IndividualWorld(made, np.arange(LANES), seed=4, watched=watched)
    noise = TelemetryNoise(made.telemetry, made.clock, world.lanes, seed=4)
    pipeline = Pipeline(noise, world.strata, watched=watched, segments=1, every=(TICKS,))
    path = world.begin(harmed=True)
    for tick in range(TICKS):
        position = np.full(LANES, int(tick >= BEFORE))
        pipeline.receive(tick, path.advance(world.draw(tick), Exposure(position, position)), position)
    look = pipeline.look(TICKS, every=TICKS)
    found = {}
    for name, signal in SIGNALS.items():
        state = signal.initial(1, LANES, every=TICKS * made.clock.tick)
        answer = signal.observe(state, look, takes=Takes.STANDARDISED, elapsed=TICKS * made.clock.tick).seen
        assert answer.valid.all()
        found[name] = (answer.value[0], answer.information[0])
    return found


CUSUM_RULE: Any = plan().settings[0].policies[0].guardrails[0].rule


def test_it_keeps_the_level_and_gains_what_the_correlation_promises() -> None:
    found = seen()
    for z, _ in found.values():
        rate = (np.abs(z) > norm.isf(0.025)).mean()
        assert abs(rate - 0.05) < 4.5 * np.sqrt(0.05 * 0.95 / LANES)
    gained = found["pre_period"][1] / found[None][1]
    # Half of the time lies before: with so many requests a user the residuals before and after are alike to more than a half.
    assert np.median(gained) > 1.5
    assert (gained > 1).mean() > 0.95


def test_the_same_harm_stands_out_more() -> None:
    harm = {"name": "h", "shape": "step", "metric": "clicks", "times": "x0.9", "onset": {"at": "2h"}}
    found = seen(harms=[harm])
    more = found["pre_period"][0] - found[None][0]
    assert more.mean() > 4.5 * more.std(ddof=1) / np.sqrt(LANES)


WATCH = {**CUSUM, "watch": "errors", "unit": "user", "covariate": "pre_period"}
PEOPLE = {"users": {**SCENARIO["users"], "count": 500, "detail": "individual"}}


@pytest.mark.parametrize(
    ("changes", "guardrail", "problem"),
    [
        (PEOPLE, WATCH, "covariate: scenario small begins its rollout at once: there is no time before it"),
        (PEOPLE | {"users": {**PEOPLE["users"], "stay": "4h"}}, WATCH, "covariate: users of scenario small do not stay"),
        (PEOPLE, {**WATCH, "unit": "request"}, "covariate: cusum takes a covariate only with unit: user"),
        (PEOPLE, {**WATCH, "compare": "ratio"}, "covariate: cusum takes a covariate only with unit: user"),
        (PEOPLE, {**WATCH, "covariate": "age"}, "policies[0].guardrails[0].covariate"),
        ({}, WATCH, "error[detail]"),
    ],
)
def test_mistakes_are_told_at_their_place(changes: dict[str, Any], guardrail: dict[str, Any], problem: str) -> None:
    with pytest.raises(FileErrors) as caught:
        plan(scenarios=[changed(SCENARIO, **changes)], policies=[{"name": "p", "guardrails": [guardrail]}])
    assert problem in caught.value.render()
