"""The table of mutants: what is wrong, and the check that is meant to find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.monitor import Monitor
from simlab.guardrails.rule import Takes
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.group_sequential import Pocock
from simlab.guardrails.rules.limits import Above
from simlab.testing import Claim, Effort, Lens, Subject, assert_arl0, assert_detects, assert_false_alarms, own_claims, subject
from simlab.testing.shown import MINUTE
from tests.testing.broken import (
    BatchSize,
    BeyondNotAt,
    DropsLateData,
    ForgetsOnNan,
    Forgetting,
    Greater,
    HalfThreshold,
    HiddenState,
    InPlace,
    KeepsClearedAlarm,
    LaneNumber,
    Latch,
    LateDataTwice,
    NanIsZero,
    Neighbours,
    NoFloor,
    OneLookEarly,
    OneLookLate,
    OneSidedByTwo,
    Overflow,
    OwnVariance,
    ResetsItself,
    RestartsAnew,
    SharedState,
    SilenceIsGreen,
    Throwing,
    Tolerance,
    TwoSidedByOne,
    whole_series_z,
)

LIVE, FALSE_ALARMS, ARL0, DETECTION = "live equals batch", "false alarms", "mean run length", "detection"
LEVEL = Lens(takes=Takes.LEVEL)


@dataclass(frozen=True)
class Mutant:
    """A broken rule or monitor.

    Attributes
    ----------
    name : str
        What is wrong.
    tried : Subject
        With the claims of what it ought to be.
    meant : str
        The check that is there to find it.
    monitor : callable
        What is driven live.
    rates : dict of str to callable
        Error rates that the right rule keeps, by name.
    """

    name: str
    tried: Subject
    meant: str
    monitor: Callable[..., Any] = Monitor
    rates: dict[str, Callable[[Subject], Any]] = field(default_factory=dict)


def _guardrail(kind: type[Guardrail]) -> Subject:
    return subject(kind(Lens().signal(), Cusum(), MINUTE))


_LIMIT = {"limit": 2.0, "for_": 2 * MINUTE}
_ERRS = {FALSE_ALARMS: partial(assert_false_alarms, between=(0.045, 0.055), horizon=5, effort=Effort(zone=0.4))}
_CUSUM_RATES = {
    ARL0: partial(assert_arl0, between=(900, 960), horizon=4000),
    DETECTION: partial(assert_detects, shift=1.0, onset=60, within=40, at_least=0.95),
}
MUTANTS = (
    Mutant("peeks ahead", subject(whole_series_z, over="series", threshold=2.0), Claim.NO_LOOK_AHEAD.value),
    Mutant("resets itself", subject(ResetsItself()), Claim.MONOTONE_IN_HARM.value),
    Mutant("forgets on NaN", _guardrail(ForgetsOnNan), Claim.IDLE_CHANGES_NOTHING.value),
    Mutant("one look late", subject(OneLookLate()), Claim.ON_TIME.value),
    Mutant("one look early", subject(OneLookEarly(**_LIMIT), lens=LEVEL), Claim.MINIMUM_SAMPLE.value),
    Mutant("two-sided bound used one-sided", subject(OneSidedByTwo(looks=5, sides=2)), FALSE_ALARMS, rates=_ERRS),
    Mutant("one-sided bound used two-sided", subject(TwoSidedByOne(looks=5, sides=1)), FALSE_ALARMS, rates=_ERRS),
    Mutant("variance from the alarm's own data", subject(OwnVariance()), Claim.ON_TIME.value),
    Mutant("depends on batch size", subject(BatchSize()), Claim.BATCH_EQUALS_LOOP.value),
    Mutant("shares state between lanes", subject(SharedState()), Claim.LANES_APART.value),
    Mutant("compares itself with its neighbours", subject(Neighbours()), Claim.LANES_APART.value),
    Mutant("its threshold is just above the one that is set", subject(BeyondNotAt()), Claim.AT_THRESHOLD.value),
    Mutant("alarm at > where >= is meant", _guardrail(Greater), Claim.AT_THRESHOLD.value),
    Mutant("changes the state it was given", subject(InPlace()), Claim.STATE_KEPT.value),
    Mutant("hides state in its settings", subject(HiddenState()), Claim.RESTARTS.value),
    Mutant("throws dice", subject(Throwing()), Claim.DETERMINISTIC.value),
    Mutant("takes NaN for zero", subject(NanIsZero()), Claim.MISSING_IS_UNKNOWN.value),
    Mutant("silence is green", _guardrail(SilenceIsGreen), Claim.MISSING_IS_UNKNOWN.value),
    Mutant("fades while nobody looks", subject(Forgetting()), Claim.IDLE_CHANGES_NOTHING.value),
    Mutant("treats lanes by their number", subject(LaneNumber()), Claim.LABELS.value),
    Mutant("a tolerance in no unit", subject(Tolerance(**_LIMIT), lens=LEVEL), Claim.UNITS.value),
    Mutant("a large sum reads as a mistake", subject(Overflow()), Claim.MONOTONE_IN_THRESHOLD.value),
    Mutant("no floor at zero", subject(NoFloor()), DETECTION, rates=_CUSUM_RATES),
    Mutant("half the threshold", subject(HalfThreshold()), ARL0, rates=_CUSUM_RATES),
    Mutant("a latch that lets go", subject(Latch, claims=own_claims([Claim.STICKY])), Claim.STICKY.value),
    Mutant("drops late data", subject(Cusum()), LIVE, monitor=DropsLateData),
    Mutant("takes late data twice", subject(Cusum()), LIVE, monitor=LateDataTwice),
    Mutant("keeps a cleared alarm", subject(Cusum()), LIVE, monitor=KeepsClearedAlarm),
    Mutant("a restart forgets", subject(Cusum()), LIVE, monitor=RestartsAnew),
)
RIGHT = (
    Mutant("cusum", subject(Cusum()), "", rates=_CUSUM_RATES),
    Mutant("above", subject(Above(**_LIMIT), lens=LEVEL), ""),
    Mutant("pocock", subject(Pocock(looks=5, sides=2)), "", rates=_ERRS),
    Mutant("pocock, one-sided", subject(Pocock(looks=5, sides=1)), "", rates=_ERRS),
)
