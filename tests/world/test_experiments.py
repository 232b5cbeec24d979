"""Other experiments reach both arms alike, unless they share the salt or an interaction is declared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simlab.errors import FileErrors
from simlab.guardrails.look import CONTROL, TREATMENT
from simlab.happenings import BotsDrift
from simlab.world.aggregate import Watched
from simlab.world.harms import Exposure
from simlab.world.individual import IndividualWorld
from tests.worlds import SCENARIO, scenario

Z, LANES, TICKS = 5.0, 40, 24
SEARCH: dict[str, Any] = {"name": "search", "begins": "30m", "steps": [{"expose": "50%", "soak": "rest"}]}
WORLD: dict[str, Any] = {
    "users": {"count": 600, "detail": "individual", "segments": {"web": "70%", "app": "30%"}},
    "traffic": {"requests": "200/m"},
    "metrics": {"errors": {"kind": "proportion", "per": "request", "normal": "10%"}},
    "horizon": "2h",
    "rollout": {"steps": [{"expose": "50%", "soak": "rest"}]},
    "harms": [],
}


def told(*, harmed: bool = True, **changes: Any) -> np.ndarray:
    """Return requests and errors, float64[ticks, 2, arms, lanes]."""
    made = scenario(**(WORLD | changes))
    world = IndividualWorld(made, np.arange(LANES), seed=3, watched=Watched(frozenset({"errors"}), first_seen=False))
    path, exposure, found = world.begin(harmed=harmed), Exposure(np.ones(LANES, int), np.ones(LANES, int)), []
    for tick in range(TICKS):
        sums = path.advance(world.draw(tick), exposure).sums["errors"]
        found.append([sums.observations.sum(axis=0), sums.total.sum(axis=0)])
    return np.array(found)


def rates(found: np.ndarray, ticks: slice) -> np.ndarray:
    """Return the error rate, float64[arms, lanes]."""
    requests, errors = found[ticks, :, : CONTROL + 1].sum(axis=0)
    return np.asarray(errors / requests)


def near(values: np.ndarray, expected: float) -> bool:
    return bool(abs(values.mean() - expected) < Z * values.std(ddof=1) / np.sqrt(values.size))


def test_it_reaches_both_arms_alike_and_begins_when_it_says() -> None:
    found = told(experiments=[{**SEARCH, "metric": "errors", "times": "x2"}])
    quiet, on = rates(found, slice(0, 6)), rates(found, slice(6, TICKS))
    assert near(quiet, 0.10)
    assert near(on, 0.15)
    assert near(on[TREATMENT] - on[CONTROL], 0.0)
    # What is drawn does not move: before it begins, and for the requests, all is as without it.
    plain = told()
    np.testing.assert_array_equal(plain[:6], found[:6])
    np.testing.assert_array_equal(plain[:, 0], found[:, 0])


def test_one_salt_makes_it_look_like_the_effect_of_the_other() -> None:
    on = rates(told(experiments=[{**SEARCH, "salt": "rollout", "metric": "errors", "times": "x2"}]), slice(6, TICKS))
    assert near(on[TREATMENT] - on[CONTROL], 0.10)


def test_an_interaction_harms_those_in_both() -> None:
    harm = {"name": "meet", "shape": "step", "metric": "errors", "add": "20pp", "among": "search", "onset": {"at": "0m"}}
    found = told(experiments=[SEARCH], harms=[harm])
    before, on = rates(found, slice(0, 6)), rates(found, slice(6, TICKS))
    assert near(before[TREATMENT] - before[CONTROL], 0.0)
    assert near(on[TREATMENT] - on[CONTROL], 0.10)
    np.testing.assert_array_equal(told(experiments=[SEARCH], harms=[harm], harmed=False), told())


def test_misassigned_requests_blur_the_difference() -> None:
    harm = {"name": "h", "shape": "step", "metric": "errors", "add": "20pp", "onset": {"at": "0m"}}
    found = told(harms=[harm], telemetry={"misassigned": "25%"})
    on = rates(found, slice(0, TICKS))
    assert near(on[TREATMENT] - on[CONTROL], 0.2 * (1 - 2 * 0.25))
    np.testing.assert_array_equal(found[:, 0].sum(axis=1), told(harms=[harm])[:, 0].sum(axis=1))


def test_bots_send_what_they_say_and_move_nobody_else() -> None:
    bots = {"name": "scrape", "shape": "bots", "requests": "300/m", "users": 3, "at": "30m", "for": "30m", "segment": "app"}
    made = scenario(**(WORLD | {"drift": [bots]}))
    assert isinstance(made.drift[0], BotsDrift)
    worlds = [
        IndividualWorld(each, np.arange(LANES), seed=3, watched=Watched(frozenset({"errors"}), first_seen=False))
        for each in (made, scenario(**WORLD))
    ]
    for tick in range(TICKS):
        with_bots, plain = (world.draw(tick) for world in worlds)
        sent = np.diff(with_bots.begins) - np.diff(plain.begins)
        if not 6 <= tick < 12:
            assert not sent.any()
            continue
        assert abs(sent.mean() - 1500) < Z * np.sqrt(1500 / LANES)
        for lane in range(LANES):
            mine, theirs = (slice(*each.begins[[lane, lane + 1]]) for each in (with_bots, plain))
            known = np.isin(with_bots.request[mine], plain.request[theirs])
            assert known.sum() == len(plain.request[theirs])
            assert len(np.unique(with_bots.seat[mine][~known])) == 3
            assert (with_bots.segment[mine][~known] == 0).all()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"experiments": [{**SEARCH, "metric": "errors"}]}, "error[experiment]: experiments[0]: metric and times go together"),
        ({"experiments": [{**SEARCH, "metric": "clicks", "times": "x2"}]}, "error[unknown-metric]: experiments[0].metric"),
        ({"experiments": [{**SEARCH, "metric": "errors", "times": "x20"}]}, "experiments[0].times: makes a probability over 1"),
        ({"experiments": [{**SEARCH, "begins": "2h"}]}, "experiments[0].begins: the rollout begins after the horizon"),
        ({"experiments": [SEARCH, SEARCH]}, "experiments[1].name: 'search' is taken by another entry"),
        ({"experiments": [{**SEARCH, "steps": []}]}, "experiments[0].steps"),
        (
            {"experiments": [{**SEARCH, "steps": [{"expose": "50%", "soak": "1h"}, {"expose": "10%", "soak": "rest"}]}]},
            "error[ramp]: experiments[0].steps[1].expose: the ramp goes down",
        ),
        (
            {"experiments": [SEARCH], "harms": [{**SCENARIO["harms"][0], "among": "serch"}]},
            "error[unknown-experiment]: harms[0].among: there is no experiment 'serch'",
        ),
        (
            {"experiments": [SEARCH], "users": SCENARIO["users"], "telemetry": {"misassigned": "1%"}},
            "error[detail]: experiments: needs users one by one",
        ),
        ({"users": SCENARIO["users"], "telemetry": {"misassigned": "1%"}}, "error[detail]: telemetry.misassigned: needs users"),
        ({"telemetry": {"misassigned": "101%"}}, "telemetry.misassigned"),
    ],
)
def test_mistakes_are_told_at_their_place(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(FileErrors) as caught:
        scenario(**(WORLD | changes))
    assert problem in caught.value.render()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"users": 181}, "drift[0].users: there are 180 users in that segment"),
        ({"users": 0}, "drift[0].users"),
        ({"segment": "ap"}, "error[unknown-segment]: drift[0].segment: there is no segment 'ap'"),
        ({"requests": "9000000/s"}, "drift[0].requests: at most 5,000,000 requests a tick"),
    ],
)
def test_mistakes_about_bots(changes: dict[str, Any], problem: str) -> None:
    bots = {"name": "b", "shape": "bots", "requests": "30/m", "users": 3, "at": "30m", "for": "30m", "segment": "app"}
    with pytest.raises(FileErrors) as caught:
        scenario(**(WORLD | {"drift": [bots | changes]}))
    assert problem in caught.value.render()
