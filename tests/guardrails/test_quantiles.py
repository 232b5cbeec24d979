"""Quantiles from buckets: to one bucket of the sample's own, and a comparison that is a permutation test."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from simlab.guardrails.look import BUCKETS, LOWEST, PER_DECADE, Floats
from simlab.guardrails.quantiles import above_pooled, quantile_of
from simlab.guardrails.rule import Takes
from simlab.guardrails.signal import Signal
from tests.looks import MINUTE, make_look


def counts_of(values: Floats) -> Floats:
    bucket = np.where(values > LOWEST, 1 + np.floor(np.log10(np.maximum(values, LOWEST) / LOWEST) * PER_DECADE), 0).astype(int)
    return np.bincount(np.minimum(bucket, BUCKETS - 1), minlength=BUCKETS).astype(float)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 0.999])
def test_a_quantile_is_right_to_one_bucket(share: float) -> None:
    values = np.random.default_rng(2).lognormal(math.log(0.2), 1.0, 20_000)
    found = float(quantile_of(counts_of(values), share))
    exact = float(np.quantile(values, share))
    assert abs(math.log10(found / exact)) <= 1 / PER_DECADE
    assert np.isnan(quantile_of(np.zeros(BUCKETS), share))


def test_over_all_assignments_the_comparison_has_mean_0_and_variance_1() -> None:
    values = np.array([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
    lanes = list(combinations(range(len(values)), 3))
    counts = np.zeros((BUCKETS, 1, 1, 3, len(lanes)))
    for lane, chosen in enumerate(lanes):
        counts[:, 0, 0, 0, lane] = counts_of(values[list(chosen)])
        counts[:, 0, 0, 1, lane] = counts_of(np.delete(values, list(chosen)))
    signal = Signal(watch="m", compare="difference", quantile=0.6)
    look = make_look({}, lanes=np.arange(len(lanes)))
    look = type(look)(**{**vars(look), "buckets": {"m": counts}})
    x = signal.observe(signal.initial(1, len(lanes), every=MINUTE), look, takes=Takes.STANDARDISED, elapsed=MINUTE).seen.value[0]
    np.testing.assert_allclose([x.mean(), (x**2).mean()], [0, 1], atol=1e-12)
    sums = above_pooled(counts, 0.6)
    # The lowest bucket limit with at least 60 % of 7 values below it leaves 2 above.
    np.testing.assert_array_equal(sums.total.sum(axis=2), 2)
    np.testing.assert_array_equal(sums.observations.sum(axis=2), 7)


def test_a_level_adds_up_over_looks_in_a_window() -> None:
    values = np.random.default_rng(5).lognormal(0, 1, (3, 500))
    signal = Signal(watch="m", of="treatment", quantile=0.9, over=2 * MINUTE)
    state = signal.initial(1, 1, every=MINUTE)
    for time, each in enumerate(values, start=1):
        counts = np.zeros((BUCKETS, 1, 1, 3, 1))
        counts[:, 0, 0, 0, 0] = counts_of(each)
        made = make_look({}, time=time)
        answer = signal.observe(
            state, type(made)(**{**vars(made), "buckets": {"m": counts}}), takes=Takes.LEVEL, elapsed=time * MINUTE
        )
        state = answer.state
    np.testing.assert_allclose(answer.seen.value[0, 0], quantile_of(counts_of(values[1:].ravel()), 0.9))
