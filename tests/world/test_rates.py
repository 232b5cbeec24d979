"""Expected traffic and drift, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simlab.world.rates import Rates, rates_of
from tests.worlds import scenario


def rates(**changes: Any) -> Rates:
    return rates_of(scenario(**{"tick": "1h", "horizon": "2w", "harms": [], **changes}))


def test_constant_traffic_is_split_by_segment() -> None:
    found = rates()
    np.testing.assert_allclose(found.requests[1], 2000 * 60 * 0.7)
    np.testing.assert_allclose(found.requests[0], 2000 * 60 * 0.3)


def test_the_day_peaks_at_its_peak_and_keeps_its_mean() -> None:
    found = rates(traffic={"requests": "2000/m", "daily": {"swing": "50%", "peak": "20:00"}}).requests.sum(axis=0)
    assert int(np.argmax(found[:24])) in {19, 20}
    np.testing.assert_allclose(found[:24].mean(), 120_000)
    # The middle of the tick from 20:00 is half an hour past the peak.
    np.testing.assert_allclose(found[20], 120_000 * (1 + 0.5 * np.cos(2 * np.pi * 0.5 / 24)))


def test_the_week_begins_on_its_own_day() -> None:
    # 2 March 2026 is a Monday.
    found = rates(traffic={"requests": "2000/m", "weekly": {"sat": "-20%", "sun": "-30%"}}).requests.sum(axis=0)
    days = found.reshape(14, 24).mean(axis=1) / 120_000
    np.testing.assert_allclose(days, [1, 1, 1, 1, 1, 0.8, 0.7] * 2)


def test_growth_is_per_week() -> None:
    found = rates(traffic={"requests": "2000/m", "trend": "10%"}).requests.sum(axis=0) / 120_000
    np.testing.assert_allclose(found[[0, 167]], [1 + 0.1 * 0.5 / 168, 1 + 0.1 * 167.5 / 168])


@pytest.mark.parametrize(
    ("drift", "at", "factor"),
    [
        ({"shape": "spike", "at": "12h", "for": "2h"}, [11, 12, 13, 14], [1, 3, 3, 1]),
        ({"shape": "trend", "at": "10h", "over": "10h"}, [9, 10, 19, 20, 100], [1, 1.1, 2.9, 3, 3]),
        (
            {"shape": "cycle", "period": "4h"},
            [0, 1, 2, 3],
            [1 + 2 * s for s in np.sin(np.pi * np.array([0.25, 0.75, 1.25, 1.75]))],
        ),
    ],
)
def test_drift_of_traffic_and_of_a_metric(drift: dict[str, Any], at: list[int], factor: list[float]) -> None:
    if drift["shape"] == "cycle":
        factor = [1 + (value - 1) / 2 for value in factor]
        named: dict[str, Any] = {"name": "d", **drift, "traffic": "x2"}
        metric: dict[str, Any] = {"name": "d", **drift, "metric": "errors", "times": "x2"}
    else:
        named = {"name": "d", **drift, "traffic": "x3"}
        metric = {"name": "d", **drift, "metric": "errors", "times": "x3"}
    np.testing.assert_allclose(rates(drift=[named]).requests.sum(axis=0)[at] / 120_000, factor)
    np.testing.assert_allclose(rates(drift=[metric]).factors["errors"][at], factor)


def test_a_mix_shift_moves_traffic_between_segments_and_keeps_its_sum() -> None:
    mix = {"name": "m", "shape": "mix", "to": {"web": "60%", "app": "40%"}, "at": "10h", "over": "10h"}
    found = rates(drift=[mix]).requests
    np.testing.assert_allclose(found.sum(axis=0), 120_000)
    np.testing.assert_allclose(found[0, [0, 9, 14, 30]] / 120_000, [0.3, 0.3, 0.345, 0.4])
