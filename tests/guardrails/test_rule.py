"""States of rules, chosen entry by entry."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from simlab.guardrails.rule import choose


class Inner(NamedTuple):
    window: Any
    absent: Any


class Outer(NamedTuple):
    inner: Inner
    sums: Any


def test_choose_goes_through_nested_states() -> None:
    mask = np.array([[True, False, False], [False, False, True]])
    ones, zeros = np.ones((2, 3)), np.zeros((2, 3))
    chosen = choose(mask, Outer(Inner(np.ones((4, 2, 3)), None), ones), Outer(Inner(np.zeros((4, 2, 3)), None), zeros))
    assert isinstance(chosen, Outer)
    assert chosen.inner.absent is None
    np.testing.assert_array_equal(chosen.sums, mask)
    np.testing.assert_array_equal(chosen.inner.window, np.stack([mask] * 4))


def test_choose_by_lane() -> None:
    np.testing.assert_array_equal(choose(np.array([True, False]), np.full((3, 2), 5.0), np.zeros((3, 2))), [[5.0, 0.0]] * 3)
