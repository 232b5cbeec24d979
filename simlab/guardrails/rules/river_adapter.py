"""Adapters to the change detectors of the library river, which has to be installed: ``pip install "simlab[river]"``.

Each stream of each lane has a detector of its own, and only its answer is used: 1 at a look at which it found a change, else 0. A
detector then forgets what was before, so that an alarm lasts for one look.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simlab.errors import RuleError
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings


class RiverState(NamedTuple):
    """The detectors, and the mean level since the last change.

    Attributes
    ----------
    detectors : object[streams, lanes]
        One of river's each; None before the first look.
    looks, mean : float64[streams, lanes]
        Number and mean of the looks since the last change, or since the start.
    """

    detectors: NDArray[np.object_]
    looks: Floats
    mean: Floats


def river_drift(key: str) -> Any:
    """Return river's module of detectors for the rule `key`.

    Raises
    ------
    RuleError
        If river is not installed.
    """
    try:
        from river import drift
    except ImportError as error:
        raise RuleError(f'the rule {key!r} needs the library river: pip install "simlab[river]"') from error
    return drift


@settings
class RiverRule(ABC):
    """What rules made of river's detectors share.

    Parameters
    ----------
    harm : {"above", "below"}
        On which side of the mean before a change is harm.
    """

    harm: Literal["above", "below"] = "above"

    key: ClassVar[str]
    takes: ClassVar[Takes] = Takes.LEVEL
    ladder: ClassVar[str] = "none"
    extra: ClassVar[str] = "river"
    guarantee: ClassVar[None] = None

    @abstractmethod
    def made(self, seed: int) -> Any:
        """Return a new detector; the seed is keyed by stream and lane."""

    @abstractmethod
    def level(self, detector: Any) -> float:
        """Return the mean level since the change that a detector has just found."""

    @property
    def threshold(self) -> float:
        """The statistic is 1 where a change was found and 0 elsewhere."""
        return 1.0

    def initial(self, streams: int, lanes: int, *, every: int) -> RiverState:  # noqa: ARG002
        """Return no detectors yet; raises `RuleError` without river."""
        river_drift(self.key)
        none = np.zeros((streams, lanes))
        return RiverState(np.full((streams, lanes), None, dtype=object), none, none)

    def update(self, state: RiverState, seen: Observation) -> Step:
        """Show each finite value to a copy of its detector, so that the state before stays as it was."""
        detectors, statistic, since = state.detectors.copy(), np.full(seen.value.shape, np.nan), seen.value.copy()
        for stream, lane in np.argwhere(np.isfinite(seen.value)):
            before = state.detectors[stream, lane]
            detector = self.made(_seed(seen.seed, stream, seen.lanes[lane])) if before is None else copy.deepcopy(before)
            detector.update(float(seen.value[stream, lane]))
            detectors[stream, lane] = detector
            statistic[stream, lane] = float(detector.drift_detected)
            if detector.drift_detected:
                since[stream, lane] = self.level(detector)
        changed = statistic == 1.0
        worse = (since > state.mean) == (self.harm == "above")
        looks = np.where(changed, 0.0, state.looks) + 1.0
        mean = np.where(changed, since, state.mean + (seen.value - state.mean) / looks)
        return Step(RiverState(detectors, looks, mean), statistic, worse)


def _seed(*keys: int) -> int:
    return int(np.random.SeedSequence([int(key) for key in keys]).generate_state(1)[0])
