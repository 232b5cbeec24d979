"""Properties that hold for every rule, each a function of a subject and a case that fails on the first difference."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from simlab.guardrails.look import Code
from simlab.testing.shown import Case, Quiet, make_looks
from simlab.testing.subjects import Subject
from simlab.testing.traces import BrokenError, assert_same, trace


def no_look_ahead(subject: Subject, shown: Case) -> None:
    """Demand the same decision at a look whatever comes after it."""
    cut = shown.cut
    whole = subject.trace(shown.streams)
    other = tuple(a[:cut] + b[cut:] for a, b in zip(shown.streams, shown.others, strict=True))
    assert_same(
        whole.at_looks(slice(cut)),
        subject.trace(other).at_looks(slice(cut)),
        f"another future from look {cut} changed what was before it",
    )
    if cut:
        known = subject.trace([stream[:cut] for stream in shown.streams])
        assert_same(whole.at_looks(slice(cut)), known, f"with only {cut} looks known it answered differently")
    if subject.series is not None:
        _series_as_online(subject, shown)


def _series_as_online(subject: Subject, shown: Case) -> None:
    """Hold a function of the whole series against what it says when it knows no more than each look does."""
    if subject.series is None:
        return
    values = np.array([[0.0 if isinstance(each, Quiet) else each for each in stream] for stream in shown.streams]).T
    if not (values.size and np.isfinite(values).all()):
        return
    levels = values if subject.lens.spread == 1 and subject.lens.center == 0 else subject.lens.levels(values)
    whole = np.asarray(subject.series(levels.copy()), dtype=float)
    for look in range(1, len(levels) + 1):
        known = np.asarray(subject.series(levels[:look].copy()), dtype=float)
        if not np.array_equal(whole[look - 1], known[-1], equal_nan=True):
            raise BrokenError(
                f"at look {look - 1} it answers {whole[look - 1]} knowing all looks, {known[-1]} knowing those up to then"
            )


def batch_equals_loop(subject: Subject, shown: Case) -> None:
    """Demand that lanes judged at once are judged as each would be alone, to the bit."""
    together = subject.trace(shown.streams)
    for lane, stream in enumerate(shown.streams):
        alone = subject.trace([stream], lanes=np.array([lane]))
        assert_same(together.of_lanes([lane]), alone, f"lane {lane} by itself is not lane {lane} among {shown.lanes}")
    backwards = np.arange(shown.lanes)[::-1]
    turned = subject.trace(shown.streams[::-1], lanes=backwards)
    assert_same(together.of_lanes(backwards), turned, "the order of the lanes matters")


def lanes_apart(subject: Subject, shown: Case) -> None:
    """Demand that what happens in other lanes changes nothing in this one."""
    before = subject.trace(shown.streams)
    for lane in range(shown.lanes):
        mixed = [shown.streams[index] if index == lane else other for index, other in enumerate(shown.others)]
        assert_same(before.of_lanes([lane]), subject.trace(mixed).of_lanes([lane]), f"lane {lane} feels what the other lanes see")


def deterministic(subject: Subject, shown: Case) -> None:
    """Demand the same answers to the same looks, from the same rule again and from a copy of it."""
    once = subject.trace(shown.streams)
    subject.trace(shown.others)
    assert_same(once, subject.trace(shown.streams), "asked again it answered differently")
    again = pickle.loads(pickle.dumps(subject.guardrail))  # noqa: S301 - it is our own
    assert_same(once, trace(again, make_looks([shown.streams], subject.lens)), "a copy of it answered differently")


def state_kept(subject: Subject, shown: Case) -> None:
    """Demand that a step changes neither the state nor the look that it is given, nor the rule's settings."""
    guardrail, looks = subject.guardrail, make_looks([shown.streams], subject.lens)
    state = guardrail.initial(1, shown.lanes)
    for number, look in enumerate(looks):
        given = {"the state that it was given": state, "what it saw": look, "its own settings": guardrail}
        before = {what: pickle.dumps(each) for what, each in given.items()}
        after = guardrail.step(state, look).state
        for what, each in given.items():
            if pickle.dumps(each) != before[what]:
                raise BrokenError(f"it changed {what} at look {number}")
        state = after


def restarts(subject: Subject, shown: Case) -> None:
    """Demand that, stored between two looks and restored by a fresh copy, it goes on as if nothing had been."""
    looks = make_looks([shown.streams], subject.lens)
    stored = pickle.dumps(subject.guardrail)
    unbroken = trace(subject.guardrail, looks)
    fresh = pickle.loads(stored)  # noqa: S301
    state = fresh.initial(1, shown.lanes)
    for look in looks[: shown.cut]:
        state = fresh.step(state, look).state
    held = pickle.dumps(state)
    restored, kept = pickle.loads(stored), pickle.loads(held)  # noqa: S301
    if shown.cut < len(looks):
        assert_same(
            unbroken.at_looks(slice(shown.cut, None)),
            trace(restored, looks[shown.cut :], state=kept),
            f"a restart before look {shown.cut} shows",
        )


def at_threshold(subject: Subject, shown: Case) -> None:
    """Demand an alarm at the threshold and beyond: statistic >= threshold, not >."""
    found = subject.trace(shown.streams)
    threshold = subject.rule.threshold
    judged = ~found.unknown
    reached = judged & (found.statistic >= threshold)
    wrong = np.argwhere(reached != (judged & (found.codes == Code.ALARM)))
    if wrong.size:
        look, lane = wrong[0]
        raise BrokenError(
            f"at look {look} of lane {lane} the statistic {found.statistic[look, lane]!r} and the answer do not agree"
        )
    for look, lane in np.argwhere(judged & np.isfinite(found.statistic) & (found.statistic > 0))[-2:]:
        _alarms_on(subject, shown, int(look), int(lane), float(found.statistic[look, lane]))


def _alarms_on(subject: Subject, shown: Case, look: int, lane: int, reached: float) -> None:
    """Put the threshold exactly where a statistic has been, by the rule's own setting where there is one, and see it alarm."""
    placed = subject.claims.placed
    rule: Any = placed_at(subject, reached) if placed is not None and subject.claims.exact else _Threshold(subject.rule, reached)
    if rule is None:
        return
    code = subject.at(rule).trace(shown.streams).codes[look, lane]
    if code != Code.ALARM:
        raise BrokenError(
            f"with its threshold at {reached!r}, which the statistic has at look {look} of lane {lane}, it does not alarm"
        )


class _Threshold:
    """A rule with its line drawn elsewhere, for those whose setting cannot hit a number to the bit."""

    def __init__(self, rule: Any, threshold: float) -> None:
        self.rule, self.threshold = rule, threshold

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rule, name)


def placed_at(subject: Subject, strictness: float) -> Any:
    """Return the rule at a strictness; None if it refuses it."""
    try:
        return subject.claims.placed(strictness) if subject.claims.placed is not None else None
    except ValueError:
        return None
