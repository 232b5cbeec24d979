"""Whether what a rule guarantees applies in a scenario: a claim is printed with what breaks it, never as a hollow promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.policy import Policy
from simlab.guardrails.rule import Assumption, Guarantee, Takes
from simlab.guardrails.signal import Signal
from simlab.metrics import AmountMetric, CountMetric, DurationMetric, Proportion
from simlab.scenario import Scenario
from simlab.world.strata import strata_of

# A claim that holds only as samples grow lives with an estimated variance and with sums that are nearly normal.
_ASYMPTOTIC_BEARS = {Assumption.NORMAL, Assumption.KNOWN_VARIANCE}


@dataclass(frozen=True)
class GuaranteeCheck:
    """What one guardrail's rule guarantees, and whether that applies.

    Attributes
    ----------
    policy : str
        Name of the policy.
    guardrail : int
        Index in the policy.
    rule : str
        Key of the rule.
    claim : str
        What is guaranteed; empty if nothing is.
    exact : bool
        False if the claim holds only as samples grow.
    broken : tuple of str
        Why it does not apply in this scenario; empty if it does.
    """

    policy: str
    guardrail: int
    rule: str
    claim: str
    exact: bool
    broken: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The check in words."""
        if not self.claim:
            return "no guarantee"
        if self.broken:
            return f"not applicable: {'; '.join(self.broken)}"
        return "applies" if self.exact else "applies as samples grow"


def check_guarantees(policies: tuple[Policy, ...], scenario: Scenario) -> tuple[GuaranteeCheck, ...]:
    """Return the check of every guardrail of every policy in a scenario."""
    return tuple(
        _check(policy.name, index, guardrail, scenario)
        for policy in policies
        for index, guardrail in enumerate(policy.guardrails)
    )


def _check(policy: str, index: int, guardrail: Guardrail, scenario: Scenario) -> GuaranteeCheck:
    guarantee = guardrail.rule.guarantee
    if guarantee is None:
        return GuaranteeCheck(policy, index, guardrail.rule.key, "", exact=False, broken=())
    broken = tuple(_broken(guarantee, guardrail, scenario))
    return GuaranteeCheck(policy, index, guardrail.rule.key, guarantee.claim, guarantee.exact, broken)


def _linked(signal: Signal, scenario: Scenario) -> Iterator[str]:
    """Yield how users who return link the looks of a signal."""
    metric = scenario.metrics.get(signal.watch or "")
    alike = isinstance(metric, Proportion | CountMetric | AmountMetric) and metric.personal_cv > 0 and metric.per != "user"
    if alike and signal.unit == "request":
        yield "request-level variance with returning users"
    if alike and signal.unit == "user" and strata_of(scenario.rollout).allocation[-1] > 1:
        yield "the ramp takes users from control, who link what they did before with what they do after"


def _broken(guarantee: Guarantee, guardrail: Guardrail, scenario: Scenario) -> Iterator[str]:
    """Yield what breaks the assumptions that matter to the claim."""
    needed = set(guarantee.assumptions) - (set() if guarantee.exact else _ASYMPTOTIC_BEARS)
    signal = guardrail.signal
    metric = scenario.metrics.get(signal.watch or "")
    if Assumption.INDEPENDENT in needed:
        yield from _linked(signal, scenario)
        if signal.over > guardrail.every:
            yield "looks share data through their window"
    if Assumption.KNOWN_VARIANCE in needed and (signal.compare is not None or signal.baseline is not None):
        yield "the variance is estimated from the data (plug-in)"
    if Assumption.NORMAL in needed and guardrail.rule.takes is Takes.STANDARDISED:
        yield "counts and durations are only nearly normal"
    capped = isinstance(metric, AmountMetric) and metric.cap is not None
    if Assumption.BOUNDED in needed and isinstance(metric, DurationMetric | CountMetric | AmountMetric) and not capped:
        yield f"{metric.kind}s are not bounded"
    if Assumption.CONSTANT_SHARES in needed and _ratio_moves(scenario):
        yield "the ramp moves the ratio of the arms under a constant-ratio test"
    planned, possible = getattr(guardrail.rule, "looks", 1), scenario.horizon // guardrail.every
    if Assumption.PLANNED_LOOKS in needed and possible > planned:
        yield f"it may look {possible} times and was planned for {planned}"
    if Assumption.EQUAL_INFORMATION in needed and _information_varies(scenario):
        yield "looks carry unequal information"


def _information_varies(scenario: Scenario) -> bool:
    """Return whether traffic or the arms change over time, and with them what a look can tell."""
    traffic = scenario.traffic
    return bool(len(scenario.rollout.steps) > 1 or traffic.daily or traffic.weekly or traffic.trend or scenario.drift)


def _ratio_moves(scenario: Scenario) -> bool:
    """Return whether the ratio of treatment to control differs between the steps that have both."""
    shares = strata_of(scenario.rollout).shares[1:]
    ratios = {round(treated / control, 9) for treated, control in shares.tolist() if control > 0}
    return len(ratios) > 1
