"""ADWIN: a window of levels that is cut where its two parts have different means.

Bifet & Gavalda, "Learning from time-changing data with adaptive windowing", SIAM International Conference on Data Mining (2007),
as the library river has it: ``pip install "simlab[river]"``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from simlab.guardrails.rules.river_adapter import RiverRule, river_drift
from simlab.settings import settings
from simlab.ticks import Probability


@settings
class Adwin(RiverRule):
    """Alarms where ADWIN cuts its window: two parts of it have means that differ by more than chance.

    Its bound is for independent values in [0, 1], as shares and error rates are; other levels are taken as they are. It looks
    for a cut at every `clock`-th look only. An alarm is a change in either direction: it is said to be harm where the mean of
    what it keeps is on the side `harm` of the mean before. A level that is missing or not finite is left out and unknown. It
    promises nothing: delta bounds the chance of a false cut at one look, not over time.

    Parameters
    ----------
    delta : float
        Confidence of a cut; smaller is stricter.
    clock : int
        Looks between two searches for a cut.
    max_buckets : int
        Buckets of one size that its histogram keeps; more is finer and slower.
    min_window_length : int
        Least looks in each part.
    grace_period : int
        Looks before the first search.
    harm : {"above", "below"}
        On which side of the mean before a change is harm.

    Examples
    --------
    >>> Adwin(delta=0.01).threshold
    1.0
    """

    delta: Probability = 0.002
    clock: Annotated[int, Ge(1)] = 32
    max_buckets: Annotated[int, Ge(1)] = 5
    min_window_length: Annotated[int, Ge(1)] = 5
    grace_period: Annotated[int, Ge(1)] = 10

    key: ClassVar[str] = "adwin"
    paper: ClassVar[str] = "Bifet & Gavalda, Learning from time-changing data with adaptive windowing, SDM 2007"

    def made(self, seed: int) -> Any:  # noqa: ARG002
        """Return a new detector; it draws nothing."""
        return river_drift(self.key).ADWIN(
            delta=self.delta,
            clock=self.clock,
            max_buckets=self.max_buckets,
            min_window_length=self.min_window_length,
            grace_period=self.grace_period,
        )

    def level(self, detector: Any) -> float:
        """Return the mean of what it keeps."""
        return float(detector.estimation)
