"""KSWIN: a Kolmogorov-Smirnov test of the last levels of a window against a sample of those before.

Raab, Heusinger & Schleif, "Reactive soft prototype computing for concept drift streams", Neurocomputing 416 (2020), as the
library river has it: ``pip install "simlab[river]"``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge

from simlab.errors import UnitError
from simlab.guardrails.rules.river_adapter import RiverRule, river_drift
from simlab.settings import settings
from simlab.ticks import Probability


@settings
class Kswin(RiverRule):
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

    key: ClassVar[str] = "kswin"
    paper: ClassVar[str] = "Raab, Heusinger & Schleif, Reactive soft prototype computing for concept drift streams, 2020"

    def __post_init__(self) -> None:
        """Refuse a window too short to draw from."""
        if 2 * self.stat_size > self.window_size:
            raise UnitError(f"stat_size {self.stat_size} must be at most half of window_size, {self.window_size}")

    def made(self, seed: int) -> Any:
        """Return a new detector."""
        return river_drift(self.key).KSWIN(alpha=self.alpha, window_size=self.window_size, stat_size=self.stat_size, seed=seed)

    def level(self, detector: Any) -> float:
        """Return the mean of what it keeps."""
        return float(np.mean(detector.window))
