"""What a benchmark is told and what it finds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from simlab.plan import Plan, load

SHIPPED = "studies/checkout-canary"


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    lanes : int
        In one block; Page-Hinkley takes eight times as many.
    repeats : int
        Measurements of each side.
    thresholds : int
        Read off at once.
    samples : int
        Given to Page-Hinkley.
    horizon : str
        Of the shipped scenario.
    """

    lanes: int = 500
    repeats: int = 3
    thresholds: int = 50
    samples: int = 500
    horizon: str = "3d"


@dataclass(frozen=True)
class Measured:
    """One promise.

    Attributes
    ----------
    name : str
        What is compared, in words.
    ratios : tuple of float
        One a repeat, or why there is none.
    target : float
        What is promised.
    at_least : bool
        Whether more is better.
    same : bool or None
        Whether both sides gave the same numbers; None where they are not to.
    skipped : str
        Why it was not measured; empty if it was.
    """

    name: str
    ratios: tuple[float, ...]
    target: float
    at_least: bool = True
    same: bool | None = None
    skipped: str = ""

    @property
    def ratio(self) -> float | None:
        """The median."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def reached(self) -> bool | None:
        """Whether the promise is kept; None if it was not measured."""
        if self.ratio is None:
            return None
        return (self.ratio >= self.target) == self.at_least and self.same is not False


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU time of this process for some work, and what came of it."""
    begins = time.process_time()
    done = work()
    return time.process_time() - begins, done


def shipped(sizes: Sizes) -> Plan:
    """Return the shipped study's first scenario with its candidate policy alone."""
    plan = load(SHIPPED, overrides=[f"scenarios.*.horizon={sizes.horizon}"])
    setting = replace(plan.settings[0], policies=plan.settings[0].policies[:1])
    return replace(plan, settings=(setting,), traced=0)
