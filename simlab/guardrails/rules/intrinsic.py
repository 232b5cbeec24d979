"""What tests of a mean gather from their looks: the score S and its intrinsic time v, the variance of S when all is well.

With equal weights S is the sum of the standardised values and v the number of looks; effects are then in standard deviations
of a look. By information S = sum x sqrt(I) and v = sum I; effects are then in the metric's own unit, and looks with little
traffic, as at the start of a ramp, count for little.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Gt, Lt

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation
from simlab.ticks import Unit, parse_share

Alpha = Annotated[float, Unit("probability", parse_share, "5%"), Gt(0), Lt(0.5)]
Sides = Literal[1, 2]
Weights = Literal["equal", "information"]


class Evidence(NamedTuple):
    """The score and its intrinsic time.

    Attributes
    ----------
    score, time : float64[streams, lanes]
        S and v.
    """

    score: Floats
    time: Floats


def no_evidence(streams: int, lanes: int) -> Evidence:
    """Return a score of zero at time zero."""
    return Evidence(np.zeros((streams, lanes)), np.zeros((streams, lanes)))


def gained(seen: Observation, *, weights: Weights) -> Evidence:
    """Return what one look adds; NaN where its value is not finite, so that the look reads unknown."""
    value = np.where(np.isfinite(seen.value), seen.value, np.nan)
    if weights == "equal":
        return Evidence(value, np.ones_like(value))
    return Evidence(value * np.sqrt(seen.information), seen.information)
