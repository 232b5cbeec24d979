"""Keyed streams: open uniforms, published SplitMix64 numbers, independence of blocks, and plain statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2, kstest

from simlab.streams import lane_uniform, mix, span_ticks, stream_key, uniforms
from simlab.ticks import Span

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
KEY = stream_key(7, "tests")
WORDS = st.integers(0, MASK)


def finalised(word: int) -> int:
    """Return the finaliser of SplitMix64 in plain Python (Steele, Lea & Flood 2014)."""
    word = (word ^ (word >> 30)) * FACTORS[0] & MASK
    word = (word ^ (word >> 27)) * FACTORS[1] & MASK
    return word ^ (word >> 31)


def unfinalised(word: int) -> int:
    """Return the word whose finaliser is `word`; every step can be undone."""
    for shift, factor in ((31, FACTORS[1]), (27, FACTORS[0]), (30, 1)):
        undone = word
        for _ in range(64 // shift):
            undone = word ^ (undone >> shift)
        word = undone * pow(factor, -1, 2**64) & MASK
    return word


def drawn(name: str = "tests", *, seed: int = 7, tick: int = 0, cell: int = 0, lanes: int = 100_000) -> NDArray[np.float64]:
    return uniforms(stream_key(seed, name), tick, np.arange(lanes), cell=cell)


# -- to the bit ----------------------------------------------------------------------------------------------------------


@given(WORDS)
def test_the_finaliser_is_that_of_splitmix(word: int) -> None:
    assert int(mix(np.uint64(word))) == finalised(word)
    assert unfinalised(finalised(word)) == word


def test_lanes_are_a_splitmix_sequence() -> None:
    # First outputs of splitmix64.c (Vigna 2015) for the seed 1234567.
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    found = [lane_uniform(np.uint64(1234567), lane) for lane in range(5)]
    assert found == [((word >> 12) + 0.5) / 2**52 for word in published]


@given(st.integers(0, 2**31), st.text(max_size=20), st.integers(0, 10**6), st.integers(0, 1000), st.integers(0, 10**6))
def test_a_number_is_a_function_of_its_key(seed: int, name: str, tick: int, cell: int, lane: int) -> None:
    key = int(stream_key(seed, name))
    cells = finalised((finalised((key + tick * GOLDEN) & MASK) + (cell + 1) * GOLDEN) & MASK)
    word = finalised((cells + (lane + 1) * GOLDEN) & MASK)
    assert uniforms(stream_key(seed, name), tick, np.array([lane]), cell=cell)[0] == ((word >> 12) + 0.5) / 2**52


# A change of these numbers changes every result ever stored.
@pytest.mark.parametrize(
    ("seed", "name", "tick", "cell", "lane", "number"),
    [
        (0, "", 0, 0, 0, 0.052847972829984546),
        (7, "rules.random", 12, 0, 0, 0.43576161958449877),
        (7, "rules.random", 12, 0, 4999, 0.7018193002468459),
        (7, "telemetry.lost", 863, 3, 15999, 0.4091071346699454),
        (123456789, "tests", 1, 1, 1, 0.6416266151152482),
    ],
)
def test_golden_numbers(seed: int, name: str, tick: int, cell: int, lane: int, number: float) -> None:
    assert uniforms(stream_key(seed, name), tick, np.array([lane]), cell=cell)[0] == number


@pytest.mark.parametrize(("word", "number"), [(MASK, 1 - 2**-53), (0, 2**-53), (MASK >> 12 << 12, 1 - 2**-53)])
def test_the_ends_of_the_interval_are_never_drawn(word: int, number: float) -> None:
    key = np.uint64((unfinalised(word) - GOLDEN) & MASK)
    assert lane_uniform(key, 0) == number
    assert 0.0 < number < 1.0


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50), st.integers(0, 10**6), st.integers(0, 50))
def test_a_block_does_not_matter(lanes: list[int], tick: int, cell: int) -> None:
    together = uniforms(KEY, tick, np.array(lanes), cell=cell)
    alone = [uniforms(KEY, tick, np.array([lane]), cell=cell)[0] for lane in lanes]
    assert together.tolist() == alone


def test_slices_of_lanes_are_slices_of_numbers() -> None:
    lanes = np.arange(1000)
    np.testing.assert_array_equal(uniforms(KEY, 3, lanes)[200:700:3], uniforms(KEY, 3, lanes[200:700:3]))
    assert uniforms(KEY, 3, lanes[:0]).shape == (0,)


# -- as random numbers ---------------------------------------------------------------------------------------------------

# Every test below errs with probability 6e-5 for good random numbers: 4 standard errors, or that tail of its distribution.
ERROR = 6e-5
VIEWS = {
    "lanes": drawn,
    "ticks": lambda: np.concatenate([drawn(tick=tick, lanes=100) for tick in range(1000)]),
    "cells": lambda: np.concatenate([drawn(cell=cell, lanes=100) for cell in range(1000)]),
    "one lane over ticks": lambda: np.concatenate([drawn(tick=tick, lanes=1) for tick in range(20_000)]),
    "seeds": lambda: np.concatenate([drawn(seed=seed, lanes=1) for seed in range(5_000)]),
    "names": lambda: np.concatenate([drawn(f"stream {name}", lanes=1) for name in range(5_000)]),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_numbers_are_uniform(view: object) -> None:
    numbers = view()  # type: ignore[operator]
    bins = 64
    counts = np.bincount((numbers * bins).astype(int), minlength=bins)
    statistic = float(((counts - numbers.size / bins) ** 2).sum() / (numbers.size / bins))
    # Two-sided: numbers that are too even are no more random than numbers that are not even enough.
    assert chi2.ppf(ERROR / 2, bins - 1) < statistic < chi2.isf(ERROR / 2, bins - 1)
    assert kstest(numbers, "uniform").pvalue > ERROR


@pytest.mark.parametrize("low_bits", [8, 16])
def test_the_low_bits_are_random_too(low_bits: int) -> None:
    words = (drawn() * 2.0**52).astype(np.int64)
    shares = np.array([((words >> bit) & 1).mean() for bit in range(low_bits)])
    # 4 standard errors of a share of one half for each bit.
    assert (np.abs(shares - 0.5) < 4 * 0.5 / math.sqrt(words.size)).all()


def pairs() -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    one = drawn()
    return {
        "the next lane": (one[1:], one[:-1]),
        "the next tick": (one, drawn(tick=1)),
        "the next cell": (one, drawn(cell=1)),
        "the next seed": (one, drawn(seed=8)),
        "another stream": (one, drawn("tests2")),
        "tick and cell swapped": (drawn(tick=1, cell=2), drawn(tick=2, cell=1)),
        "one tick on, one cell back": (drawn(tick=3, cell=2), drawn(tick=4, cell=1)),
        "one tick on, one lane back": (one[1:], drawn(tick=1)[:-1]),
        "one cell on, one lane back": (one[1:], drawn(cell=1)[:-1]),
    }


@pytest.mark.parametrize("name", pairs())
def test_neighbours_are_not_correlated(name: str) -> None:
    one, other = pairs()[name]
    assert not np.array_equal(one, other)
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / math.sqrt(one.size)
    # Nor is the distance of the two from the middle.
    assert abs(np.corrcoef((one - 0.5) ** 2, (other - 0.5) ** 2)[0, 1]) < 4 / math.sqrt(one.size)


def test_no_number_comes_twice() -> None:
    numbers = np.concatenate([drawn(tick=tick, cell=cell) for tick in range(2) for cell in range(3)])
    # Two of n numbers of 52 bits are equal with probability n^2 / 2^53: an error rate of 4e-5.
    assert np.unique(numbers).size == numbers.size


def test_streams_are_told_apart_by_seed_and_name() -> None:
    keys = {int(stream_key(seed, name)) for seed in range(50) for name in ("", "a", "b", "0/a", "1/a")}
    assert len(keys) == 250


# -- durations -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from([1_000, 60_000, 300_000]))
def test_a_varying_duration_stays_in_its_span_rounded_up(low: int, extra: int, tick: int) -> None:
    ticks = span_ticks(Span(low, low + extra), drawn(lanes=50), tick=tick)
    assert ticks.dtype == np.int64
    assert (ticks >= -(-low // tick)).all()
    assert (ticks <= -(-(low + extra) // tick)).all()


def test_a_varying_duration_by_hand() -> None:
    found = span_ticks(Span(60_000, 180_000), np.array([1e-9, 0.25, 0.5, 0.51, 1 - 1e-9]), tick=60_000)
    assert found.tolist() == [2, 2, 2, 3, 3]


def test_a_fixed_duration_is_always_the_same() -> None:
    assert set(span_ticks(Span(90_000, 90_000), drawn(lanes=50), tick=60_000)) == {2}
    assert set(span_ticks(Span(120_000, 120_000), drawn(lanes=50), tick=60_000)) == {2}
