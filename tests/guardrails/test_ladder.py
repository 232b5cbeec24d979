"""Ladders against brute force over plain statistics, and against exact thresholds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simlab.exact_run_lengths import solve
from simlab.guardrails.ladder import Ladder, LadderRecorder, joined
from simlab.guardrails.look import Floats, Reached
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.ewma import Ewma
from simlab.thresholds import threshold_for
from tests.guardrails.rules.contract import seen
from tests.looks import MINUTE

LOOKS, STREAMS, LANES = 30, 3, 11


def recorded(statistics: Floats, worse: Any = True) -> Ladder:
    """Return the ladder of statistics [looks, streams, lanes], looked at every second tick and one tick late.

    Where there is no evidence at all, a stream that cannot be judged or a lane that is retired shows some.
    """
    recorder = LadderRecorder(statistics.shape[2])
    pointing = np.broadcast_to(worse, statistics.shape)
    for look, (each, direction) in enumerate(zip(statistics, pointing, strict=True), start=1):
        unknown = np.isneginf(each)
        retired, shown = unknown.all(axis=0), np.where(unknown, 99.0, each)
        reached = Reached(shown.max(axis=0), shown, direction, unknown & ~retired, retired)
        recorder.note(2 * look, np.full(statistics.shape[2], 2 * look - 1), reached)
    return recorder.ladder()


@pytest.fixture(scope="module")
def drawn() -> tuple[Floats, Any]:
    generator = np.random.default_rng(2)
    statistics = generator.normal(size=(LOOKS, STREAMS, LANES)).round(1)
    statistics[generator.random(statistics.shape) < 0.1] = -np.inf
    statistics[:, :, 4] = -np.inf
    return statistics, generator.random(statistics.shape) < 0.5


def test_passages_are_those_of_every_look_gone_through(drawn: tuple[Floats, Any]) -> None:
    statistics, worse = drawn
    thresholds = np.unique(statistics[np.isfinite(statistics)])
    found = recorded(statistics, worse).passages(thresholds)
    for index, threshold in enumerate(thresholds):
        for lane in range(LANES):
            reached = statistics[:, :, lane] >= threshold
            looks = np.flatnonzero(reached.any(axis=1))
            first = int(looks[0]) if len(looks) else None
            time = -1 if first is None else 2 * (first + 1)
            assert found.time[index, lane] == time
            assert found.end[index, lane] == (-1 if first is None else time - 1)
            assert found.worse[index, lane] == (True if first is None else (reached & worse[:, :, lane])[first].any())


def test_maxima_are_the_largest_of_each_lane(drawn: tuple[Floats, Any]) -> None:
    ladder = recorded(*drawn)
    np.testing.assert_array_equal(ladder.maxima, drawn[0].max(axis=(0, 1)))
    assert ladder.maxima[4] == -np.inf


def test_blocks_joined_are_one_block(drawn: tuple[Floats, Any]) -> None:
    statistics, worse = drawn
    whole = recorded(statistics, worse)
    parts = [recorded(statistics[:, :, lanes], worse[:, :, lanes]) for lanes in (slice(0, 4), slice(4, 5), slice(5, None))]
    for name in ("starts", "times", "ends", "statistics", "worse"):
        np.testing.assert_array_equal(getattr(joined(parts), name), getattr(whole, name))
    columns = (whole.starts, whole.times, whole.ends, whole.statistics, whole.worse)
    assert sum(each.nbytes for each in columns) < statistics.nbytes


@pytest.mark.parametrize(("rule", "setting"), [(Cusum(k=0.5, h=1e9), "cusum"), (Ewma(lambda_=0.1, L=1e9), "ewma")])
def test_alarms_at_exact_thresholds_have_their_probability(rule: Any, setting: str) -> None:
    """Four standard errors of 4,000 lanes at four thresholds each: error rate under 6e-4 for both rules together."""
    looks, lanes = 100, 4_000
    generator = np.random.default_rng(3)
    recorder, state = LadderRecorder(lanes), rule.initial(1, lanes, every=MINUTE)
    for look in range(1, looks + 1):
        state, statistic, worse = rule.update(state, seen(generator.normal(size=lanes)))
        pointing, no = np.broadcast_to(worse, statistic.shape), np.zeros(statistic.shape, dtype=bool)
        recorder.note(look, np.full(lanes, look), Reached(statistic.max(axis=0), statistic, pointing, no, no[0]))
    ladder = recorder.ladder()
    own = {"cusum": {"k": 0.5}, "ewma": {"lambda": 0.1}}[setting]
    for pfa in (0.05, 0.2, 0.5):
        threshold = threshold_for({setting: own}, pfa=pfa, looks=looks)
        alarmed = (ladder.passages([threshold]).time[0] >= 0).mean()
        assert abs(alarmed - pfa) < 4 * math.sqrt(pfa * (1 - pfa) / lanes)
    # At the threshold for a mean run length of 500 looks, alarms by then have the exact probability too.
    threshold = threshold_for({setting: own}, arl0=500)
    exact = 1 - float(solve(replace(rule, **{"h" if setting == "cusum" else "L": threshold}), 0.0).survival(looks)[-1])
    alarmed = (ladder.passages([threshold]).time[0] >= 0).mean()
    assert abs(alarmed - exact) < 4 * math.sqrt(exact * (1 - exact) / lanes)
