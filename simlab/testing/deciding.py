"""How an error-rate assertion decides: the sides of a claim, the lanes they are tested on, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simlab.errors import UnitError
from simlab.guardrails.look import Bools
from simlab.guardrails.rule import Observation
from simlab.run_lengths import RunLength, run_length
from simlab.streams import stream_key
from simlab.testing.recording import ErrorRate, session
from simlab.testing.sequential import Design, Ended, Run, design
from simlab.testing.shown import MINUTE
from simlab.testing.subjects import Subject

ZONE = 0.5
"""Width of the indifference zone, as a part of the claim."""
FLAKE = 1e-6
POWER = 0.99
_CHUNK = 512

Sample = Callable[[np.random.Generator, int], Observation]


class ErrorRateBrokenError(AssertionError):
    """A rule does not keep an error rate that it claims.

    Attributes
    ----------
    found : ErrorRate
        What was found.
    """

    def __init__(self, found: ErrorRate) -> None:
        self.found = found
        super().__init__(str(found))


@dataclass(frozen=True)
class Effort:
    """How sure an assertion is to be.

    Attributes
    ----------
    zone : float
        Width of the indifference zone as a part of the claim.
    flake, power : float
        Greatest probability to fail a rule that keeps the claim, least probability to catch one beyond the zone.
    lanes : int, optional
        Most lanes; fewer than are needed cost power and never raise the flake rate. The plugin's ``--simlab-lanes`` if not given.
    seed : int, optional
        The plugin's ``--simlab-seed`` if not given.
    """

    zone: float = ZONE
    flake: float = FLAKE
    power: float = POWER
    lanes: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.zone <= 0:
            raise UnitError(f"the indifference zone must be above 0, not {self.zone:g}")

    @property
    def drawn_from(self) -> int:
        """The seed in use."""
        return session.seed if self.seed is None else self.seed


USUAL = Effort()


class Tail(NamedTuple):
    """One side of a claim, as the probability of an event that is to be rare.

    Attributes
    ----------
    claimed, caught : float
        Of the event.
    opposite : bool
        Whether the event is that the claim's event does not happen.
    limit : float
        The value that is caught, in the claim's unit.
    """

    claimed: float
    caught: float
    opposite: bool
    limit: float


class Measured(NamedTuple):
    """What is measured: its name, the claim in words, its unit, its size where every lane has the event."""

    quantity: str
    claim: str
    unit: str
    scale: float
    complement: bool = False

    def value(self, probability: float) -> float:
        """Return the value that goes with a probability of the event."""
        return self.scale * (1.0 - probability if self.complement else probability)


def words(at_most: float | None, at_least: float | None, between: tuple[float, float] | None) -> str:
    """Return the claim in words."""
    if between is not None:
        return f"between {between[0]:g} and {between[1]:g}"
    return f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}"


def tails_of(
    what: str, at_most: float | None, at_least: float | None, between: tuple[float, float] | None, zone: float
) -> list[Tail]:
    """Return the sides of a claim about the probability of an event."""
    given = [each for each in (at_most, at_least, between) if each is not None]
    if len(given) != 1:
        raise UnitError(f"claim either one bound of {what} or both by between")
    low, high = between if between is not None else (at_least, at_most)
    tails = []
    if high is not None:
        tails.append(tail_of(high, high * (1.0 + zone), opposite=False, limit=high * (1.0 + zone)))
    if low is not None:
        tails.append(tail_of(1.0 - low, 1.0 - low * (1.0 - zone), opposite=True, limit=low * (1.0 - zone)))
    return tails


def tail_of(claimed: float, caught: float, *, opposite: bool, limit: float) -> Tail:
    """Return one side of a claim; `opposite` if its event is that the claim's does not happen."""
    if not 0.0 < claimed < caught < 1.0:
        told = f"a claim whose event has probability {claimed:g} leaves no room up to {caught:g}"
        raise UnitError(f"{told}: choose a claim strictly inside its range, a longer horizon or a narrower zone")
    return Tail(claimed, caught, opposite, limit)


class Lanes:
    """Lanes in order, stepped as they are wanted: the events of the first n do not depend on how many follow."""

    def __init__(
        self,
        tried: Subject,
        begin: Callable[[], Sample],
        horizon: int,
        events: Callable[[RunLength, int], Bools],
        seed: int,
    ) -> None:
        self.tried, self.begin, self.horizon, self.events, self.seed = tried, begin, horizon, events, seed
        self.chunks = 0
        self.found = np.zeros(0, dtype=bool)

    def first(self, lanes: int) -> int:
        """Return how many of the first `lanes` lanes have the event."""
        while self.found.size < lanes:
            key = int(stream_key(self.seed, f"testing.{self.chunks}"))
            ran = run_length(self.tried.rule, self.begin(), lanes=_CHUNK, horizon=self.horizon, seed=key, every=MINUTE)
            new = self.events(ran, self.chunks * _CHUNK)
            self.chunks += 1
            if not new.size and self.chunks > 20 and not self.found.size:
                raise UnitError(
                    f"{self.tried.name} alarms in every lane before the harm begins; nothing can be said of detection"
                )
            self.found = np.concatenate([self.found, new])
        return int(np.count_nonzero(self.found[:lanes]))


def decide(tried: Subject, measured: Measured, tails: list[Tail], lanes: Lanes, effort: Effort) -> ErrorRate:
    """Run the test of each side over the same lanes, record what was found, and fail if one side does."""
    most = effort.lanes if effort.lanes is not None else session.lanes
    ran = []
    for tail in tails:
        tested = design(tail.claimed, tail.caught, flake=effort.flake / len(tails), power=effort.power, lanes=most)
        ran.append((tail, tested, _run(tested, tail, lanes)))
    # Of two sides the one that failed is told, or else the one that took more lanes.
    tail, tested, ended = max(ran, key=lambda each: (each[2].failed, each[2].lanes))
    found = _report(tried, measured, tail, tested, ended, flake=sum(each[1].flake for each in ran), seed=lanes.seed)
    session.claims.append(found)
    if not found.holds:
        raise ErrorRateBrokenError(found)
    return found


def _run(tested: Design, tail: Tail, lanes: Lanes) -> Ended:
    run = Run(tested)
    while True:
        wanted = run.wants
        events = lanes.first(wanted)
        ended = run.see(wanted - events if tail.opposite else events)
        if ended is not None:
            return ended


def _report(
    tried: Subject, measured: Measured, tail: Tail, tested: Design, ended: Ended, *, flake: float, seed: int
) -> ErrorRate:
    ends = [ended.events / ended.lanes, *tested.interval(ended)]
    value, *interval = (measured.value(1.0 - each if tail.opposite else each) for each in ends)
    return ErrorRate(
        rule=tried.name,
        quantity=measured.quantity,
        claim=measured.claim,
        value=value,
        low=min(interval),
        high=max(interval),
        unit=measured.unit,
        lanes=ended.lanes,
        seed=seed,
        flake=flake,
        caught=tail.limit * (1.0 if measured.complement else measured.scale),
        power=tested.power,
        holds=not ended.failed,
    )
