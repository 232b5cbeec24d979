"""Two runs of one seed, lane by lane: what changed between them, with intervals of the paired differences.

Lanes are paired by their number: with the same seed they have the same noise, whatever else was changed. Differences are the
later run's minus the earlier one's, and of all that is compared more is worse.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simlab.errors import SimlabError
from simlab.files import reason_of
from simlab.measures.estimates import CONFIDENCE
from simlab.measures.outcomes import Outcomes, detection_limit, outcomes_of
from simlab.measures.performance import Difference, difference
from simlab.plan import BASELINE, Plan, load
from simlab.results import plain
from simlab.runner import first_onset

if TYPE_CHECKING:
    import pandas as pd

_TIMES = ("onset", "action_time", "evidence", "containment_time")
_NUMBERS = ("harmed", "lane", "worse", "users_harmed")
_COMPARED = 3
"""Measures in a difference: false alarms, delay, users harmed."""


class CompareError(SimlabError):
    """Two runs that cannot be compared lane by lane."""


@dataclass(frozen=True)
class Comparison:
    """What changed between two runs.

    Attributes
    ----------
    before, after : str
        Plans' SHA-256.
    differences : tuple of Difference
        After minus before, for each policy and scenario in both; intervals at 95 % each.
    regressions : tuple of (str, str, str)
        Scenario, policy and measure of what is worse for certain: the interval at the confidence that makes all of them
        together 95 % is above 0. Of users harmed that is Student's interval, which does not know of a lane so rare that it was
        not run.
    confidence : float
        Of each of those intervals.
    missing : tuple of str
        What of the earlier run could not be compared, and why.
    notes : tuple of str
        What else differs.
    """

    before: str
    after: str
    differences: tuple[Difference, ...]
    regressions: tuple[tuple[str, str, str], ...]
    confidence: float
    missing: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> str:
        """Return everything as JSON text."""
        held: dict[str, Any] = plain({"schema": 1, **{name: getattr(self, name) for name in self.__dataclass_fields__}})
        return json.dumps(held, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def compare_runs(before: Path, after: Path) -> Comparison:
    """Return what changed between the runs of two folders.

    Raises
    ------
    CompareError
        If a folder does not hold a finished run whole, or the seeds differ.
    FileErrors
        If a plan cannot be read.
    """
    plans = (_plan(before), _plan(after))
    if plans[0].seed != plans[1].seed:
        raise CompareError(f"the seeds differ, {plans[0].seed} and {plans[1].seed}, so lanes are not paired")
    held = [_outcomes(plan, folder) for plan, folder in zip(plans, (before, after), strict=True)]
    notes, missing, pairs = _notes(plans), [], []
    for key, later in held[1].items():
        earlier, name = held[0].get(key), f"{key[0]} / {key[1]}"
        if earlier is None:
            notes.append(f"{name} is in the later run only")
        elif earlier.clock != later.clock:
            missing.append(f"{name}: tick, start or horizon was changed, so nothing is compared")
        else:
            pairs.append((key[0], *_same_lanes(earlier, later)))
            if earlier.lanes != later.lanes:
                lanes = f"{earlier.lanes:,} and {later.lanes:,} lanes"
                notes.append(f"{key[0]} has {lanes}; those that both have are compared")
    missing += [f"{scenario} / {policy} is in the earlier run only" for scenario, policy in held[0].keys() - held[1].keys()]
    strict = 1 - (1 - CONFIDENCE) / max(1, _COMPARED * len(pairs))
    differences, regressions = [], []
    for scenario, one, other in pairs:
        differences.append(difference(other, one, scenario=scenario))
        certain = difference(other, one, scenario=scenario, confidence=strict)
        regressions += [(scenario, other.policy, name) for name, found in certain.estimates.items() if found.low > 0]
    found = tuple(differences), tuple(regressions), strict
    return Comparison(plans[0].digest, plans[1].digest, *found, tuple(sorted(missing)), tuple(dict.fromkeys(notes)))


def _plan(folder: Path) -> Plan:
    for name in ("plan.json", "outcomes.parquet", "results.json"):
        if not (folder / name).is_file():
            raise CompareError(f"{folder} is not the folder of a finished run: it has no {name}")
    try:
        status = json.loads((folder / "results.json").read_text(encoding="utf-8")).get("status")
    except (ValueError, AttributeError):
        status = "damaged"
    if status in {"interrupted", "error", "damaged"}:
        raise CompareError(f"{folder} is not the folder of a finished run: its results.json says {status}")
    return load(folder / "plan.json")


def _outcomes(plan: Plan, folder: Path) -> dict[tuple[str, str], Outcomes]:
    """Return the outcomes of a run by scenario and policy, times in ticks again."""
    table, found = _table(folder / "outcomes.parquet"), {}
    for setting in plan.settings:
        clock = setting.scenario.clock
        rows = _rows(table[table["scenario"] == setting.name], clock.tick / 60_000)
        if {*rows["policy"]} != {policy.name for policy in setting.policies}:
            raise CompareError(f"{folder}: outcomes.parquet and plan.json do not name the same policies in {setting.name}")
        for each in outcomes_of(rows, clock=clock, limit=detection_limit(clock, first_onset(setting))):
            if not all(np.array_equal(side["lane"], np.arange(each.lanes)) for side in (each.harmed, each.twin)):
                which = f"{setting.name} / {each.policy}"
                raise CompareError(
                    f"{folder / 'outcomes.parquet'}: {which} has not every lane once with its harm and once without"
                )
            if each.policy != BASELINE.name:
                found[setting.name, each.policy] = each
    return found


def _table(path: Path) -> pd.DataFrame:
    """Return the rows of a run in the order of lanes."""
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise CompareError(f"{path} cannot be read: {reason}") from None
    numbers = [*(f"{name}_minutes" for name in _TIMES), *_NUMBERS]
    for name in ("scenario", "policy", *numbers):
        if name not in table or (name in numbers and not pd.api.types.is_numeric_dtype(table[name])):
            raise CompareError(f"{path} is not what a run writes: it has no column {name!r} of its kind")
    return table.sort_values("lane", kind="stable")


def _rows(table: pd.DataFrame, minutes: float) -> dict[str, np.ndarray]:
    rows = {name: table[name].to_numpy() for name in ("policy", *_NUMBERS)}
    for name in _TIMES:
        ticks = table[f"{name}_minutes"].to_numpy() / minutes
        rows[name] = np.where(np.isnan(ticks), -1, np.nan_to_num(ticks).round()).astype(np.int64)
    return rows


def _notes(plans: tuple[Plan, Plan]) -> list[str]:
    documents = [{each["scenario"]: each for each in _scenarios(plan)} for plan in plans]
    both = [name for name in documents[0] if name in documents[1]]
    if plans[0].digest == plans[1].digest:
        return ["both runs are of the same plan"]
    changed = [name for name in both if documents[0][name] != documents[1][name]]
    return [f"the scenario {name} was changed too; its lanes have the same noise in another world" for name in changed]


def _scenarios(plan: Plan) -> Any:
    return plan.documents["scenarios"]


def _same_lanes(one: Outcomes, other: Outcomes) -> tuple[Outcomes, Outcomes]:
    """Return both on the lanes and for the follow-up that both have."""
    lanes, limit = min(one.lanes, other.lanes), min(one.limit, other.limit)

    def part(outcomes: Outcomes) -> Outcomes:
        first = {side: {name: values[:lanes] for name, values in getattr(outcomes, side).items()} for side in ("harmed", "twin")}
        return replace(outcomes, harmed=first["harmed"], twin=first["twin"], limit=limit)

    return part(one), part(other)
