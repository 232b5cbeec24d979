"""Tuning: for each policy the laxest thresholds that keep a false-alarm budget, and with them the least harm.

Three sets of lanes that share none. On A settings are chosen and, where guardrails share the budget, in which proportion. On B
the thresholds are calibrated, with a stated confidence whose error is split over the scenarios. On C, which are the study's own
lanes, today's settings and the new ones are run as `simlab run` would run them: what is printed is what the changed study prints.

Ladders give the false alarms of all thresholds from one run. Harm is not read off from them: it is run at each threshold shown.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from simlab.calibration import allowed_alarms, calibrate, just_above, lanes_needed
from simlab.candidates import Candidate, candidates, get, put, study_of, why_not_tuned, with_settings
from simlab.errors import SimlabError
from simlab.guardrails.look import Floats
from simlab.guardrails.policy import Policy
from simlab.ladders import QuietRun, first_actions, quiet_plan, quiet_runs
from simlab.measures.estimates import Estimate, mean, proportion
from simlab.measures.outcomes import gather
from simlab.placing import settings_at
from simlab.plan import Plan, replanned
from simlab.results import Result
from simlab.runner import run_lanes, run_plan
from simlab.settings import file_name
from simlab.ticks import format_count
from simlab.tuned import DEFAULTS, Change, FrontierPoint, PricedBudget, Prices, TunedPolicy, TuneOptions, TuneResult, Values
from simlab.yaml_nodes import DataPath

LANES_A, LANES_B = 1 << 40, 1 << 41
"""First lanes of the sets A and B; the study's own begin at 0 and never come so far."""
_FRONTIER = (0.125, 0.25, 0.5, 2.0, 4.0)
"""Budgets of the frontier, as multiples of the one asked for."""


class _Acting(NamedTuple):
    """What an entry comes to on lanes A, by scenario, one number a lane: users harmed, and 1 where the twin has an alarm."""

    users_harmed: list[Floats]
    false_alarms: list[Floats]


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
    FileErrors
        If settings to try are mistakes.
    RuleError
        If a rule fails.
    """
    _check(plan, options)
    budget = _budget(plan, options)
    lanes = options.lanes or plan.study.lanes.start
    tuning = _Tuning(plan, options, budget, lanes)
    taken = {each.name for each in plan.study.policies}
    found: list[TunedPolicy] = []
    others: list[tuple[str, dict[str, Any]]] = []
    for index, choices in candidates(plan, _wanted(plan, options), options.tries).items():
        tuned, at_others = tuning.policy(index, choices)
        if tuned.changes:
            tuned = replace(tuned, today=_name_of_today(tuned.policy, taken))
            taken.add(tuned.today)
        found.append(tuned)
        others += [(tuned.policy, each) for each in at_others]
    result = run_plan(replanned(plan, _with_today(plan, found)), options.run, command=command)
    kinds = {each.policy: (each.policy, "chosen") for each in found if not each.reason}
    points = _points(result, kinds | {each.today: (each.policy, "today") for each in found if each.today})
    if others:
        points += _points_at_others(plan, options, others)
    return TuneResult(budget, options.confidence, lanes, tuple(found), tuple(points), result)


def changeable(plan: Plan, options: TuneOptions = DEFAULTS) -> Values:
    """Return what tuning may change in the study's file, with values that might stand there; nothing is run.

    Raises
    ------
    SimlabError, FileErrors
        As `tune_plan`.
    """
    _check(plan, options)
    found: dict[DataPath, Any] = {}
    for index, choices in candidates(plan, _wanted(plan, options), options.tries).items():
        policy = plan.settings[0].policies[index]
        if not why_not_tuned(plan, index):
            today = np.array([guardrail.threshold for guardrail in policy.guardrails])
            placed = _settings(policy, today, choices[-1].entry) or {}
            found |= {**choices[-1].values, **{("policies", index, *path): value for path, value in placed.items()}}
    return found


def _wanted(plan: Plan, options: TuneOptions) -> list[int]:
    """Return which policies are to be tuned."""
    wanted = options.policies or [each.name for each in plan.study.policies if not each.reference]
    return [index for index, each in enumerate(plan.study.policies) if each.name in wanted]


class _Tuning:
    """How one policy is tuned."""

    def __init__(self, plan: Plan, options: TuneOptions, budget: float, lanes: int) -> None:
        self.plan = plan
        self.options = options
        self.budget = budget
        self.lanes = lanes
        # Independent lanes in each scenario, one error for all of them together.
        self.error = (1 - options.confidence) / len(plan.settings)

    def policy(self, index: int, choices: Sequence[Candidate]) -> tuple[TunedPolicy, list[dict[str, Any]]]:
        """Return what was found for a policy, and its entries at the other thresholds of the frontier."""
        entry = self.plan.study.policies[index]
        reason = why_not_tuned(self.plan, index)
        if not reason and not self._budgets():
            needed = format_count(lanes_needed(budget=self.budget, error=self.error), "lane")
            reason = f"{format_count(self.lanes, 'lane')} cannot vouch for it, and {needed} could"
        if reason:
            return TunedPolicy(entry.name, reason), []
        runs = self._quiet([each.entry for each in choices], LANES_A)
        lines = [self._line([scenario[number] for scenario in runs]) for number in range(len(choices))]
        best = self._best(choices, runs, lines)
        line, chosen = lines[best], choices[best]
        if line is None:
            return TunedPolicy(entry.name, "too few lanes reach anything for a threshold to be placed"), []
        mine = [scenario[best] for scenario in runs]
        others = [self._placed_at(chosen, mine, line, self.budget * at) for at in _FRONTIER]
        priced = () if self.options.prices is None else self._priced(chosen, mine, line, self.options.prices)
        budget = min(priced, key=lambda each: each.cost.value).budget if priced else self.budget
        [fresh] = zip(*self._quiet([chosen.entry], LANES_B), strict=True)
        found = [calibrate(line.needed(run), budget=budget, error=self.error) for run in fresh]
        t = max(each.threshold for each in found)
        settings = _settings(fresh[0].policy, line.at(t, fresh[0].policy), chosen.entry)
        if settings is None and t == -np.inf:
            why = f"whatever its threshold, it alarms in at most {found[0].allowed} of {self.lanes:,} harmless lanes"
            return TunedPolicy(entry.name, why), []
        if settings is None:
            return TunedPolicy(entry.name, "not attainable: no setting keeps the budget"), []
        values = {**chosen.values, **{("policies", index, *path): value for path, value in settings.items()}}
        study = study_of(self.plan)
        changes = tuple(Change(path, get(study, path), value) for path, value in values.items() if get(study, path) != value)
        rates = self._vouched(fresh, chosen, settings)
        found_others = [each for each in others if each is not None]
        return TunedPolicy(entry.name, "", changes, len(choices), rates, budget, priced), found_others

    def _budgets(self) -> list[float]:
        """Return the budgets that may be kept and that lanes B can vouch for: the one asked for, or all to be priced."""
        multiples = [1.0] if self.options.prices is None else sorted({1.0, *_FRONTIER})
        budgets = [self.budget * at for at in multiples]
        return [each for each in budgets if each < 1 and allowed_alarms(self.lanes, budget=each, error=self.error) >= 0]

    def _quiet(self, entries: Sequence[dict[str, Any]], first: int) -> list[tuple[QuietRun, ...]]:
        """Return, scenario by scenario, what policies leave that do not act."""
        plan = self._plan_of(entries)
        blocks = run_lanes(quiet_plan(plan), self.options.run, first=first, count=self.lanes)
        return [quiet_runs(setting.policies, found) for setting, found in zip(plan.settings, blocks, strict=True)]

    def _plan_of(self, entries: Sequence[dict[str, Any]]) -> Plan:
        named = [{**entry, "name": f"c{number}", "reference": False} for number, entry in enumerate(entries)]
        return replanned(self.plan, {**study_of(self.plan), "policies": named})

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

    def _best(self, choices: Sequence[Candidate], runs: list[tuple[QuietRun, ...]], lines: Sequence[_Line | None]) -> int:
        """Return the candidate with the least harm, in its worst scenario or on average, each at the budget, all on lanes A."""
        if len(choices) == 1:
            return 0
        entries: dict[int, dict[str, Any]] = {}
        for number, (candidate, line) in enumerate(zip(choices, lines, strict=True)):
            if line is not None:
                entry = self._placed_at(candidate, [scenario[number] for scenario in runs], line, self.budget)
                entries |= {} if entry is None else {number: entry}
        if not entries:
            return 0
        harm = [self._together(each.users_harmed).mean() for each in self._acting(list(entries.values()))]
        return list(entries)[int(np.argmin(harm))]

    def _priced(self, chosen: Candidate, runs: Sequence[QuietRun], line: _Line, prices: Prices) -> tuple[PricedBudget, ...]:
        """Return what budgets cost on lanes A; those that no setting keeps are left out."""
        placed = {budget: self._placed_at(chosen, runs, line, budget) for budget in self._budgets()}
        entries = {budget: entry for budget, entry in placed.items() if entry is not None}
        acting = self._acting(list(entries.values())) if entries else []
        costs = [prices.cost(self._together(each.users_harmed), _worst(each.false_alarms)) for each in acting]
        return tuple(PricedBudget(budget, mean(cost, unit="cost")) for budget, cost in zip(entries, costs, strict=True))

    def _together(self, harm: Sequence[Floats]) -> Floats:
        """Return the harm of all scenarios as one number a lane: their mean by how likely each is, or that of the worst."""
        if not self.options.likely:
            return _worst(harm)
        weights = [self.options.likely.get(setting.name, 0.0) for setting in self.plan.settings]
        return np.asarray(np.average(harm, axis=0, weights=weights))

    def _acting(self, entries: Sequence[dict[str, Any]]) -> list[_Acting]:
        """Run entries on lanes A."""
        blocks = run_lanes(self._plan_of(entries), self.options.run, first=LANES_A, count=self.lanes)
        rows = [gather(each) for each in blocks]
        found = []
        for place in range(len(entries)):
            mine = [each["policy"] == f"c{place}" for each in rows]
            harmed = [each["users_harmed"][own & each["harmed"]].astype(float) for each, own in zip(rows, mine, strict=True)]
            acted = [each["action_time"][own & ~each["harmed"]] >= 0 for each, own in zip(rows, mine, strict=True)]
            found.append(_Acting(harmed, [each.astype(float) for each in acted]))
        return found

    def _placed_at(self, candidate: Candidate, runs: Sequence[QuietRun], line: _Line, budget: float) -> dict[str, Any] | None:
        """Return a candidate's entry at the thresholds that use a budget up on lanes A; None if no setting does."""
        if budget >= 1:
            return None
        share = [np.sort(line.needed(run))[::-1] for run in runs]
        t = max(just_above(each[int(budget * len(each))]) for each in share)
        settings = _settings(runs[0].policy, line.at(t, runs[0].policy), candidate.entry)
        return None if settings is None else with_settings(candidate.entry, settings)

    def _vouched(self, runs: Sequence[QuietRun], chosen: Candidate, settings: Values) -> dict[str, Estimate]:
        """Return the false alarms on lanes B at the settings as they are written, with the bound that was asked for."""
        policies = self._plan_of([with_settings(chosen.entry, settings)]).settings
        found = {}
        for setting, run in zip(policies, runs, strict=True):
            thresholds = np.array([[guardrail.threshold for guardrail in setting.policies[0].guardrails]])
            acted = int((first_actions(run.policy, run.twin, thresholds).action_time[0] >= 0).sum())
            bound = proportion(acted, self.lanes, confidence=1 - 2 * self.error)
            found[setting.name] = replace(bound, low=0.0, confidence=1 - self.error, method="Clopper-Pearson, one-sided")
        return found


def _worst(scenarios: Sequence[Floats]) -> Floats:
    """Return that of the scenarios with the largest mean."""
    return max(scenarios, key=lambda each: float(each.mean()))


def _maxima(run: QuietRun, index: int) -> Floats:
    ladder = run.twin[index]
    if ladder is None:
        raise ValueError("a hold has no ladder")
    return ladder.maxima


def _settings(policy: Policy, thresholds: Floats, entry: Mapping[str, Any]) -> Values | None:
    """Return the settings by their place in the policy's entry, written as they are there; None if a guardrail has none."""
    found: dict[DataPath, float | str] = {}
    for index, (guardrail, threshold) in enumerate(zip(policy.guardrails, thresholds, strict=True)):
        if guardrail.respond == "hold":
            continue
        settings = settings_at(guardrail.rule, float(threshold))
        if settings is None:
            return None
        for name, value in settings.items():
            path = ("guardrails", index, "rule", guardrail.rule.key, file_name(name))
            found[path] = _written_like(get(entry, path), value)
    return found


def _written_like(old: object, value: float) -> float | str:
    """Return a number, as a percentage if one stood there before."""
    is_percentage = isinstance(old, str) and old.endswith("%")
    return f"{Decimal(repr(value)).scaleb(2):f}%" if is_percentage else value


def _check(plan: Plan, options: TuneOptions) -> None:
    """Raise unless names are those of the plan, and weights and prices are numbers that mean something."""
    names = (("policy", options.policies, plan.study.policies), ("scenario", options.likely, plan.settings))
    for kind, given, known in names:
        unknown = sorted(set(given) - {each.name for each in known})
        if unknown:
            raise SimlabError(f"the study has no {kind} {unknown[0]!r}")
    weights = list(options.likely.values())
    if weights and not (np.isfinite(weights).all() and min(weights) >= 0 and sum(weights) > 0):
        raise SimlabError("how likely scenarios are cannot be below 0 or without bound, nor all of it 0")
    prices = options.prices
    if prices is None:
        return
    paid = (prices.user, prices.false_stop)
    if not (np.isfinite(paid).all() and min(paid) >= 0 and max(paid) > 0 and 0 < prices.harmful < 1):
        raise SimlabError(
            "prices cannot be below 0 or without bound, nor both 0, and the harmful share of rollouts is between 0 and 1"
        )


def _budget(plan: Plan, options: TuneOptions) -> float:
    if options.budget is not None:
        return options.budget
    limits = [gate.false_alarms.max for gate in plan.gates if gate.false_alarms is not None]
    if not limits:
        raise SimlabError("the study has no gate on false alarms; give --budget")
    return min(limits)


def _name_of_today(policy: str, taken: set[str]) -> str:
    """Return a name for a policy's settings of today that is not taken."""
    endings = ("-today" if number == 1 else f"-today-{number}" for number in count(1))
    return next(name for name in (policy[: 64 - len(ending)] + ending for ending in endings) if name not in taken)


def _with_today(plan: Plan, found: Sequence[TunedPolicy]) -> dict[str, Any]:
    """Return the study as it will be, and beside it today's settings of each changed policy, for reference."""
    study: dict[str, Any] = copy.deepcopy(study_of(plan))
    before = {entry["name"]: entry for entry in study_of(plan)["policies"]}
    for each in found:
        for change in each.changes:
            put(study, change.path, change.new)
    today = [{**copy.deepcopy(before[each.policy]), "name": each.today, "reference": True} for each in found if each.today]
    return {**study, "policies": [*study["policies"], *today]}


def _points_at_others(plan: Plan, options: TuneOptions, others: Sequence[tuple[str, dict[str, Any]]]) -> list[FrontierPoint]:
    """Return points at the other thresholds, on the study's first lanes."""
    kinds = {f"f{number}": (policy, "other") for number, (policy, _) in enumerate(others)}
    entries = [{**entry, "name": f"f{number}", "reference": False} for number, (_, entry) in enumerate(others)]
    lanes = plan.study.lanes.start
    study = {**study_of(plan), "policies": entries, "gates": [], "lanes": {"start": lanes, "cap": lanes}}
    return _points(run_plan(replanned(plan, study), replace(options.run, kept=None)), kinds)


def _points(result: Result, kinds: Mapping[str, tuple[str, str]]) -> list[FrontierPoint]:
    """Return the point of each policy in `kinds`, by the name it was run under, in each scenario with any harm."""
    return [
        FrontierPoint(
            each.scenario,
            *kinds[each.policy],
            each.estimates["false_alarms"],
            each.estimates["users_harmed_of_all_lanes"],
        )
        for scenario in result.scenarios
        for each in scenario.performances
        if each.policy in kinds and "users_harmed_of_all_lanes" in each.estimates
    ]
