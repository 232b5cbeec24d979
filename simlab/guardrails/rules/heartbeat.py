"""Heartbeat: a CUSUM on looks in which nothing arrived, the one rule for which a missing look is data.

Page, "Continuous inspection schemes", Biometrika 41 (1954), on 0 and 1: the Bernoulli CUSUM of Reynolds & Stoumbos, "A CUSUM
chart for monitoring a proportion when inspecting continuously", Journal of Quality Technology 31 (1999). To tell a share p1 of
missed looks from a usual share p0 soonest,

    k = ln((1 - p0) / (1 - p1)) / ln(p1 (1 - p0) / (p0 (1 - p1))).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Lt

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings
from simlab.ticks import Unit, parse_share


@settings
class Heartbeat:
    """S = max(0, S + missed - k) >= h, with missed 1 if nothing arrived for a look and 0 otherwise.

    A look is missed if it was lost, or if there was no observation of those who are watched (fewer than `min_count`, if that is
    set). Everyone is expected from the end of the warm-up on, treatment and control while their planned share is above zero as
    far as the data have told; until then, and once an arm has ended, the verdict is unknown. Data that come late were missed in
    between all the same, so let the warm-up be longer than the delay of the first data. It does not look at values, and promises
    nothing.

    Parameters
    ----------
    k : float
        Share of looks that may be missed, in [0, 1): between the usual share and the one to be found.
    h : float
        Threshold, in looks missed beyond that share: after h / (1 - k) missed looks in a row, rounded up, it alarms.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(Heartbeat(k=0.25, h=2), [1.0, 0.0, 1.0, 1.0, 1.0]).tolist()
    [0.75, 0.5, 1.25, 2.0, 2.75]
    """

    k: Annotated[float, Unit("share", parse_share, "10%"), Ge(0), Lt(1)] = 0.1
    h: Annotated[float, Gt(0)] = 2.5

    key: ClassVar[str] = "heartbeat"
    takes: ClassVar[Takes] = Takes.ARRIVALS
    paper: ClassVar[str] = "Page, Continuous inspection schemes, Biometrika 1954; on missed looks"
    ladder: ClassVar[str] = "S, in missed looks"

    @property
    def threshold(self) -> float:
        """The decision interval h."""
        return self.h

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:  # noqa: ARG002
        """Return a sum of zero."""
        return np.zeros((streams, lanes))

    def update(self, state: Floats, seen: Observation) -> Step:
        """Add one look that came or did not."""
        total = np.maximum(0.0, state + seen.value - self.k)
        return Step(total, total, worse=True)
