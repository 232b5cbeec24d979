"""Whether what a rule guarantees applies in a scenario: a claim is printed with what breaks it, never as a hollow promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.policy import Policy
from simlab.guardrails.rule import Assumption, Guarantee, Takes
from simlab.guardrails.rules.asymptotic import LATE_ENOUGH
from simlab.metrics import AmountMetric, CountMetric, Proportion
from simlab.scenario import Scenario
from simlab.world.strata import strata_of

# A claim that holds only as samples grow lives with an estimated variance and with sums that are nearly normal.
_ASYMPTOTIC_BEARS = {Assumption.NORMAL, Assumption.KNOWN_VARIANCE}


@dataclass(frozen=True)
class GuaranteeCheck:
    """What one guardrail's rule guarantees, or a policy by the budget that its guardrails share, and whether that applies.

    Attributes
    ----------
    policy : str
        Name of the policy.
    guardrail : int
        Index in the policy; -1 for the policy as a whole.
    rule : str
        Key of the rule; for the policy as a whole, how its budget is shared.
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
    """Return the checks of every policy in a scenario: of what it promises as a whole, and of every guardrail.

    Where guardrails merge their evidence, a guardrail's own claim is about alarms that it does not act on, and is left out.
    """
    return tuple(check for policy in policies for check in _checks(policy, scenario))


def _checks(policy: Policy, scenario: Scenario) -> Iterator[GuaranteeCheck]:
    promise = policy.guarantee
    if promise is not None:
        broken = tuple(dict.fromkeys(_broken_together(promise, policy, scenario)))
        yield GuaranteeCheck(policy.name, -1, policy.share, promise.claim, promise.exact, broken)
    if policy.share == "bonferroni":
        for index, guardrail in enumerate(policy.guardrails):
            yield _check(policy.name, index, guardrail, scenario)


def _check(policy: str, index: int, guardrail: Guardrail, scenario: Scenario) -> GuaranteeCheck:
    guarantee = guardrail.rule.guarantee
    if guarantee is None:
        return GuaranteeCheck(policy, index, guardrail.rule.key, "", exact=False, broken=())
    broken = tuple(_broken(guarantee, guardrail, scenario))
    tests = guardrail.tests(len(scenario.users.segments))
    claim = guarantee.claim if tests == 1 else f"for each of its {tests} streams: {guarantee.claim}"
    return GuaranteeCheck(policy, index, guardrail.rule.key, claim, guarantee.exact, broken)


def _broken_together(promise: Guarantee, policy: Policy, scenario: Scenario) -> Iterator[str]:
    """Yield what breaks the assumptions of a policy's promise: of any of its rules, and of evidence that is merged."""
    for guardrail in policy.guardrails:
        if guardrail.rule.guarantee is not None:
            yield from _broken(guardrail.rule.guarantee, guardrail, scenario)
    if Assumption.COMMON_PAST not in promise.assumptions:
        return
    streams = sum(guardrail.tests(len(scenario.users.segments)) for guardrail in policy.guardrails)
    if len(policy.cadences) > 1:
        yield "guardrails look at different times, so that one has seen data that another has yet to judge"
    if streams > 1 and any(guardrail.signal.min_count > 1 for guardrail in policy.guardrails):
        yield "data that wait for their minimum count have been seen by another guardrail"


def _broken(guarantee: Guarantee, guardrail: Guardrail, scenario: Scenario) -> Iterator[str]:
    """Yield what breaks the assumptions that matter to the claim."""
    needed = set(guarantee.assumptions) - (set() if guarantee.exact else _ASYMPTOTIC_BEARS)
    signal = guardrail.signal
    if guardrail.on_unknown == "alarm":
        yield "what is unknown alarms"
    yield from _distorted(guardrail, scenario)
    if Assumption.INDEPENDENT in needed:
        yield from _linked(guardrail, scenario)
    if Assumption.KNOWN_VARIANCE in needed and (signal.compare is not None or signal.baseline is not None):
        yield "the variance is estimated from the data (plug-in)"
    if Assumption.NORMAL in needed and guardrail.rule.takes in {Takes.STANDARDISED, Takes.VECTOR}:
        yield "counts and durations are only nearly normal"
    if Assumption.CONSTANT_SHARES in needed and _ratio_moves(scenario):
        yield "the ramp moves the ratio of the arms under a constant-ratio test"
    planned, possible = getattr(guardrail.rule, "looks", 1), scenario.horizon // guardrail.every
    if Assumption.PLANNED_LOOKS in needed and possible > planned:
        yield f"it may look {possible} times and was planned for {planned}"
    if Assumption.ALL_LOOKS in needed and possible < planned:
        yield f"it can look {possible} times only and was planned for {planned}"
    if Assumption.LATE_START in needed and getattr(guardrail.rule, "start", LATE_ENOUGH) < LATE_ENOUGH:
        yield f"it judges before look {LATE_ENOUGH}, when the spread is hardly known"
    if Assumption.EQUAL_INFORMATION in needed and _information_varies(scenario):
        yield "looks carry unequal information"


def _distorted(guardrail: Guardrail, scenario: Scenario) -> Iterator[str]:
    """Yield what telemetry and other experiments do to the numbers, which no rule knows of."""
    signal, telemetry = guardrail.signal, scenario.telemetry
    if guardrail.rule.takes is Takes.NOTHING:
        return
    if telemetry.shield is not None and telemetry.shield.epsilon is not None:
        yield "the noise that shields people is not in the variance that the rule knows"
    if telemetry.duplicated and signal.compare != "shares":
        yield "records that come twice count as two"
    if signal.compare == "shares" and len(set((telemetry.lost_in or {}).values()) | {0.0}) > 1:
        yield "telemetry loses more in one arm"
    if signal.compare is not None and telemetry.clock_skew:
        yield "the clocks of the arms differ, so that other moments are compared"
    for experiment in scenario.experiments:
        if signal.compare is not None and experiment.rollout.salt == scenario.rollout.salt:
            yield f"the experiment {experiment.name} shares the salt, and looks like an effect"


def _linked(guardrail: Guardrail, scenario: Scenario) -> Iterator[str]:
    """Yield what makes looks depend on each other."""
    signal = guardrail.signal
    metrics = [scenario.metrics[name] for name in signal.metrics]
    returning = any(
        isinstance(metric, Proportion | CountMetric | AmountMetric) and metric.personal_cv > 0 and metric.per != "user"
        for metric in metrics
    )
    if returning and signal.unit == "request":
        yield "request-level variance with returning users"
    if returning and signal.unit == "user" and strata_of(scenario.rollout).allocation[-1] > 1:
        yield "the ramp takes users from control, who link what they did before with what they do after"
    if signal.over > guardrail.every:
        yield "looks share data through their window"


def _information_varies(scenario: Scenario) -> bool:
    """Return whether traffic or the arms change over time, and with them what a look can tell."""
    traffic = scenario.traffic
    return bool(len(scenario.rollout.steps) > 1 or traffic.daily or traffic.weekly or traffic.trend or scenario.drift)


def _ratio_moves(scenario: Scenario) -> bool:
    """Return whether the ratio of treatment to control differs between the steps that have both."""
    shares = strata_of(scenario.rollout).shares[1:]
    ratios = {round(treated / control, 9) for treated, control in shares.tolist() if control > 0}
    return len(ratios) > 1
