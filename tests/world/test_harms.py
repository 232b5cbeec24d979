"""When a harm is on and how strongly, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from simlab.world.harms import NOT_YET, Exposure, HarmClock, harm_clock
from simlab.world.strata import strata_of
from tests.worlds import SCENARIO, scenario

LANES = np.arange(400)


def clock_of(**changes: Any) -> HarmClock:
    harm = {**SCENARIO["harms"][0], "onset": {"at": "1h"}, **changes}
    world = scenario(harms=[harm])
    return harm_clock(world.harms[0], clock=world.clock, strata=strata_of(world.rollout), lanes=LANES, seed=1)


def never_reached(clock: HarmClock) -> np.ndarray:
    return np.full((4, len(clock.lanes)), NOT_YET)


def test_a_step_begins_at_its_time_and_ends_with_it() -> None:
    clock = clock_of(lasts="30m")
    shape = [clock.intensity(tick, never_reached(clock))[0] for tick in (11, 12, 17, 18)]
    assert shape == [0, 1, 1, 0]


def test_an_onset_follows_the_lanes_own_ramp_and_its_jitter() -> None:
    clock = clock_of(onset={"after": "step 50%", "wait": "30m", "jitter": "10m"})
    reached = never_reached(clock)
    assert not clock.intensity(10_000, reached).any()
    reached[2] = np.where(LANES % 2, 24, 30)
    waits = clock.start(reached) - reached[2]
    # 30 minutes give or take 10, in ticks of 5, rounded: 4 to 8, each of them met among 400 lanes.
    assert set(waits.tolist()) == {4, 5, 6, 7, 8}
    on = clock.intensity(30, reached) > 0
    np.testing.assert_array_equal(on, clock.start(reached) <= 30)


def test_a_leak_grows_and_stays() -> None:
    clock = clock_of(shape="leak", over="50m")
    shape = [clock.intensity(tick, never_reached(clock))[0] for tick in (11, 12, 16, 21, 40)]
    np.testing.assert_allclose(shape, [0, 0.1, 0.5, 1, 1])


def test_a_flap_is_bad_in_its_share_of_periods_and_whole_periods_at_a_time() -> None:
    clock = clock_of(shape="flap", period="15m", chance="40%", onset={"at": "0m"})
    shape = np.array([clock.intensity(tick, never_reached(clock)) for tick in range(90)])
    assert set(np.unique(shape)) == {0.0, 1.0}
    by_period = shape.reshape(30, 3, -1)
    assert (by_period == by_period[:, :1]).all()
    # 12,000 periods: the share is within 4 standard errors of 40 % (two-sided error 6e-5).
    assert abs(shape.mean() - 0.4) < 4 * np.sqrt(0.24 / 12_000)


def test_the_dose_reaches_treatment_control_and_who_had_been_exposed() -> None:
    clock = clock_of(spill_to_control="10%", survives_rollback="50%")
    strata = strata_of(scenario().rollout)  # cuts 0, .1, .5, .9, 1
    position, highest = np.array([1, 2, 0, 0]), np.array([1, 2, 0, 2])
    dose = clock.dose(np.ones(4), Exposure(position, highest), strata)
    np.testing.assert_allclose(
        dose.T,
        [
            [1, 0, 0, 0.1],  # 10 % treated, the top 10 % control
            [1, 1, 0.1, 0.1],  # halves
            [0, 0, 0, 0],  # not begun
            [0.5, 0.5, 0, 0],  # rolled back from one half
        ],
    )
