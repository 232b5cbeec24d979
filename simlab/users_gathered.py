"""Cumulative sums over users on their way into looks: what they were before a look, and what has arrived since."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from simlab.guardrails.look import Bools, Floats, Integers, UserSums


class UsersGathered:
    """The sums over users that looks of one cadence are given.

    Parameters
    ----------
    terms : mapping of str to int
        How many sums there are of each metric that is judged user by user.
    parts, segments, lanes : int
        Sizes of a look.
    """

    def __init__(self, terms: Mapping[str, int], *, parts: int, segments: int, lanes: int) -> None:
        shape = (parts, segments, 2, lanes)
        self._sums = {name: UserSums(np.zeros((count, *shape)), np.zeros((count, *shape))) for name, count in terms.items()}
        self._allocation = np.full(lanes, -1, dtype=np.int64)
        self._part = np.zeros(lanes, dtype=np.int64)

    def add(self, users: Mapping[str, Floats], allocation: Integers, part: Integers, arrived: Bools) -> None:
        """Add a tick's growth where it has arrived; where the ramp has taken users from control, sums begin anew.

        Parameters
        ----------
        users : mapping of str to float64[terms, segments, 2, lanes]
            By how much the sums grew.
        allocation, part : int64[lanes]
            `Strata.allocation` during the tick, and the part of the look that the tick belongs to.
        arrived : bool[lanes]
            Where it has arrived.
        """
        moved = arrived & (allocation != self._allocation)
        begins = moved | (arrived & (part != self._part))
        for name, sums in self._sums.items():
            start = np.where(moved, 0.0, self._latest(sums.after))
            for index in np.unique(part[arrived]):
                here = arrived & (part == index)
                for each in sums:
                    each[:, index] = np.where(here & begins, start, each[:, index])
                sums.after[:, index] += np.where(here, users[name], 0.0)
        self._allocation = np.where(arrived, allocation, self._allocation)
        self._part = np.where(arrived, part, self._part)

    def _latest(self, sums: Floats) -> Floats:
        """Return the sums of each lane's last part, float64[terms, segments, 2, lanes]."""
        return np.asarray(np.take_along_axis(sums, self._part[None, None, None, None], axis=1)[:, 0])

    def given(self, lanes: Bools) -> dict[str, UserSums]:
        """Return the sums for a look, nothing where it is not given."""
        return {name: UserSums(sums.before * lanes, sums.after * lanes) for name, sums in self._sums.items()}

    def clear(self, lanes: Bools) -> None:
        """Let the next look of these lanes go on where this one's last part ended."""
        for name, sums in self._sums.items():
            first = np.zeros_like(sums.after)
            first[:, 0] = self._latest(sums.after)
            self._sums[name] = UserSums(*(np.where(lanes, first, each) for each in sums))
        self._part = np.where(lanes, 0, self._part)
