"""The plan: everything that decides the numbers of a run, fixed and hashed before the first lane.

A plan is made from documents and can be written and read back as one JSON file, so that a run can be rebuilt from its folder.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from simlab import __version__
from simlab.documents import Document, read_document
from simlab.errors import FileErrors, Mistake
from simlab.guardrails.look import Integers
from simlab.guardrails.policy import Policy
from simlab.guardrails.rule import Takes
from simlab.metrics import DurationMetric, Metric, Proportion
from simlab.reading_scenarios import read_scenario
from simlab.scenario import Response, Rollout, Scenario, Telemetry
from simlab.schemas import Path as Place
from simlab.shipped import shipped_path
from simlab.study import GateEntry, GuardrailEntry, Study, metrics_of, own_rules, read_study
from simlab.ticks import format_duration
from simlab.watching import Watchable, build_policies, check_policies
from simlab.world.rates import rates_of
from simlab.world.strata import strata_of

if TYPE_CHECKING:
    from simlab.world.aggregate import AggregateWorld, Watched
    from simlab.world.individual import IndividualWorld

BASELINE = Policy("(never alarms)", (), reference=True)
"""What happens when nobody stops anything; part of every study."""

TRACED_LANES = 4

MOST_REQUESTS = 1e9
"""In a tick: their exact inverse CDFs hold up to some ten times as many, which leaves room for activity."""


@dataclass(frozen=True)
class ScenarioSetting:
    """One scenario of a plan with the policies that watch it.

    Attributes
    ----------
    scenario : Scenario
        What the world is like.
    policies : tuple of Policy
        Built for this scenario's metrics and ticks.
    """

    scenario: Scenario
    policies: tuple[Policy, ...]
    twin: bool = True

    @property
    def name(self) -> str:
        """The scenario's name."""
        return self.scenario.scenario

    @property
    def rollout(self) -> Rollout | None:
        """The ramp."""
        return self.scenario.rollout

    @property
    def telemetry(self) -> Telemetry:
        """What is seen, and when."""
        return self.scenario.telemetry

    @property
    def response(self) -> Response | None:
        """How the organisation answers."""
        return self.scenario.response

    @cached_property
    def watched(self) -> Watched:
        """What any policy looks at."""
        from simlab.world.aggregate import Watched

        return Watched.by((guardrail.signal, guardrail.rule) for policy in self.policies for guardrail in policy.guardrails)

    @property
    def lanes_at_once(self) -> int | None:
        """How many lanes its world can hold at once; None for any number."""
        if self.scenario.users.detail == "aggregate":
            return None
        from simlab.world.individual import lanes_at_once

        return lanes_at_once(self.scenario)

    def world(self, lanes: Integers, *, seed: int) -> AggregateWorld | IndividualWorld:
        """Return the world of a block of lanes."""
        if self.scenario.users.detail == "aggregate":
            from simlab.world.aggregate import AggregateWorld

            return AggregateWorld(self.scenario, lanes, seed=seed, watched=self.watched)
        from simlab.world.individual import IndividualWorld

        return IndividualWorld(self.scenario, lanes, seed=seed, watched=self.watched)


@dataclass(frozen=True)
class Plan:
    """A study, resolved.

    Attributes
    ----------
    study : Study
        As read.
    settings : tuple of ScenarioSetting
        One for each scenario.
    documents : dict
        The study's and the scenarios' own data: what is written to ``plan.json``.
    traced : int
        Lanes of each scenario whose looks are kept.
    """

    study: Study
    settings: tuple[ScenarioSetting, ...]
    documents: Mapping[str, object]
    traced: int = TRACED_LANES

    def __repr__(self) -> str:
        """Say in a line what is run: the whole plan is `canonical`."""
        scenarios, policies = [each.name for each in self.settings], [each.name for each in self.study.policies]
        return f"Plan(study={self.study.study!r}, {scenarios=}, {policies=}, seed={self.seed}, digest={self.digest[:16]!r})"

    @property
    def seed(self) -> int:
        """The study's seed."""
        return self.study.seed

    @property
    def gates(self) -> tuple[GateEntry, ...]:
        """The study's gates."""
        return self.study.gates

    @property
    def canonical(self) -> str:
        """Return the plan as canonical JSON: sorted keys, no white space."""
        held = {"plan": 1, "simlab": __version__, **self.documents}
        return json.dumps(held, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()


def load(path: str | Path | Document, *, overrides: Iterable[str] = ()) -> Plan:
    """Return the plan of a study file, or of a ``plan.json`` that a run has written.

    Parameters
    ----------
    path : str, Path or Document
        A file, the name of a shipped study such as ``studies/checkout-canary``, or either as it has been read.
    overrides : iterable of str
        ``path=value`` each; a path that begins with ``scenarios.NAME.`` changes that scenario.

    Raises
    ------
    FileErrors
        With every mistake of every file.
    """
    document = path if isinstance(path, Document) else read_document(shipped_path(path))
    if "plan" in document.data:
        study_document, scenarios = _from_plan(document)
    else:
        study_document, scenarios = document, None
    of_study, of_scenarios = _sorted_overrides(overrides)
    for override in of_study:
        study_document = study_document.with_override(override)
    study = read_study(study_document)
    documents = _scenario_documents(study, study_document) if scenarios is None else scenarios
    return _plan(study, study_document, _overridden(documents, of_scenarios))


def replanned(plan: Plan, study: Mapping[str, object] | Document) -> Plan:
    """Return a plan of the same scenarios with another study.

    Parameters
    ----------
    plan : Plan
        Whose scenarios are taken.
    study : mapping or Document
        What a study's file would hold.

    Raises
    ------
    FileErrors
        With every mistake of the study.
    """
    document = study if isinstance(study, Document) else document_of(study)
    held = plan.documents["scenarios"]
    scenarios = [Document(document.file, document.path, each) for each in held] if isinstance(held, list) else []
    return _plan(read_study(document), document, scenarios)


def document_of(study: Mapping[str, object]) -> Document:
    """Return a study as a document that knows no places in a file."""
    name = str(study.get("study", ""))
    return Document(name, Path(name), dict(study))


def _from_plan(document: Document) -> tuple[Document, list[Document]]:
    """Return the study and the scenarios that a written plan holds."""
    data = document.data
    study, scenarios = data.get("study"), data.get("scenarios")
    if not isinstance(study, dict) or not isinstance(scenarios, list):
        mistake = document.mistake((), "plan", "is not a plan that a run has written")
        raise FileErrors([(document.file, mistake)])
    return replace(document, data=study, positions={}), [replace(document, data=each, positions={}) for each in scenarios]


def _scenario_documents(study: Study, document: Document) -> list[Document]:
    """Return the documents of a study's scenarios, none of them outside the parent of the study's folder."""
    tree = document.path.parent.parent
    found, errors = [], []
    for index, name in enumerate(study.scenarios):
        path = (document.path.parent / name).resolve()
        place = ("scenarios", index)
        if not path.is_relative_to(tree):
            problem = f"{name!r} is outside the study's tree, the parent of its folder"
            errors.append((document.file, document.mistake(place, "outside", problem)))
        elif not path.exists():
            errors.append((document.file, document.mistake(place, "not-found", f"there is no file {name!r}")))
        else:
            try:
                found.append(replace(read_document(path), file=str(Path(document.file).parent / name)))
            except FileErrors as error:
                errors.extend(error.found)
    if errors:
        raise FileErrors(errors)
    return found


def _sorted_overrides(overrides: Iterable[str]) -> tuple[list[str], list[str]]:
    of_study: list[str] = []
    of_scenarios: list[str] = []
    for override in overrides:
        (of_scenarios if override.startswith("scenarios.") else of_study).append(override.removeprefix("scenarios."))
    return of_study, of_scenarios


def _overridden(documents: list[Document], overrides: list[str]) -> list[Document]:
    """Return the scenario documents with ``NAME.path=value`` applied to the scenario NAME, or to all of them for ``*``."""
    names = [str(document.data.get("scenario")) for document in documents]
    for override in overrides:
        name, _, rest = override.partition(".")
        if name != "*" and name not in names:
            mistake = documents[0].mistake((), "unknown-scenario", f"there is no scenario {name!r}; there is: {', '.join(names)}")
            raise FileErrors([("--set", replace(mistake, line=0, column=0, source=""))])
        documents = [
            document.with_override(rest) if name in {"*", own} else document
            for own, document in zip(names, documents, strict=True)
        ]
    return documents


def _plan(study: Study, document: Document, documents: list[Document]) -> Plan:
    errors: list[tuple[str, Mistake]] = []
    scenarios: list[Scenario] = []
    for each in documents:
        try:
            scenarios.append(read_scenario(each))
            for found in (_empty_cells(scenarios[-1], each), _too_much(scenarios[-1], each), _over_one(scenarios[-1], each)):
                errors.extend((each.file, mistake) for mistake in found)
        except FileErrors as error:
            errors.extend(error.found)
    for scenario in scenarios:
        segments = len(scenario.users.segments)
        watched = Watchable(f"scenario {scenario.scenario}", scenario.metrics, scenario.tick, scenario.horizon, segments)
        found = check_policies(study.policies, document, watched=watched)
        errors.extend((document.file, mistake) for mistake in found)
        for found in (_gate_mistakes(study, scenario, document), _unit_mistakes(study, scenario, document)):
            errors.extend((document.file, mistake) for mistake in found)
    names = [scenario.scenario for scenario in scenarios]
    for index, name in enumerate(names):
        if name in names[:index]:
            mistake = document.mistake(("scenarios", index), "name", f"two scenarios are called {name!r}")
            errors.append((document.file, mistake))
    if errors:
        raise FileErrors(dict.fromkeys(errors))
    settings = tuple(_setting(study, scenario) for scenario in scenarios)
    held = {"study": document.data, "scenarios": [each.data for each in documents], **own_rules(study.policies)}
    return Plan(study, settings, held)


def _empty_cells(scenario: Scenario, document: Document) -> Iterator[Mistake]:
    """Yield a mistake if a stratum of a segment would have no user: its traffic would come from nobody."""
    widths = strata_of(scenario.rollout).widths
    smallest = min(share for share in scenario.users.shares.values() if share > 0) * widths.min()
    if scenario.users.count * smallest < 1:
        problem = f"leaves a part of {100 * smallest:.3g} % of all users, which the ramp moves as one, without a user"
        yield document.mistake(("users", "count"), "users", problem, f"write at least {math.ceil(1 / smallest)}")


def _too_much(scenario: Scenario, document: Document) -> Iterator[Mistake]:
    """Yield a mistake if a tick has more requests than can be drawn."""
    largest = float(rates_of(scenario).requests.sum(axis=0).max())
    if largest > MOST_REQUESTS:
        problem = f"makes {largest:.3g} requests a tick at the height of traffic; at most {MOST_REQUESTS:.3g} can be drawn"
        yield document.mistake(("traffic", "requests"), "bound", problem)


def _over_one(scenario: Scenario, document: Document) -> Iterator[Mistake]:
    """Yield a mistake for each harm that, with the drift of its metric, would make a probability more than 1."""
    factors = rates_of(scenario).factors
    for index, harm in enumerate(scenario.harms):
        metric = scenario.metrics[harm.metric]
        if isinstance(metric, Proportion):
            reached = metric.normal * float(factors[harm.metric].max())
            harmed = reached * (harm.times or 1.0) + (harm.add.value if harm.add else 0.0)
            if harmed > 1 and metric.worse == "up":
                key = "add" if harm.add else "times"
                problem = f"makes the probability {harmed:.6g} at the height of the drift, over 1"
                yield document.mistake(("harms", index, key), "probability", problem)


def _no_covariate(scenario: Scenario, document: Document, path: Place) -> Iterator[Mistake]:
    """Yield what a scenario lacks for users to be known from before."""
    if not scenario.rollout.begins:
        problem = f"scenario {scenario.scenario} begins its rollout at once: there is no time before it"
        yield document.mistake(path, "signal", problem, "write rollout.begins there")
    if scenario.users.stay is not None:
        yield document.mistake(path, "signal", f"users of scenario {scenario.scenario} do not stay: who they were says nothing")


def _unbounded(
    entry: GuardrailEntry, watched: list[Metric], scenario: Scenario, document: Document, path: Place
) -> Iterator[Mistake]:
    """Yield a mistake where noise of a shield would have to cover a sum to which one record can add any amount."""
    shield = scenario.telemetry.shield
    if shield is None or shield.epsilon is None or entry.chosen is None or entry.chosen.takes is Takes.NOTHING:
        return
    problem = f"scenario {scenario.scenario} shields with epsilon, which has no bound on"
    if entry.unit == "user":
        yield document.mistake((*path, "unit"), "shield", f"{problem} what one user adds", "leave epsilon out, keep min_cell")
    elif entry.quantile is None and (unbounded := [each.kind for each in watched if not isinstance(each, Proportion)]):
        hint = "watch a quantile, whose buckets are counts" if unbounded[0] == "duration" else "watch a proportion"
        yield document.mistake((*path, "watch"), "shield", f"{problem} the sum of a {unbounded[0]}", hint)


def _unit_mistakes(study: Study, scenario: Scenario, document: Document) -> Iterator[Mistake]:
    """Yield a mistake for each signal that needs what the scenario's users or metric cannot give."""
    for index, policy in enumerate(study.policies):
        for number, entry in enumerate(policy.guardrails):
            path = ("policies", index, "guardrails", number)
            asked = [("unit", entry.unit == "user"), ("quantile", entry.quantile is not None)]
            for key in (key for key, given in asked if given):
                if scenario.users.detail == "aggregate":
                    problem = f"scenario {scenario.scenario} has no users one by one"
                    yield document.mistake((*path, key), "detail", problem, "write users.detail: individual there")
            if entry.covariate is not None:
                yield from _no_covariate(scenario, document, (*path, "covariate"))
            watched = [scenario.metrics[name] for name in entry.metrics if name in scenario.metrics]
            others = [metric.kind for metric in watched if not isinstance(metric, DurationMetric)]
            yield from _unbounded(entry, watched, scenario, document, path)
            if entry.quantile is not None and others:
                yield document.mistake((*path, "quantile"), "signal", f"is taken of durations only, not of a {others[0]}")


def _gate_mistakes(study: Study, scenario: Scenario, document: Document) -> Iterator[Mistake]:
    for index, gate in enumerate(study.gates):
        place = ("gates", index, "within")
        if gate.within is not None and gate.within >= scenario.horizon:
            yield document.mistake(place, "time", f"is after the horizon of scenario {scenario.scenario}")
        elif gate.within is not None and gate.within % scenario.tick:
            problem = f"must be a whole number of ticks of scenario {scenario.scenario}, {format_duration(scenario.tick)} each"
            yield document.mistake(place, "time", problem)


def _setting(study: Study, scenario: Scenario) -> ScenarioSetting:
    segments = len(scenario.users.segments)
    built = build_policies(study.policies, worse=metrics_of(scenario), tick=scenario.tick, segments=segments)
    return ScenarioSetting(scenario, (*built, BASELINE))
