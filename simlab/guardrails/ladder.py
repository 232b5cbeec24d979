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
    def nbytes(self) -> int:
        """Bytes of all records."""
        return sum(array.nbytes for array in (self.starts, self.times, self.ends, self.statistics, self.worse))

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
    statistic: Floats,
    worse: Bools,
    unknown: Bools,
    retired: Bools,
    best: Floats,
    risen: NDArray[np.int32],
    of_worse: Floats,
) -> int:
    """Raise `best` where a stream that can be judged is higher, and return in how many lanes.

    Those are put into `risen`, with the largest statistic of a stream that points to harm into `of_worse`.
    """
    before, count = best.copy(), 0
    for stream in range(len(statistic)):
        for lane in range(len(best)):
            judged = not (unknown[stream, lane] | retired[lane])
            best[lane] = max(best[lane], statistic[stream, lane] if judged else -np.inf)
    for lane in range(len(best)):
        if best[lane] > before[lane]:
            worst = -np.inf
            for stream in range(len(statistic)):
                if worse[stream, lane] and not unknown[stream, lane]:
                    worst = max(worst, statistic[stream, lane])
            risen[count], of_worse[count] = lane, worst
            count += 1
    return count


class LadderRecorder:
    """Notes the records of one guardrail look by look; explicit state of whoever runs it, not of the guardrail.

    Parameters
    ----------
    lanes : int
        How many.
    """

    def __init__(self, lanes: int) -> None:
        self._best = np.full(lanes, -np.inf)
        self._risen = np.empty(lanes, dtype=np.int32), np.empty(lanes)
        self._lanes: list[NDArray[np.int32]] = []
        self._looks: list[tuple[int, int]] = []
        self._columns: list[tuple[Integers, Floats, Floats]] = []

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
        lanes, worse = self._risen
        count = _rise(*reached, self._best, lanes, worse)
        if count:
            risen = lanes[:count].copy()
            self._lanes.append(risen)
            self._looks.append((time, count))
            self._columns.append((end[risen].astype(np.int32), self._best[risen], worse[:count].copy()))

    def ladder(self) -> Ladder:
        """Return the records so far."""
        if not self._lanes:
            no = np.empty(0)
            times = np.empty(0, dtype=np.int32)
            return Ladder(np.zeros(len(self._best) + 1, dtype=np.int64), times, times, no, no)
        lanes = np.concatenate(self._lanes)
        # Stable, so that within a lane the records stay in the order of time.
        order = np.argsort(lanes, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(lanes, minlength=len(self._best)))])
        times = np.repeat(*(np.array(each, dtype=np.int32) for each in zip(*self._looks, strict=True)))
        ends, statistics, worse = (np.concatenate(each) for each in zip(*self._columns, strict=True))
        return Ladder(starts, times[order], ends[order], statistics[order], worse[order])


def joined(ladders: Sequence[Ladder]) -> Ladder:
    """Return the ladder of one guardrail over the lanes of several blocks, in their order."""
    offsets = np.cumsum([0, *(len(each.times) for each in ladders)])
    starts = [each.starts[:-1] + offset for each, offset in zip(ladders, offsets, strict=False)]
    return Ladder(
        np.concatenate([*starts, offsets[-1:]]),
        *(np.concatenate([getattr(each, name) for each in ladders]) for name in ("times", "ends", "statistics", "worse")),
    )
