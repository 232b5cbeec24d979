"""Study: scenarios x policies, gates, seed, and why and for whom it is run; the file that ``run`` takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, make_dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt, MinLen

from simlab.documents import Document, did_you_mean
from simlab.errors import FileErrors, Mistake
from simlab.guardrails.guardrail import Guardrail, OnUnknown, Respond
from simlab.guardrails.policy import Policy, share_by_bonferroni
from simlab.guardrails.registry import rules
from simlab.guardrails.rule import Rule, SpendsError, Takes
from simlab.guardrails.signal import Signal, Watch
from simlab.scenario import Scenario
from simlab.schemas import Path, read_settings
from simlab.settings import readable, settings
from simlab.ticks import Name, Period, Share, format_duration

# One optional field a rule, so that the file schema knows every rule's settings; `_mistakes_in_guardrail` wants exactly one.
_CHOICES = [(key, rule | None, None) for key, rule in rules().items()]
RuleChoice: Any = readable(make_dataclass("RuleChoice", _CHOICES, frozen=True, namespace={"__module__": __name__}))


@settings
class _Acting:
    rule: RuleChoice
    every: Period
    respond: Respond = "alert"
    on_unknown: OnUnknown = "hold"


@settings
class GuardrailEntry(Watch, _Acting):
    """A guardrail as a file says it: what is watched, the rule, how often, and what an alarm does."""

    @property
    def chosen(self) -> Rule | None:
        """The one rule that is given; None if there is none or more than one."""
        given = [rule for key in rules() if (rule := getattr(self.rule, key)) is not None]
        return given[0] if len(given) == 1 else None


@settings
class PolicyEntry:
    """A policy as a file says it; `budget` sets the error probability of its rules together."""

    name: Name
    guardrails: Annotated[tuple[GuardrailEntry, ...], MinLen(1)]
    combine: Literal["any"] = "any"
    budget: Annotated[Share, Gt(0), Lt(1)] | None = None
    share: Literal["bonferroni"] = "bonferroni"
    reference: bool = False


@settings
class AtMost:
    """An upper limit on a probability."""

    max: Share


@settings
class AtLeast:
    """A lower limit on a probability."""

    min: Share


@settings
class AtMostUsers:
    """An upper limit on a number of users."""

    max: Annotated[float, Ge(0)]


@settings
class GateEntry:
    """One gate: exactly one of the limits, `within` for a detection, `at` a quantile for users."""

    false_alarms: AtMost | None = None
    detected: AtLeast | None = None
    harmed_users: AtMostUsers | None = None
    exposed_users: AtMostUsers | None = None
    within: Period | None = None
    at: Literal["p50", "p75", "p90", "p95", "p99"] | None = None
    confidence: Annotated[Share, Gt(0.5), Lt(1)] = 0.95

    @property
    def kind(self) -> str:
        """The name of the limit; empty if none or several are given."""
        given = [name for name in GATE_KINDS if getattr(self, name) is not None]
        return given[0] if len(given) == 1 else ""


GATE_KINDS = ("false_alarms", "detected", "harmed_users", "exposed_users")


@settings
class Lanes:
    """How many lanes: `start`, doubled until every gate is decided, at most `cap`."""

    start: Annotated[int, Ge(1)] = 2000
    cap: Annotated[int, Ge(1)] = 16000

    @property
    def schedule(self) -> tuple[int, ...]:
        """Lane counts at which the gates are judged."""
        counts = [self.start]
        while counts[-1] < self.cap:
            counts.append(min(2 * counts[-1], self.cap))
        return tuple(counts)


@settings
class Study:
    """Why, for whom, and what is run."""

    study: Name
    why: Annotated[str, MinLen(1)]
    owner: Annotated[str, MinLen(1)]
    scenarios: Annotated[tuple[str, ...], MinLen(1)]
    policies: Annotated[tuple[PolicyEntry, ...], MinLen(1)]
    gates: tuple[GateEntry, ...] = ()
    lanes: Lanes = Lanes()
    seed: Annotated[int, Ge(0)] = 0


@settings
class Policies:
    """A file that holds nothing but policies, for a replay."""

    policies: Annotated[tuple[PolicyEntry, ...], MinLen(1)]


def read_study(document: Document) -> Study:
    """Return the study that a document holds; what depends on its scenarios is checked by `check_policies`.

    Raises
    ------
    FileErrors
        With every mistake.
    """
    study = read_settings(document, Study)
    mistakes = list(_mistakes(study, document))
    if mistakes:
        raise FileErrors((document.file, mistake) for mistake in mistakes)
    return study


def _mistakes(study: Study, document: Document) -> Iterator[Mistake]:
    if study.lanes.cap < study.lanes.start:
        yield document.mistake(("lanes", "cap"), "order", "must be at least start")
    for index, gate in enumerate(study.gates):
        yield from _mistakes_in_gate(gate, document, ("gates", index))
    if all(policy.reference for policy in study.policies) and study.gates:
        yield document.mistake(("policies",), "reference", "every policy is a reference, so the gates bind nothing")


def _mistakes_in_gate(gate: GateEntry, document: Document, path: Path) -> Iterator[Mistake]:
    if not gate.kind:
        yield document.mistake(path, "gate", f"must say exactly one of {', '.join(GATE_KINDS)}")
        return
    if gate.within is not None and gate.kind != "detected":
        yield document.mistake((*path, "within"), "gate", f"does not go with {gate.kind}")
    if gate.kind.endswith("users") != (gate.at is not None):
        problem = "needs at, a quantile such as p90" if gate.at is None else f"does not go with {gate.kind}"
        yield document.mistake(path if gate.at is None else (*path, "at"), "gate", problem)
    if gate.kind == "detected" and gate.within is None:
        yield document.mistake(path, "gate", "needs within, a duration such as 1h")


def check_policies(
    policies: tuple[PolicyEntry, ...],
    document: Document,
    *,
    metrics: Mapping[str, object],
    tick: int,
    horizon: int,
    place: str,
) -> Iterator[Mistake]:
    """Yield the mistakes of policies that are to watch one scenario or recording.

    Parameters
    ----------
    policies : tuple of PolicyEntry
        As read.
    document : Document
        For places.
    metrics : mapping
        By the names that may be watched.
    tick, horizon : int
        Milliseconds.
    place : str
        What is watched, for messages.
    """
    names = [policy.name for policy in policies]
    for index, policy in enumerate(policies):
        if policy.name in names[:index]:
            yield document.mistake(("policies", index, "name"), "name", f"{policy.name!r} is taken by another policy")
        for number, entry in enumerate(policy.guardrails):
            path: Path = ("policies", index, "guardrails", number)
            yield from _mistakes_in_guardrail(entry, document, path, policy=policy)
            yield from _mistakes_in_watching(entry, document, path, metrics=metrics, place=place)
            if entry.every % tick:
                problem = f"must be a whole number of ticks of {place}, {format_duration(tick)} each"
                yield document.mistake((*path, "every"), "time", problem)
            for key, time in (("every", entry.every), ("warmup", entry.warmup)):
                if time >= horizon:
                    yield document.mistake((*path, key), "time", f"never looks before the horizon of {place}")


def _mistakes_in_guardrail(entry: GuardrailEntry, document: Document, path: Path, *, policy: PolicyEntry) -> Iterator[Mistake]:
    rule = entry.chosen
    if rule is None:
        yield document.mistake((*path, "rule"), "rule", f"must say exactly one of {', '.join(rules())}")
        return
    if policy.budget is not None and not isinstance(rule, SpendsError):
        yield document.mistake((*path, "rule"), "budget", f"{rule.key} has no error probability that a budget could set")
    if rule.takes is Takes.NOTHING:
        return
    if (entry.of is None) == (entry.compare is None):
        yield document.mistake(path, "signal", "must say either of or compare")
    elif not entry.gives(rule.takes):
        given = "shares" if entry.compare == "shares" else "a comparison" if entry.compare else "a level"
        hint = "give target and spread, or a baseline" if rule.takes is Takes.STANDARDISED else ""
        problem = f"{rule.key} takes {rule.takes.value}, and {given} does not give that"
        yield document.mistake((*path, "rule"), "signal", problem, hint)
    if entry.over % entry.every:
        yield document.mistake((*path, "over"), "time", "must be a whole number of looks, each as long as every")
    if (entry.target is None) != (entry.spread is None):
        yield document.mistake(path, "signal", "target and spread go together")
    if entry.compare is None and entry.null is not None:
        yield document.mistake((*path, "null"), "signal", "goes with compare only")


def _mistakes_in_watching(
    entry: GuardrailEntry, document: Document, path: Path, *, metrics: Mapping[str, object], place: str
) -> Iterator[Mistake]:
    rule = entry.chosen
    needed = rule is not None and rule.takes not in {Takes.NOTHING, Takes.ARM_COUNTS}
    if entry.watch is None:
        if needed:
            yield document.mistake(path, "missing-key", "must say which metric to watch")
    elif entry.watch not in metrics:
        hint = did_you_mean(entry.watch, metrics) or f"known there: {', '.join(sorted(metrics))}"
        yield document.mistake((*path, "watch"), "unknown-metric", f"{place} has no metric {entry.watch!r}", hint)


def build_policies(
    policies: tuple[PolicyEntry, ...], *, worse: Mapping[str, Literal["up", "down"]], tick: int, segments: int
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


def _build_policy(policy: PolicyEntry, worse: Mapping[str, Literal["up", "down"]], *, tick: int, segments: int) -> Policy:
    guardrails = tuple(_build_guardrail(entry, worse.get(entry.watch or "", "up"), tick) for entry in policy.guardrails)
    if policy.budget is not None:
        guardrails = share_by_bonferroni(guardrails, budget=policy.budget, segments=segments)
    return Policy(policy.name, guardrails, policy.combine, policy.reference)


def _build_guardrail(entry: GuardrailEntry, worse: Literal["up", "down"], tick: int) -> Guardrail:
    rule = entry.chosen
    if rule is None:
        raise ValueError("the guardrail has not been checked")
    watch = {field.name: getattr(entry, field.name) for field in fields(Watch)}
    return Guardrail(Signal(**watch, worse=worse), rule, entry.every, entry.respond, entry.on_unknown, tick)


def metrics_of(scenario: Scenario) -> dict[str, Literal["up", "down"]]:
    """Return the direction of harm of each metric of a scenario."""
    return {name: metric.worse for name, metric in scenario.metrics.items()}
