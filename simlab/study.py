"""Study: scenarios x policies, gates, seed, and why and for whom it is run; the file that ``run`` takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, make_dataclass
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt, Lt, MinLen

from simlab.documents import Document, did_you_mean
from simlab.errors import FileErrors, Mistake, SimlabError, UnitError
from simlab.guardrails.guardrail import Guardrail, OnUnknown, Respond, tests_of
from simlab.guardrails.own_rules import OwnEntry
from simlab.guardrails.policy import Combine, Joined, Policy, Sharing, share_budget
from simlab.guardrails.registry import rules
from simlab.guardrails.rule import Assumption, Rule, SpendsError, Takes, is_e_process
from simlab.guardrails.signal import Direction, Signal
from simlab.guardrails.watch import Watch
from simlab.metrics import AmountMetric, CountMetric, DurationMetric, Proportion
from simlab.scenario import Scenario
from simlab.schemas import Path, read_settings
from simlab.settings import readable, settings
from simlab.ticks import Name, Period, Share, format_duration

# One optional field a rule, so that the file schema knows every rule's settings; `_mistakes_in_guardrail` wants exactly one.
_CHOICES = [*((key, rule | None, None) for key, rule in rules().items()), ("own", OwnEntry | None, None)]
RuleChoice: Any = readable(make_dataclass("RuleChoice", _CHOICES, frozen=True, namespace={"__module__": __name__}))


def chosen_rule(choice: RuleChoice) -> Rule | None:
    """Return the one rule that is given; None if there is none or more than one."""
    given = [rule for field in fields(choice) if (rule := getattr(choice, field.name)) is not None]
    if len(given) != 1:
        return None
    found: Rule = given[0].rule if isinstance(given[0], OwnEntry) else given[0]
    return found


@settings
class _Acting:
    rule: RuleChoice
    every: Period
    respond: Respond = "alert"
    on_unknown: OnUnknown = "hold"
    critical: bool = False


@settings
class GuardrailEntry(Watch, _Acting):
    """A guardrail as a file says it: what is watched, the rule, how often, and what an alarm does."""

    @property
    def chosen(self) -> Rule | None:
        """The one rule that is given; None if there is none or more than one."""
        return chosen_rule(self.rule)

    def tests(self, segments: int) -> int:
        """Return how many tests it makes at a look."""
        return tests_of(self, self.chosen, segments=segments)


@settings
class PolicyEntry:
    """A policy as a file says it; `budget` sets the error probability of its rules together, `share` how they divide it."""

    name: Name
    guardrails: Annotated[tuple[GuardrailEntry, ...], MinLen(1)]
    combine: Combine = "any"
    budget: Annotated[Share, Gt(0), Lt(0.5)] | None = None
    share: Sharing = "bonferroni"
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
    """How many lanes: `start`, doubled until gates are decided and intervals as narrow as `precision`, at most `cap`."""

    start: Annotated[int, Ge(1)] = 2000
    cap: Annotated[int, Ge(1)] = 16000
    precision: Annotated[Share, Gt(0), Lt(0.5)] | None = None

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
        yield document.mistake((*path, "rule"), "rule", f"must say exactly one of {', '.join(rules())}")
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


def own_rules(policies: tuple[PolicyEntry, ...]) -> dict[str, object]:
    """Return what a plan must say of rules that files only name, since they decide its numbers too; nothing if there is none."""
    chosen = [entry.rule.own for policy in policies for entry in policy.guardrails if entry.rule.own is not None]
    return {"own_rules": {own.name: own.words for own in chosen}} if chosen else {}


def metrics_of(scenario: Scenario) -> dict[str, Direction]:
    """Return the direction of harm of each metric of a scenario."""
    return {name: metric.worse for name, metric in scenario.metrics.items()}
