"""Page-Hinkley against the paper's loop, and against river's where it is installed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from simlab.guardrails.rules.page_hinkley import PageHinkley
from simlab.run_lengths import run_length
from tests.looks import statistics

# The defaults of river's drift.PageHinkley, in our words.
WIDESPREAD = PageHinkley(delta=0.005, lambda_=50, min_looks=30, fading=0.9999, sides=2)


def by_the_paper(values: Sequence[float], delta: float) -> list[float]:
    """Return m_t - min m, every sum taken anew."""
    sums = [0.0]
    for looks, value in enumerate(values, start=1):
        sums.append(sums[-1] + value - float(np.mean(values[:looks])) - delta)
    return [sums[looks] - min(sums[: looks + 1]) for looks in range(1, len(sums))]


@pytest.mark.parametrize("delta", [0.0, 0.1, 0.5])
def test_the_sum_by_the_paper(delta: float) -> None:
    values = np.random.default_rng(1).normal(size=80) + np.where(np.arange(80) > 40, 1.0, 0.0)
    found = statistics(PageHinkley(delta=delta, min_looks=1), values[:, None])
    np.testing.assert_allclose(found[:, 0], by_the_paper(values.tolist(), delta), rtol=1e-11, atol=1e-12)


def test_the_other_side_is_the_mirror() -> None:
    series = np.random.default_rng(2).normal(size=(200, 3))
    one, mirrored = (statistics(PageHinkley(delta=0.1), each) for each in (series, -series))
    np.testing.assert_array_equal(statistics(PageHinkley(delta=0.1, sides=2), series), np.maximum(one, mirrored))


def test_nothing_is_said_before_enough_looks() -> None:
    found = statistics(PageHinkley(delta=0.0, min_looks=5), np.array([[0.0], [9.0], [9.0], [9.0], [9.0]]))
    assert found[:4].max() == 0.0
    assert found[4, 0] > 0.0


def test_the_widespread_setting_alarms_in_most_streams_of_noise() -> None:
    found = run_length(WIDESPREAD, lambda rng, n: rng.normal(size=n), lanes=4_000, horizon=4_032, seed=3)
    # 96.5 % was measured; an error of 6e-5 with our own lanes' standard error, and as much again for the measurement.
    assert abs(found.alarm_probability.value - 0.965) < 4 * np.sqrt(2 * 0.965 * 0.035 / 4_000)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (WIDESPREAD, {}),
        (
            PageHinkley(delta=0.1, lambda_=15, min_looks=1),
            {"delta": 0.1, "threshold": 15, "min_instances": 1, "alpha": 1.0, "mode": "up"},
        ),
    ],
)
def test_alarms_come_when_river_has_them(mine: PageHinkley, theirs: dict[str, float | str]) -> None:
    drift = pytest.importorskip("river.drift")
    series = np.random.default_rng(4).normal(size=(3_000, 5)) + np.linspace(0, 0.5, 3_000)[:, None]
    reached = statistics(mine, series) >= mine.threshold
    for lane in range(5):
        detector = drift.PageHinkley(**theirs)
        looks = 0
        while not detector.drift_detected and looks < len(series):
            detector.update(float(series[looks, lane]))
            looks += 1
        assert detector.drift_detected
        assert looks - 1 == reached[:, lane].argmax()
