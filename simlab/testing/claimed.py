"""Properties that hold where a rule claims them, each a function of a subject and a case that fails on the first difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simlab.guardrails.look import Code
from simlab.guardrails.own_rules import OwnRule
from simlab.guardrails.rule import Takes
from simlab.guardrails.signal import Signalled
from simlab.testing.shown import IDLE, LOST, Case, Quiet, Seen, Stream, make_looks
from simlab.testing.subjects import Subject
from simlab.testing.traces import BrokenError, Trace, assert_same, trace, word
from simlab.testing.universal import placed_at

OVERWHELMING = 1e6
"""Harm in standard deviations that no rule can overlook."""


def missing_is_unknown(subject: Subject, shown: Case) -> None:
    """Demand that a look which is lost, empty or not a number is neither alarm nor all-clear."""
    at = min(shown.cut, len(shown.streams[0]))
    for gap in (LOST, IDLE, float("nan"), float("inf")):
        streams = [(*stream[:at], gap, *stream[at:]) for stream in shown.streams]
        if isinstance(gap, float) and not np.isfinite(gap) and subject.counts:
            continue
        found = subject.trace(streams)
        if (found.codes[at] != Code.UNKNOWN).any():
            lane = int(np.argmax(found.codes[at] != Code.UNKNOWN))
            raise BrokenError(f"with {gap!r} put in at look {at}, lane {lane} answers {word(found.codes[at, lane])}")
    _not_a_number(subject, shown)


def _not_a_number(subject: Subject, shown: Case) -> None:
    """Show the rule itself a value that is not a number, as if the signal had let it through."""
    if subject.counts or isinstance(subject.rule, OwnRule):
        # Code of one's own is never shown what cannot be judged.
        return
    guardrail, look = subject.guardrail, make_looks([shown.streams], subject.lens)[0]
    state = guardrail.initial(1, shown.lanes)
    signal, seen, skipped = guardrail.observe(state, look)
    bad = replace(seen, value=np.full_like(seen.value, np.nan), valid=np.ones_like(seen.valid))
    if not guardrail.judge(state, Signalled(signal, bad, skipped), look).unknown.all():
        raise BrokenError("given a value that is not a number it still has a statistic: unknown must not read as a verdict")


def idle_changes_nothing(subject: Subject, shown: Case) -> None:
    """Demand that looks without anything new leave everything after them as it was."""
    solid = [tuple(each if isinstance(each, float) and np.isfinite(each) else 0.0 for each in stream) for stream in shown.streams]
    before, cut = subject.trace(solid), shown.cut
    kept = np.delete(np.arange(len(solid[0]) + 2), [cut, cut + 1])
    for quiet in (LOST, IDLE) if subject.counts else (LOST, IDLE, float("nan")):
        spaced = subject.trace([(*stream[:cut], quiet, quiet, *stream[cut:]) for stream in solid])
        assert_same(before, spaced.at_looks(kept), f"with two looks {quiet!r} put in before look {cut} it goes on otherwise")


def minimum_sample(subject: Subject, shown: Case) -> None:
    """Demand that there is no alarm before the first look at which it may alarm."""
    first = subject.claims.minimum_looks
    judged = np.zeros(shown.lanes, dtype=int)
    found = subject.trace(shown.streams)
    for look, (codes, unknown) in enumerate(zip(found.codes, found.unknown, strict=True)):
        judged += ~unknown
        early = (codes == Code.ALARM) & (judged < first)
        if early.any():
            lane = int(early.argmax())
            raise BrokenError(f"lane {lane} alarms at look {look} with {judged[lane]} looks judged; it claims to want {first}")


def on_time(subject: Subject, shown: Case) -> None:
    """Demand an alarm at the first look at which it may, under overwhelming harm from the first look on or at that one only."""
    first = subject.claims.minimum_looks
    quiet = tuple(each if isinstance(each, float) and abs(each) <= 1 else 0.0 for each in shown.streams[0])
    before = (quiet * first)[: first - 1]
    for stream in ((*before, OVERWHELMING), (OVERWHELMING,) * first):
        if (subject.trace([stream] * shown.lanes).codes[-1] == Code.ALARM).all():
            return
    raise BrokenError(
        f"with harm of {OVERWHELMING:g} standard deviations it does not alarm at look {first - 1}, the first that counts"
    )


def monotone_in_threshold(subject: Subject, shown: Case) -> None:
    """Demand that a lower threshold is passed no later."""
    lax, strict = (placed_at(subject, level) for level in subject.claims.levels)
    if lax is None or strict is None:
        return
    early, late = (subject.at(rule).trace(shown.streams) for rule in (lax, strict))
    first, then = early.first_alarms(), late.first_alarms()
    for lane in np.flatnonzero(first > then):
        # A statistic a rounding away from the threshold is on it.
        reached = early.statistic[int(then[lane]), lane]
        if reached < lax.threshold - _rounding(lax.threshold):
            low, high = subject.claims.levels
            told = f"lane {lane} alarms at look {then[lane]:g} at strictness {high:g}"
            raise BrokenError(f"{told}, but at {first[lane]:g} at {low:g}")


def monotone_in_harm(subject: Subject, shown: Case) -> None:
    """Demand that where it alarms, it alarms under more harm too."""
    less = subject.trace(shown.streams)
    anywhere = [tuple(_added(a, b) for a, b in zip(*each, strict=True)) for each in zip(shown.streams, shown.others, strict=True)]
    _worse_alarms_too(subject, less, anywhere)
    # An alarm that comes a look sooner must not cost the one that was to come.
    before = less.first_alarms() - 1
    sooner = [
        tuple(_added(each, 8.0) if look == before[lane] else each for look, each in enumerate(stream))
        for lane, stream in enumerate(shown.streams)
    ]
    _worse_alarms_too(subject, less, sooner)


def _worse_alarms_too(subject: Subject, less: Trace, worse: Sequence[Stream]) -> None:
    more = subject.trace(worse)
    short = more.statistic < subject.rule.threshold - _rounding(subject.rule.threshold)
    lost = (less.codes == Code.ALARM) & (more.codes == Code.OK) & short
    for look, lane in np.argwhere(lost):
        raise BrokenError(f"lane {lane} alarms at look {look}; under more harm it does not: {list(worse[lane])}")


def _rounding(threshold: float) -> float:
    return 1e-9 * max(1.0, abs(threshold))


def _added(seen: Seen, harm: Seen) -> Seen:
    if isinstance(seen, Quiet) or isinstance(harm, Quiet) or not np.isfinite(harm):
        return seen
    return seen + abs(harm)


def units(subject: Subject, shown: Case) -> None:
    """Demand the same answers in another unit, with the rule's own settings in that unit."""
    factor = 4.0
    if subject.counts or subject.claims.rescaled is None:
        guardrail = subject.watching() if subject.counts else subject.watching(scale=factor)
    else:
        guardrail = subject.at(subject.claims.rescaled(factor)).guardrail
    scaled = trace(guardrail, make_looks([shown.streams], subject.lens, scale=factor))
    before = subject.trace(shown.streams)
    if not np.array_equal(before.codes, scaled.codes):
        look, lane = np.argwhere(before.codes != scaled.codes)[0]
        words = word(before.codes[look, lane]), word(scaled.codes[look, lane])
        raise BrokenError(f"at look {look} lane {lane} answers {words[0]}, and in a unit {factor:g} times as fine {words[1]}")


def labels(subject: Subject, shown: Case) -> None:
    """Demand that other lane numbers, another name of the metric and another order of the segments change nothing."""
    before = subject.trace(shown.streams)
    renumbered = subject.trace(shown.streams, lanes=np.arange(shown.lanes) + 1000)
    assert_same(before, renumbered, "other lane numbers have other answers")
    renamed = make_looks([shown.streams], subject.lens, metric="other")
    assert_same(before, trace(subject.watching(metric="other"), renamed), "another name of the metric has other answers")
    if subject.lens.takes is Takes.VECTOR:
        # Its streams are its metrics, and segments do not go with it.
        return
    split = subject.watching(by="segment")
    one, other = shown.streams, tuple(tuple(IDLE if each is LOST else each for each in stream) for stream in shown.others)
    lost = tuple(tuple(LOST if a is LOST else b for a, b in zip(x, y, strict=True)) for x, y in zip(one, other, strict=True))
    there = trace(split, make_looks([one, lost], subject.lens))
    back = trace(split, make_looks([lost, one], subject.lens))
    assert_same(there, back, "the order of the segments matters")


def sticky(subject: Subject, shown: Case) -> None:
    """Demand that once it has alarmed it stays in alarm at every look that can be judged."""
    found = subject.trace(shown.streams)
    fallen = (np.cumsum(found.codes == Code.ALARM, axis=0) > 0) & (found.codes == Code.OK)
    for look, lane in np.argwhere(fallen):
        raise BrokenError(f"lane {lane} has alarmed before, and is ok at look {look}")
