"""Streams without a change have the moments and the memory that their names say."""

from __future__ import annotations

import numpy as np
import pytest

from simlab.guardrails.rule import Takes
from simlab.null_streams import NULL_STREAMS, PER_DAY, NullStream

LOOKS, LANES = 4 * PER_DAY, 400


def values(stream: NullStream) -> np.ndarray:
    """Return [looks, lanes]."""
    return np.array([seen.value[0] for seen in stream.looks(Takes.LEVEL, looks=LOOKS, lanes=LANES, streams=1, seed=3)])


@pytest.mark.parametrize("stream", NULL_STREAMS, ids=lambda stream: stream.name)
def test_values_are_standardised(stream: NullStream) -> None:
    of_lanes = values(stream)
    for found, expected in ((of_lanes.mean(axis=0), 0.0), ((of_lanes**2).mean(axis=0), 1.0)):
        # Lanes are independent; 5 standard errors, a two-sided error of 6e-7.
        assert abs(found.mean() - expected) < 5 * found.std() / np.sqrt(LANES)


@pytest.mark.parametrize(("stream", "lag", "expected"), [
    (NullStream("noise"), 1, 0.0),
    (NullStream("AR", correlation=0.5), 1, 0.5),
    (NullStream("AR", correlation=0.9), 3, 0.9**3),
    (NullStream("cycle", cycle=2**0.5), PER_DAY, 0.5),
    (NullStream("cycle", cycle=2**0.5), PER_DAY // 2, -0.5),
])  # fmt: skip
def test_they_remember_as_much_as_they_say(stream: NullStream, lag: int, expected: float) -> None:
    of_lanes = values(stream)
    products = (of_lanes[lag:] * of_lanes[:-lag]).mean(axis=0)
    # Over looks that are no whole number of days a cycle's mean product differs by less than 1 in 4 * PER_DAY of its swing.
    assert abs(products.mean() - expected) < 5 * products.std() / np.sqrt(LANES) + (
        0.05 if stream.cycle and lag != PER_DAY else 0
    )


@pytest.mark.parametrize("takes", [Takes.ARM_COUNTS, Takes.EVENT_COUNTS])
def test_counts_have_their_rate_and_noise_is_poisson(takes: Takes) -> None:
    ratios = {}
    for stream in NULL_STREAMS:
        looks = stream.looks(takes, looks=200, lanes=LANES, streams=1, seed=4)
        counts = np.array([seen.counts[0, :, 0] for seen in looks if seen.counts is not None])
        assert (counts >= 0).all()
        np.testing.assert_array_equal(counts, counts.round())
        difference = counts[:, 0] - counts[:, 1]
        by_lane = difference.mean(axis=0)
        assert abs(by_lane.mean()) < 5 * by_lane.std() / np.sqrt(LANES)
        # Variance of the sum over looks against that of independent Poisson counts.
        ratios[stream.name] = difference.sum(axis=0).var() / counts.sum(axis=(0, 1)).mean()
    # A variance of 400 lanes has a relative standard error of sqrt(2 / 400).
    assert abs(ratios["noise"] - 1) < 5 * np.sqrt(2 / LANES)
    assert abs(ratios["daily cycle"] - 1) < 5 * np.sqrt(2 / LANES)


def test_another_seed_gives_other_looks_and_the_same_seed_the_same() -> None:
    def first(seed: int) -> np.ndarray:
        return next(NULL_STREAMS[1].looks(Takes.STANDARDISED, looks=1, lanes=5, streams=2, seed=seed)).value

    np.testing.assert_array_equal(first(1), first(1))
    assert (first(1) != first(2)).all()
