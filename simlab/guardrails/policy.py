"""A policy: the guardrails that watch one rollout together, and the error budget that they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from simlab.errors import RuleError, SimlabError
from simlab.guardrails.guardrail import Guardrail, GuardrailState
from simlab.guardrails.look import Bools, Decision, Look
from simlab.guardrails.rule import SpendsError, choose
from simlab.guardrails.signal import Signalled, SignalState

PolicyState = tuple[GuardrailState, ...]


class PolicyStepped(NamedTuple):
    """The new state of a policy and what each guardrail decided; None where it did not look."""

    state: PolicyState
    decisions: tuple[Decision | None, ...]


@dataclass(frozen=True)
class Policy:
    """Guardrails that act on one rollout; with ``any``, each acts by itself.

    Parameters
    ----------
    name : str
        Unique in its study.
    guardrails : tuple of Guardrail
        At least one.
    combine : {"any"}
        How they are combined.
    reference : bool
        Reported, never gated.
    """

    name: str
    guardrails: tuple[Guardrail, ...]
    combine: Literal["any"] = "any"
    reference: bool = False

    @property
    def cadences(self) -> tuple[int, ...]:
        """The different cadences of its guardrails, in ticks."""
        return tuple(sorted({guardrail.every_ticks for guardrail in self.guardrails}))

    def initial(self, segments: int, lanes: int) -> PolicyState:
        """Return the states of its guardrails before the first look."""
        return self._sharing([guardrail.initial(segments, lanes) for guardrail in self.guardrails])

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
        states = list(state)
        decisions: list[Decision | None] = [None] * len(state)
        seen: dict[tuple[object, ...], Signalled] = {}
        for index, guardrail in enumerate(self.guardrails):
            look = looks.get(guardrail.every_ticks)
            if look is None:
                continue
            try:
                key = (*_watches(guardrail), id(state[index].signal))
                if key not in seen:
                    seen[key] = guardrail.observe(state[index], look)
                states[index], decisions[index] = guardrail.judge(state[index], seen[key], look)
            except SimlabError:
                raise
            except Exception as error:
                problem = f"policy {self.name!r}: the rule {guardrail.rule.key!r} failed at tick {look.time}: {error!r}"
                raise RuleError(problem) from error
        return PolicyStepped(tuple(states), tuple(decisions))

    def cleared(self, state: PolicyState, lanes: Bools, *, initial: PolicyState) -> PolicyState:
        """Return the state with the initial one in place in some lanes.

        Parameters
        ----------
        state, initial : PolicyState
            Now, and before the first look.
        lanes : bool[lanes]
            Which lanes start anew.
        """
        return self._sharing([choose(lanes, new, old) for new, old in zip(initial, state, strict=True)])

    def _sharing(self, states: list[GuardrailState]) -> PolicyState:
        """Return states in which guardrails that watch the same hold one signal state, so that it is observed once."""
        held: dict[tuple[object, ...], SignalState] = {}
        watched = zip(self.guardrails, states, strict=True)
        return tuple(each._replace(signal=held.setdefault(_watches(guardrail), each.signal)) for guardrail, each in watched)


def _watches(guardrail: Guardrail) -> tuple[object, ...]:
    """Return what decides everything that a guardrail's rule is given."""
    return guardrail.signal, guardrail.rule.takes, guardrail.every, guardrail.tick


def share_by_bonferroni(guardrails: tuple[Guardrail, ...], *, budget: float, segments: int) -> tuple[Guardrail, ...]:
    """Return the guardrails with one error budget divided equally among all their streams (Bonferroni).

    Parameters
    ----------
    guardrails : tuple of Guardrail
        Each with a rule that spends error.
    budget : float
        Probability that any of them ever errs.
    segments : int
        Streams of a guardrail that watches by segment.

    Raises
    ------
    TypeError
        If a rule has no error probability to set.
    """
    streams = sum(guardrail.signal.streams(segments) for guardrail in guardrails)
    shared = []
    for guardrail in guardrails:
        if not isinstance(guardrail.rule, SpendsError):
            raise TypeError(f"the rule {guardrail.rule.key!r} has no error probability that a budget could set")
        shared.append(replace(guardrail, rule=guardrail.rule.with_alpha(budget / streams)))
    return tuple(shared)
