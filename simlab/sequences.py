"""A sequence of rollouts, most of them harmless: how many that are called harmful are not, and how many harms are found.

A rollout's p-value is 1 / E, with E the largest mean e-value of its policy (`Policy.log_e_value`) until the
horizon, a rollback or a clearance: by Ville's inequality it is at most u with probability at most u where all is well. LORD++ or
SAFFRON then says at which level each rollout of a sequence is tested.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simlab.arguments import is_number, is_share, is_whole
from simlab.errors import SimlabError, UnitError
from simlab.guardrails.look import Bools, Floats
from simlab.guardrails.online_fdr import ONLINE_RULES, OnlineRule
from simlab.measures.estimates import Estimate, mean, proportion
from simlab.measures.outcomes import Outcomes, outcomes_of
from simlab.results import Result, ScenarioResult
from simlab.streams import stream_key, uniforms


@dataclass(frozen=True)
class SequenceResult:
    """What a rule over sequences of rollouts would have made of a study's lanes.

    Attributes
    ----------
    scenario, policy : str
        Whose lanes, and whose evidence.
    rule : Lord or Saffron
        With its settings.
    sequences, rollouts : int
        How many sequences, and how long.
    harmed_share : float
        Share of rollouts that are harmful, in expectation.
    false_discovery_rate : Estimate
        Mean over sequences of the share of harmless ones among the rollouts that are called harmful; 0 where none is called so.
    power : Estimate
        Share of harms that are found: mean over the sequences that have one.
    cut_off : Estimate
        Share of rollouts that the policy itself rolled back, so that no more evidence could come: a p-value is then hardly below
        the policy's own error probability. A rule over sequences is best judged with a policy that holds or alerts.
    """

    scenario: str
    policy: str
    rule: OnlineRule
    sequences: int
    rollouts: int
    harmed_share: float
    false_discovery_rate: Estimate
    power: Estimate
    cut_off: Estimate

    def __repr__(self) -> str:
        rate, power = self.false_discovery_rate, self.power
        return (
            f"<{self.rule.key} at {self.rule.budget:g} over {self.sequences} sequences of {self.rollouts} rollouts, "
            f"{self.scenario} / {self.policy}: false discovery rate {rate.value:.3g} ({rate.low:.3g} to {rate.high:.3g}), "
            f"power {power.value:.3g} ({power.low:.3g} to {power.high:.3g})>"
        )


def sequence(
    result: Result,
    *,
    policy: str,
    rule: str | OnlineRule = "lord",
    budget: float = 0.05,
    harmed_share: float = 0.1,
    rollouts: int = 50,
    scenario: str | None = None,
    seed: int = 0,
) -> SequenceResult:
    """Judge a rule over sequences of rollouts that are drawn from a study's lanes and their harmless twins, each lane once.

    A rollout is harmful if it is drawn to be and its lane's harm began in time; all others are harmless.

    Parameters
    ----------
    result : Result
        Of a study.
    policy : str
        Whose evidence counts. All of its rules must give e-values: betting, canary_counts, msprt, normal_mixture, sprt, srm.
    rule : {"lord", "saffron"}, Lord or Saffron
        The rule over the sequence; one with settings of its own has its own budget.
    budget : float
        The false discovery rate to be kept.
    harmed_share : float
        Probability that a rollout is harmful.
    rollouts : int
        Length of a sequence; there are as many sequences as the lanes suffice for.
    scenario : str, optional
        Which one; needed if the study has several.
    seed : int
        Of the draw.

    Raises
    ------
    SimlabError
        If there is no such policy or scenario, its rules give no e-values, or the lanes do not suffice for a sequence.
    UnitError
        If a setting is out of its range.
    """
    if not (is_number(harmed_share) and 0 <= harmed_share <= 1 and is_whole(rollouts, least=1)):
        raise UnitError(
            f"harmed_share must be from 0 to 1 and rollouts a whole number of at least 1, not {harmed_share!r} and {rollouts!r}"
        )
    chosen = _rule(rule, budget)
    found = _scenario(result, scenario)
    outcomes = _outcomes(found, policy)
    count = outcomes.lanes // rollouts
    if not count:
        raise SimlabError(f"{outcomes.lanes} lanes are too few for a sequence of {rollouts} rollouts")
    # Keyed by lane, so that a study with more lanes draws the same ones for those it shares.
    lanes = outcomes.harmed["lane"]
    order = np.argsort(uniforms(stream_key(seed, "sequence.order"), 0, lanes))[: count * rollouts]
    drawn = (uniforms(stream_key(seed, "sequence.harmed"), 0, lanes) < harmed_share)[order]
    log_e = np.where(drawn, outcomes.harmed["log_e_value"][order], outcomes.twin["log_e_value"][order])
    rolled_back = np.where(drawn, outcomes.harmed["rollback_time"][order], outcomes.twin["rollback_time"][order]) >= 0
    harmful = (drawn & outcomes.has_onset[order]).reshape(rollouts, count)
    rejected = _rejected(chosen, np.exp(-log_e).reshape(rollouts, count))
    return SequenceResult(
        scenario=found.name,
        policy=policy,
        rule=chosen,
        sequences=count,
        rollouts=rollouts,
        harmed_share=harmed_share,
        false_discovery_rate=_share(rejected & ~harmful, rejected),
        power=_share(*(each[:, harmful.any(axis=0)] for each in (rejected & harmful, harmful))),
        cut_off=proportion(int(rolled_back.sum()), rolled_back.size),
    )


def _rule(rule: str | OnlineRule, budget: float) -> OnlineRule:
    if not isinstance(rule, str):
        return rule
    if rule not in ONLINE_RULES:
        raise SimlabError(f"there is no rule {rule!r} over sequences; there is: {', '.join(ONLINE_RULES)}")
    if not is_share(budget):
        raise UnitError(f"a budget must be between 0 and 1, not {budget!r}")
    return ONLINE_RULES[rule](budget=budget)


def _scenario(result: Result, name: str | None) -> ScenarioResult:
    names = [each.name for each in result.scenarios]
    if name is None and len(names) > 1:
        raise SimlabError(f"the study has several scenarios; say which: {', '.join(names)}")
    if name is not None and name not in names:
        raise SimlabError(f"the study has no scenario {name!r}; there is: {', '.join(names)}")
    return result.scenarios[0 if name is None else names.index(name)]


def _outcomes(scenario: ScenarioResult, policy: str) -> Outcomes:
    by_name = {each.policy: each for each in outcomes_of(scenario.rows, clock=scenario.clock, limit=0)}
    if policy not in by_name:
        raise SimlabError(f"there is no policy {policy!r}; there is: {', '.join(by_name)}")
    found = by_name[policy]
    if np.isnan(found.twin["log_e_value"]).any():
        raise SimlabError(f"not every rule of policy {policy!r} gives e-values, so its rollouts have no p-value")
    return found


def _rejected(rule: OnlineRule, p_values: Floats) -> Bools:
    """Return which rollouts are called harmful, bool[rollouts, sequences]."""
    state = rule.initial(p_values.shape[1])
    rejected = np.zeros(p_values.shape, dtype=bool)
    for place, p_value in enumerate(p_values):
        state, _, rejected[place] = rule.step(state, p_value)
    return rejected


def _share(some: Bools, of: Bools) -> Estimate:
    """Return the mean over sequences of a share; 0 where there is nothing to have a share of."""
    return mean(some.sum(axis=0) / np.maximum(of.sum(axis=0), 1), unit="share", support=(0.0, 1.0))
