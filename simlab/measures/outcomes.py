"""Outcome rows, arranged so that a policy's harmed lanes stand beside their harmless twins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simlab.engine import BlockResult
from simlab.guardrails.look import Bools, Floats
from simlab.ticks import Clock

Rows = dict[str, np.ndarray]

HARMED_STATUSES = ("detected", "missed", "false_alarm", "wrong_direction", "never_onset")
TWIN_STATUSES = ("false_alarm", "wrong_direction", "quiet")


def gather(blocks: Sequence[BlockResult]) -> Rows:
    """Return the rows of the blocks of one scenario, in lane order within each block."""
    ordered = sorted(blocks, key=lambda result: result.block.first)
    return {column: np.concatenate([result.rows[column] for result in ordered]) for column in ordered[0].rows}


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of one policy in one scenario: harmed lanes, and the same lanes without harm.

    Attributes
    ----------
    policy : str
        Its name.
    clock : Clock
        The grid of ticks.
    harmed, twin : dict of str to array[lanes]
        Outcome columns; lane for lane the same noise. Times in ticks, -1 for never.
    limit : int
        Ticks to which detection is followed; 0 if the scenario has no harm.
    """

    policy: str
    clock: Clock
    harmed: Rows
    twin: Rows
    limit: int

    @property
    def lanes(self) -> int:
        """How many lanes."""
        return len(self.harmed["lane"])

    @cached_property
    def has_onset(self) -> Bools:
        """Lanes whose harm began, bool[lanes]."""
        return np.asarray(self.harmed["onset"] >= 0)

    @cached_property
    def acted_before(self) -> Bools:
        """Lanes first acted on by evidence from before any onset, bool[lanes]: no skill, and outside the denominators."""
        acted = self.harmed["action_time"] >= 0
        return np.asarray(acted & (~self.has_onset | (self.harmed["evidence"] <= self.harmed["onset"])))

    @cached_property
    def at_risk(self) -> Bools:
        """Lanes whose harm began before any action, bool[lanes]."""
        return np.asarray(self.has_onset & ~self.acted_before)

    @cached_property
    def delay(self) -> Floats:
        """Ticks from onset to the first action if that was in the right direction, else infinite. float64[lanes]."""
        detected = self.at_risk & (self.harmed["action_time"] >= 0) & self.harmed["worse"]
        return np.where(detected, self.harmed["action_time"] - self.harmed["onset"], np.inf)

    def followed(self, ticks: int) -> Bools:
        """Return the lanes at risk that could be watched for `ticks` after the onset, bool[lanes]."""
        return self.at_risk & (self.harmed["onset"] + ticks <= self.clock.horizon)

    @cached_property
    def twin_acted(self) -> Bools:
        """Lanes whose harmless twin was acted on by the horizon, bool[lanes]."""
        return np.asarray(self.twin["action_time"] >= 0)

    def twin_acted_within(self, ticks: int) -> Bools:
        """Return the lanes whose twin was first acted on in the window (onset, onset + ticks], bool[lanes]."""
        after = self.twin["action_time"] - self.harmed["onset"]
        return np.asarray(self.twin_acted & (after > 0) & (after <= ticks))

    @cached_property
    def containment(self) -> Floats:
        """Ticks from onset to containment; infinite if there was none. float64[lanes]."""
        contained = self.at_risk & (self.harmed["containment_time"] >= 0)
        return np.where(contained, self.harmed["containment_time"] - self.harmed["onset"], np.inf)

    @cached_property
    def status(self) -> np.ndarray:
        """How each harmed lane ended, one of `HARMED_STATUSES`."""
        acted = self.harmed["action_time"] >= 0
        conditions = [self.acted_before, ~self.has_onset, acted & self.harmed["worse"], acted]
        return np.select(conditions, ["false_alarm", "never_onset", "detected", "wrong_direction"], "missed")

    @cached_property
    def twin_status(self) -> np.ndarray:
        """How each twin ended, one of `TWIN_STATUSES`."""
        return np.where(self.twin_acted, np.where(self.twin["worse"], "false_alarm", "wrong_direction"), "quiet")


def outcomes_of(rows: Rows, *, clock: Clock, limit: int) -> tuple[Outcomes, ...]:
    """Return the outcomes of every policy of one scenario, in the order of the plan."""
    policies = list(dict.fromkeys(rows["policy"].tolist()))
    return tuple(_outcomes(rows, policy, clock, limit) for policy in policies)


def _outcomes(rows: Rows, policy: str, clock: Clock, limit: int) -> Outcomes:
    mine = rows["policy"] == policy

    def part(harmed: bool) -> Rows:
        chosen = mine & (rows["harmed"] == harmed)
        return {column: values[chosen] for column, values in rows.items()}

    return Outcomes(policy, clock, part(True), part(False), limit)


def detection_limit(clock: Clock, planned_onset: int | None) -> int:
    """Return to how many ticks after the onset detection is followed: half of what is left at the planned onset, at most a day.

    Parameters
    ----------
    clock : Clock
        The grid of ticks.
    planned_onset : int or None
        Milliseconds from the start; None if there is no harm.
    """
    if planned_onset is None:
        return 0
    left = clock.horizon - clock.ticks(planned_onset)
    return max(1, min(left // 2, clock.ticks(86_400_000)))


def ticks_to_minutes(clock: Clock) -> float:
    """Return the minutes in a tick."""
    return clock.tick / 60_000
