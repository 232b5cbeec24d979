"""A policy: the guardrails that watch one rollout together, how their alarms are combined, and the error budget they share.

**Combining.** With ``any`` each guardrail acts by itself. With ``{k_of_n: k}`` an alarm acts only at looks at which at least k of
the guardrails stand in alarm. With ``{critical: k}`` a critical guardrail acts alone and the others only when at least k of them
stand in alarm (Kayenta's critical metrics). A guardrail stands in alarm while its last verdict is one. Whoever looks, alarms and
is joined acts, with its own response; an alarm that is not joined reads as ok. What is unknown stays unknown.

**Sharing.** ``bonferroni`` gives each of the m streams of all guardrails the same part of the budget a. The other two merge
evidence, and need rules whose statistic is the log of an e-process. ``mean_e`` alarms while the mean of the e-values is at least
1 / a, where a stream's own e-value is. A mean of e-processes is an e-process however they depend on one another, as long as each
of them is one given all that any of them has seen: so by Ville's inequality it ever alarms with probability at most a when all is
well. ``e_bh`` (Wang & Ramdas, "False discovery rate control with e-values", JRSS B 84, 2022) alarms in the k* streams with the
largest e-values,

    k* = max{k : e_(k) >= m / (a k)},

of which, at whatever moment one stops, at most the share a is expected to be false. k* e_(k*) / m is at most the mean of the
e-values, so it never alarms without ``mean_e``, and its probability of ever alarming when all is well is at most a as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Ge

from simlab.errors import RuleError, SimlabError, UnitError
from simlab.guardrails.guardrail import Guardrail, GuardrailState, Judged
from simlab.guardrails.look import ALARM, OK, Bools, Decision, Floats, Look
from simlab.guardrails.rule import Assumption, Guarantee, SpendsError, choose, is_e_process
from simlab.guardrails.signal import Signalled, SignalState
from simlab.settings import settings

Sharing = Literal["bonferroni", "e_bh", "mean_e"]


@settings
class Joined:
    """How many guardrails must stand in alarm before one acts; exactly one of the two is given.

    Parameters
    ----------
    k_of_n : int, optional
        How many of all.
    critical : int, optional
        How many of those that are not critical; a critical one acts alone.

    Raises
    ------
    UnitError
        Unless exactly one is given.
    """

    k_of_n: Annotated[int, Ge(1)] | None = None
    critical: Annotated[int, Ge(1)] | None = None

    def __post_init__(self) -> None:
        """Refuse none and both."""
        if (self.k_of_n is None) == (self.critical is None):
            raise UnitError("must say either k_of_n or critical, a number of guardrails each")

    def acts(self, alarming: Bools, critical: Bools) -> Bools:
        """Return where an alarm acts, bool[guardrails, lanes].

        Parameters
        ----------
        alarming : bool[guardrails, lanes]
            Who stands in alarm.
        critical : bool[guardrails]
            Who is critical.
        """
        if self.critical is None:
            return np.asarray(alarming & (alarming.sum(axis=0) >= self.k_of_n))
        others = alarming & ~critical[:, None]
        return np.asarray(alarming & (critical[:, None] | (others.sum(axis=0) >= self.critical)))


Combine = Literal["any"] | Joined


class PolicyState(NamedTuple):
    """What a policy remembers between looks.

    Attributes
    ----------
    guardrails : tuple of GuardrailState
        One for each guardrail.
    alarming : bool[guardrails, lanes]
        Whose last verdict is an alarm.
    """

    guardrails: tuple[GuardrailState, ...]
    alarming: Bools


class PolicyStepped(NamedTuple):
    """The new state of a policy and what each guardrail decided; None where it did not look."""

    state: PolicyState
    decisions: tuple[Decision | None, ...]


@dataclass(frozen=True)
class Policy:
    """Guardrails that act on one rollout.

    Parameters
    ----------
    name : str
        Unique in its study.
    guardrails : tuple of Guardrail
        At least one.
    combine : "any" or Joined
        Whose alarms act.
    reference : bool
        Reported, never gated.
    budget : float, optional
        Probability of any alarm when all is well, shared by all streams. By ``bonferroni`` the guardrails' rules have their parts
        of it already; see `share_budget`.
    share : {"bonferroni", "e_bh", "mean_e"}
        How the budget is shared.

    Raises
    ------
    TypeError
        If evidence is to be merged without a budget, or a rule's statistic is not the log of an e-process.
    """

    name: str
    guardrails: tuple[Guardrail, ...]
    combine: Combine = "any"
    reference: bool = False
    budget: float | None = None
    share: Sharing = "bonferroni"

    def __post_init__(self) -> None:
        """Refuse to merge what is no evidence."""
        if self.share == "bonferroni":
            return
        if self.budget is None:
            raise TypeError(f"{self.share} needs a budget")
        for guardrail in self.guardrails:
            if not is_e_process(guardrail.rule):
                raise TypeError(f"the rule {guardrail.rule.key!r} has no e-value that {self.share} could merge")

    @property
    def cadences(self) -> tuple[int, ...]:
        """The different cadences of its guardrails, in ticks."""
        return tuple(sorted({guardrail.every_ticks for guardrail in self.guardrails}))

    @property
    def guarantee(self) -> Guarantee | None:
        """What its shared budget promises; None without one, or where a rule promises nothing."""
        promised = [guardrail.rule.guarantee for guardrail in self.guardrails]
        kept = [guarantee for guarantee in promised if guarantee is not None]
        if self.budget is None or len(kept) < len(promised):
            return None
        claim = f"alarms with probability at most {self.budget:g} when all is well"
        claim += {
            "bonferroni": " if every guardrail keeps its own claim",
            "mean_e": " however often it looks",
            "e_bh": f" however often it looks, and of the streams that it alarms for, at most {self.budget:g} are expected false",
        }[self.share]
        needed = dict.fromkeys(assumption for guarantee in kept for assumption in guarantee.assumptions)
        if self.share != "bonferroni":
            needed[Assumption.COMMON_PAST] = None
        return Guarantee(claim, tuple(needed), exact=all(guarantee.exact for guarantee in kept))

    def initial(self, segments: int, lanes: int) -> PolicyState:
        """Return the state before the first look.

        Raises
        ------
        RuleError
            If a rule fails.
        """
        states = []
        for guardrail in self.guardrails:
            try:
                states.append(guardrail.initial(segments, lanes))
            except SimlabError:
                raise
            except (Exception, SystemExit) as error:
                raise self._blame(guardrail, "before its first look", error) from error
        return self._sharing(PolicyState(tuple(states), np.zeros((len(states), lanes), dtype=bool)))

    def step(self, state: PolicyState, looks: Mapping[int, Look]) -> PolicyStepped:
        """Give each guardrail whose cadence has a look that look; those that watch the same see it once.

        Parameters
        ----------
        state : PolicyState
            From `initial` or the step before; not changed.
        looks : mapping of int to Look
            By cadence, in ticks.

        Raises
        ------
        RuleError
            If a rule fails; the message names policy, rule and tick.
        """
        given = {index: looks[each.every_ticks] for index, each in enumerate(self.guardrails) if each.every_ticks in looks}
        judged = self._judge(state.guardrails, given)
        states = tuple(judged[index].state if index in judged else each for index, each in enumerate(state.guardrails))
        threshold = self._threshold(states)
        decisions: list[Decision | None] = [None] * len(states)
        alarming = state.alarming.copy()
        for index, look in given.items():
            decision = self.guardrails[index].decide(judged[index], look, threshold=threshold)
            decisions[index], alarming[index] = decision, decision.code == ALARM
        return PolicyStepped(PolicyState(states, alarming), self._combined(tuple(decisions), alarming))

    def log_e_value(self, state: PolicyState) -> Floats | None:
        """Return the log of the mean e-value over all streams, float64[lanes]; None unless every rule gives e-values.

        It is evidence against all being well for every stream. A stream that has not been judged yet counts as 1.
        """
        if not self.guardrails or not all(is_e_process(guardrail.rule) for guardrail in self.guardrails):
            return None
        logs = _log_e_values(state.guardrails)
        return np.asarray(np.logaddexp.reduce(logs, axis=0) - math.log(len(logs)))

    def cleared(self, state: PolicyState, lanes: Bools, *, initial: PolicyState) -> PolicyState:
        """Return the state with the initial one in place in some lanes.

        Parameters
        ----------
        state, initial : PolicyState
            Now, and before the first look.
        lanes : bool[lanes]
            Which lanes start anew.
        """
        chosen: PolicyState = choose(lanes, initial, state)
        return self._sharing(chosen)

    def _judge(self, states: tuple[GuardrailState, ...], looks: Mapping[int, Look]) -> dict[int, Judged]:
        judged: dict[int, Judged] = {}
        seen: dict[tuple[int, int], Signalled] = {}
        for index, look in looks.items():
            guardrail, state = self.guardrails[index], states[index]
            try:
                key = self._watching[index], id(state.signal)
                if key not in seen:
                    seen[key] = guardrail.observe(state, look)
                judged[index] = guardrail.judge(state, seen[key], look)
            except SimlabError:
                raise
            except (Exception, SystemExit) as error:
                raise self._blame(guardrail, f"at tick {look.time}", error) from error
        return judged

    def _threshold(self, states: tuple[GuardrailState, ...]) -> Floats | None:
        """Return what a log e-value must reach to alarm, float64[lanes]; None if each rule's own threshold holds."""
        if self.share == "bonferroni" or self.budget is None:
            return None
        logs = _log_e_values(states)
        if self.share == "mean_e":
            enough = -math.log(self.budget)
            return np.where(np.logaddexp.reduce(logs, axis=0) - math.log(len(logs)) >= enough, enough, np.inf)
        ranks = np.arange(1, len(logs) + 1)[:, None]
        needed = math.log(len(logs)) - math.log(self.budget) - np.log(ranks)
        return np.asarray(np.where(-np.sort(-logs, axis=0) >= needed, needed, np.inf).min(axis=0))

    def _combined(self, decisions: tuple[Decision | None, ...], alarming: Bools) -> tuple[Decision | None, ...]:
        """Return the decisions with the alarms that are not joined read as ok."""
        if self.combine == "any":
            return decisions
        critical = np.array([guardrail.critical for guardrail in self.guardrails])
        alone = alarming & ~self.combine.acts(alarming, critical)
        return tuple(
            None if decision is None else replace(decision, code=np.where(waits, OK, decision.code))
            for decision, waits in zip(decisions, alone, strict=True)
        )

    def _sharing(self, state: PolicyState) -> PolicyState:
        """Return a state in which guardrails that watch the same hold one signal state, so that it is observed once."""
        held: dict[int, SignalState] = {}
        watched = zip(self._watching, state.guardrails, strict=True)
        return state._replace(
            guardrails=tuple(each._replace(signal=held.setdefault(same, each.signal)) for same, each in watched)
        )

    @cached_property
    def _watching(self) -> tuple[int, ...]:
        """A number for each guardrail, the same for those whose rules are given the same."""
        given = [(each.signal, each.rule.takes, each.every, each.tick) for each in self.guardrails]
        return tuple(given.index(watched) for watched in given)

    def _blame(self, guardrail: Guardrail, when: str, error: BaseException) -> RuleError:
        """Return an error that says whose rule failed, and when; a rule may try to leave the whole program as well."""
        return RuleError(f"policy {self.name!r}: the rule {guardrail.rule.key!r} failed {when}: {error!r}")


def _log_e_values(states: tuple[GuardrailState, ...]) -> Floats:
    """Return the log e-values of all streams, float64[streams of all guardrails, lanes]; an e-process starts at 1."""
    return np.concatenate([np.where(state.observed, state.statistic, 0.0) for state in states])


def share_budget(guardrails: tuple[Guardrail, ...], *, budget: float, share: Sharing, segments: int) -> tuple[Guardrail, ...]:
    """Return the guardrails with their rules set to what they have of one error budget.

    By ``bonferroni`` that is the budget divided equally among all streams. Where evidence is merged it is the whole budget: no
    stream alarms unless its own e-value is at least 1 / budget, though that alone is not enough.

    Parameters
    ----------
    guardrails : tuple of Guardrail
        Each with a rule that spends error.
    budget : float
        Probability that any of them ever errs.
    share : {"bonferroni", "e_bh", "mean_e"}
        How they share it.
    segments : int
        Streams of a guardrail that watches by segment.

    Raises
    ------
    TypeError
        If a rule has no error probability to set.
    """
    tests = sum(guardrail.tests(segments) for guardrail in guardrails) if share == "bonferroni" else 1
    shared = []
    for guardrail in guardrails:
        if not isinstance(guardrail.rule, SpendsError):
            raise TypeError(f"the rule {guardrail.rule.key!r} has no error probability that a budget could set")
        shared.append(replace(guardrail, rule=guardrail.rule.with_alpha(budget / tests)))
    return tuple(shared)
