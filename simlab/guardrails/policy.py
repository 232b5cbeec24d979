"""A policy: the guardrails that watch one rollout together, and the error budget that they share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.rule import SpendsError


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
