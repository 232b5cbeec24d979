"""Strata: cuts at every step and its mirror, arms made of whole strata."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simlab.scenario import RampStep, Rollout
from simlab.world.strata import control_begins, strata_of


def rollout(*exposures: float, control: str = "same_size") -> Rollout:
    steps = tuple(RampStep(expose=exposed, soak="rest") for exposed in exposures)
    return Rollout(steps=steps, control=control)  # type: ignore[arg-type]


def test_the_shipped_ramp() -> None:
    strata = strata_of(rollout(0.01, 0.1, 0.5, 1.0))
    np.testing.assert_allclose(strata.cuts, [0, 0.01, 0.1, 0.5, 0.9, 0.99, 1])
    np.testing.assert_array_equal(strata.treated, [0, 1, 2, 3, 6])
    np.testing.assert_array_equal(strata.control_from, [6, 5, 4, 3, 6])
    np.testing.assert_allclose(strata.shares, [[0, 0], [0.01, 0.01], [0.1, 0.1], [0.5, 0.5], [1, 0]], atol=1e-12)
    np.testing.assert_array_equal(strata.one_armed, [True, False, False, False, True])


def test_the_rest_as_control_needs_no_mirror_cuts() -> None:
    strata = strata_of(rollout(0.05, 0.25, control="the_rest"))
    np.testing.assert_allclose(strata.cuts, [0, 0.05, 0.25, 1])
    np.testing.assert_allclose(strata.shares, [[0, 0], [0.05, 0.95], [0.25, 0.75]])


def test_above_one_half_control_is_the_rest() -> None:
    strata = strata_of(rollout(0.75))
    np.testing.assert_allclose(strata.shares[1], [0.75, 0.25])


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=6, unique=True).map(sorted),
    st.sampled_from(["same_size", "the_rest"]),
)
def test_arms_are_whole_strata_and_never_overlap(percents: list[int], control: str) -> None:
    strata = strata_of(rollout(*(percent / 100 for percent in percents), control=control))
    assert (np.diff(strata.cuts) > 1e-9).all()
    np.testing.assert_allclose(strata.widths.sum(), 1.0, rtol=1e-12)
    assert (strata.treated <= strata.control_from).all()
    for position, percent in enumerate(percents, start=1):
        exposed = percent / 100
        np.testing.assert_allclose(strata.shares[position, 0], exposed, atol=1e-12)
        np.testing.assert_allclose(strata.shares[position, 1], 1 - control_begins(exposed, control), atol=1e-12)
