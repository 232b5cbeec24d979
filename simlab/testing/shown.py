"""What a rule is shown in a test: short streams of plain numbers, and the looks that carry them.

A stream is one latent series: 0 is what is usual, 1 one standard deviation of a look worse. A `Lens` makes of it what a rule
takes (a level, or counts in two arms), so that one set of streams tests every rule, through the same `Signal` and `Guardrail` as
ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, ndtr

from simlab.errors import UnitError
from simlab.guardrails.look import ARMS, FirstSeen, Floats, Integers, Look, Sums
from simlab.guardrails.rule import Observation, Rule, Takes
from simlab.guardrails.signal import Signal

MINUTE = 60_000
"""Milliseconds between looks in every test."""
METRIC = "metric"
EVENTS = 40
"""Users first seen, or events, in both arms together at one look."""
MISSED = 4.0
"""For a rule that counts what does not arrive: from this latent number on, nothing does."""
_EXPOSURES = 1_000
_CUMULATIVE = bdtr(np.arange(EVENTS), EVENTS, 0.5)


class Quiet(Enum):
    """A look without a value."""

    LOST = "LOST"
    """The look itself did not come."""
    IDLE = "IDLE"
    """It came, and nothing had happened."""

    def __repr__(self) -> str:
        return self.value


LOST, IDLE = Quiet.LOST, Quiet.IDLE
Seen = float | Quiet
Stream = tuple[Seen, ...]
"""One lane, look by look."""


@dataclass(frozen=True)
class Case:
    """What one property is tried on.

    Attributes
    ----------
    streams : tuple of Stream
        The lanes, all of the same number of looks.
    others : tuple of Stream
        As many others of the same length: another future, other neighbours, or the harm that is added.
    cut : int
        A look in the middle: those before it are numbered 0 to cut - 1.

    Raises
    ------
    UnitError
        If lanes differ in length.
    """

    streams: tuple[Stream, ...]
    others: tuple[Stream, ...]
    cut: int = 0

    def __post_init__(self) -> None:
        lengths = {len(each) for each in (*self.streams, *self.others)}
        if len(lengths) != 1 or len(self.streams) != len(self.others) or not 0 <= self.cut <= min(lengths):
            raise UnitError(f"streams and others must be as many and as long, and the cut inside: {self}")

    @property
    def lanes(self) -> int:
        """How many lanes."""
        return len(self.streams)

    def __str__(self) -> str:
        rows = [f"  streams[{lane}] = {list(stream)}" for lane, stream in enumerate(self.streams)]
        rows += [f"  others[{lane}] = {list(stream)}" for lane, stream in enumerate(self.others)]
        return "\n".join([*rows, f"  cut = {self.cut}"])


def case(*streams: Iterable[Seen], others: Iterable[Iterable[Seen]] | None = None, cut: int = 0) -> Case:
    """Return a case written by hand; without `others` they are all 0."""
    lanes = tuple(tuple(each) for each in streams)
    second = tuple(tuple(each) for each in others) if others is not None else tuple((0.0,) * len(each) for each in lanes)
    return Case(lanes, second, cut)


@dataclass(frozen=True)
class Lens:
    """How a latent number becomes what a rule takes.

    Attributes
    ----------
    takes : Takes
        What the rule takes.
    center, spread : float
        A level is center + spread x. For standardised values the signal takes them out again.
    low, high : float
        Bounds of a level.
    """

    takes: Takes = Takes.STANDARDISED
    center: float = 0.0
    spread: float = 1.0
    low: float = -np.inf
    high: float = np.inf

    def signal(self, *, by: Literal["segment"] | None = None, metric: str = METRIC) -> Signal:
        """Return the signal through which a rule sees these looks."""
        if self.takes is Takes.NOTHING:
            return Signal(by=by)
        if self.takes is Takes.ARM_COUNTS:
            return Signal(compare="shares", by=by)
        if self.takes is Takes.EVENT_COUNTS:
            return Signal(watch=metric, compare="ratio", by=by)
        if self.takes is Takes.VECTOR:
            both = (metric, f"half {metric}")
            return Signal(watch=both, of="everyone", target=self.center, spread=abs(self.spread), worse=("up", "up"))
        if self.takes is Takes.STANDARDISED:
            return Signal(watch=metric, of="everyone", by=by, target=self.center, spread=abs(self.spread))
        return Signal(watch=metric, of="everyone", by=by)

    def levels(self, latent: ArrayLike) -> Floats:
        """Return levels of latent numbers."""
        level = self.center + self.spread * np.asarray(latent, dtype=float)
        return np.where(np.isfinite(level), np.clip(level, self.low, self.high), level)

    def look(
        self,
        latent: Floats,
        *,
        lost: ArrayLike = False,
        idle: ArrayLike = False,
        time: int = 1,
        lanes: Integers | None = None,
        metric: str = METRIC,
        scale: float = 1.0,
    ) -> Look:
        """Return one look.

        Parameters
        ----------
        latent : float64[segments, lanes]
            May hold NaN and infinities.
        lost : bool[lanes]
            Looks that did not come.
        idle : bool[segments, lanes]
            Looks without data.
        time : int
            Tick of the evaluation.
        lanes : int64[lanes], optional
            Lane numbers.
        metric : str
            Its name.
        scale : float
            Another unit: levels and counts are this many times as large.
        """
        count = latent.shape[1]
        numbers = np.arange(count) if lanes is None else lanes
        gone = np.broadcast_to(np.asarray(lost), (count,))
        absent = np.asarray(latent >= MISSED) if self.takes is Takes.ARRIVALS else False
        here = np.where(np.broadcast_to(gone | np.asarray(idle) | absent, latent.shape), 0.0, 1.0)
        counted = np.stack([events := split(latent), EVENTS - events]) * scale * here
        halves = np.full((1, 2, count), 0.5)
        return Look(
            time=time,
            start=np.full(count, time - 1),
            end=np.where(gone, time - 1, time),
            lanes=numbers,
            seed=0,
            sums={
                metric: self._sums(latent, counted, here, scale),
                f"half {metric}": self._sums(0.5 * latent, counted, here, scale),
            },
            first_seen=FirstSeen(np.moveaxis(counted, 0, 1)[None], halves) if self.takes is Takes.ARM_COUNTS else None,
            shares=halves,
            missing=gone,
            one_armed=np.zeros(count, dtype=bool),
        )

    def _sums(self, latent: Floats, counted: Floats, here: Floats, scale: float) -> Sums:
        arms = np.zeros((1, latent.shape[0], len(ARMS), latent.shape[1]))
        if self.takes is Takes.EVENT_COUNTS:
            arms[0, :, :2] = np.moveaxis(counted, 0, 1)
            observations = np.zeros_like(arms)
            observations[0, :, :2] = _EXPOSURES * scale * here[:, None]
            return Sums(observations, arms, arms)
        if self.takes is Takes.EVENTS:
            arms[0, :, 0] = counted[0]
            observations = np.zeros_like(arms)
            observations[0, :, 0] = _EXPOSURES * scale * here
            return Sums(observations, arms, arms)
        arms[0, :, 0] = np.where(here > 0, self.levels(latent) * scale, 0.0)
        observations = np.zeros_like(arms)
        observations[0, :, 0] = here
        with np.errstate(over="ignore"):
            return Sums(observations, arms, arms * arms)

    def observation(self, latent: Floats) -> Observation:
        """Return what a rule sees of one look of latent numbers [lanes]."""
        signal = self.signal()
        look = self.look(latent[None])
        state = signal.initial(1, latent.size, every=MINUTE)
        return signal.observe(state, look, takes=self.takes, elapsed=MINUTE).seen


def lens_for(rule: Rule) -> Lens:
    """Return the lens for a rule: the plain one for what it takes."""
    return Lens(takes=rule.takes)


def split(latent: Floats) -> Floats:
    """Return the events of treatment, of `EVENTS` in both arms, at the same quantile as a latent standard normal number.

    Under a standard normal latent number they are binomial with probability 1/2, exactly: the arms do not differ.
    """
    drawn = np.searchsorted(_CUMULATIVE, ndtr(np.asarray(latent)), side="left").astype(float)
    return np.where(np.isnan(latent), np.nan, drawn)


def make_looks(
    segments: Sequence[Sequence[Stream]], lens: Lens, *, lanes: Integers | None = None, first: int = 1, **how: Any
) -> list[Look]:
    """Return the looks of lanes of streams, one segment or several.

    Parameters
    ----------
    segments : sequence of lanes of Stream
        One set of lanes for each segment. A look is lost where the first segment's is.
    lens : Lens
        What the rule takes.
    lanes : int64[lanes], optional
        Lane numbers.
    first : int
        Tick of the first evaluation.
    **how
        As in `Lens.look`.
    """
    grid = np.array([[[_number(each) for each in stream] for stream in lane] for lane in segments], dtype=float)
    made = []
    for look in range(grid.shape[2]):
        lost = np.array([stream[look] is LOST for stream in segments[0]])
        idle = np.array([[isinstance(stream[look], Quiet) for stream in lane] for lane in segments])
        made.append(lens.look(grid[:, :, look], lost=lost, idle=idle, time=first + look, lanes=lanes, **how))
    return made


def _number(seen: Seen) -> float:
    return 0.0 if isinstance(seen, Quiet) else float(seen)
