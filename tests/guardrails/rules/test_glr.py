"""Window-limited GLR against the maximum taken by brute force."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from simlab.guardrails.look import Floats
from simlab.guardrails.rules.glr import Glr
from tests.looks import statistics


def by_brute_force(series: Floats, *, window: int, sides: int) -> Floats:
    """Return the largest log likelihood ratio over all change points in the window, float64[looks, lanes]."""
    found = np.zeros_like(series)
    for looks in range(1, len(series) + 1):
        for change in range(max(0, looks - window), looks):
            total = series[change:looks].sum(axis=0)
            total = np.maximum(total, 0.0) if sides == 1 else total
            found[looks - 1] = np.maximum(found[looks - 1], total**2 / (2 * (looks - change)))
    return found


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("window", [1, 2, 30, 500])
def test_it_is_the_maximum(sides: Literal[1, 2], window: int) -> None:
    series = np.random.default_rng(1).normal(size=(120, 3)) + np.array([0.0, 0.5, -0.5])
    found = statistics(Glr(window=window, sides=sides), series)
    np.testing.assert_allclose(found, by_brute_force(series, window=window, sides=sides), rtol=1e-10, atol=1e-12)


def test_a_window_of_one_look_is_a_shewhart_chart() -> None:
    series = np.random.default_rng(2).normal(size=(20, 2))
    np.testing.assert_allclose(statistics(Glr(window=1), series), series**2 / 2, rtol=1e-14)


def test_it_forgets_what_is_older_than_the_window() -> None:
    found = statistics(Glr(window=10), np.array([[50.0]] + [[0.0]] * 20))
    assert found[9, 0] == pytest.approx(125.0)
    assert found[10, 0] == 0.0
