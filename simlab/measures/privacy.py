"""What a shield's epsilon adds up to over the looks of a policy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simlab.guardrails.policy import Policy
from simlab.guardrails.rule import Takes
from simlab.ticks import Clock

DELTA = 1e-6
"""The probability with which the tighter bound may fail to hold."""


@dataclass(frozen=True)
class Spent:
    """The privacy that a policy's looks spend in a scenario.

    Attributes
    ----------
    signals : int
        Things that are told: a metric, or users seen first, at one cadence. Segments and arms do not add up, since a record is in
        one of each.
    releases : int
        Looks of all of them together, to the horizon.
    epsilon_of_a_record : float
        For one record: it is in one look of each signal.
    epsilon_of_a_person : float
        For somebody with one record in every look: the sum, and so the most, of all (basic composition).
    epsilon_at_delta : float
        For the same person, but with probability `DELTA` of no protection: pure epsilon is epsilon^2 / 2 zero-concentrated, which
        adds up, and back (Bun & Steinke 2016, propositions 1.3 and 1.4); the sum where that is less.
    """

    signals: int
    releases: int
    epsilon_of_a_record: float
    epsilon_of_a_person: float
    epsilon_at_delta: float


def spent(policy: Policy, clock: Clock, epsilon: float) -> Spent:
    """Return the privacy that a policy spends to the horizon, with `epsilon` for each count of each look."""
    signals = {
        (guardrail.every, name)
        for guardrail in policy.guardrails
        if guardrail.rule.takes is not Takes.NOTHING
        for name in (guardrail.signal.metrics or ("users seen first",))
    }
    # A guardrail's cadence is in milliseconds.
    releases = sum(clock.horizon * clock.tick // every for every, _ in signals)
    rho = releases * epsilon**2 / 2
    return Spent(
        signals=len(signals),
        releases=releases,
        epsilon_of_a_record=len(signals) * epsilon,
        epsilon_of_a_person=releases * epsilon,
        epsilon_at_delta=min(releases * epsilon, rho + 2 * math.sqrt(rho * math.log(1 / DELTA))),
    )
