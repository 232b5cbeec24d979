"""Floor and ceiling of every measure: never alarm, and alarm at random."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Le

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings
from simlab.streams import stream_key, uniforms
from simlab.ticks import Unit, parse_share


@settings
class Never:
    """Never alarms.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(Never(), [100.0]).tolist(), Never().threshold
    ([0.0], inf)
    """

    key: ClassVar[str] = "never"
    takes: ClassVar[Takes] = Takes.NOTHING
    paper: ClassVar[str] = "none: a baseline"
    ladder: ClassVar[str] = "none"

    @property
    def threshold(self) -> float:
        """No statistic reaches it."""
        return np.inf

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:  # noqa: ARG002
        """Return a state that holds nothing."""
        return np.zeros((streams, lanes))

    def update(self, state: Floats, seen: Observation) -> Step:  # noqa: ARG002
        """Return a statistic below every threshold."""
        return Step(state, np.zeros_like(state), worse=True)


@settings
class Random:
    """Alarms at each look with a fixed probability, whatever the data: what luck alone would detect.

    Parameters
    ----------
    rate : float
        Probability of an alarm at one look.

    Examples
    --------
    >>> from simlab.run_lengths import run_length
    >>> found = run_length(Random(rate=0.1), lambda rng, n: rng.normal(size=n), lanes=2000, horizon=200, seed=1)
    >>> bool(found.mean.low < 10 < found.mean.high)
    True
    """

    rate: Annotated[float, Unit("probability", parse_share, "0.1%"), Ge(0), Le(1)]

    key: ClassVar[str] = "random"
    takes: ClassVar[Takes] = Takes.NOTHING
    paper: ClassVar[str] = "none: a baseline"
    ladder: ClassVar[str] = "a uniform number"

    @property
    def threshold(self) -> float:
        """Alarm when a uniform number is at least this."""
        return 1.0 - self.rate

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:  # noqa: ARG002
        """Return a state that holds nothing."""
        return np.zeros((streams, lanes))

    def update(self, state: Floats, seen: Observation) -> Step:
        """Draw one number a lane, keyed by seed, tick and lane."""
        drawn = uniforms(stream_key(seen.seed, "rules.random"), seen.time, seen.lanes)
        return Step(state, np.broadcast_to(drawn, state.shape), worse=True)
