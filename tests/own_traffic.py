"""Synthetic recordings of which everything is known: a level with a daily cycle and autoregressive noise."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import ARMS, OUTSIDE
from simlab.guardrails.policy import Policy
from simlab.guardrails.signal import Signal
from simlab.own_traffic import NullOptions, NullPlan, null_plan
from simlab.replays import ReplayPlan, ReplaySetting
from simlab.rule_from import rule
from simlab.ticks import Clock
from simlab.world.aggregate import Watched
from simlab.world.recording import Recording, Series, ValueColumn

TICK = 300_000
PER_DAY = 288
START = 1_767_225_600_000  # 2026-01-01T00:00:00Z
RHO = 0.8
LEVEL, SWING = 10.0, 3.0
SPIKE, HIGH, LOOKS = 15.2, 14.0, 4
POLICIES = {
    "spike": {"above": {"limit": SPIKE}},
    "high-for-15m": {"above": {"limit": HIGH, "for": "15m"}},
}


def traffic(rng: np.random.Generator, days: int, lanes: int = 1) -> np.ndarray:
    """Return float64[ticks, lanes]."""
    noise = rng.standard_normal((days * PER_DAY + 200, lanes))
    x = np.asarray(lfilter([np.sqrt(1 - RHO**2)], [1, -RHO], noise, axis=0))[200:]
    return x + LEVEL + SWING * np.sin(2 * np.pi * np.arange(days * PER_DAY) / PER_DAY)[:, None]


def truth(lanes: int) -> dict[str, float]:
    """Return the probability that each policy alarms within a day, from days that were never recorded."""
    x = traffic(np.random.default_rng(0), 1, lanes)
    high = x >= HIGH
    lasting = np.all([high[look : len(high) - LOOKS + 1 + look] for look in range(LOOKS)], axis=0)
    return {"spike": float((x >= SPIKE).any(axis=0).mean()), "high-for-15m": float(lasting.any(axis=0).mean())}


def series(values: np.ndarray, **described: object) -> Series:
    """Return values, float64[ticks], as a recording; NaN where there was no sample."""
    sums = np.zeros((3, len(ARMS), len(values)))
    known = np.isfinite(values)
    sums[:, OUTSIDE, known] = [np.ones(known.sum()), values[known], values[known] ** 2]
    facts = {"recording": "synthetic", "tick": TICK, "values": {"level": ValueColumn(column="level")}, "within": TICK}
    recording = Recording(**{**facts, "file": "none.csv", **described})  # type: ignore[arg-type]
    stamps = START + TICK * np.arange(1, len(values) + 1)
    none = np.zeros(0, dtype=np.int64)
    return Series(
        recording,
        Clock(START, TICK, len(values)),
        stamps,
        {"level": sums[:, None]},
        none,
        none,
        np.ones(len(values), dtype=bool),
        {},
    )


def policies() -> tuple[Policy, ...]:
    """Return the policies on the level of everyone."""
    watch = Signal(watch="level", of="everyone")
    return tuple(Policy(name, (Guardrail(watch, rule(each), TICK, tick=TICK),)) for name, each in POLICIES.items())


def plan(recorded: Series, options: NullOptions) -> NullPlan:
    """Return the plan that resamples a recording."""
    setting = ReplaySetting(recorded, policies(), Watched(frozenset({"level"}), first_seen=False))
    return null_plan(ReplayPlan((setting,), {}), options)
