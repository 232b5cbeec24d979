"""One run, every threshold: policies that leave their ladders instead of acting, and the first actions read off from them.

Until its first action the path of a lane does not depend on any threshold that an action waits for. So on the path on which
nobody acts every guardrail's ladder gives the first passage of every threshold, and the first of those passages is the first
action: its time, its evidence, its direction and whose it is, all exactly as if the policy were run with those thresholds. From
them follow false alarms, detection and delay.

What comes after the first action does depend on it: how long the rollback takes, whether it fails, how far the ramp had come, who
was harmed until then, and all later alarms. None of that is read off; it is run with the threshold in question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from simlab.engine import BlockResult
from simlab.guardrails.guardrail import NEVER, STRONGEST_FIRST, Guardrail
from simlab.guardrails.ladder import NOT_REACHED, Ladder, joined
from simlab.guardrails.look import Bools, Floats, Integers
from simlab.guardrails.policy import Policy
from simlab.guardrails.rule import NO_LADDER
from simlab.plan import Plan
from simlab.response import ACTIONS


class FirstActions(NamedTuple):
    """The first action of each lane for each of several settings of the thresholds; columns as in the outcome table.

    Attributes
    ----------
    action_time, evidence : int64[settings, lanes]
        Tick of the action, and watermark of the look behind it; -1 where there is none.
    action : int64[settings, lanes]
        Index in `ACTIONS`; 0 for none.
    guardrail : int64[settings, lanes]
        Index in the policy; -1 for none.
    worse : bool[settings, lanes]
        Whether the evidence pointed to harm.
    """

    action_time: Integers
    evidence: Integers
    action: Integers
    guardrail: Integers
    worse: Bools

    def columns(self, setting: int) -> dict[str, np.ndarray]:
        """Return the columns of one setting by their names in the outcome table."""
        return {name: values[setting] for name, values in self._asdict().items()}


@dataclass(frozen=True)
class QuietRun:
    """What a policy that never acts leaves in one scenario.

    Attributes
    ----------
    policy : Policy
        As it would act.
    harmed, twin : tuple of Ladder or None
        One for each guardrail, over all lanes; None for a hold, which keeps its threshold.
    """

    policy: Policy
    harmed: tuple[Ladder | None, ...]
    twin: tuple[Ladder | None, ...]


def why_rerun(policy: Policy) -> str:
    """Return why the thresholds of a policy cannot all be read off from one run; empty if they can."""
    if policy.combine != "any":
        return "whether an alarm acts depends on the other guardrails' thresholds at the same look"
    if policy.share != "bonferroni":
        return f"{policy.share} merges the evidence of all guardrails"
    acting = [guardrail for guardrail in policy.guardrails if guardrail.respond != "hold"]
    if not acting:
        return "no guardrail acts"
    for guardrail in acting:
        if guardrail.rule.ladder == NO_LADDER:
            return f"{guardrail.rule.key} has no ladder coordinate"
        if guardrail.on_unknown == "alarm":
            return "what is unknown reads as an alarm, whatever the threshold"
    return ""


def quiet(policy: Policy) -> Policy:
    """Return a policy whose acting guardrails only leave their ladders; a hold still holds the ramp at its own threshold."""
    return replace(policy, guardrails=tuple(map(_quiet, policy.guardrails)))


def _quiet(guardrail: Guardrail) -> Guardrail:
    return guardrail if guardrail.respond == "hold" else replace(guardrail, at=NEVER)


def placed(policy: Policy, thresholds: Sequence[float]) -> Policy:
    """Return a policy whose guardrails alarm at other thresholds, one each, in their ladder coordinates."""
    guardrails = tuple(replace(each, at=at) for each, at in zip(policy.guardrails, thresholds, strict=True))
    return replace(policy, guardrails=guardrails)


def quiet_plan(plan: Plan) -> Plan:
    """Return a plan in which the policies whose thresholds can be read off do not act, and there are no others."""
    settings = tuple(
        replace(setting, policies=tuple(quiet(policy) for policy in setting.policies if not why_rerun(policy)))
        for setting in plan.settings
    )
    return replace(plan, settings=settings, traced=0)


def quiet_runs(policies: Sequence[Policy], blocks: Sequence[BlockResult]) -> tuple[QuietRun, ...]:
    """Return what each policy of a quiet plan has left in the blocks of one scenario.

    Parameters
    ----------
    policies : sequence of Policy
        As they would act; those that are re-run are passed over.
    blocks : sequence of BlockResult
        Of the quiet plan.
    """
    ordered = sorted(blocks, key=lambda result: result.block.first)
    left: dict[tuple[str, bool], list[tuple[Ladder | None, ...]]] = {}
    for each in (each for result in ordered for each in result.ladders):
        left.setdefault((each.policy, each.harmed), []).append(each.ladders)

    def over_all(policy: Policy, harmed: bool) -> tuple[Ladder | None, ...]:
        by_guardrail = zip(*left.get((policy.name, harmed), []), strict=True)
        return tuple(joined([ladder for ladder in each if ladder is not None]) if each[0] else None for each in by_guardrail)

    found = [policy for policy in policies if not why_rerun(policy)]
    return tuple(QuietRun(policy, over_all(policy, True), over_all(policy, False)) for policy in found)


def first_actions(policy: Policy, ladders: Sequence[Ladder | None], thresholds: Floats) -> FirstActions:
    """Return each lane's first action for several settings of a policy's thresholds.

    Parameters
    ----------
    policy : Policy
        As it would act.
    ladders : sequence of Ladder or None
        One for each guardrail, as `QuietRun` holds them.
    thresholds : float64[settings, guardrails]
        In the guardrails' ladder coordinates; that of a hold is not used.
    """
    asked = np.asarray(thresholds, dtype=float)
    never = np.iinfo(np.int64).max
    lanes = next(ladder.lanes for ladder in ladders if ladder is not None)
    shape = (len(asked), lanes)
    time, evidence = np.full(shape, never), np.full(shape, NOT_REACHED)
    action, guardrail, worse = np.zeros(shape, dtype=np.int64), np.full(shape, -1), np.ones(shape, dtype=bool)
    acting = [index for index, ladder in enumerate(ladders) if ladder is not None]
    for index in sorted(acting, key=lambda index: STRONGEST_FIRST.index(policy.guardrails[index].respond)):
        ladder = ladders[index]
        if ladder is None:
            continue
        passed = ladder.passages(asked[:, index])
        sooner = (passed.time != NOT_REACHED) & (passed.time < time)
        time, evidence = np.where(sooner, passed.time, time), np.where(sooner, passed.end, evidence)
        action = np.where(sooner, ACTIONS.index(policy.guardrails[index].respond), action)
        guardrail, worse = np.where(sooner, index, guardrail), np.where(sooner, passed.worse, worse)
    return FirstActions(np.where(time == never, NOT_REACHED, time), evidence, action, guardrail, worse)
