"""Five harms that a dashboard of levels does not show, and the signal that finds each: the shipped study, on few lanes."""

from __future__ import annotations

import pytest

from simlab.plan import load
from simlab.runner import run_plan

LANES = 12
FINDS = {
    "silent-crash": "fewer-requests",
    "second-hash": "sample-ratio",
    "clicks-that-hurt": "complaints",
    "shrinking-app": "errors-by-segment",
    "behind-the-shield": "errors-by-segment-every-two-hours",
}


@pytest.fixture(scope="module")
def detected() -> dict[tuple[str, str], tuple[float, float]]:
    """Return the interval of the detection probability by scenario and policy."""
    found = run_plan(load("studies/hidden-harms", overrides=[f"lanes.start={LANES}", f"lanes.cap={LANES}"]), command="test")
    each = [one for scenario in found.scenarios for one in scenario.performances]
    return {(one.scenario, one.policy): (one.estimates["detected"].low, one.estimates["detected"].high) for one in each}


@pytest.mark.parametrize("scenario", FINDS)
def test_the_dashboard_does_not_show_it_and_a_signal_finds_it(
    detected: dict[tuple[str, str], tuple[float, float]], scenario: str
) -> None:
    # 95 % intervals of 12 lanes: the true values are about 0 and 1, so each bound fails by chance less than once in 10,000.
    assert detected[scenario, "dashboard"][1] < 0.5
    assert detected[scenario, FINDS[scenario]][0] > 0.5
    assert detected[scenario, "all-of-them"][0] > 0.5


def test_no_single_signal_finds_all(detected: dict[tuple[str, str], tuple[float, float]]) -> None:
    for policy in FINDS.values():
        assert any(detected[scenario, policy][1] < 0.5 for scenario in FINDS), policy
