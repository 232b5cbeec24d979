"""Tuning: for each policy the laxest thresholds that keep a false-alarm budget, and with them the least harm.

Three sets of lanes that share none. On A settings are chosen and, where guardrails share the budget, in which proportion. On B
the thresholds are calibrated, with a stated confidence whose error is split over the scenarios. On C, which are the study's own
lanes, today's settings and the new ones are run as `simlab run` would run them: what is printed is what the changed study prints.

Ladders give the false alarms of all thresholds from one run. Harm is not read off from them: it is run at each threshold shown.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simlab.calibration import calibrate
from simlab.documents import Document
from simlab.errors import SimlabError
from simlab.guardrails.look import Floats
from simlab.guardrails.policy import Policy
from simlab.ladders import QuietRun, first_actions, quiet_plan, quiet_runs, why_rerun
from simlab.measures.estimates import Estimate, proportion
from simlab.measures.outcomes import gather
from simlab.placing import settings_at
from simlab.plan import Plan, replanned
from simlab.results import Result
from simlab.runner import run_lanes, run_plan
from simlab.tuned import DEFAULTS, Change, FrontierPoint, Prices, TunedPolicy, TuneOptions, TuneResult, Values, today_of
from simlab.yaml_nodes import DataPath
from simlab.yaml_text import read_yaml

LANES_A, LANES_B = 1 << 40, 1 << 41
"""First lanes of the sets A and B; the study's own begin at 0 and never come so far."""
_FRONTIER = (0.125, 0.25, 0.5, 2.0, 4.0)
"""Budgets of the frontier, as multiples of the one asked for."""


class _Candidate(NamedTuple):
    """A policy of the study with settings to be compared.

    Attributes
    ----------
    values : dict of path to float or str
        What was tried.
    entry : dict
        The policy as a file holds it.
    """

    values: dict[DataPath, float | str]
    entry: dict[str, Any]


class _Acting(NamedTuple):
    """What an entry comes to on lanes A, one number a scenario: mean users harmed, and the share of twins with an alarm."""

    users_harmed: list[float]
    false_alarms: list[float]


class _Line(NamedTuple):
    """The thresholds of a policy's acting guardrails move together: start + t * (end - start), each of float64[guardrails]."""

    acting: list[int]
    start: Floats
    end: Floats

    def at(self, t: float, policy: Policy) -> Floats:
        """Return every guardrail's threshold; a hold keeps its own."""
        found = np.array([guardrail.threshold for guardrail in policy.guardrails])
        found[self.acting] = self.start + t * (self.end - self.start)
        return found

    def needed(self, run: QuietRun) -> Floats:
        """Return up to which t each twin alarms, float64[lanes]."""
        maxima = np.array([_maxima(run, index) for index in self.acting])
        return np.asarray(((maxima - self.start[:, None]) / (self.end - self.start)[:, None]).max(axis=0))


def tune_plan(plan: Plan, options: TuneOptions = DEFAULTS, *, command: str | None = None) -> TuneResult:
    """Tune a study's policies.

    Raises
    ------
    SimlabError
        If there is no budget, or a name or setting to try is not in the study.
    RuleError
        If a rule fails.
    """
    _check(plan, options)
    budget = _budget(plan, options)
    lanes = options.lanes or plan.study.lanes.start
    study = copy.deepcopy(_study(plan))
    found: list[TunedPolicy] = []
    frontier: dict[str, tuple[int, dict[str, Any]]] = {}
    for index, entry in enumerate(plan.study.policies):
        if entry.name not in (options.policies or [each.name for each in plan.study.policies if not each.reference]):
            continue
        tuned, others = _Tuning(plan, options, budget, lanes).policy(index)
        found.append(tuned)
        for change in tuned.changes:
            _put(study, change.path, change.new)
        if not tuned.reason:
            frontier |= {f"f{index}-{number}": (index, other) for number, other in enumerate(others)}
    result = run_plan(replanned(plan, _with_today(study, plan, found)), options.run, command=command)
    points = _frontier_points(plan, options, result, [each.policy for each in found if not each.reason], frontier)
    return TuneResult(budget, options.confidence, lanes, tuple(found), points, result)


class _Tuning:
    """How one policy is tuned."""

    def __init__(self, plan: Plan, options: TuneOptions, budget: float, lanes: int) -> None:
        self.plan = plan
        self.options = options
        self.budget = budget
        self.lanes = lanes
        # Independent lanes in each scenario, one error for all of them together.
        self.error = (1 - options.confidence) / len(plan.settings)

    def policy(self, index: int) -> tuple[TunedPolicy, list[dict[str, Any]]]:
        """Return what was found for a policy, and its entries at the other thresholds of the frontier."""
        entry = self.plan.study.policies[index]
        policy = self.plan.settings[0].policies[index]
        reason = "its shared budget sets its thresholds" if entry.budget is not None else why_rerun(policy)
        for guardrail in policy.guardrails:
            if not reason and guardrail.respond != "hold" and settings_at(guardrail.rule, guardrail.threshold) is None:
                reason = f"{guardrail.rule.key} has no setting that moves its threshold alone"
        if reason:
            return TunedPolicy(entry.name, reason), []
        candidates = _candidates(self.plan, index, self.options.tries)
        runs = self._quiet([each.entry for each in candidates], LANES_A)
        lines = [self._line([scenario[number] for scenario in runs]) for number in range(len(candidates))]
        best = self._best(candidates, runs, lines)
        line, chosen = lines[best], candidates[best]
        if line is None:
            return TunedPolicy(entry.name, "too few lanes reach anything for a threshold to be placed"), []
        others = [self._placed_at(chosen, [scenario[best] for scenario in runs], line, self.budget * at) for at in _FRONTIER]
        budget = self.budget
        if self.options.prices is not None:
            budget = self._cheapest(chosen, [scenario[best] for scenario in runs], line, self.options.prices)
        [fresh] = zip(*self._quiet([chosen.entry], LANES_B), strict=True)
        found = [calibrate(line.needed(run), budget=budget, error=self.error) for run in fresh]
        t = max(each.threshold for each in found)
        settings = _settings(fresh[0].policy, line.at(t, fresh[0].policy)) if np.isfinite(t) else None
        if settings is None:
            why = "not attainable: no setting keeps the budget" if np.isfinite(t) else f"{self.lanes} lanes cannot vouch for it"
            return TunedPolicy(entry.name, why), []
        values = {**chosen.values, **{("policies", index, *path): value for path, value in settings.items()}}
        study = _study(self.plan)
        changes = tuple(Change(path, _get(study, path), value) for path, value in values.items() if _get(study, path) != value)
        rates = self._vouched(fresh, chosen, settings)
        found_others = [each for each in others if each is not None]
        return TunedPolicy(entry.name, "", changes, len(candidates), rates, budget), found_others

    def _quiet(self, entries: Sequence[dict[str, Any]], first: int) -> list[tuple[QuietRun, ...]]:
        """Return, scenario by scenario, what policies leave that do not act."""
        plan = self._plan_of(entries)
        blocks = run_lanes(quiet_plan(plan), self.options.run, first=first, count=self.lanes)
        return [quiet_runs(setting.policies, found) for setting, found in zip(plan.settings, blocks, strict=True)]

    def _plan_of(self, entries: Sequence[dict[str, Any]]) -> Plan:
        named = [{**entry, "name": f"c{number}", "reference": False} for number, entry in enumerate(entries)]
        return replanned(self.plan, {**_study(self.plan), "policies": named})

    def _line(self, runs: Sequence[QuietRun]) -> _Line | None:
        """Return how a candidate's thresholds move: from the median of each guardrail's maxima to its part of the budget."""
        policy = runs[0].policy
        acting = [index for index, guardrail in enumerate(policy.guardrails) if guardrail.respond != "hold"]
        if len(acting) == 1:
            return _Line(acting, np.zeros(1), np.ones(1))
        maxima = [[_maxima(run, index) for run in runs] for index in acting]
        start = np.array([max(float(np.median(each)) for each in scenarios) for scenarios in maxima])
        part = 1 - self.budget / len(acting)
        end = np.array([max(float(np.quantile(each, part, method="higher")) for each in scenarios) for scenarios in maxima])
        usable = np.isfinite(start) & np.isfinite(end) & (end > start)
        return _Line(acting, start, end) if usable.all() else None

    def _best(self, candidates: Sequence[_Candidate], runs: list[tuple[QuietRun, ...]], lines: Sequence[_Line | None]) -> int:
        """Return the candidate with the least harm, in its worst scenario or on average, each at the budget, all on lanes A."""
        if len(candidates) == 1:
            return 0
        entries: dict[int, dict[str, Any]] = {}
        for number, (candidate, line) in enumerate(zip(candidates, lines, strict=True)):
            if line is not None:
                entry = self._placed_at(candidate, [scenario[number] for scenario in runs], line, self.budget)
                entries |= {} if entry is None else {number: entry}
        if not entries:
            return 0
        harm = [self._together(each.users_harmed) for each in self._acting(list(entries.values()))]
        return list(entries)[int(np.argmin(harm))]

    def _cheapest(self, chosen: _Candidate, runs: Sequence[QuietRun], line: _Line, prices: Prices) -> float:
        """Return the budget with the least expected cost on lanes A."""
        placed = {at: self._placed_at(chosen, runs, line, self.budget * at) for at in sorted({1.0, *_FRONTIER})}
        entries = {at: entry for at, entry in placed.items() if entry is not None}
        if not entries:
            return self.budget
        acting = self._acting(list(entries.values()))
        costs = [prices.cost(self._together(each.users_harmed), max(each.false_alarms)) for each in acting]
        return self.budget * list(entries)[int(np.argmin(costs))]

    def _together(self, harm: Sequence[float]) -> float:
        """Return the harm of all scenarios as one number: their mean by how likely each is, or the worst."""
        if not self.options.likely:
            return max(harm)
        weights = [self.options.likely.get(setting.name, 0.0) for setting in self.plan.settings]
        return float(np.average(harm, weights=weights))

    def _acting(self, entries: Sequence[dict[str, Any]]) -> list[_Acting]:
        """Run entries on lanes A."""
        blocks = run_lanes(self._plan_of(entries), self.options.run, first=LANES_A, count=self.lanes)
        rows = [gather(each) for each in blocks]
        found = []
        for place in range(len(entries)):
            mine = [each["policy"] == f"c{place}" for each in rows]
            harmed = [float(each["users_harmed"][own & each["harmed"]].mean()) for each, own in zip(rows, mine, strict=True)]
            alarms = [
                float((each["action_time"][own & ~each["harmed"]] >= 0).mean()) for each, own in zip(rows, mine, strict=True)
            ]
            found.append(_Acting(harmed, alarms))
        return found

    def _placed_at(self, candidate: _Candidate, runs: Sequence[QuietRun], line: _Line, budget: float) -> dict[str, Any] | None:
        """Return a candidate's entry at the thresholds that use a budget up on lanes A; None if no setting does."""
        if budget >= 1:
            return None
        share = [np.sort(line.needed(run))[::-1] for run in runs]
        t = max(float(np.nextafter(each[int(budget * len(each))], np.inf)) for each in share)
        settings = _settings(runs[0].policy, line.at(t, runs[0].policy))
        return None if settings is None else _changed_entry(candidate.entry, settings)

    def _vouched(self, runs: Sequence[QuietRun], chosen: _Candidate, settings: Values) -> dict[str, Estimate]:
        """Return the false alarms on lanes B at the settings as they are written, with the bound that was asked for."""
        policies = self._plan_of([_changed_entry(chosen.entry, settings)]).settings
        found = {}
        for setting, run in zip(policies, runs, strict=True):
            thresholds = np.array([[guardrail.threshold for guardrail in setting.policies[0].guardrails]])
            acted = int((first_actions(run.policy, run.twin, thresholds).action_time[0] >= 0).sum())
            bound = proportion(acted, self.lanes, confidence=1 - 2 * self.error)
            found[setting.name] = replace(bound, low=0.0, confidence=1 - self.error, method="Clopper-Pearson, one-sided")
        return found


def _maxima(run: QuietRun, index: int) -> Floats:
    ladder = run.twin[index]
    if ladder is None:
        raise ValueError("a hold has no ladder")
    return ladder.maxima


def _settings(policy: Policy, thresholds: Floats) -> dict[DataPath, float] | None:
    """Return the settings by their place in the policy's entry; None if a guardrail has none for its threshold."""
    found: dict[DataPath, float] = {}
    for index, (guardrail, threshold) in enumerate(zip(policy.guardrails, thresholds, strict=True)):
        if guardrail.respond == "hold":
            continue
        settings = settings_at(guardrail.rule, float(threshold))
        if settings is None:
            return None
        place = ("guardrails", index, "rule", guardrail.rule.key)
        found |= {(*place, name.rstrip("_")): value for name, value in settings.items()}
    return found


def _check(plan: Plan, options: TuneOptions) -> None:
    """Raise unless what is likely are scenarios of the plan, and prices are no less than nothing."""
    unknown = sorted(set(options.likely) - {setting.name for setting in plan.settings})
    if unknown:
        raise SimlabError(f"the study has no scenario {unknown[0]!r}")
    if options.likely and not (min(options.likely.values()) >= 0 and sum(options.likely.values()) > 0):
        raise SimlabError("how likely scenarios are cannot be below 0, nor all of it 0")
    prices = options.prices
    if prices is not None and not (prices.user >= 0 and prices.false_stop >= 0 and 0 < prices.harmful < 1):
        raise SimlabError("prices cannot be below 0, and the harmful share of rollouts is between 0 and 1")


def _budget(plan: Plan, options: TuneOptions) -> float:
    if options.budget is not None:
        return options.budget
    limits = [gate.false_alarms.max for gate in plan.gates if gate.false_alarms is not None]
    if not limits:
        raise SimlabError("the study has no gate on false alarms; give --budget")
    return min(limits)


def _candidates(plan: Plan, index: int, tries: Iterable[str]) -> list[_Candidate]:
    """Return a policy with every combination of the settings to try."""
    study = _study(plan)
    entry = study["policies"][index]
    document = Document(str(study["study"]), Path(str(study["study"])), dict(study))
    choices = []
    for each in tries:
        path, _, text = each.partition("=")
        values = read_yaml(text).data
        if not isinstance(values, list) or not values:
            raise SimlabError(f"{each!r} is not path=[value, ...]")
        options = [document.with_override(f"{path}={json.dumps(value)}") for value in values]
        place = next(iter(options[0].overrides))
        if place[0] != "policies":
            raise SimlabError(f"{each!r} is not a setting of a policy")
        if place[1] == index:
            choices.append([(place, value) for value in values])
    found = []
    for combination in product(*choices):
        held = {"policies": {index: copy.deepcopy(entry)}}
        for place, value in combination:
            _put(held, place, value)
        found.append(_Candidate(dict(combination), held["policies"][index]))
    return found


def _with_today(study: dict[str, Any], plan: Plan, found: Sequence[TunedPolicy]) -> dict[str, Any]:
    """Return the study with today's settings of each changed policy beside the new ones, for reference."""
    changed = {each.policy for each in found if each.changes}
    before = [entry for entry in _study(plan)["policies"] if entry["name"] in changed]
    today = [{**copy.deepcopy(entry), "name": today_of(entry["name"]), "reference": True} for entry in before]
    return {**study, "policies": [*study["policies"], *today]}


def _frontier_points(
    plan: Plan, options: TuneOptions, result: Result, tuned: Sequence[str], others: Mapping[str, tuple[int, dict[str, Any]]]
) -> tuple[FrontierPoint, ...]:
    """Return today's setting, the chosen one and the others in each scenario; the others on the study's first lanes."""
    kinds = {name: (name, "chosen") for name in tuned} | {today_of(name): (name, "today") for name in tuned}
    results = [result]
    if others:
        names = plan.study.policies
        kinds |= {key: (names[index].name, "other") for key, (index, _) in others.items()}
        entries = [{**entry, "name": key, "reference": False} for key, (_, entry) in others.items()]
        count = plan.study.lanes.start
        study = {**_study(plan), "policies": entries, "gates": [], "lanes": {"start": count, "cap": count}}
        results.append(run_plan(replanned(plan, study), replace(options.run, kept=None)))
    return tuple(
        FrontierPoint(
            each.scenario,
            *kinds[each.policy],
            each.estimates["false_alarms"],
            each.estimates["users_harmed_of_all_lanes"],
        )
        for found in results
        for scenario in found.scenarios
        for each in scenario.performances
        if each.policy in kinds and "users_harmed_of_all_lanes" in each.estimates
    )


def _study(plan: Plan) -> Any:
    return plan.documents["study"]


def _changed_entry(entry: dict[str, Any], settings: Mapping[DataPath, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(entry)
    for path, value in settings.items():
        _put(changed, path, value)
    return changed


def _get(data: Any, path: DataPath) -> Any:
    for part in path:
        if data is None or (isinstance(data, dict) and part not in data):
            return None
        data = data[part]
    return data


def _put(data: Any, path: DataPath, value: Any) -> None:
    """Put a value in place; a rule that says nothing of its settings gets a mapping for them."""
    for part in path[:-1]:
        if isinstance(data, dict) and data.get(part) is None:
            data[part] = {}
        data = data[part]
    data[path[-1]] = value
