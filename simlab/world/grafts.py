"""Harms grafted on recorded traffic: pointwise changes of what was recorded, and nothing that would have changed what people did.

A share of events that were recorded one by one changes by events: each one that was none becomes one, or the other way round,
with the probability that moves the recorded mean as the harm says. Any other value v becomes v times the factor plus the amount.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import numpy as np
from annotated_types import MinLen

from simlab.documents import Document, did_you_mean
from simlab.errors import Mistake
from simlab.guardrails.look import ARMS, CONTROL, Floats
from simlab.happenings import CliffHarm, Harm
from simlab.inverse import binomial_quantiles
from simlab.settings import settings
from simlab.streams import stream_key, uniforms
from simlab.ticks import Name
from simlab.world.harms import HarmClock
from simlab.world.recording import Recording

_FEEDBACK = "changes what people do afterwards, which a recording cannot show: leave it out, or simulate"
_OF_USERS = "changes who is seen, and a recording of sums does not know its users: leave it out, or simulate"
_REFUSED = {
    **dict.fromkeys(("survives_rollback", "turns_away"), _FEEDBACK),
    **dict.fromkeys(("drops_users", "silent", "flatters"), _OF_USERS),
}


@settings
class Graft:
    """Harms to be grafted on a recording, each with an onset `at` a time of the lane."""

    graft: Name
    harms: Annotated[tuple[Harm, ...], MinLen(1)]
    about: str = ""


def mistakes_in_graft(graft: Graft, document: Document, recording: Recording, *, horizon: int) -> Iterator[Mistake]:
    """Yield what cannot be grafted on a recording: feedback, the sample ratio, segments that were not recorded.

    Parameters
    ----------
    graft : Graft
        As read.
    document : Document
        For places.
    recording : Recording
        What it is to be grafted on.
    horizon : int
        Milliseconds of a lane.
    """
    for index, harm in enumerate(graft.harms):
        path = ("harms", index)
        if harm.metric not in recording.values:
            hint = did_you_mean(harm.metric, recording.values) or f"known there: {', '.join(recording.values)}"
            yield document.mistake((*path, "metric"), "unknown-metric", f"the recording has no metric {harm.metric!r}", hint)
        if harm.onset.at is not None and harm.onset.at + harm.onset.wait >= horizon:
            yield document.mistake((*path, "onset"), "time", "is after the horizon")
        if harm.add is None and harm.times is None:
            yield document.mistake(path, "graft", "must say add or times")
        for key, problem in _refusals(harm, recording):
            yield document.mistake((*path, key), "graft", problem)


def _refusals(harm: Harm, recording: Recording) -> Iterator[tuple[str, str]]:
    """Yield what a pointwise change cannot be, by the key that asks for it."""
    if harm.segment is not None:
        yield "segment", "a graft reaches all segments alike"
    if harm.onset.at is None:
        yield "onset", f"an onset that waits for the ramp {_FEEDBACK}"
    if isinstance(harm, CliffHarm):
        yield "shape", f"a cliff {_FEEDBACK}"
    if harm.spill_to_control and recording.arms is None:
        yield "spill_to_control", "no control was recorded"
    for key, problem in _REFUSED.items():
        if getattr(harm, key):
            yield key, problem


def grafted(sums: Floats, clock: HarmClock, *, tick: int, chance: float | None, up: bool, armed: bool) -> Floats:
    """Return the sums of a tick as the harm would have left them, float64[3, segments, arms, lanes].

    Parameters
    ----------
    sums : float64[3, segments, arms, lanes]
        Observations, total and sum of squares as recorded.
    clock : HarmClock
        The harm's.
    tick : int
        Of the lane.
    chance : float or None
        The recorded share of events; None for values that are no events.
    up : bool
        Whether more is worse.
    armed : bool
        Whether two arms were recorded: control then only has what spills.
    """
    harm, lanes = clock.harm, clock.lanes
    dose = np.broadcast_to(clock.intensity(tick, np.zeros((1, len(lanes)), dtype=np.int64)), (len(ARMS), len(lanes))).copy()
    if armed:
        dose[CONTROL] *= harm.spill_to_control
    factor = 1 + ((harm.times or 1.0) - 1) * dose
    amount = (harm.add.value if harm.add else 0.0) * (1.0 if up else -1.0) * dose
    observations, total, squares = sums
    if chance is None:
        shifted = total * factor + observations * amount
        return np.stack([observations, shifted, squares * factor**2 + 2 * amount * factor * total + observations * amount**2])
    key = stream_key(clock.seed, f"{clock.stream}.graft")
    cells = range(len(total) * len(ARMS))
    drawn = np.stack([uniforms(key, tick, lanes, cell=cell) for cell in cells]).reshape(total.shape)
    change = np.clip(chance * factor + amount, 0.0, 1.0) - chance
    more = binomial_quantiles(drawn, (observations - total).astype(np.int64), np.clip(change / max(1 - chance, 1e-12), 0.0, 1.0))
    less = binomial_quantiles(drawn, total.astype(np.int64), np.clip(-change / max(chance, 1e-12), 0.0, 1.0))
    events = total + more - less
    return np.stack([observations, events, events])


def chances(sums: Mapping[str, Floats]) -> dict[str, float | None]:
    """Return the recorded share of events by metric; None where values other than 0 and 1 were recorded."""
    found: dict[str, float | None] = {}
    for name, (observations, total, squares) in sums.items():
        events = np.array_equal(total, squares) and bool((total <= observations).all()) and bool((total % 1 == 0).all())
        found[name] = float(total.sum() / max(1.0, observations.sum())) if events else None
    return found
