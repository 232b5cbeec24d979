"""Where users return, a z-test of requests cries wolf with the design effect; the one of users holds its level.

Harmless twins of one ramp step, 400 lanes; each comparison allows 4.5 standard errors (two-sided error 7e-6).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Takes
from simlab.guardrails.signal import Signal
from simlab.telemetry import Pipeline, TelemetryNoise
from simlab.world.aggregate import Watched
from simlab.world.harms import Exposure
from simlab.world.individual import IndividualWorld
from tests.worlds import scenario

LANES, TICKS, EVERY, USERS, PER_USER, CHANCE = 400, 48, 6, 500, 0.4, 0.1
GAMMA, CV = 0.7, 1.0
METRICS = {
    "errors": {"kind": "proportion", "per": "request", "normal": CHANCE, "personal_cv": CV},
    "clicks": {"kind": "count", "per": "session", "mean": 1.5, "worse": "down", "personal_cv": CV},
    "spent": {"kind": "amount", "per": "request", "some": "20%", "median": 20, "p99": 100, "cap": 100, "personal_cv": CV},
    "joined": {"kind": "proportion", "per": "user", "normal": "20%", "worse": "down"},
}


@pytest.fixture(scope="module")
def increments() -> dict[tuple[str, str], tuple[Floats, Floats]]:
    """Return x and information [looks, lanes] by metric and unit."""
    made = scenario(
        users={"count": USERS, "detail": "individual", "pages": 2, "activity": {"gamma": GAMMA}, "segments": {"all": "100%"}},
        traffic={"requests": f"{USERS * PER_USER / 5:g}/m"},
        metrics=METRICS,
        rollout={"steps": [{"expose": "20%", "soak": "2h"}, {"expose": "50%", "soak": "rest"}]},
        harms=[],
    )
    world = IndividualWorld(made, np.arange(LANES), seed=11, watched=Watched(frozenset(METRICS), False, frozenset(METRICS)))
    pipeline = Pipeline(
        TelemetryNoise(made.telemetry, made.clock, world.lanes, seed=11),
        world.strata,
        watched=world.watched,
        segments=1,
        every=(EVERY,),
    )
    every, path = EVERY * made.clock.tick, world.begin(harmed=False)
    signals = {
        (name, unit): Signal(watch=name, compare="difference", unit=unit) for name in METRICS for unit in ("request", "user")
    }  # type: ignore[arg-type]
    states = {which: signal.initial(1, LANES, every=every) for which, signal in signals.items()}
    found: dict[tuple[str, str], list[tuple[Floats, Floats]]] = {which: [] for which in signals}
    for tick in range(TICKS):
        position = np.full(LANES, 1 if tick < 24 else 2)
        pipeline.receive(tick, path.advance(world.draw(tick), Exposure(position, position)), position)
        if (tick + 1) % EVERY == 0:
            look = pipeline.look(tick + 1, every=EVERY)
            for which, signal in signals.items():
                answer = signal.observe(states[which], look, takes=Takes.STANDARDISED, elapsed=(tick + 1) * made.clock.tick)
                states[which] = answer.state
                found[which].append((answer.seen.value[0], answer.seen.information[0]))
    return {which: (np.array([x for x, _ in each]), np.array([i for _, i in each])) for which, each in found.items()}


def alarms(x: Floats, information: Floats) -> Floats:
    """Return which lanes a test of all the data together, at 5 % and both sides, calls different, bool[lanes]."""
    score = np.nansum(x * np.sqrt(information), axis=0)
    return np.asarray(np.abs(score / np.sqrt(np.nansum(information, axis=0))) > norm.isf(0.025))


@pytest.mark.parametrize("metric", METRICS)
def test_users_hold_the_level(increments: dict[tuple[str, str], tuple[Floats, Floats]], metric: str) -> None:
    rate = alarms(*increments[metric, "user"]).mean()
    assert abs(rate - 0.05) < 4.5 * np.sqrt(0.05 * 0.95 / LANES), rate


def test_requests_do_not_where_users_return(increments: dict[tuple[str, str], tuple[Floats, Floats]]) -> None:
    for metric in ("errors", "clicks", "spent"):
        rate = alarms(*increments[metric, "request"]).mean()
        assert rate > 0.05 + 4.5 * np.sqrt(rate * (1 - rate) / LANES), (metric, rate)
    # Counted once, a user is a unit of their own: both tests are right.
    assert abs(alarms(*increments["joined", "request"]).mean() - 0.05) < 4.5 * np.sqrt(0.05 * 0.95 / LANES)


def test_what_a_look_adds_is_at_most_standard_and_hardly_linked(increments: dict[tuple[str, str], tuple[Floats, Floats]]) -> None:
    # Until the ramp moves the increments are standard; then users of different age weigh unequally, and they are less.
    for metric in METRICS:
        x = increments[metric, "user"][0]
        for row in x:
            given = row[np.isfinite(row)]
            if given.size > 50:
                assert (given**2).mean() < 1 + 4.5 * (given**2).std() / np.sqrt(given.size), metric
        first = x[0][np.isfinite(x[0])]
        assert abs((first**2).mean() - 1) < 4.5 * (first**2).std() / np.sqrt(first.size), metric
        linked = (x[1:] * x[:-1])[np.isfinite(x[1:] * x[:-1])]
        assert abs(linked.mean()) < max(0.15, 4.5 * linked.std() / np.sqrt(linked.size)), metric
