"""A machine that drives a live monitor through anything that happens, and holds it against lanes judged at once.

The monitor sees one stream: looks, gaps, data that come late, pauses, restarts from what was saved, clearances and rollbacks. The
same looks stand in the middle lane of three that are stepped by `Policy`, as the engine steps thousands. Answers and statistics
must be the same to the bit after every look.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from simlab.errors import MonitorError
from simlab.guardrails.live import Arrived, Assigned, Counts
from simlab.guardrails.look import ARMS, Code, FirstSeen, Look, Sums
from simlab.guardrails.monitor import Monitor
from simlab.guardrails.policy import Policy
from simlab.testing.searches import numbers
from simlab.testing.shown import Lens
from simlab.testing.subjects import Subject, subject

_SHARES = (0.5, 0.5)
_OURS = 1
_NEIGHBOURS = (0.75, -8.0)
_HARM = 7.0
_SETTINGS = settings(
    max_examples=15,
    stateful_step_count=15,
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=False,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


class MonitorBrokenError(AssertionError):
    """A live monitor does not answer as lanes judged at once do."""


def monitor_machine(given: Any, *, monitor: Callable[[Policy], Any] = Monitor, **how: Any) -> type[RuleBasedStateMachine]:
    """Return a machine that tests one rule live; its `TestCase` is a test for pytest.

    Parameters
    ----------
    given, **how
        As in `simlab.testing.subject`.
    monitor : callable
        From a policy to what is driven; it has the methods of `simlab.Monitor`.

    Examples
    --------
    >>> TestLive = monitor_machine({"cusum": {"k": 0.5, "h": 4}}).TestCase
    """
    tried = subject(given, **how)
    made: Any = type("MonitorMachine", (_Machine,), {"tried": tried, "made": staticmethod(monitor)})
    machine: type[RuleBasedStateMachine] = made
    machine.TestCase.settings = _SETTINGS
    return machine


def live_equals_batch(tried: Subject, *, monitor: Callable[[Policy], Any] = Monitor) -> None:
    """Run the machine for one rule.

    Raises
    ------
    MonitorBrokenError
        After the shortest story found in which they differ.
    """
    run_state_machine_as_test(monitor_machine(tried, monitor=monitor), settings=_SETTINGS)


class _Machine(RuleBasedStateMachine):
    tried: Subject
    made: Callable[[Policy], Any]

    @initialize()
    def begin(self) -> None:
        """Begin a rollout."""
        self.policy = Policy("live", (self.tried.guardrail,))
        self.monitor = self.made(self.policy)
        self.initial = self.state = self.policy.initial(1, 3)
        self.time = 0
        self.waiting: list[Look] = []
        self.alarmed = False

    @rule(value=numbers(6))
    def look(self, value: float) -> None:
        """Look after something has happened."""
        self._judged(self._of(value))

    @rule()
    def harm(self) -> None:
        """Look after something bad has happened."""
        self._judged(self._of(_HARM))

    @rule()
    def idle(self) -> None:
        """Look after nothing has happened."""
        self._judged(self.tried.lens.look(np.zeros((1, 1)), idle=np.ones((1, 1), dtype=bool), time=self.time + 1))

    @rule()
    def gap(self) -> None:
        """Look although nothing has come at all."""
        self._missed(None)

    @rule(value=numbers(6))
    def late(self, value: float) -> None:
        """Let what has happened come with the next look."""
        self._missed(self._of(value))

    @rule(ticks=st.integers(1, 3))
    def pause(self, ticks: int) -> None:
        """Let some ticks pass without a look."""
        self.time += ticks

    @rule()
    def restart(self) -> None:
        """End the process, and let another one go on."""
        try:
            saved = self.monitor.save()
        except MonitorError:
            # The code of a rule of one's own may remember what no text can hold.
            self.monitor = pickle.loads(pickle.dumps(self.monitor))  # noqa: S301 - it is our own
            return
        self.monitor = self.made(self.policy)
        try:
            self.monitor.restore(saved)
        except MonitorError as error:
            raise MonitorBrokenError(
                f"{self.tried.name}: at tick {self.time} it cannot go on from what it saved: {error}"
            ) from error

    @precondition(lambda self: self.alarmed)
    @rule()
    def cleared(self) -> None:
        """Put the initial state back, as people do after a false alarm."""
        self.monitor.clear()
        ours = np.arange(3) == _OURS
        self.state = self.policy.cleared(self.state, ours, initial=self.initial)
        self.alarmed = False

    @precondition(lambda self: self.alarmed)
    @rule()
    def rollback(self) -> None:
        """Take the rollout back; the next one is a new one."""
        self.begin()

    def _of(self, value: float) -> Look:
        return self.tried.lens.look(np.full((1, 1), value), time=self.time + 1)

    def _judged(self, came: Look) -> None:
        self.time += 1
        reading = self.monitor.look(self.time, _arrived(came))
        # Added up in the order in which they came, as the monitor does.
        ours, *rest = [*self.waiting, came]
        for later in rest:
            ours = _together(later, ours)
        self.waiting = []
        self._same(reading, ours)

    def _missed(self, came: Look | None) -> None:
        self.time += 1
        arrived = () if came is None else (_arrived(came),)
        reading = self.monitor.look(self.time, *arrived, missing=True)
        self.waiting += [] if came is None else [came]
        self._same(reading, self.tried.lens.look(np.zeros((1, 1)), lost=True, time=self.time))

    def _same(self, reading: Any, ours: Look) -> None:
        around = self.tried.lens
        looks = _stacked([_neighbour(around, _NEIGHBOURS[0], ours), ours, _neighbour(around, _NEIGHBOURS[1], ours)])
        self.state, (decision,) = self.policy.step(self.state, {1: looks})
        if decision is None:
            raise MonitorBrokenError(f"{self.tried.name}: nobody looked at tick {self.time}")
        verdict = reading.verdicts[0]
        expected = Code(int(decision.code[_OURS])).name.lower()
        statistic = float(decision.statistic[_OURS])
        self.alarmed = expected == "alarm"
        if verdict.answer != expected or verdict.statistic != statistic:
            raise MonitorBrokenError(
                f"{self.tried.name}: at tick {self.time} the live monitor answers {verdict.answer} at {verdict.statistic!r}; "
                f"judged among other lanes it is {expected} at {statistic!r}"
            )


def _neighbour(lens: Lens, value: float, ours: Look) -> Look:
    return lens.look(np.full((1, 1), value), time=ours.time)


def _arrived(look: Look) -> Arrived:
    """Return a look of one lane as plain numbers."""
    sums = {
        name: {arm: Counts(*(float(array[0, 0, place, 0]) for array in each)) for place, arm in enumerate(ARMS)}
        for name, each in look.sums.items()
    }
    if look.first_seen is None:
        return Arrived(sums, shares=_SHARES)
    users = {arm: float(look.first_seen.users[0, 0, place, 0]) for place, arm in enumerate(ARMS[:2])}
    return Arrived(sums, shares=_SHARES, first_seen=(Assigned(_SHARES, users),))


def _together(later: Look, earlier: Look) -> Look:
    """Return a look that brings the data of an earlier one with its own."""
    sums = {name: Sums(*(a + b for a, b in zip(earlier.sums[name], each, strict=True))) for name, each in later.sums.items()}
    if later.first_seen is None or earlier.first_seen is None:
        return replace(later, sums=sums)
    users = earlier.first_seen.users + later.first_seen.users
    return replace(later, sums=sums, first_seen=later.first_seen._replace(users=users))


def _stacked(looks: list[Look]) -> Look:
    """Return one look of several lanes from looks of one lane."""

    def joined(name: str) -> Any:
        return np.concatenate([getattr(look, name) for look in looks], axis=-1)

    sums = {
        name: Sums(*(np.concatenate(arrays, axis=-1) for arrays in zip(*(look.sums[name] for look in looks), strict=True)))
        for name in looks[0].sums
    }
    groups = [look.first_seen for look in looks if look.first_seen is not None]
    seen = FirstSeen(*(np.concatenate(arrays, axis=-1) for arrays in zip(*groups, strict=True))) if groups else None
    fields = {name: joined(name) for name in ("start", "end", "shares", "missing", "one_armed")}
    return replace(looks[0], lanes=np.array([1, 0, 2]), sums=sums, first_seen=seen, **fields)
