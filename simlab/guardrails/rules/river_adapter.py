"""Adapters to the change detectors of the library river, which has to be installed: ``pip install "simlab[river]"``.

Each stream of each lane has a detector of its own, and only its answer is used: 1 at a look at which it found a change, else 0. A
detector then forgets what was before, so that an alarm lasts for one look.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from annotated_types import Gt, Lt
from numpy.typing import NDArray

from simlab.errors import RuleError
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Step
from simlab.ticks import Unit, parse_share

Probability = Annotated[float, Unit("probability", parse_share, "0.2%"), Gt(0), Lt(1)]
Harm = Literal["above", "below"]


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


def nothing_yet(key: str, streams: int, lanes: int) -> RiverState:
    """Return a state without detectors; raises `RuleError` without river."""
    river_drift(key)
    none = np.zeros((streams, lanes))
    return RiverState(np.full((streams, lanes), None, dtype=object), none, none)


def detected(
    state: RiverState, seen: Observation, *, made: Callable[[int], Any], level: Callable[[Any], float], harm: Harm
) -> Step:
    """Show each value to a copy of its detector, so that the state before stays as it was.

    Parameters
    ----------
    state : RiverState
        From `nothing_yet` or the look before.
    seen : Observation
        Levels; those that are not finite are left out.
    made : callable
        From a seed, which is keyed by stream and lane, to a new detector.
    level : callable
        From a detector that has just found a change to the mean level since.
    harm : {"above", "below"}
        On which side of the mean before the change the new level is harm.
    """
    detectors, statistic, since = state.detectors.copy(), np.full(seen.value.shape, np.nan), seen.value.copy()
    for stream, lane in np.argwhere(np.isfinite(seen.value)):
        before = state.detectors[stream, lane]
        detector = made(_seed(seen.seed, stream, seen.lanes[lane])) if before is None else copy.deepcopy(before)
        detector.update(float(seen.value[stream, lane]))
        detectors[stream, lane] = detector
        statistic[stream, lane] = float(detector.drift_detected)
        if detector.drift_detected:
            since[stream, lane] = level(detector)
    changed = statistic == 1.0
    worse = (since > state.mean) == (harm == "above")
    looks = np.where(changed, 0.0, state.looks) + 1.0
    mean = np.where(changed, since, state.mean + (seen.value - state.mean) / looks)
    return Step(RiverState(detectors, looks, mean), statistic, worse)


def _seed(*keys: int) -> int:
    return int(np.random.SeedSequence([int(key) for key in keys]).generate_state(1)[0])
