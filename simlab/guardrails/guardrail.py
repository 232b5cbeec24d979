"""A guardrail: a signal, a rule, how often it looks and what it does. Frozen settings, explicit state.

The object that is validated over thousands of lanes is the one that steps over a live stream: nothing in it knows the simulator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from simlab.errors import UnitError
from simlab.guardrails.look import ALARM, OK, UNKNOWN, Bools, Decision, Floats, Look, Reached
from simlab.guardrails.rule import Rule, State, Takes, choose, learns
from simlab.guardrails.signal import Signal, Signalled, SignalState
from simlab.guardrails.verdicts import decide, everywhere, settle
from simlab.guardrails.watch import Watch

Respond = Literal["alert", "pause", "rollback", "hold"]
STRONGEST_FIRST: tuple[Respond, ...] = ("rollback", "pause", "alert", "hold")
"""Whose alarm is on record when several alarm at once; of equal ones it is the first guardrail's."""

OnUnknown = Literal["hold", "ignore", "alarm"]

_READING = {"hold": UNKNOWN, "ignore": OK, "alarm": ALARM}


NEVER = math.nan
"""A threshold that no statistic reaches: not even infinity is at or above what is no number."""


class GuardrailState(NamedTuple):
    """What a guardrail remembers between looks.

    Attributes
    ----------
    signal : SignalState
        Of its signal.
    rule : State
        Of its rule.
    statistic : float64[streams, lanes]
        Last statistic; -inf before the first observation.
    worse : bool[streams, lanes]
        Direction of the last statistic.
    observed : bool[streams, lanes]
        Streams that have been judged at least once.
    """

    signal: SignalState
    rule: State
    statistic: Floats
    worse: Bools
    observed: Bools


class Judged(NamedTuple):
    """What a guardrail has made of one look, before it is held against a threshold.

    Attributes
    ----------
    state : GuardrailState
        To be passed on.
    unknown : bool[streams, lanes]
        Streams that could not be judged.
    skipped : bool[streams, lanes]
        Streams under their minimum count; the last verdict stands.
    """

    state: GuardrailState
    unknown: Bools
    skipped: Bools


class Stepped(NamedTuple):
    """The new state of a guardrail and its decision."""

    state: GuardrailState
    decision: Decision


@dataclass(frozen=True)
class Guardrail:
    """Signal, rule, cadence and response settings.

    Parameters
    ----------
    signal : Signal
        What is watched.
    rule : Rule
        What judges it.
    every : int
        Milliseconds between looks.
    respond : {"alert", "pause", "rollback", "hold"}
        What an alarm does; a hold only keeps the ramp from advancing.
    on_unknown : {"hold", "ignore", "alarm"}
        How a look that cannot be judged reads.
    tick : int
        Milliseconds in a tick of the world that it watches.
    critical : bool
        Acts alone where a policy asks the others to agree.
    at : float, optional
        Threshold in place of the rule's own, in its ladder coordinate; `NEVER` is reached by nothing, and then each decision says
        what would have been reached.

    Raises
    ------
    UnitError
        If the signal's window is not a whole number of looks.
    """

    signal: Signal
    rule: Rule
    every: int
    respond: Respond = "alert"
    on_unknown: OnUnknown = "hold"
    tick: int = 60_000
    critical: bool = False
    at: float | None = None

    def __post_init__(self) -> None:
        if self.signal.over % self.every:
            raise UnitError(f"a window of {self.signal.over} ms is not a whole number of looks, each of {self.every} ms")

    @property
    def every_ticks(self) -> int:
        """Ticks between looks."""
        return self.every // self.tick

    def tests(self, segments: int) -> int:
        """Return how many tests it makes at a look."""
        return tests_of(self.signal, self.rule, segments=segments)

    def initial(self, segments: int, lanes: int) -> GuardrailState:
        """Return the state before the first look."""
        streams = self.signal.streams(segments)
        no = np.zeros((streams, lanes), dtype=bool)
        return GuardrailState(
            self.signal.initial(segments, lanes, every=self.every),
            self.rule.initial(streams, lanes, every=self.every),
            np.full((streams, lanes), -np.inf),
            no,
            no,
        )

    def step(self, state: GuardrailState, look: Look) -> Stepped:
        """Judge one look.

        A stream that is under its minimum count keeps its last verdict; one that has never been judged, and any stream of a
        look that is missing, is unknown, unless its rule counts what does not arrive. Arms that do not differ in a single value,
        as where neither has had an event, are judged: nothing speaks against them. Alarm goes before unknown, unknown before ok.

        Parameters
        ----------
        state : GuardrailState
            From `initial` or the look before; not changed.
        look : Look
            What had arrived.
        """
        judged = self.judge(state, self.observe(state, look), look)
        return Stepped(judged.state, self.decide(judged, look))

    def observe(self, state: GuardrailState, look: Look) -> Signalled:
        """Return what the rule is to see of a look; it depends on the signal alone, so that guardrails can share it."""
        return self.signal.observe(state.signal, look, takes=self.rule.takes, elapsed=look.time * self.tick)

    def judge(self, state: GuardrailState, signalled: Signalled, look: Look) -> Judged:
        """Return the new state, and what could not be judged of what has been observed."""
        signal, seen, skipped, even = signalled
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            stepped = self.rule.update(state.rule, seen)
        # To a rule that counts what does not arrive, a missing look is an observation.
        settled, everywhere = settle(
            (np.ascontiguousarray(stepped.statistic), _spread(stepped.worse, seen.valid.shape)),
            (state.statistic, state.worse, state.observed),
            valid=np.ascontiguousarray(seen.valid),
            skipped=skipped,
            even=even,
            missing=look.missing,
            learns=learns(self.rule),
        )
        rule = stepped.state if everywhere else choose(settled.taken, stepped.state, state.rule)
        kept = GuardrailState(signal, rule, settled.statistic, settled.worse, settled.observed)
        return Judged(kept, settled.unknown, skipped)

    def decide(self, judged: Judged, look: Look, *, threshold: Floats | None = None) -> Decision:
        """Return the decision on a judged look.

        Parameters
        ----------
        judged : Judged
            From `judge`.
        look : Look
            The same look.
        threshold : float64[lanes], optional
            In place of the rule's own, where a policy's guardrails share one.
        """
        state, unknown, skipped = judged
        retired = self.signal.retired(look)
        limit = np.array([self.threshold]) if threshold is None else threshold
        verdict = decide(
            state.statistic,
            state.worse,
            unknown=unknown,
            skipped=skipped,
            retired=retired,
            threshold=limit,
            reading=_READING[self.on_unknown],
        )
        return Decision(
            code=verdict.code,
            worse=verdict.worse,
            statistic=verdict.statistic,
            end=look.end,
            unknown=verdict.unknown,
            skipped=verdict.thin,
            retired=retired,
            reached=Reached(verdict.statistic, state.statistic, state.worse, unknown, retired) if self.is_quiet else None,
        )

    @property
    def is_quiet(self) -> bool:
        """Whether it never alarms and only leaves its ladder."""
        return self.at is not None and math.isnan(self.at)

    @property
    def threshold(self) -> float:
        """Where it alarms, in the rule's ladder coordinate."""
        return self.rule.threshold if self.at is None else self.at


def tests_of(watch: Watch, rule: Rule | None, *, segments: int) -> int:
    """Return how many tests a rule makes at a look: one a stream, but one over all metrics that are judged together."""
    return 1 if rule is not None and rule.takes is Takes.VECTOR else watch.streams(segments)


def _spread(worse: Bools | bool, shape: tuple[int, ...]) -> Bools:
    """Return a direction for each stream and lane."""
    if isinstance(worse, bool):
        return everywhere(worse, shape)
    return np.ascontiguousarray(worse if worse.shape == shape else np.broadcast_to(worse, shape))
