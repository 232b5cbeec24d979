"""An event log summed by tick, in memory that holds the ticks, one batch of rows, and the users only where they are asked for.

What users add up to, and who is seen first, depends on what came before: such a log must be in order of time. All else does not
depend on the order of its rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simlab.errors import RecordingError
from simlab.guardrails.look import ARMS, BUCKETS, LOWEST, OUTSIDE, PER_DECADE, USER_TERMS, Floats, Integers
from simlab.world.aggregate import Watched
from simlab.world.rows import Rows, rows_told

MAX_TICKS = 1_000_000
"""The longest recording that is replayed."""
MAX_SEGMENTS = 64
_MERGED = 8


class Summed(NamedTuple):
    """Sums of events at some ticks; what nobody watches has length 0.

    Attributes
    ----------
    ticks : int64[n]
        Since 1970, in order.
    sums : float64[n, metrics, 3, segments, arms]
        Observations, total and sum of squares.
    buckets : float64[n, metrics, buckets, segments, arms]
        Of the metrics whose quantiles are watched, in order of their names.
    first_seen : float64[n, 1, segments, 2]
        Users seen for the first time, by the arm in which they were.
    users : float64[n, metrics, terms, segments, 2]
        By how much the sums over users of `UserSums` grew, of the metrics judged by user in order of their names.
    """

    ticks: Integers
    sums: Floats
    buckets: Floats
    first_seen: Floats
    users: Floats


class EventSums:
    """Adds up the rows of an event log, batch by batch.

    Parameters
    ----------
    metrics : sequence of str
        In the order of the values that are given.
    tick : int
        Milliseconds.
    watched : Watched
        What is asked for beyond sums.
    """

    def __init__(self, metrics: tuple[str, ...], *, tick: int, watched: Watched) -> None:
        self.tick = tick
        self._bucketed = [metrics.index(name) for name in sorted(watched.quantiles)]
        self._by_user = [metrics.index(name) for name in sorted(watched.by_user)]
        self._first_seen = watched.first_seen
        self._numbers: dict[str, int] = {}
        self._segments: dict[str, int] = {}
        self._held = np.zeros((len(self._by_user), 2, 0))
        self._seen = np.zeros(0, dtype=bool)
        self._latest = -(2**62)
        self._waiting: list[Summed] = []

    @property
    def segments(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(sorted(self._segments)) or ("everyone",)

    def add(self, rows: Rows, values: Floats) -> None:
        """Add rows with their values, float64[metrics, rows]; NaN is no observation.

        Raises
        ------
        RecordingError
            If users are asked for and the rows are not in order of time, or there are too many ticks or segments.
        """
        ticks, place = np.unique(rows.times // self.tick, return_inverse=True)
        segment = np.zeros(len(place), dtype=np.int64) if rows.segment is None else numbered(rows.segment, self._segments)
        if len(self._segments) > MAX_SEGMENTS:
            raise RecordingError(f"more than {MAX_SEGMENTS} segments; a column of few values is meant")
        shape = (len(ticks), max(1, len(self._segments)), len(ARMS))
        cell = (place * shape[1] + segment) * len(ARMS) + rows.arms
        sums = np.stack([_sums(each, cell, shape) for each in values], axis=1)
        buckets = np.zeros((len(ticks), 0, BUCKETS, *shape[1:]))
        if self._bucketed:
            buckets = np.stack([_buckets(values[index], cell, shape) for index in self._bucketed], axis=1)
        first_seen = np.zeros((len(ticks), 1, shape[1], 2))
        users = np.zeros((len(ticks), len(self._by_user), USER_TERMS, shape[1], 2))
        if rows.user is not None and (self._first_seen or self._by_user):
            self._add_users(rows, values, place * shape[1] + segment, first_seen=first_seen, users=users)
        self._waiting.append(Summed(ticks, sums, buckets, first_seen, users))
        if len(self._waiting) == _MERGED:
            self._waiting = [self._merged()]

    def _add_users(self, rows: Rows, values: Floats, row_cell: Integers, *, first_seen: Floats, users: Floats) -> None:
        """Add who is seen first to `first_seen`, and what users add up to there to `users`."""
        behind = np.diff(rows.times // self.tick, prepend=self._latest) < 0
        if behind.any():
            problem = rows_told("times go backwards, and what users add up to needs them in order", rows.number[behind])
            raise RecordingError(problem)
        self._latest = int(rows.times[-1] // self.tick) if len(rows.times) else self._latest
        here = rows.arms != OUTSIDE
        assert rows.user is not None  # noqa: S101
        # Somebody who is in both arms counts in each: `validate --isolation` tells of such a leak.
        who = numbered(rows.user[here], self._numbers) * 2 + rows.arms[here]
        cell = row_cell[here] * 2 + rows.arms[here]
        # Seen first once, whichever arm they are in later.
        person = who // 2
        grown = len(self._numbers) - len(self._seen)
        self._seen = np.concatenate([self._seen, np.zeros(grown, dtype=bool)])
        self._held = np.concatenate([self._held, np.zeros((*self._held.shape[:2], 2 * grown))], axis=2)
        once, at = np.unique(person, return_index=True)
        fresh = at[~self._seen[once]]
        self._seen[once] = True
        first_seen += np.bincount(cell[fresh], minlength=first_seen.size).reshape(first_seen.shape)
        for number, index in enumerate(self._by_user):
            terms = _growth(who, values[index][here], self._held[number])
            known = np.isfinite(values[index][here])
            for term, each in enumerate(terms):
                total = np.bincount(cell[known], each, minlength=users[:, 0, 0].size)
                users[:, number, term] += total.reshape(users[:, 0, 0].shape)

    def done(self) -> Summed | None:
        """Return all that was added, segments in order of their names; None if it was nothing."""
        if not self._waiting:
            return None
        found = self._merged()
        order = [self._segments[name] for name in self.segments] if self._segments else [0]
        by_segment = (each.take(order, axis=-2) for each in found[1:])
        return Summed(found.ticks, *by_segment) if len(found.ticks) else None

    def _merged(self) -> Summed:
        return merged(self._waiting, segments=max(1, len(self._segments)))


def merged(parts: Iterable[Summed], *, segments: int) -> Summed:
    """Return the sums of several, of as many segments; those that a part did not know yet stand last."""
    parts = list(parts)
    ticks, place = np.unique(np.concatenate([part.ticks for part in parts]), return_inverse=True)
    if len(ticks) > MAX_TICKS:
        raise RecordingError(f"events fall on more than {MAX_TICKS:,} ticks; give a larger tick")
    found = []
    for values in zip(*(part[1:] for part in parts), strict=True):
        each = [_widened(np.asarray(part), segments) for part in values]
        total = np.zeros((len(ticks), *each[0].shape[1:]))
        np.add.at(total, place, np.concatenate(each))
        found.append(total)
    return Summed(ticks, *found)


def _widened(values: Floats, segments: int) -> Floats:
    more = segments - values.shape[-2]
    return values if not more else np.pad(values, [(0, 0)] * (values.ndim - 2) + [(0, more), (0, 0)])


def numbered(names: NDArray[np.object_], known: dict[str, int]) -> Integers:
    """Return the number of each name, given in the order in which names are met; `known` grows."""
    import pandas as pd

    codes, uniques = pd.factorize(names)
    numbers = np.array([known.setdefault(str(name), len(known)) for name in uniques], dtype=np.int64)
    return numbers[codes] if len(codes) else np.zeros(0, dtype=np.int64)


def _sums(samples: Floats, cell: Integers, shape: tuple[int, ...]) -> Floats:
    """Return observations, total and sum of squares, float64[ticks, 3, segments, arms]."""
    known, size = np.isfinite(samples), int(np.prod(shape))
    each = [np.bincount(cell[known], samples[known] ** order, minlength=size).reshape(shape) for order in range(3)]
    return np.stack(each, axis=1)


def _buckets(samples: Floats, cell: Integers, shape: tuple[int, ...]) -> Floats:
    """Return counts by fixed logarithmic buckets, float64[ticks, buckets, segments, arms]."""
    known = np.isfinite(samples)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 1 + np.floor(np.log10(samples[known] / LOWEST) * PER_DECADE)
    bucket = np.where(samples[known] > LOWEST, np.minimum(found, BUCKETS - 1), 0).astype(np.int64)
    size = int(np.prod(shape))
    counts = np.bincount(bucket * size + cell[known], minlength=BUCKETS * size)
    return np.asarray(np.moveaxis(counts.reshape(BUCKETS, *shape), 0, 1), dtype=np.float64)


def _growth(who: Integers, samples: Floats, held: Floats) -> list[Floats]:
    """Return by how much each row lets the sums over users of 1, Y, N, Y^2, N^2 and YN grow; `held` [2, users] grows too."""
    known = np.isfinite(samples)
    who, samples = who[known], samples[known]
    order = np.argsort(who, kind="stable")
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    sorted_who, more = who[order], samples[order]
    begins = np.flatnonzero(np.diff(sorted_who, prepend=-1))
    group = np.cumsum(np.diff(sorted_who, prepend=-1) != 0) - 1
    before = np.cumsum(more) - more
    y = (held[0, sorted_who] + before - before[begins][group])[back] if len(order) else samples
    n = (held[1, sorted_who] + np.arange(len(order)) - begins[group])[back] if len(order) else samples
    np.add.at(held[0], who, samples)
    np.add.at(held[1], who, 1.0)
    cross = (y + samples) * (n + 1.0) - y * n
    return [(n == 0).astype(float), samples, np.ones(len(n)), samples * (2 * y + samples), 2 * n + 1, cross]
