"""KSWIN: a Kolmogorov-Smirnov test of the last levels of a window against a sample of those before.

Raab, Heusinger & Schleif, "Reactive soft prototype computing for concept drift streams", Neurocomputing 416 (2020), as the
library river has it: ``pip install "simlab[river]"``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge

from simlab.errors import UnitError
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.guardrails.rules.river_adapter import Harm, Probability, RiverState, detected, nothing_yet, river_drift
from simlab.settings import settings


@settings
class Kswin:
    """Alarms where a Kolmogorov-Smirnov test tells the last looks from a sample of those before them.

    The sample is drawn anew at every look, from a seed of its own for each stream and lane. An alarm is a change in either
    direction, of the spread too: it is said to be harm where the mean of the last looks is on the side `harm` of the mean since
    the change before. A level that is missing or not finite is left out and unknown. It promises nothing: the test is repeated
    at every look on nearly the same data, and alarms in the end.

    Parameters
    ----------
    alpha : float
        Of one test.
    window_size : int
        Looks kept; nothing is tested before.
    stat_size : int
        How many of them are the last ones, and how many are drawn from those before; at most half of the window.
    harm : {"above", "below"}
        On which side of the mean before a change is harm.

    Raises
    ------
    UnitError
        If there are not `stat_size` looks to draw from.

    Examples
    --------
    >>> Kswin(alpha=0.001).threshold
    1.0
    """

    alpha: Probability = 0.005
    window_size: Annotated[int, Ge(2)] = 100
    stat_size: Annotated[int, Ge(1)] = 30
    harm: Harm = "above"

    key: ClassVar[str] = "kswin"
    takes: ClassVar[Takes] = Takes.LEVEL
    paper: ClassVar[str] = "Raab, Heusinger & Schleif, Reactive soft prototype computing for concept drift streams, 2020"
    ladder: ClassVar[str] = "none"
    extra: ClassVar[str] = "river"

    def __post_init__(self) -> None:
        """Refuse a window too short to draw from."""
        if 2 * self.stat_size > self.window_size:
            raise UnitError(f"stat_size {self.stat_size} must be at most half of window_size, {self.window_size}")

    @property
    def threshold(self) -> float:
        """The statistic is 1 where a change was found and 0 elsewhere."""
        return 1.0

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> RiverState:  # noqa: ARG002
        """Return no detectors yet; raises `RuleError` without river."""
        return nothing_yet(self.key, streams, lanes)

    def update(self, state: RiverState, seen: Observation) -> Step:
        """Show each detector its value."""
        return detected(state, seen, made=self._made, level=lambda detector: float(np.mean(detector.window)), harm=self.harm)

    def _made(self, seed: int) -> Any:
        return river_drift(self.key).KSWIN(alpha=self.alpha, window_size=self.window_size, stat_size=self.stat_size, seed=seed)
