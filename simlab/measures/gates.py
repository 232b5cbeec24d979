"""Gates: limits that a policy must keep, judged on a schedule of lanes without peeking.

Every gate is a proportion of lanes, so its interval is exact: a quantile gate "harmed_users max 500 at p90" asks whether
P(harmed > 500) <= 10 %. Lanes grow on a schedule fixed in the plan, and a gate splits its error equally over those looks
(Bonferroni), so that all its intervals hold together. A gate passes only if the whole interval is inside its limit, fails only if
all of it is outside, and else is inconclusive; the first look that decides it decides it for good. No data is inconclusive.
"""

from __future__ import annotations

from dataclasses import dataclass

from simlab.measures.estimates import Estimate, proportion
from simlab.measures.outcomes import Outcomes
from simlab.study import GateEntry
from simlab.ticks import format_duration

PASSED, FAILED, INCONCLUSIVE = "passed", "failed", "inconclusive"


@dataclass(frozen=True)
class Verdict:
    """A gate on one policy in one scenario, with its arithmetic.

    Attributes
    ----------
    gate : str
        What is asked, in words.
    scenario, policy : str
        Names.
    decision : str
        ``passed``, ``failed`` or ``inconclusive``.
    estimate : Estimate
        The proportion with the interval that decided, at the confidence of one look.
    limit : float
        On that proportion.
    at_most : bool
        Whether the proportion must stay below the limit, or above it.
    looks : int
        Looks among which the error is split.
    """

    gate: str
    scenario: str
    policy: str
    decision: str
    estimate: Estimate
    limit: float
    at_most: bool
    looks: int

    @property
    def passed(self) -> bool:
        """Whether the gate passed."""
        return self.decision == PASSED

    @property
    def arithmetic(self) -> str:
        """The interval against the limit, in words."""
        estimate, relation = self.estimate, "<=" if self.at_most else ">="
        interval = f"{estimate.value:.2%} [{estimate.low:.2%}, {estimate.high:.2%}], n = {estimate.n}"
        if estimate.n == 0:
            interval = "no lane to judge, n = 0"
        return f"{interval}; needs {relation} {self.limit:.2%}: {self.decision}"


def judge(gate: GateEntry, outcomes: Outcomes, *, scenario: str, looks: int, before: Verdict | None = None) -> Verdict:
    """Return the verdict of a gate at one look of the schedule; one that has been decided stands.

    Parameters
    ----------
    gate : GateEntry
        The limit.
    outcomes : Outcomes
        Of one policy on all lanes so far.
    scenario : str
        Name.
    looks : int
        Length of the schedule of lanes.
    before : Verdict, optional
        Of the look before.
    """
    if before is not None and before.decision != INCONCLUSIVE:
        return before
    events, n, limit, at_most = _question(gate, outcomes)
    estimate = proportion(events, n, confidence=1 - (1 - gate.confidence) / looks)
    decision = decide(estimate, limit, at_most=at_most)
    return Verdict(describe(gate), scenario, outcomes.policy, decision, estimate, limit, at_most, looks)


def decide(estimate: Estimate, limit: float, *, at_most: bool) -> str:
    """Return ``passed`` if the interval is inside the limit, ``failed`` if outside, else ``inconclusive``."""
    if estimate.n == 0:
        return INCONCLUSIVE
    inside = estimate.high <= limit if at_most else estimate.low >= limit
    outside = estimate.low > limit if at_most else estimate.high < limit
    return PASSED if inside else FAILED if outside else INCONCLUSIVE


def _question(gate: GateEntry, outcomes: Outcomes) -> tuple[int, int, float, bool]:
    """Return events, lanes, the limit on their proportion, and whether it is an upper one."""
    if gate.false_alarms is not None:
        return int(outcomes.twin_acted.sum()), outcomes.lanes, gate.false_alarms.max, True
    if gate.detected is not None:
        within = (gate.within or 0) // outcomes.clock.tick
        followed = outcomes.followed(within)
        return int((outcomes.delay[followed] <= within).sum()), int(followed.sum()), gate.detected.min, False
    column = "users_harmed" if gate.harmed_users is not None else "users_exposed"
    users = gate.harmed_users or gate.exposed_users
    if users is None or gate.at is None:
        raise ValueError("the gate has not been checked")
    counted = outcomes.harmed[column][outcomes.at_risk]
    return int((counted > users.max).sum()), len(counted), round(1 - int(gate.at[1:]) / 100, 12), True


def describe(gate: GateEntry) -> str:
    """Return what a gate asks, in words."""
    if gate.false_alarms is not None:
        return f"false alarms at most {100 * gate.false_alarms.max:g} % of harmless rollouts"
    if gate.detected is not None:
        return f"detected at least {100 * gate.detected.min:g} % within {format_duration(gate.within or 0)}"
    users = gate.harmed_users or gate.exposed_users
    what = "harmed" if gate.harmed_users is not None else "exposed"
    return f"{what} users at most {users.max if users else 0:g} at {gate.at}"
