"""Verdicts in every case that there is, against the same in NumPy."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from simlab.guardrails.look import ALARM, OK, UNKNOWN
from simlab.guardrails.verdicts import COUNTED, count_looks, decide, settle


@pytest.mark.parametrize("learns", [False, True])
def test_what_is_kept_of_a_rule_s_answer(learns: bool) -> None:
    cases = np.array(list(product([False, True], repeat=8)))
    number, worse, last_worse, observed, valid, skipped, even, missing = (each[None] for each in cases.T)
    new, last = np.where(number, 2.0, np.nan), np.full(number.shape, 1.0)
    kept, everywhere = settle(
        (new, worse), (last, last_worse, observed),
        valid=valid, skipped=skipped, even=even, missing=missing[0].copy(), learns=learns,
    )  # fmt: skip
    judged = valid & number
    np.testing.assert_array_equal(kept.statistic, np.where(judged, 2.0, 1.0))
    np.testing.assert_array_equal(kept.worse, np.where(judged, worse, last_worse))
    np.testing.assert_array_equal(kept.observed, observed | judged | even)
    np.testing.assert_array_equal(kept.unknown, (missing & ~valid) | ~kept.observed | (~judged & ~skipped))
    np.testing.assert_array_equal(kept.taken, valid & (number | learns))
    assert not everywhere
    assert settle(
        (last, worse), (last, last_worse, observed), valid=np.ones_like(valid),
        skipped=skipped, even=even, missing=missing[0].copy(), learns=learns,
    )[1]  # fmt: skip


@pytest.mark.parametrize("threshold", [np.array([1.5]), None])
def test_alarm_goes_before_unknown_and_unknown_before_ok(threshold: np.ndarray | None) -> None:
    cases = np.array(list(product([False, True], repeat=9)))
    high, worse, unknown, skipped = (np.ascontiguousarray(cases[:, at : at + 2].T) for at in (0, 2, 4, 6))
    retired, statistic = np.ascontiguousarray(cases[:, 8]), np.where(high, 2.0, 1.0)
    limit = np.where(retired, 1.0, 1.5) if threshold is None else threshold
    verdict = decide(statistic, worse, unknown=unknown, skipped=skipped, retired=retired, threshold=limit, reading=UNKNOWN)
    alarms = ~unknown & (statistic >= limit)
    alarm = alarms.any(axis=0) & ~retired
    unclear = unknown.any(axis=0) & ~alarm & ~retired
    np.testing.assert_array_equal(verdict.code, np.where(alarm, ALARM, np.where(unclear, UNKNOWN, OK)))
    np.testing.assert_array_equal(verdict.worse, np.where(alarm, (alarms & worse).any(axis=0), True))
    np.testing.assert_array_equal(verdict.statistic, statistic.max(axis=0))
    np.testing.assert_array_equal(verdict.unknown, unclear)
    np.testing.assert_array_equal(verdict.thin, skipped.any(axis=0) & ~retired)


def test_looks_are_counted_until_the_watch_is_over() -> None:
    over, unknown, skipped, retired = (np.array(each) for each in zip(*product([False, True], repeat=4), strict=True))
    counts = np.ones((len(COUNTED), len(over)), dtype=np.int64)
    count_looks(over, unknown, skipped, retired, counts)
    np.testing.assert_array_equal(counts, 1 + np.stack([~over, unknown & ~over, skipped & ~over, retired & ~over]))
