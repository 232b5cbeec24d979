"""A z-test repeated on simulated traffic has the published false-alarm rates, and a higher one where users return.

Armitage, McPherson & Rowe (1969): testing at |z| > 1.96 after 1, 2, 5, 10, 50 looks. 4,000 lanes; each comparison allows 4.5 standard
errors (two-sided error 7e-6).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from simlab.engine import Block, simulate
from simlab.measures.estimates import proportion
from tests.worlds import changed, plan

LANES = 4000
PUBLISHED = {1: 0.05, 2: 0.08312, 5: 0.14169, 10: 0.19336, 50: 0.32045}
CHANCE, USERS, GAMMA, CV = 0.04, 100_000, 0.7, 2.0
REQUESTS = 100_000  # in both arms, each look: 2,000 events an arm


def false_alarms(personal_cv: float) -> dict[int, int]:
    """Return how many of LANES lanes have alarmed by each number of looks."""
    world = {
        "scenario": "constant",
        "starts": "2026-03-02T00:00:00Z",
        "tick": "1m",
        "horizon": "50m",
        "users": {"count": USERS, "activity": {"gamma": GAMMA}, "segments": {"all": "100%"}},
        "traffic": {"requests": f"{REQUESTS}/m"},
        "metrics": {"errors": {"kind": "proportion", "per": "request", "normal": CHANCE, "personal_cv": personal_cv}},
        "rollout": {"steps": [{"expose": "50%", "soak": "rest"}]},
    }
    watch = {"watch": "errors", "compare": "difference", "rule": {"repeated_z": {}}, "every": "1m", "respond": "hold"}
    made = plan(scenarios=[changed(world)], policies=[{"name": "z", "guardrails": [watch]}])
    statistics = []
    for first in range(0, LANES, 1000):
        trace = simulate(replace(made, traced=first + 1000), Block(0, first, 1000)).traces[0]
        statistics.append(trace.statistics[0])
    reached = np.maximum.accumulate(np.concatenate(statistics, axis=1), axis=0) >= norm.isf(0.025)
    return {looks: int(reached[looks - 1].sum()) for looks in PUBLISHED}


@pytest.fixture(scope="module")
def independent() -> dict[int, int]:
    return false_alarms(0.0)


@pytest.fixture(scope="module")
def returning() -> dict[int, int]:
    return false_alarms(CV)


def test_rates_are_as_published(independent: dict[int, int]) -> None:
    for looks, expected in PUBLISHED.items():
        error = np.sqrt(expected * (1 - expected) / LANES)
        assert abs(independent[looks] / LANES - expected) < 4.5 * error, (looks, independent[looks] / LANES)


def test_returning_users_raise_them(independent: dict[int, int], returning: dict[int, int]) -> None:
    for looks in (10, 50):
        below = proportion(independent[looks], LANES, confidence=0.99)
        above = proportion(returning[looks], LANES, confidence=0.99)
        assert above.low > below.high, (looks, above, below)


def test_one_look_agrees_with_the_design_effect(returning: dict[int, int]) -> None:
    # Var(rate of an arm) = p (1 - p) / n + p^2 cv^2 (1 + 1 / gamma) / N with n requests of N users in the arm.
    by_request = CHANCE * (1 - CHANCE) / (REQUESTS / 2)
    by_user = CHANCE**2 * CV**2 * (1 + 1 / GAMMA) / (USERS / 2)
    expected = 2 * norm.sf(norm.isf(0.025) / np.sqrt(1 + by_user / by_request))
    error = np.sqrt(expected * (1 - expected) / LANES)
    assert abs(returning[1] / LANES - expected) < 4.5 * error, (returning[1] / LANES, expected)
