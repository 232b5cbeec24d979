"""Outcome rows made by hand: one lane at a time, times in ticks, -1 for never."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simlab.measures.outcomes import Outcomes, Rows
from simlab.ticks import Clock

MINUTE = 60_000
CLOCK = Clock(starts=0, tick=5 * MINUTE, horizon=20)
LIMIT = 6

Lane = dict[str, Any]


def lane(*, onset: int = -1, action: int = -1, evidence: int | None = None, **others: Any) -> Lane:
    """Return one lane's outcome; the evidence ends where the action is taken, unless it is said to end before."""
    found = {
        "onset": onset,
        "action_time": action,
        "action": 0 if action < 0 else 3,
        "guardrail": -1 if action < 0 else 0,
        "evidence": action if evidence is None else evidence,
        "worse": True,
        "episodes": int(action >= 0),
        "rollback_time": action,
        "containment_time": -1,
        "completed_time": -1,
        "watched": CLOCK.horizon if action < 0 else action,
        "behind": 0,
        "users_exposed": 0.0,
        "users_harmed": 0.0,
        "looks": CLOCK.horizon,
        "unknown": 0,
        "skipped": 0,
        "retired": 0,
        "harm_units.errors": 0.0,
    }
    unknown = others.keys() - found.keys()
    if unknown:
        raise KeyError(f"no such column: {unknown}")
    return found | others


def rows(lanes: Sequence[Lane], *, policy: str = "p", harmed: bool = True) -> Rows:
    """Return outcome columns, one entry a lane."""
    columns = {name: np.array([each[name] for each in lanes]) for name in lane()}
    names = np.full(len(lanes), policy, dtype=object)
    return {"policy": names, "harmed": np.full(len(lanes), harmed), "lane": np.arange(len(lanes)), **columns}


def outcomes(
    harmed: Sequence[Lane], twin: Sequence[Lane] = (), *, limit: int = LIMIT, policy: str = "p", clock: Clock = CLOCK
) -> Outcomes:
    """Return the outcomes of one policy; twins on which nobody acts where none are given."""
    twins = twin or [lane() for _ in harmed]
    return Outcomes(policy, clock, rows(harmed, policy=policy), rows(twins, policy=policy, harmed=False), limit)
