"""Policies meet what they watch, one scenario or recording: whether that makes sense, and the guardrails that come of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import NamedTuple

from simlab.documents import Document, did_you_mean
from simlab.errors import Mistake, SimlabError, UnitError
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.policy import Joined, Policy, share_budget
from simlab.guardrails.registry import rules
from simlab.guardrails.rule import Assumption, Rule, SpendsError, Takes, is_e_process
from simlab.guardrails.signal import Direction, Signal
from simlab.guardrails.watch import Watch
from simlab.metrics import AmountMetric, CountMetric, DurationMetric, Proportion
from simlab.schemas import Path
from simlab.study import GuardrailEntry, PolicyEntry
from simlab.ticks import format_duration


class Watchable(NamedTuple):
    """What policies are to watch: one scenario or recording.

    Attributes
    ----------
    name : str
        What it is called in messages.
    metrics : mapping
        By the names that may be watched.
    tick, horizon : int
        Milliseconds.
    segments : int
        How many segments there are.
    """

    name: str
    metrics: Mapping[str, object]
    tick: int
    horizon: int
    segments: int = 1


def check_policies(policies: tuple[PolicyEntry, ...], document: Document, *, watched: Watchable) -> Iterator[Mistake]:
    """Yield the mistakes of policies that are to watch one scenario or recording.

    Parameters
    ----------
    policies : tuple of PolicyEntry
        As read.
    document : Document
        For places.
    watched : Watchable
        What they are to watch.
    """
    names = [policy.name for policy in policies]
    for index, policy in enumerate(policies):
        if policy.name in names[:index]:
            yield document.mistake(("policies", index, "name"), "name", f"{policy.name!r} is taken by another policy")
        yield from _mistakes_in_combining(policy, document, ("policies", index))
        for number, entry in enumerate(policy.guardrails):
            path: Path = ("policies", index, "guardrails", number)
            yield from _mistakes_in_guardrail(entry, document, path, policy=policy)
            yield from _mistakes_in_watching(entry, document, path, watched=watched)
            yield from _mistakes_in_times(entry, document, path, watched=watched)
            yield from _mistakes_in_its_part(entry, document, path, policy=policy, segments=watched.segments)


def _mistakes_in_combining(policy: PolicyEntry, document: Document, path: Path) -> Iterator[Mistake]:
    if policy.share != "bonferroni" and policy.budget is None:
        yield document.mistake((*path, "share"), "budget", f"{policy.share} needs a budget to share")
    joined = policy.combine if isinstance(policy.combine, Joined) else Joined(k_of_n=1)
    critical = sum(entry.critical for entry in policy.guardrails)
    if joined.critical is None and critical:
        yield document.mistake(path, "combine", "a guardrail is critical, which says nothing unless combine is {critical: k}")
    elif joined.critical is not None and not critical:
        yield document.mistake((*path, "combine"), "combine", "no guardrail is critical: mark one, or say {k_of_n: k}")
    needed, there = (joined.k_of_n or joined.critical or 1), len(policy.guardrails) - critical
    if needed > max(there, 1):
        others = " that are not critical" if critical else ""
        yield document.mistake((*path, "combine"), "combine", f"asks for {needed} of {there} guardrails{others}")


def _mistakes_in_guardrail(entry: GuardrailEntry, document: Document, path: Path, *, policy: PolicyEntry) -> Iterator[Mistake]:
    rule = entry.chosen
    if rule is None:
        hint = "one with nothing but its defaults is written as NAME: {}"
        yield document.mistake((*path, "rule"), "rule", f"must say exactly one of {', '.join(rules())}", hint)
        return
    if policy.budget is not None and not isinstance(rule, SpendsError):
        yield document.mistake((*path, "rule"), "budget", f"{rule.key} has no error probability that a budget could set")
    elif policy.share != "bonferroni" and not is_e_process(rule):
        hint = "rules that have one: " + ", ".join(key for key, known in rules().items() if is_e_process(known))
        yield document.mistake((*path, "rule"), "budget", f"{rule.key} has no e-value that {policy.share} could merge", hint)
    if rule.takes is Takes.NOTHING:
        return
    if (entry.of is None) == (entry.compare is None):
        yield document.mistake(path, "signal", "must say either of or compare")
    else:
        for key, problem in entry.refusals(rule.takes):
            place, hint = (*path, key or "rule"), "" if key else _hint(rule.takes, entry)
            yield document.mistake(place, "signal", f"{rule.key} {problem}", hint)
    yield from _mistakes_in_starting(rule, entry, document, path)
    if (entry.target is None) != (entry.spread is None):
        yield document.mistake(path, "signal", "target and spread go together")
    if entry.compare is None and entry.null is not None:
        yield document.mistake((*path, "null"), "signal", "goes with compare only")


def _mistakes_in_its_part(
    entry: GuardrailEntry, document: Document, path: Path, *, policy: PolicyEntry, segments: int
) -> Iterator[Mistake]:
    """Yield what a rule cannot be at the part of a budget that it would be given."""
    rule = entry.chosen
    if rule is None or policy.budget is None or not isinstance(rule, SpendsError):
        return
    parts = sum(each.tests(segments) for each in policy.guardrails) if policy.share == "bonferroni" else 1
    try:
        rule.with_alpha(policy.budget / parts)
    except SimlabError as error:
        problem = f"{rule.key} cannot have {policy.budget / parts:.4g} of the budget: {error}"
        yield document.mistake((*path, "rule"), "budget", problem)


def _mistakes_in_times(entry: GuardrailEntry, document: Document, path: Path, *, watched: Watchable) -> Iterator[Mistake]:
    if entry.every % watched.tick:
        problem = f"must be a whole number of ticks of {watched.name}, {format_duration(watched.tick)} each"
        yield document.mistake((*path, "every"), "time", problem)
    # A look at the horizon is the last one; a warm-up until then leaves none.
    for key, time in (("every", entry.every - 1), ("warmup", entry.warmup)):
        if time >= watched.horizon:
            yield document.mistake((*path, key), "time", f"never looks before the horizon of {watched.name}")
    # Data come by the look, so that a part of one can neither be kept nor left out.
    watches = entry.chosen is not None and entry.chosen.takes is not Takes.NOTHING
    for key, time in (("over", entry.over), ("warmup", entry.warmup), ("baseline", entry.baseline or 0)):
        if watches and time % entry.every:
            yield document.mistake((*path, key), "time", "must be a whole number of looks, each as long as every")


def _takes_shares(rule: Rule) -> bool:
    """Return whether a rule is made for levels from 0 to 1; others would be left out, and what remains would be chosen."""
    guarantee = rule.guarantee
    return rule.takes is Takes.LEVEL and guarantee is not None and Assumption.BOUNDED in guarantee.assumptions


_HINTS = {
    Takes.STANDARDISED: "give target and spread, or a baseline",
    Takes.VECTOR: "give a baseline",
    Takes.EVENTS: "write of: everyone, treatment or control",
    Takes.ARRIVALS: "write of: everyone, treatment or control",
    Takes.ARM_COUNTS: "write compare: shares",
}


def _hint(takes: Takes, entry: GuardrailEntry) -> str:
    """Return what to do about a signal that gives another kind of observation than a rule takes."""
    if entry.compare != "shares":
        return _HINTS.get(takes, "")
    judging = ", ".join(key for key, rule in rules().items() if rule.takes is Takes.ARM_COUNTS)
    return f"shares are judged by {judging}; to compare a metric write difference or ratio"


def _mistakes_in_starting(rule: Rule, entry: GuardrailEntry, document: Document, path: Path) -> Iterator[Mistake]:
    """Yield what a rule cannot start with: some settings depend on the cadence, or on how many metrics there are."""
    if _takes_shares(rule) and entry.compare is not None:
        problem = f"{rule.key} takes levels from 0 to 1, and a comparison may be outside"
        yield document.mistake((*path, "compare"), "signal", problem, "write of: treatment, control or everyone")
    try:
        rule.initial(max(1, len(entry.metrics)), 1, every=entry.every)
    except UnitError as error:
        yield document.mistake((*path, "rule"), "rule", f"{rule.key}: {error}")
    except SimlabError:
        raise
    except Exception:
        # A rule of one's own is blamed by name when it runs.
        return


def _mistakes_in_watching(entry: GuardrailEntry, document: Document, path: Path, *, watched: Watchable) -> Iterator[Mistake]:
    rule, metrics, place = entry.chosen, watched.metrics, watched.name
    needed = rule is not None and rule.takes not in {Takes.NOTHING, Takes.ARM_COUNTS}
    if entry.watch is None:
        if needed:
            yield document.mistake(path, "missing-key", "must say which metric to watch")
        return
    for index, name in enumerate(entry.metrics):
        at: Path = (*path, "watch") if isinstance(entry.watch, str) else (*path, "watch", index)
        if name not in metrics:
            hint = did_you_mean(name, metrics) or f"known there: {', '.join(sorted(metrics))}"
            yield document.mistake(at, "unknown-metric", f"{place} has no metric {name!r}", hint)
        elif rule is not None and rule.takes in {Takes.EVENTS, Takes.EVENT_COUNTS} and not isinstance(metrics[name], Proportion):
            problem = f"{rule.key} counts events, and {name!r} of {place} is not a proportion"
            yield document.mistake(at, "signal", problem)
        elif rule is not None and _takes_shares(rule) and isinstance(metrics[name], DurationMetric | CountMetric | AmountMetric):
            yield document.mistake(at, "signal", f"{rule.key} takes levels from 0 to 1, and those of {name!r} may be outside")


def build_policies(
    policies: tuple[PolicyEntry, ...], *, worse: Mapping[str, Direction], tick: int, segments: int
) -> tuple[Policy, ...]:
    """Return the policies as they watch one scenario or recording.

    Parameters
    ----------
    policies : tuple of PolicyEntry
        Already checked.
    worse : mapping of str to {"up", "down"}
        Direction of harm by metric.
    tick : int
        Milliseconds.
    segments : int
        How many segments there are.
    """
    return tuple(_build_policy(policy, worse, tick=tick, segments=segments) for policy in policies)


def _build_policy(policy: PolicyEntry, worse: Mapping[str, Direction], *, tick: int, segments: int) -> Policy:
    guardrails = tuple(_build_guardrail(entry, worse, tick) for entry in policy.guardrails)
    if policy.budget is not None:
        guardrails = share_budget(guardrails, budget=policy.budget, share=policy.share, segments=segments)
    return Policy(policy.name, guardrails, policy.combine, policy.reference, policy.budget, policy.share)


def _build_guardrail(entry: GuardrailEntry, worse: Mapping[str, Direction], tick: int) -> Guardrail:
    rule = entry.chosen
    if rule is None:
        raise ValueError("the guardrail has not been checked")
    watch = {field.name: getattr(entry, field.name) for field in fields(Watch)}
    each = tuple(worse.get(name, "up") for name in entry.metrics) or ("up",)
    signal = Signal(**watch, worse=each if len(each) > 1 else each[0])
    return Guardrail(signal, rule, entry.every, entry.respond, entry.on_unknown, tick, entry.critical)
