"""What alarms do to the rollout: pages, pauses, rollbacks, people, and the ramp they act on.

Everything is vectorised over lanes. Times are ticks; an action taken at time t acts from tick t on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simlab.guardrails.guardrail import STRONGEST_FIRST, Guardrail
from simlab.guardrails.look import ALARM, OK, UNKNOWN, Bools, Decision, Integers
from simlab.scenario import Response
from simlab.streams import span_ticks, stream_key, uniforms
from simlab.ticks import Clock
from simlab.world.harms import NOT_YET, Exposure
from simlab.world.ramp import RampPlan

ACTIONS = ("none", "alert", "pause", "rollback")
ALERT, PAUSE, ROLLBACK = (ACTIONS.index(action) for action in ("alert", "pause", "rollback"))


class FirstAction(NamedTuple):
    """The first page sent, pause begun or rollback ordered in each lane.

    Attributes
    ----------
    time : int64[lanes]
        Tick; `NOT_YET` if there was none.
    action : int64[lanes]
        Index in `ACTIONS`.
    guardrail : int64[lanes]
        Index in the policy; -1 if there was none.
    evidence : int64[lanes]
        Watermark of the look behind it: the end b of its span.
    worse : bool[lanes]
        Whether the evidence pointed to harm.
    """

    time: Integers
    action: Integers
    guardrail: Integers
    evidence: Integers
    worse: Bools


class Responder:
    """The ramp and the people of one path.

    Parameters
    ----------
    settings : Response or None
        How the organisation answers. None for a recording, whose people cannot be asked: an alert then ends when no
        guardrail alarms any more.
    ramp : RampPlan
        The ramp.
    guardrails : tuple of Guardrail
        The policy's.
    clock : Clock
        The grid of ticks.
    lanes : int64[lanes]
        Lane numbers.
    seed : int
        Of the study.
    """

    def __init__(
        self,
        settings: Response | None,
        ramp: RampPlan,
        guardrails: tuple[Guardrail, ...],
        *,
        clock: Clock,
        lanes: Integers,
        seed: int,
    ) -> None:
        self.settings = settings
        self.ramp = ramp
        self.guardrails = guardrails
        self.clock = clock
        self.lanes = lanes
        self.seed = seed
        count = len(lanes)
        self.position = np.zeros(count, dtype=np.int64)
        self.highest = np.zeros(count, dtype=np.int64)
        self._soak_left = np.full(count, ramp.soak[0])
        self._paused = np.zeros(count, dtype=bool)
        self._diagnosis = np.full(count, NOT_YET)
        self._page_open = np.zeros(count, dtype=bool)
        self._rollback_due = np.full(count, NOT_YET)
        self.ended = np.zeros(count, dtype=bool)
        self.contained = np.full(count, NOT_YET)
        self.completed = np.full(count, NOT_YET)
        self.episodes = np.zeros(count, dtype=np.int64)
        self.ended_at = np.full(count, NOT_YET)
        none = np.full(count, NOT_YET)
        self.first = FirstAction(none, np.zeros_like(none), np.full(count, -1), none, np.ones(count, dtype=bool))
        self._codes = np.zeros((len(guardrails), count), dtype=np.int8)
        # A hold is no action: it keeps the ramp from advancing as long as it alarms.
        acting = [index for index, guardrail in enumerate(guardrails) if guardrail.respond in ACTIONS]
        self._strongest_first = sorted(acting, key=lambda index: STRONGEST_FIRST.index(guardrails[index].respond))
        self._holding = np.array([guardrail.respond != "alert" for guardrail in guardrails], dtype=bool)[:, None]
        # A ramp that begins at once exposes its first step from tick 0 on.
        self._advance(0, self._soak_left <= 0)

    @property
    def exposure(self) -> Exposure:
        """Who is exposed during the coming tick."""
        return Exposure(self.position, self.highest)

    def act(self, time: int, decisions: Sequence[Decision | None]) -> None:
        """Turn the decisions of one evaluation into pages, pauses and rollbacks.

        Parameters
        ----------
        time : int
            Tick of the evaluation.
        decisions : sequence of Decision or None
            One for each guardrail; None where it did not look.
        """
        for index, decision in enumerate(decisions):
            if decision is not None:
                self._codes[index] = decision.code
        alarming = self._codes == ALARM
        some = alarming.any(axis=1)
        for index in self._strongest_first:
            decision = decisions[index]
            if some[index] and decision is not None:
                alarmed = alarming[index] & ~self.ended
                if alarmed.any():
                    self._take(ACTIONS.index(self.guardrails[index].respond), index, time, alarmed, decision)

    def _take(self, action: int, index: int, time: int, alarmed: Bools, decision: Decision) -> None:
        called = alarmed & ~self._page_open
        if action == ALERT and not called.any():
            # Whoever has an open page is on record and has been called.
            return
        self._record(action, index, time, alarmed, decision)
        self.episodes += called
        if action == ROLLBACK:
            self._order_rollback(time, alarmed)
            return
        if action == PAUSE:
            self._paused |= alarmed
        self._page(time, called)

    def _record(self, action: int, index: int, time: int, alarmed: Bools, decision: Decision) -> None:
        new = alarmed & (self.first.time == NOT_YET)
        if not new.any():
            return
        values = FirstAction(np.full_like(self.lanes, time), np.full_like(self.lanes, action),
                             np.full_like(self.lanes, index), decision.end, decision.worse)  # fmt: skip
        self.first = FirstAction(*(np.where(new, a, b) for a, b in zip(values, self.first, strict=True)))

    def _page(self, time: int, called: Bools) -> None:
        self._page_open |= called
        if self.settings is not None and called.any():
            self._diagnosis = np.where(called, time + self._people_take(time), self._diagnosis)

    def _people_take(self, time: int) -> Integers:
        """Return the ticks from a page sent at `time` to the diagnosis, int64[lanes]."""
        people = self._settings.people
        answer = uniforms(stream_key(self.seed, "people.answer"), time, self.lanes)
        diagnose = uniforms(stream_key(self.seed, "people.diagnose"), time, self.lanes)
        tick = self.clock.tick
        return span_ticks(people.answer, answer, tick=tick) + span_ticks(people.diagnose, diagnose, tick=tick)

    @property
    def _settings(self) -> Response:
        if self.settings is None:
            raise ValueError("a recording has no people to ask")
        return self.settings

    def _order_rollback(self, time: int, ordered: Bools) -> None:
        if self.settings is None:
            self._page_open |= ordered
            return
        self.ended |= ordered
        self.ended_at = np.where(ordered, time, self.ended_at)
        self._page_open &= ~ordered
        self._diagnosis = np.where(ordered, NOT_YET, self._diagnosis)
        self._schedule_rollback(time, ordered, time)

    def _schedule_rollback(self, key_time: int, lanes: Bools, begins: int | Integers) -> None:
        uniform = uniforms(stream_key(self.seed, "rollback.takes"), key_time, self.lanes)
        takes = span_ticks(self._settings.rollback.takes, uniform, tick=self.clock.tick)
        self._rollback_due = np.where(lanes, begins + takes, self._rollback_due)

    def settle(self, time: int, truth: Bools) -> Bools:
        """Let people diagnose and rollbacks complete; return the lanes that were cleared, bool[lanes].

        Parameters
        ----------
        time : int
            Now, in ticks.
        truth : bool[lanes]
            Whether a harm is under way; only people may read it.
        """
        if self.settings is None:
            cleared = self._page_open & ~(self._codes == ALARM).any(axis=0)
            self._page_open &= ~cleared
            return np.zeros_like(cleared)
        cleared = self._diagnose(time, truth)
        self._complete_rollbacks(time)
        return cleared

    def _diagnose(self, time: int, truth: Bools) -> Bools:
        due: Bools = self._diagnosis == time
        if not due.any():
            return due
        right = uniforms(stream_key(self.seed, "people.right"), time, self.lanes) < self._settings.people.right
        harm = np.where(right, truth, ~truth)
        self._order_rollback(time, due & harm)
        cleared = due & ~harm
        self._page_open &= ~cleared
        self._paused &= ~cleared
        self._diagnosis = np.where(cleared, NOT_YET, self._diagnosis)
        self._codes = np.where(cleared, OK, self._codes)
        return np.asarray(cleared)

    def _complete_rollbacks(self, time: int) -> None:
        due = self._rollback_due == time
        if not due.any():
            return
        drawn = uniforms(stream_key(self.seed, "rollback.succeeds"), time, self.lanes)
        done = due & (drawn < self._settings.rollback.succeeds)
        self.position = np.where(done, 0, self.position)
        self.contained = np.where(done, time, self.contained)
        self._rollback_due = np.where(done, NOT_YET, self._rollback_due)
        failed = due & ~done
        if failed.any():
            self._schedule_rollback(time, failed, time + self._people_take(time))
            # Where neither people nor the rollback take any time, the next try is at the next tick.
            self._rollback_due = np.maximum(self._rollback_due, time + 1)

    def move(self, time: int) -> None:
        """Let the ramp's clock run over the tick that has just ended, and advance where nothing holds it."""
        # Before the first exposure there is nothing to judge, so only a pause keeps a rollout from beginning.
        held = self._held() & (self.position > 0)
        unheld = ~(held | self._paused | self.ended)
        self._advance(time, unheld & (self._soak_left <= 0))

    def elapse(self) -> None:
        """Count a tick of soak where the ramp was not standing still."""
        self._soak_left = self._soak_left - ~(self._paused | self.ended)

    def _held(self) -> Bools:
        """Return the lanes whose next step waits, bool[lanes]: what is unknown holds it, and any alarm but an alert."""
        return np.asarray(((self._codes == UNKNOWN) | ((self._codes == ALARM) & self._holding)).any(axis=0))

    def _advance(self, time: int, ready: Bools) -> None:
        ready = ready & (self.position < len(self.ramp.soak) - 1)
        if not ready.any():
            return
        self.position = self.position + ready
        self.highest = np.maximum(self.highest, self.position)
        self._soak_left = np.where(ready, self.ramp.soak[self.position], self._soak_left)
        completed = ready & (self.position == len(self.ramp.soak) - 1)
        self.completed = np.where(completed, time, self.completed)
