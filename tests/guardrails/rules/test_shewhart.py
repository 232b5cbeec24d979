"""Shewhart chart: its published run lengths and its promise."""

from __future__ import annotations

import numpy as np
import pytest

from simlab.guardrails.rules.shewhart import Shewhart
from simlab.run_lengths import run_length
from tests.looks import statistics


def test_each_look_is_judged_alone() -> None:
    series = np.array([[3.0], [-3.0], [2.999], [0.0]])
    assert (statistics(Shewhart(), series) >= Shewhart().threshold)[:, 0].tolist() == [True, True, False, False]
    assert (statistics(Shewhart(sides=1), series) >= 3)[:, 0].tolist() == [True, False, False, False]


# An error of 6e-5 each.
@pytest.mark.parametrize(("shift", "published"), [(0, 370.3983), (0.5, 155.2242), (1, 43.8947), (2, 6.303), (3, 2.0)])
def test_published_run_length(shift: float, published: float) -> None:
    found = run_length(Shewhart(), lambda rng, n: rng.normal(shift, 1.0, n), lanes=10_000, horizon=100_000, seed=1)
    assert found.mean is not None
    assert abs(found.mean.value - published) < 4 / 1.96 * (found.mean.high - found.mean.value)


@pytest.mark.parametrize(("sides", "looks"), [(2, "370.4"), (1, "740.8")])
def test_its_promise_is_the_mean_run_length(sides: int, looks: str) -> None:
    promise = Shewhart(sides=sides).guarantee  # type: ignore[arg-type]
    assert promise.claim == f"when all is well the mean run length is {looks} looks"
    assert promise.exact
