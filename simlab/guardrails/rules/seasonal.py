"""Seasonal residual: a level against what it was at the same time of the day or week.

The static form of what monitoring systems call seasonal anomaly detection: each phase of the period has a mean and a standard
deviation, learnt from the periods before, as in a Shewhart chart with one centre line for each phase. A residual is judged as a
Q statistic for unknown mean and variance, Quesenberry, "SPC Q charts for start-up processes and short or long runs", Journal of
Quality Technology 23 (1991). Moments are gathered by Welford, "Note on a method for calculating corrected sums of squares
and products", Technometrics 4 (1962), and joined by Chan, Golub & LeVeque, "Algorithms for computing the sample variance", The
American Statistician 37 (1983).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Gt

from simlab.errors import UnitError
from simlab.guardrails.look import Bools, Floats, Integers
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings
from simlab.ticks import Period, format_duration

_LEAST = 1e-300


class Moments(NamedTuple):
    """Number, mean and sum of squared distances from the mean, float64[..., streams, lanes]."""

    looks: Floats
    mean: Floats
    squares: Floats

    def with_one(self, value: Floats, where: Bools) -> Moments:
        """Return the moments with one more value in some places."""
        looks = self.looks + where
        distance = np.where(where, value - self.mean, 0.0)
        mean = self.mean + distance / np.maximum(looks, 1.0)
        return Moments(looks, mean, self.squares + distance * np.where(where, value - mean, 0.0))

    def joined(self, other: Moments) -> Moments:
        """Return the moments of both."""
        looks = self.looks + other.looks
        share = other.looks / np.maximum(looks, 1.0)
        distance = other.mean - self.mean
        return Moments(
            looks, self.mean + distance * share, self.squares + other.squares + distance * distance * self.looks * share
        )


class SeasonalState(NamedTuple):
    """What is normal in each phase, and what the current phase may add to it once it is over.

    Attributes
    ----------
    normal : Moments
        Of the phases that are over, [phases, streams, lanes].
    periods : float64[phases, streams, lanes]
        In how many periods the phase had a look that was learnt from.
    current : Moments
        Of the phase that is going on, [streams, lanes].
    number : int64[streams, lanes]
        Which phase that is, counted from the start; -1 before the first look.
    """

    normal: Moments
    periods: Floats
    current: Moments
    number: Integers


@settings
class Seasonal:
    """z >= threshold, the normal value that is as improbable as the residual of a look in its phase.

    With mean and sd of the n looks learnt in the same phase of the periods before, (x - mean) / (sd sqrt(1 + 1 / n)) is Student's
    t with n - 1 degrees of freedom if levels are normal and independent; z has the same tail, and is standard normal however few
    were learnt. With few, only a very large residual is told. Levels that are not normal, or that hang together from look to
    look, alarm more often, so that it promises nothing.

    Only periods that are over count, so that nothing is judged by itself or by what comes later. Until a phase has been seen in
    `periods` of them, and while all its looks were equal, the verdict is unknown. A level that is missing, or not finite, is
    neither judged nor learnt.

    Harm would become normal if it were learnt. So a look whose z is beyond `left_out` is not learnt, in either direction and
    whatever `threshold` is: harm that stays keeps alarming. What a phase held before it could be judged is all learnt, and slow
    or small harm below `left_out` is learnt too: begin on days known to be good, and watch slow harm by something else. A level
    that has changed for good alarms until somebody clears it, which starts the learning anew.

    Parameters
    ----------
    threshold : float
        In standard deviations of a normal value.
    period : int
        Milliseconds after which things repeat: a day, or ``7d``.
    phase : int
        Milliseconds of the parts of the period that have a normal of their own; a whole number of them makes the period.
    periods : int
        In how many periods a phase must have been seen before it is judged, 2 or more.
    harm : {"above", "below"}
        On which side of normal.
    sides : {1, 2}
        1 alarms on harm only; 2 also on an improvement.
    left_out : float
        Looks with a z beyond this are not learnt.

    Raises
    ------
    UnitError
        If the period is not a whole number of phases.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> rule = Seasonal(period=120_000, phase=60_000, periods=2)
    >>> statistics(rule, [1.0, 50.0, 3.0, 52.0, 5.0, 51.0]).round(3).tolist()
    [nan, nan, nan, nan, 0.967, 0.0]
    """

    threshold: Annotated[float, Gt(0)] = 4.0
    period: Period = 86_400_000
    phase: Period = 3_600_000
    periods: Annotated[int, Ge(2)] = 3
    harm: Literal["above", "below"] = "above"
    sides: Literal[1, 2] = 1
    left_out: Annotated[float, Gt(0)] = 4.0

    key: ClassVar[str] = "seasonal"
    takes: ClassVar[Takes] = Takes.LEVEL
    paper: ClassVar[str] = "Quesenberry, SPC Q charts for start-up processes and short or long runs, JQT 1991; by phase"
    ladder: ClassVar[str] = "z, in standard deviations of a normal value"
    learns: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse phases that do not fill the period."""
        if self.period % self.phase:
            told = f"period {format_duration(self.period)} must be a whole number of phases, {format_duration(self.phase)} each"
            raise UnitError(told)

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> SeasonalState:  # noqa: ARG002
        """Return phases of which nothing is known."""
        one = np.zeros((streams, lanes))
        each = np.zeros((self.period // self.phase, streams, lanes))
        return SeasonalState(Moments(each, each, each), each, Moments(one, one, one), np.full((streams, lanes), -1))

    def update(self, state: SeasonalState, seen: Observation) -> Step:
        """Judge one look by the periods before, and learn from it if it is near enough to normal."""
        # A look at the end of a phase is about that phase.
        number = (seen.elapsed - 1) // self.phase
        state = _moved_on(state, number)
        z = self._z(state, number % len(state.periods), seen.value)
        near = np.isnan(z) | (np.abs(z) <= self.left_out)
        kept = state._replace(current=state.current.with_one(seen.value, np.isfinite(seen.value) & near))
        return Step(kept, np.abs(z) if self.sides == 2 else z, worse=z > 0)

    def _z(self, state: SeasonalState, phase: int, value: Floats) -> Floats:
        from scipy.special import ndtri, stdtr

        looks, mean, squares = (array[phase] for array in state.normal)
        known = (state.periods[phase] >= self.periods) & (squares > 0) & np.isfinite(value)
        freedom = np.maximum(looks - 1.0, 1.0)
        spread = np.sqrt(np.where(known, squares, 1.0) / freedom * (1.0 + 1.0 / np.maximum(looks, 1.0)))
        distance = np.where(known, value - mean if self.harm == "above" else mean - value, np.nan) / spread
        # By the nearer tail, which keeps its digits; a normal value of 37 is as far as they go.
        tail = np.maximum(stdtr(freedom, -np.abs(distance)), _LEAST)
        return np.asarray(np.copysign(-ndtri(tail), distance))


def _moved_on(state: SeasonalState, number: int) -> SeasonalState:
    """Return the state in phase `number`, what was gathered in the phase before joined to the normal of that one."""
    over = state.number != number
    if not over.any():
        return state
    seen = over & (state.current.looks > 0)
    place = (state.number % len(state.periods))[None]
    found = Moments(*(np.take_along_axis(array, place, axis=0)[0] for array in state.normal))
    normal = Moments(*(_with(*arrays, place, seen) for arrays in zip(state.normal, found.joined(state.current), strict=True)))
    periods = _with(state.periods, np.take_along_axis(state.periods, place, axis=0)[0] + 1.0, place, seen)
    current = Moments(*(np.where(over, 0.0, array) for array in state.current))
    return SeasonalState(normal, periods, current, np.where(over, number, state.number))


def _with(array: Floats, values: Floats, place: Any, where: Bools) -> Floats:
    """Return a copy of [phases, streams, lanes] with `values` [streams, lanes] at each one's place, where they are wanted."""
    copy = array.copy()
    old = np.take_along_axis(array, place, axis=0)
    np.put_along_axis(copy, place, np.where(where[None], values[None], old), axis=0)
    return copy
