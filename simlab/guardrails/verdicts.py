"""From statistics to a verdict, compiled: which streams could be judged, and what a guardrail answers for each lane.

See `simlab.guardrails.guardrail` for what the answers mean. Loops over lanes are kept so short that they compile to vectors.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simlab.compiled import compiled
from simlab.guardrails.look import ALARM, OK, Bools, Floats, Integers

Codes = NDArray[np.int8]
COUNTED = ("looks", "unknown", "skipped", "retired")
"""What `count_looks` counts, in its order."""


class Settled(NamedTuple):
    """What is kept of a rule's answer.

    Attributes
    ----------
    statistic : float64[streams, lanes]
        The new one where there is one, else the last.
    worse, observed : bool[streams, lanes]
        Its direction, and whether the stream has ever been judged.
    unknown : bool[streams, lanes]
        Streams that could not be judged.
    taken : bool[streams, lanes]
        Where the rule's new state is kept.
    """

    statistic: Floats
    worse: Bools
    observed: Bools
    unknown: Bools
    taken: Bools


class Verdict(NamedTuple):
    """What a guardrail answers: fields of `simlab.guardrails.look.Decision`; what it calls skipped is `thin`."""

    code: Codes
    worse: Bools
    statistic: Floats
    unknown: Bools
    thin: Bools


@lru_cache(maxsize=16)
def everywhere(answer: bool, shape: tuple[int, ...]) -> Bools:
    """Return the same answer for every stream and lane; one array for all who ask, not to be written to."""
    return np.full(shape, answer)


@compiled
def _all_judged(new: Floats, valid: Bools) -> bool:
    streams, lanes = valid.shape
    found = True
    for stream in range(streams):
        for lane in range(lanes):
            # A number equals itself.
            found &= valid[stream, lane] & (new[stream, lane] == new[stream, lane])
    return found


@compiled
def _settle(
    new: Floats, new_worse: Bools, last: Floats, last_worse: Bools, last_observed: Bools,
    valid: Bools, skipped: Bools, even: Bools, missing: Bools, learns: bool,
    statistic: Floats, worse: Bools, observed: Bools, unknown: Bools, taken: Bools,
) -> bool:  # fmt: skip
    streams, lanes = valid.shape
    all_taken = True
    for stream in range(streams):
        for lane in range(lanes):
            judged = valid[stream, lane] & (new[stream, lane] == new[stream, lane])
            statistic[stream, lane] = new[stream, lane] if judged else last[stream, lane]
        for lane in range(lanes):
            shown = valid[stream, lane]
            judged = shown & (new[stream, lane] == new[stream, lane])
            seen = last_observed[stream, lane] | judged | even[stream, lane]
            worse[stream, lane] = (new_worse[stream, lane] & judged) | (last_worse[stream, lane] & (not judged))
            observed[stream, lane] = seen
            stands = judged | skipped[stream, lane]
            unknown[stream, lane] = (missing[lane] & (not shown)) | (not seen) | (not stands)
            taken[stream, lane] = shown & (judged | learns)
        for lane in range(lanes):
            all_taken &= taken[stream, lane]
    return all_taken


def settle(
    new: tuple[Floats, Bools],
    last: tuple[Floats, Bools, Bools],
    *,
    valid: Bools,
    skipped: Bools,
    even: Bools,
    missing: Bools,
    learns: bool,
) -> tuple[Settled, bool]:
    """Return what is kept of a rule's answer, and whether its new state is kept everywhere.

    A statistic that is not a number is no verdict: the look is unknown, and so is a missing one to a rule that does not count
    what is missing.

    Parameters
    ----------
    new : tuple of float64[streams, lanes] and bool[streams, lanes]
        The rule's statistic and its direction.
    last : tuple of the same and bool[streams, lanes]
        Those of the look before, and which streams had been judged.
    valid, skipped, even : bool[streams, lanes]
        From the signal.
    missing : bool[lanes]
        Of the look.
    learns : bool
        Whether the rule's state is kept wherever it was shown something.
    """
    shape = valid.shape
    if _all_judged(new[0], valid):
        yes = everywhere(True, shape)
        return Settled(*new, observed=yes, unknown=everywhere(False, shape), taken=yes), True
    settled = Settled(np.empty(shape), *(np.empty(shape, dtype=np.bool_) for _ in range(4)))
    given = (*new, *last, valid, skipped, even, missing, learns)
    return settled, bool(_settle(*given, *settled))


@compiled
def _decide(
    statistic: Floats, worse: Bools, unknown: Bools, skipped: Bools, retired: Bools, threshold: Floats, reading: np.int8,
    code: Codes, points: Bools, largest: Floats, unclear: Bools, thin: Bools,
) -> None:  # fmt: skip
    streams, lanes = statistic.shape
    largest[:], code[:], points[:], unclear[:], thin[:] = -np.inf, OK, False, False, False
    for stream in range(streams):
        for lane in range(lanes):
            largest[lane] = max(largest[lane], statistic[stream, lane])
        for lane in range(lanes):
            limit = threshold[lane if len(threshold) > 1 else 0]
            alarms = (statistic[stream, lane] >= limit) & (not unknown[stream, lane]) & (not retired[lane])
            code[lane] |= ALARM if alarms else OK
            points[lane] |= alarms & worse[stream, lane]
            unclear[lane] |= unknown[stream, lane]
            thin[lane] |= skipped[stream, lane]
    for lane in range(lanes):
        alarms = code[lane] == ALARM
        unclear[lane] &= (not alarms) & (not retired[lane])
        thin[lane] &= not retired[lane]
        points[lane] |= not alarms
        code[lane] = reading if unclear[lane] else code[lane]


def decide(
    statistic: Floats, worse: Bools, *, unknown: Bools, skipped: Bools, retired: Bools, threshold: Floats, reading: np.int8
) -> Verdict:
    """Return the verdict on each lane: alarm goes before unknown, unknown before ok.

    Parameters
    ----------
    statistic : float64[streams, lanes]
        In the rule's ladder coordinate.
    worse, unknown, skipped : bool[streams, lanes]
        Its direction; which streams could not be judged, and which are under their minimum count.
    retired : bool[lanes]
        Where there is nothing to judge by plan.
    threshold : float64[1] or float64[lanes]
        Where it alarms.
    reading : int8
        How a lane that is unknown reads.
    """
    lanes = len(retired)
    verdict = Verdict(
        np.empty(lanes, dtype=np.int8),
        np.empty(lanes, dtype=np.bool_),
        np.empty(lanes),
        np.empty(lanes, dtype=np.bool_),
        np.empty(lanes, dtype=np.bool_),
    )
    _decide(statistic, worse, unknown, skipped, retired, threshold, reading, *verdict)
    return verdict


@compiled
def count_looks(over: Bools, unknown: Bools, skipped: Bools, retired: Bools, counts: Integers) -> None:
    """Add one look to `counts` [`COUNTED`, lanes] of the lanes where the watch is not over."""
    for lane in range(len(over)):
        counts[0, lane] += not over[lane]
        counts[1, lane] += unknown[lane] & (not over[lane])
        counts[2, lane] += skipped[lane] & (not over[lane])
        counts[3, lane] += retired[lane] & (not over[lane])
