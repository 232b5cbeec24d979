"""CUSUM with a fast initial response."""

from __future__ import annotations

import numpy as np
import pytest

from simlab.errors import FileErrors, UnitError
from simlab.guardrails.rules.cusum import Cusum
from simlab.rule_from import rule
from simlab.run_lengths import run_length
from tests.looks import statistics


def test_the_sums_begin_at_the_head_start() -> None:
    found = statistics(Cusum(k=0.5, h=4, sides=2, head_start=2), np.array([[1.0, -1.0], [0.5, -0.5]]))
    np.testing.assert_array_equal(found, [[2.5, 2.5], [2.5, 2.5]])


def test_none_is_a_head_start_of_zero() -> None:
    series = np.random.default_rng(1).normal(size=(100, 3))
    np.testing.assert_array_equal(statistics(Cusum(head_start=0.0), series), statistics(Cusum(), series))


def test_the_statistic_does_not_depend_on_the_threshold() -> None:
    # So that one simulation serves every threshold.
    series = np.random.default_rng(2).normal(size=(100, 3))
    one, other = Cusum(h=4, head_start=2), Cusum(h=8, head_start=2)
    np.testing.assert_array_equal(statistics(one, series), statistics(other, series))


# Lucas & Crosier, Technometrics 24 (1982), table 2: k = 0.5, h = 4, S = 2. Exact values to three digits. An error of 6e-5 each.
@pytest.mark.parametrize(("shift", "published"), [(0, 149), (0.5, 20.1), (1, 5.29), (2, 2.01)])
def test_published_run_length(shift: float, published: float) -> None:
    made = Cusum(k=0.5, h=4, sides=2, head_start=2)
    found = run_length(made, lambda rng, n: rng.normal(shift, 1.0, n), lanes=20_000, horizon=100_000, seed=3)
    assert found.mean is not None
    error = (found.mean.high - found.mean.low) / (2 * 1.96)
    assert abs(found.mean.value - published) < 4 * error + 0.5 * 10 ** (np.floor(np.log10(published)) - 2)


def test_a_head_start_at_the_threshold_is_a_mistake() -> None:
    with pytest.raises(UnitError, match="head_start 4 must be below h, 4"):
        Cusum(h=4, head_start=4)
    with pytest.raises(FileErrors, match="head_start 4 must be below h, 4"):
        rule({"cusum": {"h": 4, "head_start": 4}})
