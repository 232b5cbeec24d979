"""The benchmark's scoring: worth by position, published totals, and a sweep of thresholds that equals trying each of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simlab.nab.corpus import read_corpus
from simlab.nab.scoring import (
    Labelled,
    Profile,
    Window,
    best_threshold,
    labelled,
    probation_rows,
    raw_score,
    rising_edges,
    scaled,
)

STANDARD = Profile("standard")
LOW_FN = Profile("low_fn", missed=2.0)


def one_series(rows: int = 400, windows: tuple[Window, ...] = (Window(100, 139), Window(250, 259))) -> Labelled:
    return labelled("one", rows, windows)


def at(rows: int, *detections: int) -> np.ndarray:
    found = np.zeros(rows, dtype=bool)
    found[list(detections)] = True
    return found


def test_the_left_edge_of_a_window_is_worth_one_and_later_rows_less() -> None:
    series = one_series()
    assert series.worth[100] == pytest.approx(1.0)
    assert (np.diff(series.worth[100:140]) < 0).all()
    assert series.worth[139] > 0
    # S(0.5) / S(-1) with the published S(-1) = 0.98661, in the middle of a window of 40 rows.
    assert series.worth[120] == pytest.approx((2 / (1 + np.exp(-2.5)) - 1) / 0.98661, abs=1e-5)


def test_a_false_alarm_costs_more_the_farther_it_is_from_the_window_before() -> None:
    series = one_series()
    assert (series.worth[:100] == -1).all()
    assert -0.1 < series.worth[140] < 0
    assert (np.diff(series.worth[140:250]) <= 0).all()
    assert series.worth[249] > -1
    # More than three widths behind the window of ten rows.
    assert series.worth[259 + 28] == -1


def test_probation_is_at_most_750_rows_and_does_not_count() -> None:
    assert (probation_rows(1127), probation_rows(5000), probation_rows(22_695)) == (169, 750, 750)
    series = one_series()
    assert series.probation == 60
    silence = raw_score(at(400), series, STANDARD)
    assert raw_score(at(400, 59), series, STANDARD) == silence
    assert raw_score(at(400, 60), series, STANDARD) == pytest.approx(silence - 0.11)


def test_the_best_detection_of_a_window_counts_once() -> None:
    series = one_series()
    assert raw_score(at(400), series, LOW_FN) == -4
    once = raw_score(at(400, 110), series, STANDARD)
    assert raw_score(at(400, 110, 120, 130), series, STANDARD) == once
    assert raw_score(at(400, 100, 250), series, STANDARD) == pytest.approx(2)
    assert scaled(2, [series], STANDARD) == 100
    assert scaled(-4, [series], LOW_FN) == 0


def test_an_alarm_that_goes_on_is_one_detection() -> None:
    assert rising_edges(np.array([True, True, False, True, True])).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("edges", [True, False])
@pytest.mark.parametrize("profile", [STANDARD, LOW_FN])
def test_the_sweep_equals_trying_every_threshold(profile: Profile, edges: bool) -> None:
    generator = np.random.default_rng(4)
    corpus = [one_series(), labelled("two", 300, ()), labelled("three", 350, (Window(200, 240),))]
    # Rounded, so that ties occur; a bump in each window, so that some threshold is better than silence.
    statistics = [np.round(generator.normal(0, 1, len(series.worth)) + 2.5 * (series.window >= 0), 1) for series in corpus]
    statistics[0][70:75] = -np.inf

    def total(threshold: float) -> float:
        found = 0.0
        for statistic, series in zip(statistics, corpus, strict=True):
            alarms = statistic >= threshold
            found += raw_score(rising_edges(alarms) if edges else alarms, series, profile)
        return found

    tried = {level: total(level) for level in np.unique(np.concatenate(statistics)) if np.isfinite(level)}
    best = best_threshold(statistics, corpus, profile, edges=edges)
    assert best.raw == pytest.approx(max(tried.values()))
    assert tried[best.threshold] == pytest.approx(best.raw)
    assert best.raw > total(np.inf)


def test_silence_wins_where_every_alarm_is_false() -> None:
    corpus = [labelled("quiet", 100, ())]
    best = best_threshold([np.arange(100.0)], corpus, STANDARD, edges=True)
    assert (best.threshold, best.raw) == (np.inf, 0)


def test_published_totals_come_out_of_the_recorded_scores(shared_data: Path) -> None:
    corpus = read_corpus(shared_data)
    published = {
        "null": (0.0, 0.0, 0.0),
        "windowedGaussian": (39.6495, 20.8680, 47.4100),
        "relativeEntropy": (54.6427, 47.5984, 58.8423),
    }
    assert [profile.name for profile in corpus.profiles] == ["standard", "reward_low_FP_rate", "reward_low_FN_rate"]
    assert sum(len(series.windows) for series in corpus.series) == 116
    for detector, expected in published.items():
        for profile, total in zip(corpus.profiles, expected, strict=True):
            threshold = corpus.thresholds[detector][profile.name]
            pairs = list(zip(corpus.recorded[detector], corpus.series, strict=True))
            raw = sum(raw_score(values >= threshold, series, profile) for values, series in pairs)
            assert scaled(raw, corpus.series, profile) == pytest.approx(total, abs=5e-4)
            assert scaled(raw, corpus.series, profile) == pytest.approx(corpus.leaderboard[detector][profile.name], abs=5e-4)
            best = best_threshold(corpus.recorded[detector], corpus.series, profile, edges=False)
            assert best.raw >= raw - 1e-9
