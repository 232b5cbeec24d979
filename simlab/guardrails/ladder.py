"""The records of a statistic's running maximum: from them the first passage of every threshold, and not of one alone.

A statistic in its ladder coordinate first reaches a threshold c at the first look at which its running maximum does, which is a
look at which that maximum rose: a record. So the records of a guardrail that never acts answer for every c at once. They are kept
in the order of lanes, and within a lane of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simlab.compiled import compiled
from simlab.guardrails.look import Bools, Floats, Integers, Reached

NOT_REACHED = -1
"""The time of a passage that did not come."""

_LOOKS_OF_ROOM = 16
"""Looks at which the maximum may rise in all lanes before there must be more room."""


class Passages(NamedTuple):
    """First passages of several thresholds.

    Attributes
    ----------
    time : int64[thresholds, lanes]
        Tick of the look; -1 where the threshold was not reached.
    end : int64[thresholds, lanes]
        Watermark of that look; -1 where there is none.
    worse : bool[thresholds, lanes]
        Whether a stream that points to harm had reached the threshold at that look; True where there is none.
    """

    time: Integers
    end: Integers
    worse: Bools


@dataclass(frozen=True)
class Ladder:
    """The records of one guardrail's running maximum in a block of lanes.

    Attributes
    ----------
    starts : int64[lanes + 1]
        The records of lane i are those from starts[i] up to starts[i + 1].
    times, ends : int32[records]
        Tick of the look, and its watermark.
    statistics : float64[records]
        The new maximum, in the rule's ladder coordinate; it rises within a lane.
    worse : float64[records]
        The largest statistic at that look of a stream that points to harm; -inf if there is none.
    """

    starts: Integers
    times: NDArray[np.int32]
    ends: NDArray[np.int32]
    statistics: Floats
    worse: Floats

    @property
    def lanes(self) -> int:
        """How many lanes."""
        return len(self.starts) - 1

    @property
    def maxima(self) -> Floats:
        """The last maximum of each lane, float64[lanes]; -inf where there is no record."""
        found = np.full(self.lanes, -np.inf)
        some = self.starts[1:] > self.starts[:-1]
        found[some] = self.statistics[self.starts[1:][some] - 1]
        return found

    def passages(self, thresholds: ArrayLike) -> Passages:
        """Return when each threshold is first reached in each lane.

        Parameters
        ----------
        thresholds : float64[thresholds]
            Finite, in the rule's ladder coordinate, in any order. float64[thresholds, lanes] gives each lane its own.

        Raises
        ------
        ValueError
            If a threshold is not finite: minus infinity is reached by what is no evidence at all.
        """
        asked = np.asarray(thresholds, dtype=float)
        if not np.isfinite(asked).all():
            raise ValueError("a threshold must be finite")
        each = np.broadcast_to(asked if asked.ndim == 2 else asked[:, None], (len(asked), self.lanes))
        record = _first_at_least(self.starts, self.statistics, each)
        found = record >= 0
        if not len(self.times):
            nothing = np.full(each.shape, NOT_REACHED)
            return Passages(nothing, nothing, np.ones(each.shape, dtype=bool))
        # Where there is no passage the index is -1, and what is read there is not used.
        time = np.where(found, self.times[record], NOT_REACHED)
        end = np.where(found, self.ends[record], NOT_REACHED)
        return Passages(time, end, ~found | (self.worse[record] >= each))


@compiled
def _first_at_least(starts: Integers, statistics: Floats, thresholds: Floats) -> Integers:
    """Return the index of each lane's first record at or above each threshold, -1 if there is none, by bisection."""
    count, lanes = thresholds.shape
    found = np.empty((count, lanes), dtype=np.int64)
    for lane in range(lanes):
        for index in range(count):
            low, high = starts[lane], starts[lane + 1]
            while low < high:
                middle = (low + high) // 2
                if statistics[middle] >= thresholds[index, lane]:
                    high = middle
                else:
                    low = middle + 1
            found[index, lane] = low if low < starts[lane + 1] else -1
    return found


@compiled
def _rise(
    largest: Floats, statistic: Floats, worse: Bools, unknown: Bools, retired: Bools, end: Integers, time: int,
    best: Floats, room: Floats, at: int,
) -> int:  # fmt: skip
    """Raise `best` where a stream that can be judged is higher, and return where the records of these lanes end in `room`.

    They begin at the row `at`, and have in the last column the largest statistic of a stream that points to harm.
    """
    for lane in range(len(best)):
        # At most looks no stream is higher, and the others need no loop over the streams.
        if largest[lane] > best[lane] and not retired[lane]:
            highest, worst = -np.inf, -np.inf
            for stream in range(len(statistic)):
                if not unknown[stream, lane]:
                    highest = max(highest, statistic[stream, lane])
                    if worse[stream, lane]:
                        worst = max(worst, statistic[stream, lane])
            if highest > best[lane]:
                best[lane] = highest
                room[at, 0], room[at, 1], room[at, 2], room[at, 3], room[at, 4] = lane, time, end[lane], highest, worst
                at += 1
    return at


@compiled
def _sort_in(records: Floats, places: Integers, by_lane: Floats) -> None:
    """Put records where those of their lane go next, and move these `places` [lanes] on."""
    for at in range(len(records)):
        lane = int(records[at, 0])
        by_lane[places[lane]] = records[at]
        places[lane] += 1


class LadderRecorder:
    """Notes the records of one guardrail look by look; explicit state of whoever runs it, not of the guardrail.

    Parameters
    ----------
    lanes : int
        How many.
    """

    def __init__(self, lanes: int) -> None:
        self._best = np.full(lanes, -np.inf)
        # Lane, time, end, statistic, worse: in one array, because a kernel takes one faster than five.
        self._full: list[Floats] = []
        self._room, self._used = np.empty((_LOOKS_OF_ROOM * lanes, 5)), 0

    def note(self, time: int, end: Integers, reached: Reached) -> None:
        """Keep the lanes in which the maximum has risen.

        Parameters
        ----------
        time : int
            Tick of the look.
        end : int64[lanes]
            Its watermark.
        reached : Reached
            From the guardrail's decision.
        """
        self._used = _rise(*reached, end, time, self._best, self._room, self._used)
        if self._used + len(self._best) > len(self._room):
            self._full.append(self._room[: self._used])
            self._room, self._used = np.empty_like(self._room), 0

    def ladder(self) -> Ladder:
        """Return the records so far."""
        found = [*self._full, self._room[: self._used]]
        counts = sum(np.bincount(each[:, 0].astype(np.int64), minlength=len(self._best)) for each in found)
        starts = np.concatenate([[0], np.cumsum(counts)])
        by_lane, places = np.empty((starts[-1], 5)), starts[:-1].copy()
        for each in found:
            _sort_in(each, places, by_lane)
        _, times, ends, statistics, worse = by_lane.T
        return Ladder(starts, times.astype(np.int32), ends.astype(np.int32), statistics.copy(), worse.copy())


def joined(ladders: Sequence[Ladder]) -> Ladder:
    """Return the ladder of one guardrail over the lanes of several blocks, in their order."""
    offsets = np.cumsum([0, *(len(each.times) for each in ladders)])
    starts = [each.starts[:-1] + offset for each, offset in zip(ladders, offsets, strict=False)]
    return Ladder(
        np.concatenate([*starts, offsets[-1:]]),
        *(np.concatenate([getattr(each, name) for each in ladders]) for name in ("times", "ends", "statistics", "worse")),
    )
