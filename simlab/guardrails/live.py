"""Plain numbers of a live stream, and the looks that are made of them.

A look holds what has arrived since the last look of the same cadence. Numbers of one allocation of the arms are added up, and
those of another one stand in a part of their own, so that arms are compared at one allocation only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from simlab.errors import MonitorError
from simlab.guardrails.look import ARMS, FirstSeen, Floats, Look, Sums

Held = TypeVar("Held")

_UNKNOWN = (0.5, 0.5)


class Counts(NamedTuple):
    """Additive sums of one metric.

    Attributes
    ----------
    observations : float
        How many values: requests, or users.
    total : float
        Their sum; for a proportion the number of events.
    squares : float, optional
        The sum of their squares; `total` if not given, as for a proportion.
    """

    observations: float
    total: float
    squares: float | None = None


Cells = Counts | Mapping[str, Counts | Mapping[str, Counts]]
"""`Counts` of everybody; or by arm, ``treatment``, ``control`` and ``outside``; or by arm and, within it, by segment."""


@dataclass(frozen=True)
class Assigned:
    """Users seen for the first time whom one step of a ramp assigned; the shares are those of that step.

    Parameters
    ----------
    shares : (float, float)
        Planned share of all users in treatment and in control.
    users : mapping
        How many were seen first, by arm, or by arm and segment.
    """

    shares: tuple[float, float]
    users: Mapping[str, float | Mapping[str, float]]


@dataclass(frozen=True)
class Arrived:
    """What has arrived under one allocation of the arms.

    Parameters
    ----------
    sums : mapping
        `Cells` by metric.
    shares : (float, float), optional
        Planned share of all users in treatment and in control. With one of them zero there are no two arms to compare; where they
        are not given, there are.
    first_seen : sequence of Assigned
        For a comparison of shares.
    """

    sums: Mapping[str, Cells]
    shares: tuple[float, float] | None = None
    first_seen: Sequence[Assigned] = ()


class Part(NamedTuple):
    """The sums of one allocation.

    Attributes
    ----------
    shares : tuple of float, or None
        As in `Arrived`.
    sums : dict of str to float64[3, segments, arms]
        Observations, totals and squares by metric.
    users : dict of tuple to float64[segments, 2]
        Users first seen, by the planned shares of the step that assigned them.
    """

    shares: tuple[float, float] | None
    sums: dict[str, Floats]
    users: dict[tuple[float, float], Floats]


class Gathered(NamedTuple):
    """What has arrived since the last look of one cadence.

    Attributes
    ----------
    start, end : int
        Span of event time in ticks.
    parts : tuple of Part
        Oldest first.
    """

    start: int = 0
    end: int = 0
    parts: tuple[Part, ...] = ()

    def with_part(self, part: Part, *, end: int) -> Gathered:
        """Return it with one more part, added to the last one where they are of one allocation."""
        last = self.parts[-1] if self.parts else None
        if last is None or last.shares != part.shares:
            return self._replace(end=end, parts=(*self.parts, part))
        sums = {name: last.sums[name] + values for name, values in part.sums.items()}
        users = dict(last.users)
        for shares, counted in part.users.items():
            users[shares] = users.get(shares, 0.0) + counted
        return self._replace(end=end, parts=(*self.parts[:-1], Part(part.shares, sums, users)))


@dataclass(frozen=True)
class Intake:
    """From plain numbers to the looks of one stream.

    Parameters
    ----------
    metrics : tuple of str
        What is watched.
    segments : tuple of str
        Their names, in order.
    counts_users : bool
        Whether first assignments are watched.
    seed : int
        For rules that draw numbers of their own.
    """

    metrics: tuple[str, ...]
    segments: tuple[str, ...]
    counts_users: bool
    seed: int

    def part(self, arrived: Arrived) -> Part:
        """Return the arrays of what has arrived.

        Raises
        ------
        MonitorError
            If a watched metric is not there, or a number, an arm or a segment cannot be used.
        """
        absent = [name for name in self.metrics if name not in arrived.sums]
        if absent:
            raise MonitorError(f"what has arrived has no {absent[0]!r}, which is watched")
        users: dict[tuple[float, float], Floats] = {}
        for assigned in arrived.first_seen if self.counts_users else ():
            shares = _shares(assigned.shares)
            users[shares] = users.get(shares, 0.0) + self._users(assigned.users)
        sums = {name: self._sums(name, arrived.sums[name]) for name in self.metrics}
        return Part(None if arrived.shares is None else _shares(arrived.shares), sums, users)

    def look(self, gathered: Gathered, time: int, *, missing: bool, one_armed: bool) -> Look:
        """Return the look at `time`, of one lane; a missing one holds nothing."""
        parts = () if missing else gathered.parts
        return Look(
            time=time,
            start=np.array([gathered.start]),
            end=np.array([gathered.start if missing else gathered.end]),
            lanes=np.array([0]),
            seed=self.seed,
            sums={name: self._stacked(name, parts) for name in self.metrics},
            first_seen=self._first_seen(parts) if self.counts_users else None,
            shares=np.array([part.shares or _UNKNOWN for part in parts] or [_UNKNOWN])[:, :, None],
            missing=np.array([missing]),
            one_armed=np.array([one_armed]),
        )

    def _stacked(self, name: str, parts: tuple[Part, ...]) -> Sums:
        nothing = np.zeros((3, len(self.segments), len(ARMS)))
        each = np.stack([part.sums[name] for part in parts] or [nothing])[..., None]
        return Sums(each[:, 0], each[:, 1], each[:, 2])

    def _first_seen(self, parts: tuple[Part, ...]) -> FirstSeen:
        nobody = ((0.0, 0.0), np.zeros((len(self.segments), 2)))
        groups = [group for part in parts for group in part.users.items()] or [nobody]
        users = np.stack([counted for _, counted in groups])
        return FirstSeen(users[..., None], np.array([shares for shares, _ in groups])[..., None])

    def _sums(self, name: str, cells: Cells) -> Floats:
        """Return float64[3, segments, arms]: observations, totals, squares."""
        found = np.zeros((3, len(self.segments), len(ARMS)))
        # Everybody, without arms, stands where nobody is compared.
        by_arm = {"outside": cells} if isinstance(cells, Counts) else cells
        for arm, held in by_arm.items():
            by_segment = self._by_segment({"": held} if isinstance(held, Counts) else held)
            for segment, (observations, total, squares) in by_segment.items():
                place = found[:, segment, _arm(arm, ARMS)]
                place[:] = (
                    _counted(observations, name),
                    _number(total, name),
                    _counted(total if squares is None else squares, name),
                )
        return found

    def _users(self, users: Mapping[str, float | Mapping[str, float]]) -> Floats:
        """Return float64[segments, 2]."""
        found = np.zeros((len(self.segments), 2))
        for arm, held in users.items():
            for segment, count in self._by_segment(held if isinstance(held, Mapping) else {"": held}).items():
                found[segment, _arm(arm, ARMS[:2])] = _counted(count, "users first seen")
        return found

    def _by_segment(self, held: Mapping[str, Held]) -> dict[int, Held]:
        """Return what is held by segment, by its place; what is not split needs a stream of one segment."""
        if list(held) == [""] and len(self.segments) == 1:
            return {0: held[""]}
        unknown = [name for name in held if name not in self.segments]
        if unknown:
            what = f"no segment {unknown[0]!r}" if unknown[0] else "numbers that are not split by segment"
            raise MonitorError(f"there is {what}; segments: {', '.join(self.segments)}")
        return {self.segments.index(name): each for name, each in held.items()}


def _arm(name: str, arms: Sequence[str]) -> int:
    if name not in arms:
        raise MonitorError(f"there is no arm {name!r}; arms: {', '.join(arms)}")
    return arms.index(name)


def _number(value: float, what: str) -> float:
    if not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise MonitorError(f"{value!r} is no number for {what}; leave out what is not known, or say that the look is missing")
    return float(value)


def _counted(value: float, what: str) -> float:
    if _number(value, what) < 0:
        raise MonitorError(f"{value!r} cannot be a number of {what}: it is less than none")
    return float(value)


def _shares(shares: tuple[float, float]) -> tuple[float, float]:
    treatment, control = (_counted(share, "shares") for share in shares)
    if treatment + control > 1 + 1e-9:
        raise MonitorError(f"shares {treatment:g} and {control:g} are more than everybody")
    return treatment, control
