"""Exposure strata: the pieces of the user population that a ramp moves as one.

Users sit in monotone buckets from 0 to 1. Treatment at a step that exposes e is [0, e). A control of the same size is the top e,
and above one half the rest; otherwise control is always the rest. Cuts at every e, and for a same-size control at 1 - e, leave
strata that no step divides, so that the noise of a stratum serves every path of ramps, pauses and rollbacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simlab.guardrails.look import Floats, Integers
from simlab.scenario import Rollout


@dataclass(frozen=True)
class Strata:
    """Strata and which of them are in which arm at each position of the ramp; position 0 exposes nobody.

    Attributes
    ----------
    cuts : float64[strata + 1]
        From 0 to 1.
    treated : int64[positions]
        Number of strata, from the first on, in treatment.
    control_from : int64[positions]
        First stratum in control; the number of strata where there is none.
    shares : float64[positions, 2]
        Shares of all users in treatment and control.
    """

    cuts: Floats
    treated: Integers
    control_from: Integers
    shares: Floats

    @property
    def count(self) -> int:
        """Number of strata."""
        return len(self.cuts) - 1

    @property
    def widths(self) -> Floats:
        """Share of all users in each stratum, float64[strata]."""
        return np.diff(self.cuts)

    @cached_property
    def cohort(self) -> Integers:
        """Which step assigned each stratum to an arm first, int64[strata], counted from 0; -1 if none ever does."""
        stratum = np.arange(self.count)
        assigned = (stratum < self.treated[1:, None]) | (stratum >= self.control_from[1:, None])
        return np.where(assigned.any(axis=0), assigned.argmax(axis=0), -1)

    @cached_property
    def cohort_shares(self) -> Floats:
        """Shares of all users in treatment and in control by position and cohort, float64[positions, steps, 2]."""
        stratum = np.arange(self.count)
        arms = np.stack([stratum < self.treated[:, None], stratum >= self.control_from[:, None]], axis=1)
        members = self.cohort == np.arange(len(self.treated) - 1)[:, None]
        return np.asarray(np.einsum("pas,cs,s->pca", arms, members, self.widths))

    @cached_property
    def allocation(self) -> Integers:
        """Number of the allocation at each position, int64[positions]: a new one where a step takes users from control.

        While it is the same both arms only grow, by users whom the same steps assigned, so that sums over users may go on.
        """
        taken = np.maximum(self.treated[1:] - self.control_from[:-1], 0) > 0
        return np.concatenate([[0], 1 + np.cumsum(taken)]).astype(np.int64)

    @property
    def one_armed(self) -> NDArray[np.bool_]:
        """Positions without both arms, bool[positions]: nobody is exposed yet, or everybody is."""
        return np.asarray(self.shares.min(axis=1) == 0)


def control_begins(exposed: float, control: str) -> float:
    """Return where control begins among the buckets, in [0, 1], when a share `exposed` is treated."""
    return 1.0 - exposed if control == "same_size" and exposed <= 0.5 else exposed


def strata_of(rollout: Rollout) -> Strata:
    """Return the strata of a rollout."""
    exposures = [step.expose for step in rollout.steps]
    begins = [control_begins(exposed, rollout.control) for exposed in exposures]
    # Rounding joins cuts that are the same number but for the last bit, such as 0.9 and 1 - 0.1.
    cuts = np.array(sorted(set(np.round([0.0, *exposures, *begins, 1.0], 12).tolist())))
    treated = np.searchsorted(cuts, np.round([0.0, *exposures], 12))
    control_from = np.searchsorted(cuts, np.round([1.0, *begins], 12))
    shares = np.stack([cuts[treated], 1.0 - cuts[control_from]], axis=1)
    return Strata(cuts, treated.astype(np.int64), control_from.astype(np.int64), shares)
