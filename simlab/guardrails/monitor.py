"""One live stream, judged by the very guardrails that were validated over thousands of lanes.

The monitor is given plain numbers as they arrive, makes the looks that are due, and steps the guardrails over them. It can be
saved and restored at any moment.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from simlab.errors import MonitorError
from simlab.guardrails.guardrail import STRONGEST_FIRST, Guardrail, Respond
from simlab.guardrails.live import Arrived, Gathered, Intake, Part
from simlab.guardrails.look import Code, Decision
from simlab.guardrails.policy import Policy, PolicyState
from simlab.guardrails.rule import Takes
from simlab.guardrails.saved import read, written
from simlab.settings import described

Answer = Literal["ok", "alarm", "unknown"]
_ANSWERS: dict[int, Answer] = {Code.OK: "ok", Code.ALARM: "alarm", Code.UNKNOWN: "unknown"}
_VERSION = 1


@dataclass(frozen=True)
class Verdict:
    """What one guardrail answered at its last look.

    Attributes
    ----------
    guardrail : int
        Index in the policy.
    watches : str
        The metric or metrics, or ``shares``.
    rule : str
        Key of the rule.
    answer : {"ok", "alarm", "unknown"}
        An alarm that others would have to join, and have not, reads as ok.
    statistic : float
        In the rule's ladder coordinate; -inf before anything could be judged.
    threshold : float
        The rule's; a policy whose guardrails merge their evidence asks for more.
    worse : bool
        Whether an alarm points to harm; False is an alarm in the other direction.
    respond : {"alert", "pause", "rollback", "hold"}
        What is to be done about an alarm.
    time, watermark : int
        Ticks: when it looked, and up to when it had data.
    skipped, retired : bool
        A stream was too thin; by plan there were not two arms to compare.
    """

    guardrail: int
    watches: str
    rule: str
    answer: Answer
    statistic: float
    threshold: float
    worse: bool
    respond: Respond
    time: int
    watermark: int
    skipped: bool
    retired: bool

    def __str__(self) -> str:
        said = f"{self.answer}: {self.rule} on {self.watches} at {self.statistic:.4g}, threshold {self.threshold:.4g}"
        if self.answer != "alarm":
            return said
        return f"{said}, {'for the worse' if self.worse else 'not for the worse'}: {self.respond}"


@dataclass(frozen=True)
class Reading:
    """What stands after a look.

    Attributes
    ----------
    time : int
        Ticks.
    verdicts : tuple of Verdict or None
        The last one of each guardrail; None for one that has not looked yet.
    looked : tuple of int
        Who has looked now.
    """

    time: int
    verdicts: tuple[Verdict | None, ...]
    looked: tuple[int, ...]

    @property
    def answer(self) -> Answer:
        """Alarm if any guardrail stands in alarm, else unknown if any is, or has not looked yet, else ok."""
        return "unknown" if self.deciding is None else self.deciding.answer

    @property
    def deciding(self) -> Verdict | None:
        """The verdict behind the answer: of several alarms the one with the strongest response."""
        alarms = [verdict for verdict in self.verdicts if verdict is not None and verdict.answer == "alarm"]
        if alarms:
            return min(alarms, key=lambda verdict: STRONGEST_FIRST.index(verdict.respond))
        if None in self.verdicts:
            return None
        known = [verdict for verdict in self.verdicts if verdict is not None]
        return next((verdict for verdict in known if verdict.answer == "unknown"), known[0])

    def __str__(self) -> str:
        return f"tick {self.time}: {self.deciding or 'unknown: not every guardrail has looked yet'}"


class _Held(NamedTuple):
    """Everything that a monitor remembers."""

    policy: PolicyState
    time: int
    shares: tuple[float, float] | None
    gathered: dict[int, Gathered]
    verdicts: tuple[Verdict | None, ...]


class Monitor:
    """A guardrail, or a policy, over one live stream.

    Times are ticks from the start of the rollout, `tick` milliseconds each, and a look at time t judges what happened before t.
    A guardrail looks at the first call at or after each multiple of its cadence; in between its last verdict stands.

    Parameters
    ----------
    watching : Guardrail or Policy
        Not changed; the same object can be validated and monitored.
    segments : sequence of str
        Names of the segments, in the order of the scenario.
    seed : int
        For rules that draw numbers of their own.

    Raises
    ------
    MonitorError
        If a guardrail does not look at whole ticks.

    Examples
    --------
    >>> from simlab.guardrails.live import Arrived, Counts
    >>> from simlab.guardrails.rules.cusum import Cusum
    >>> from simlab.guardrails.signal import Signal
    >>> errors = Guardrail(Signal(watch="errors", compare="difference"), Cusum(k=0.5, h=4), every=300_000, tick=300_000)
    >>> monitor = Monitor(errors)
    >>> arms = {"treatment": Counts(1000, 40), "control": Counts(1000, 10)}
    >>> print(monitor.look(1, Arrived({"errors": arms})))
    tick 1: ok: cusum on errors at 3.796, threshold 4
    >>> print(monitor.look(2, Arrived({"errors": arms})))
    tick 2: alarm: cusum on errors at 7.591, threshold 4, for the worse: alert
    """

    def __init__(self, watching: Guardrail | Policy, *, segments: Sequence[str] = ("all",), seed: int = 0) -> None:
        self.policy = watching if isinstance(watching, Policy) else Policy("live", (watching,))
        self.segments = tuple(segments)
        guardrails = self.policy.guardrails
        if any(guardrail.every % guardrail.tick or guardrail.every < guardrail.tick for guardrail in guardrails):
            raise MonitorError("a guardrail must look every whole number of ticks")
        metrics = {name for each in guardrails if each.rule.takes is not Takes.NOTHING for name in each.signal.metrics}
        counts_users = any(guardrail.signal.compare == "shares" for guardrail in guardrails)
        self._intake = Intake(tuple(sorted(metrics)), self.segments, counts_users, seed)
        self._initial = self.policy.initial(len(self.segments), 1)
        gathered = {cadence: Gathered() for cadence in self.policy.cadences}
        self._held = _Held(self._initial, 0, None, gathered, (None,) * len(guardrails))

    def look(
        self,
        time: int,
        *arrived: Arrived,
        watermark: int | None = None,
        missing: bool = False,
        one_armed: bool | None = None,
    ) -> Reading:
        """Take in what has arrived since the last call, and let the guardrails look that are due.

        If anything is wrong the monitor stays as it was, and the same call can be made again.

        Parameters
        ----------
        time : int
            Now, in ticks; later than at the last call.
        *arrived : Arrived
            What has arrived, one for each allocation of the arms since the last call, oldest first. Without any, or where
            observations have not come, the look is missing: it reads as unknown, and the data are given to a later call.
        watermark : int, optional
            The tick before which everything has arrived; `time` if not given.
        missing : bool
            The look is lost: what has arrived waits for the next one.
        one_armed : bool, optional
            By plan there are not two arms to compare; if not given, as the shares that came last say.

        Raises
        ------
        MonitorError
            If the numbers or the times cannot be used.
        RuleError
            If a rule fails.
        """
        held = self._taken_in(time, arrived, time if watermark is None else watermark)
        due = [cadence for cadence in held.gathered if time // cadence > self._held.time // cadence]
        lost = {cadence: missing or not held.gathered[cadence].parts for cadence in due}
        looks = {}
        for cadence in due:
            gathered = held.gathered[cadence]
            alone = _one_armed(held.shares, gathered) if one_armed is None else one_armed
            looks[cadence] = self._intake.look(gathered, time, missing=lost[cadence], one_armed=alone)
        state, decisions = self.policy.step(held.policy, looks)
        taken = {
            cadence: Gathered(held.gathered[cadence].end, held.gathered[cadence].end) for cadence in due if not lost[cadence]
        }
        looked = [self._verdict(index, decision, time) for index, decision in enumerate(decisions)]
        verdicts = tuple(new or old for new, old in zip(looked, held.verdicts, strict=True))
        self._held = _Held(state, time, held.shares, held.gathered | taken, verdicts)
        return Reading(time, verdicts, tuple(index for index, verdict in enumerate(looked) if verdict is not None))

    def clear(self) -> None:
        """Put the initial state in place, as when people have found that an alarm was a false one."""
        state = self.policy.cleared(self._held.policy, np.array([True]), initial=self._initial)
        self._held = self._held._replace(policy=state, verdicts=(None,) * len(self.policy.guardrails))

    def save(self) -> str:
        """Return everything that the monitor remembers, as JSON text.

        Raises
        ------
        MonitorError
            If a rule of one's own remembers what cannot be saved.
        """
        held = self._held
        gathered = {str(cadence): written(_plain_gathered(each)) for cadence, each in held.gathered.items()}
        state = written(held.policy)
        # What could not be read back must be known now, while something can be done about it.
        read(state, self._initial)
        return json.dumps(
            {
                "monitor": _VERSION,
                "settings": self._settings,
                "time": held.time,
                "shares": held.shares,
                "gathered": gathered,
                "verdicts": [None if verdict is None else _plain_verdict(verdict) for verdict in held.verdicts],
                "state": state,
            },
            allow_nan=False,
        )

    def restore(self, saved: str) -> None:
        """Go on where a monitor of the same settings was saved.

        Parameters
        ----------
        saved : str
            From `save`. Nothing in it is executed.

        Raises
        ------
        MonitorError
            If it was saved with other settings, or is no saved monitor.
        """
        try:
            found = json.loads(saved)
            if found["monitor"] != _VERSION:
                raise MonitorError(f"the saved monitor is of version {found['monitor']!r}, and this one of version {_VERSION}")
            different = _difference(found["settings"], json.loads(json.dumps(self._settings)))
            if different:
                raise MonitorError(f"the monitor was saved with other settings: {different}")
            held = _Held(
                policy=read(found["state"], self._initial),
                time=int(found["time"]),
                shares=None if found["shares"] is None else (float(found["shares"][0]), float(found["shares"][1])),
                gathered={int(cadence): _gathered(read(each, None)) for cadence, each in found["gathered"].items()},
                verdicts=tuple(None if verdict is None else _read_verdict(verdict) for verdict in found["verdicts"]),
            )
            if (
                len(held.verdicts) != len(self.policy.guardrails)
                or set(held.gathered) != set(self.policy.cadences)
                or held.time < 0
            ):
                raise ValueError("verdicts, cadences or time do not fit")
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise MonitorError(f"this is no saved monitor: {error!r}") from error
        self._held = held

    @property
    def _settings(self) -> dict[str, Any]:
        return {"policy": described(self.policy), "segments": list(self.segments), "seed": self._intake.seed}

    def _taken_in(self, time: int, arrived: Sequence[Arrived], watermark: int) -> _Held:
        """Return what is remembered with what has arrived."""
        held = self._held
        if not isinstance(time, int | np.integer) or not isinstance(watermark, int | np.integer):
            raise MonitorError(f"time and watermark are whole ticks, not {time!r} and {watermark!r}")
        if time <= held.time:
            raise MonitorError(f"the look at tick {time} does not come after the one at tick {held.time}")
        latest = max((gathered.end for gathered in held.gathered.values()), default=0)
        if arrived and not latest <= watermark <= time:
            raise MonitorError(f"the watermark {watermark} is not between the last one, {latest}, and now, {time}")
        shares, gathered = held.shares, held.gathered
        for each in arrived:
            part = self._intake.part(each)
            shares = part.shares or shares
            gathered = {cadence: before.with_part(part, end=watermark) for cadence, before in gathered.items()}
        return held._replace(shares=shares, gathered=gathered)

    def _verdict(self, index: int, decision: Decision | None, time: int) -> Verdict | None:
        if decision is None:
            return None
        guardrail = self.policy.guardrails[index]
        return Verdict(
            guardrail=index,
            watches=", ".join(guardrail.signal.metrics) or guardrail.signal.compare or "nothing",
            rule=guardrail.rule.key,
            answer=_ANSWERS[int(decision.code[0])],
            statistic=float(decision.statistic[0]),
            threshold=float(guardrail.threshold),
            worse=bool(decision.worse[0]),
            respond=guardrail.respond,
            time=time,
            watermark=int(decision.end[0]),
            skipped=bool(decision.skipped[0]),
            retired=bool(decision.retired[0]),
        )


def _one_armed(shares: tuple[float, float] | None, gathered: Gathered) -> bool:
    """Return whether the arms of now, and of all that is to be judged, are not two; unknown shares say nothing."""
    known = [part.shares for part in gathered.parts if part.shares is not None]
    return shares is not None and min(shares) == 0 and not any(min(each) > 0 for each in known)


def _plain_gathered(gathered: Gathered) -> dict[str, Any]:
    return {"start": gathered.start, "end": gathered.end, "parts": [tuple(part) for part in gathered.parts]}


def _gathered(plain: dict[str, Any]) -> Gathered:
    return Gathered(plain["start"], plain["end"], tuple(Part(*each) for each in plain["parts"]))


def _plain_verdict(verdict: Verdict) -> dict[str, Any]:
    return {name: written(held) for name, held in asdict(verdict).items()}


def _read_verdict(plain: dict[str, Any]) -> Verdict:
    return Verdict(**{name: read(held, None) for name, held in plain.items()})


def _difference(saved: Any, own: Any, place: str = "") -> str:
    """Return the first place where settings differ, in words; empty if they do not."""
    if isinstance(saved, dict) and isinstance(own, dict):
        pairs = [(f"{place}.{name}".lstrip("."), saved.get(name), own.get(name)) for name in dict.fromkeys([*saved, *own])]
    elif isinstance(saved, list) and isinstance(own, list) and len(saved) == len(own):
        pairs = [(f"{place}[{index}]", was, now) for index, (was, now) in enumerate(zip(saved, own, strict=True))]
    else:
        return "" if saved == own else f"{place} was {saved!r} and is {own!r}"
    return next((found for where, was, now in pairs if (found := _difference(was, now, where))), "")
