"""Study: scenarios x policies, gates, seed, and why and for whom it is run; the file that ``run`` takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, make_dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt, MinLen

from simlab.documents import Document
from simlab.errors import FileErrors, Mistake
from simlab.guardrails.guardrail import OnUnknown, Respond, tests_of
from simlab.guardrails.own_rules import OwnEntry
from simlab.guardrails.policy import Combine, Sharing
from simlab.guardrails.registry import rules
from simlab.guardrails.rule import Rule
from simlab.guardrails.signal import Direction
from simlab.guardrails.watch import Watch
from simlab.scenario import Scenario
from simlab.schemas import Path, read_settings
from simlab.settings import readable, settings
from simlab.ticks import Name, Period, Share

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


def own_rules(policies: tuple[PolicyEntry, ...]) -> dict[str, object]:
    """Return what a plan must say of rules that files only name, since they decide its numbers too; nothing if there is none."""
    chosen = [entry.rule.own for policy in policies for entry in policy.guardrails if entry.rule.own is not None]
    return {"own_rules": {own.name: own.words for own in chosen}} if chosen else {}


def metrics_of(scenario: Scenario) -> dict[str, Direction]:
    """Return the direction of harm of each metric of a scenario."""
    return {name: metric.worse for name, metric in scenario.metrics.items()}
