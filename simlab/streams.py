"""Keyed random streams: every number is a pure function of (seed, stream name, tick, lane, cell).

Nothing is drawn in an order, so nothing that one lane, policy or block does can move the noise of another (common random
numbers). The finaliser is that of SplitMix64 (Steele, Lea & Flood 2014), applied once to each part of the key; along lanes
the key is a SplitMix64 sequence.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simlab.compiled import compiled, inlined
from simlab.ticks import Span

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 2.0**-52


@lru_cache(maxsize=1024)
def stream_key(seed: int, name: str) -> np.uint64:
    """Return the 64-bit key of the stream `name` under `seed`."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


@inlined
def mix(word: np.uint64) -> np.uint64:
    """Return the SplitMix64 finaliser of a 64-bit word."""
    word = (word ^ (word >> np.uint64(30))) * _FIRST
    word = (word ^ (word >> np.uint64(27))) * _SECOND
    return word ^ (word >> np.uint64(31))


@inlined
def cell_key(key: np.uint64, tick: int, cell: int) -> np.uint64:
    """Return the key of one cell at one tick; `lane_uniform` then walks the lanes."""
    return mix(mix(key + np.uint64(tick) * _GOLDEN) + np.uint64(cell + 1) * _GOLDEN)


@inlined
def lane_uniform(key: np.uint64, lane: int) -> float:
    """Return a uniform in the open interval (0, 1) with 52 random bits for one lane under a cell's key."""
    bits = mix(key + np.uint64(lane + 1) * _GOLDEN)
    return (np.float64(bits >> np.uint64(12)) + 0.5) * _TO_UNIT


@inlined
def numbered(key: np.uint64, number: int) -> np.uint64:
    """Return the key of one thing among those numbered under a key: a lane, a user, a visit."""
    return mix(key + np.uint64(number + 1) * _GOLDEN)


@inlined
def word_uniform(word: np.uint64, key: np.uint64) -> float:
    """Return a uniform in the open interval (0, 1) for the thing whose key is `word`, in the stream `key`."""
    return (np.float64(mix(word + key) >> np.uint64(12)) + 0.5) * _TO_UNIT


@compiled
def fill_uniforms(key: np.uint64, words: NDArray[np.uint64], out: NDArray[np.float64]) -> None:
    """Fill `out` with `word_uniform` of each word in the stream `key`."""
    for at in range(len(out)):
        out[at] = word_uniform(words[at], key)


@compiled
def fill_lane_uniforms(key: np.uint64, first_lane: int, out: NDArray[np.float64]) -> None:
    """Fill `out` [lanes] with `lane_uniform` of consecutive lanes under a cell's key."""
    for index in range(len(out)):
        out[index] = lane_uniform(key, first_lane + index)


@compiled
def _uniforms(key: np.uint64, tick: int, cell: int, lanes: NDArray[np.int64]) -> NDArray[np.float64]:
    base = cell_key(key, tick, cell)
    out = np.empty(lanes.size)
    for index in range(lanes.size):
        out[index] = lane_uniform(base, lanes[index])
    return out


def uniforms(key: np.uint64, tick: int, lanes: NDArray[np.int64], *, cell: int = 0) -> NDArray[np.float64]:
    """Return one uniform in (0, 1) for each lane.

    Parameters
    ----------
    key : numpy.uint64
        From `stream_key`.
    tick : int
        Tick, or any other index of time.
    lanes : int64[lanes]
        Lane numbers, counted over the whole study.
    cell : int
        Which of the numbers of this tick and lane.
    """
    return np.asarray(_uniforms(key, tick, cell, lanes))


def span_ticks(span: Span, uniform: NDArray[np.float64], *, tick: int) -> NDArray[np.int64]:
    """Return a varying duration in whole ticks, rounded up, one for each uniform in (0, 1).

    Parameters
    ----------
    span : Span
        Limits in milliseconds.
    uniform : float64[lanes]
        One uniform a lane.
    tick : int
        Milliseconds in a tick.
    """
    duration = span.low + (span.high - span.low) * uniform
    return np.ceil(duration / tick).astype(np.int64)
