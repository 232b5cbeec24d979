"""What a guardrail is given, and what it answers.

A `Look` is all that had arrived by one evaluation. It holds no onset, no truth and no future, and nothing that a live service
could not compute: the same class is filled by the simulator, by a replayed recording and by a live stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

ARMS = ("treatment", "control", "outside")
TREATMENT, CONTROL, OUTSIDE = range(3)

BUCKETS, PER_DECADE, LOWEST = 64, 12, 1e-3
"""Buckets of a distribution of durations in seconds: up to `LOWEST`, then `PER_DECADE` to a factor of ten; the last is open."""


USER_TERMS, COVARIATE_TERMS = 6, 10
"""Terms of sums over users, without and with a covariate."""


class Sums(NamedTuple):
    """Additive sums of one metric over the span of a look.

    Attributes
    ----------
    observations : float64[parts, segments, arms, lanes]
        How many: requests, or the samples of a recorded series.
    total : float64[parts, segments, arms, lanes]
        Sum of the values; for a proportion the number of events.
    squares : float64[parts, segments, arms, lanes]
        Sum of the squared values; for a proportion the same numbers as `total`.
    """

    observations: Floats
    total: Floats
    squares: Floats


class FirstSeen(NamedTuple):
    """Users seen for the first time since they were assigned, in groups that share their history.

    A group is the users whom one step of the ramp assigned, while one allocation of arms held. All of them were assigned at the
    same moment, so those still unseen are spread over the arms as planned, whatever the ramp did before.

    Attributes
    ----------
    users : float64[groups, segments, 2, lanes]
        How many were seen first by treatment and by control.
    shares : float64[groups, 2, lanes]
        Planned share of all users in the group's treatment and in its control.
    """

    users: Floats
    shares: Floats


class UserSums(NamedTuple):
    """Cumulative sums over users of one metric, as they were before the look and as they are after it, by part.

    A user counts in an arm since the ramp last took users from control: from then on both arms only grow alike, and the sums
    begin anew. A part goes on where the part before, or the last one of the look before, ended. The terms are the sums over users
    of 1, Y, N, Y^2, N^2 and YN, with Y the user's total and N the user's number of units; where a covariate is asked for, also of
    X, X^2, XY and XN, with X what the user had been like before the rollout began.

    Attributes
    ----------
    before, after : float64[terms, parts, segments, 2, lanes]
        For treatment and control; `USER_TERMS` terms, or `COVARIATE_TERMS` with a covariate.
    """

    before: Floats
    after: Floats


@dataclass(frozen=True)
class Look:
    """What had arrived by one evaluation, for the span [start, end) of event time.

    The span is split in parts wherever a lane's ramp moved inside it, so that arms are compared only at one allocation.

    Attributes
    ----------
    time : int
        Tick t of the evaluation; data of ticks before t can have arrived.
    start, end : int64[lanes]
        Span of event time in ticks; `end` is the watermark.
    lanes : int64[lanes]
        Lane numbers; a live stream is lane 0.
    seed : int
        For rules that draw numbers of their own.
    sums : mapping of str to Sums
        Increments by metric.
    first_seen : FirstSeen or None
        Users seen for the first time; None if nobody asked.
    shares : float64[parts, 2, lanes]
        Planned share of all users in treatment and in control.
    missing : bool[lanes]
        The look was lost: its sums are zero, and its data come with a later one.
    one_armed : bool[lanes]
        By plan there are not two arms to compare: nobody is exposed yet, or everybody is.
    users : mapping of str to UserSums
        For metrics that a signal judges user by user.
    buckets : mapping of str to float64[buckets, parts, segments, arms, lanes]
        How many observations fell in each of the fixed buckets, for metrics of which a signal takes a quantile.
    """

    time: int
    start: Integers
    end: Integers
    lanes: Integers
    seed: int
    sums: Mapping[str, Sums]
    first_seen: FirstSeen | None
    shares: Floats
    missing: Bools
    one_armed: Bools
    users: Mapping[str, UserSums] = field(default_factory=dict)
    buckets: Mapping[str, Floats] = field(default_factory=dict)


class Code(IntEnum):
    """The answer of a guardrail at one look."""

    OK = 0
    ALARM = 1
    UNKNOWN = 2


# As plain numbers: a member of an enumeration is looked up at some cost, which would be paid at every look.
OK, ALARM, UNKNOWN = np.int8(Code.OK), np.int8(Code.ALARM), np.int8(Code.UNKNOWN)


class Reached(NamedTuple):
    """What a guardrail that never alarms leaves for its ladder: any threshold up to a statistic that can be judged would alarm.

    Attributes
    ----------
    largest : float64[lanes]
        Largest statistic over the streams, whether they can be judged or not.
    statistic : float64[streams, lanes]
        That of each stream, in the rule's ladder coordinate.
    worse, unknown : bool[streams, lanes]
        Whether a stream's evidence points to harm, and whether it cannot be judged.
    retired : bool[lanes]
        Where nothing would alarm.
    """

    largest: Floats
    statistic: Floats
    worse: Bools
    unknown: Bools
    retired: Bools


@dataclass(frozen=True)
class Decision:
    """What a guardrail answers at one look, for each lane.

    Attributes
    ----------
    code : int8[lanes]
        `Code`: ok, alarm or unknown.
    worse : bool[lanes]
        Where it alarms: whether the evidence points to harm; False is an alarm in the wrong direction.
    statistic : float64[lanes]
        Largest statistic over the streams, in the rule's ladder coordinate; -inf before the first observation.
    end : int64[lanes]
        Watermark of the look: the evidence is from ticks before it.
    unknown : bool[lanes]
        The look could not be judged, whatever `on_unknown` made of it.
    skipped : bool[lanes]
        At least one stream was under its minimum count; its data wait for the next look.
    retired : bool[lanes]
        A comparison that by plan has not two arms to compare.
    reached : Reached or None
        Of a guardrail that only leaves its ladder.
    """

    code: NDArray[np.int8]
    worse: Bools
    statistic: Floats
    end: Integers
    unknown: Bools
    skipped: Bools
    retired: Bools
    reached: Reached | None = None
