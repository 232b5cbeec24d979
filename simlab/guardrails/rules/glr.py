"""GLR: the generalised likelihood ratio of a change of unknown size at any of the last looks.

Willsky & Jones, "A generalized likelihood ratio approach to the detection and estimation of jumps in linear systems", IEEE Trans.
Automatic Control 21 (1976), brought in the window; Lai, "Sequential changepoint detection in quality control and dynamical
systems", JRSS B 57 (1995), says how long it should be.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings


@settings
class Glr:
    """max over the last `window` change points k of (x_(k+1) + ... + x_t)^2 / (2 (t - k)) >= threshold.

    The baseline is known: observations are to be independent and standard normal when all is well. It promises nothing. Work
    and memory grow with the window; `Focus` takes in all change points for less.

    Parameters
    ----------
    threshold : float
        Of the log likelihood ratio, in nats.
    window : int
        The oldest change that is looked for, in looks.
    sides : {1, 2}
        1 counts positive sums only; 2 alarms on an improvement too.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(Glr(threshold=10, window=50), [-3.0, 2.0, 2.0])
    array([4.5, 2. , 4. ])
    >>> statistics(Glr(threshold=10, window=50, sides=1), [-3.0, 2.0, 2.0])
    array([0., 2., 4.])
    """

    threshold: Annotated[float, Gt(0)] = 10.0
    window: Annotated[int, Ge(1)] = 200
    sides: Literal[1, 2] = 2

    key: ClassVar[str] = "glr"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = "Lai, Sequential changepoint detection in quality control and dynamical systems, JRSS B 1995"
    ladder: ClassVar[str] = "log likelihood ratio, in nats"

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:  # noqa: ARG002
        """Return the sums of the last 1, 2, ..., `window` looks, before the first: [window, streams, lanes]."""
        return np.zeros((self.window, streams, lanes))

    def update(self, state: Floats, seen: Observation) -> Step:
        """Add one look to every sum."""
        sums = np.empty_like(state)
        sums[0] = seen.value
        np.add(state[:-1], seen.value, out=sums[1:])
        # A sum that would reach back before the first look is that of all looks over too large a count: never the largest.
        scaled = sums * (np.arange(1.0, self.window + 1.0) ** -0.5)[:, None, None]
        rise = np.maximum(scaled.max(axis=0), 0.0)
        if self.sides == 1:
            return Step(sums, 0.5 * rise * rise, worse=True)
        fall = np.maximum(-scaled.min(axis=0), 0.0)
        largest = np.maximum(rise, fall)
        return Step(sums, 0.5 * largest * largest, worse=rise >= fall)
