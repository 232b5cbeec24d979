"""What a tuning may choose from: a policy with every combination of the settings to try, each checked before anything is run."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterable, Mapping
from itertools import product
from typing import Any, NamedTuple

from simlab.documents import Document
from simlab.errors import FileErrors, Mistake
from simlab.guardrails.policy import Policy
from simlab.ladders import why_rerun
from simlab.placing import SETTINGS, settings_at
from simlab.plan import Plan, document_of, replanned
from simlab.settings import file_name
from simlab.yaml_nodes import DataPath
from simlab.yaml_text import read_yaml

_TRY = "--try"
_OF_A_GUARDRAIL = len(("policies", "NAME", "guardrails", "INDEX", "setting"))


class Candidate(NamedTuple):
    """A policy of the study with settings to be compared.

    Attributes
    ----------
    values : dict of path to float or str
        What was tried.
    entry : dict
        The policy as a file holds it.
    """

    values: dict[DataPath, Any]
    entry: dict[str, Any]


def study_of(plan: Plan) -> Any:
    """Return what the study's file holds."""
    return plan.documents["study"]


def why_not_tuned(plan: Plan, index: int) -> str:
    """Return why a policy of a study cannot be tuned; empty if it can."""
    entry, policy = plan.study.policies[index], plan.settings[0].policies[index]
    reason = "its shared budget sets its thresholds" if entry.budget is not None else why_rerun(policy)
    for guardrail in policy.guardrails:
        if not reason and guardrail.respond != "hold" and settings_at(guardrail.rule, guardrail.threshold) is None:
            reason = f"{guardrail.rule.key} has no setting that moves its threshold alone"
    return reason


def candidates(plan: Plan, tuned: Collection[int], tries: Iterable[str]) -> dict[int, list[Candidate]]:
    """Return each policy that is tuned with every combination of the settings to try.

    Parameters
    ----------
    plan : Plan
        Of the study.
    tuned : collection of int
        Indices of policies.
    tries : iterable of str
        ``policies.NAME.path=[value, ...]`` each.

    Raises
    ------
    FileErrors
        With every setting to try that is none of a guardrail that is tuned, or is what tuning finds, or is tried already; where
        there is none of those, with every mistake of every combination, and why any of them could not be tuned.
    """
    study = document_of(study_of(plan))
    options: dict[DataPath, list[str]] = {}
    found, errors = {}, dict[tuple[str, Mistake], None]()
    for text in tries:
        try:
            place, assignments = _options(plan, study, tuned, text)
            if place in options:
                raise _refused(f"{text!r} is of a setting that is tried already; write all its values in one list")
            options[place] = assignments
        except FileErrors as error:
            errors |= dict.fromkeys(error.found)
    if errors:
        raise FileErrors(errors)
    for index in tuned:
        mine = [assignments for place, assignments in options.items() if place[1] == index]
        tried = {combination: _with_all(study, combination) for combination in product(*mine)}
        found[index] = [_candidate(each, index) for each in tried.values()]
        for combination, each in tried.items() if mine else ():
            try:
                reason = why_not_tuned(replanned(plan, each), index)
                if reason:
                    raise _refused(f"{', '.join(combination)}: cannot be tuned, {reason}")
            except FileErrors as error:
                errors |= dict.fromkeys(error.found)
    if errors:
        raise FileErrors(errors)
    return found


def _options(plan: Plan, study: Document, tuned: Collection[int], text: str) -> tuple[DataPath, list[str]]:
    """Return where a setting to try stands, and one assignment for each of its values."""
    path, _, given = text.partition("=")
    read = read_yaml(given)
    if read.faults or not isinstance(read.data, list) or not read.data:
        raise _refused(f"{text!r} is not path=[value, ...]")
    assignments = list(dict.fromkeys(f"{path}={json.dumps(value)}" for value in read.data))
    [place] = study.with_override(assignments[0], option=_TRY).overrides
    if place[0] != "policies" or place[2:3] != ("guardrails",) or len(place) < _OF_A_GUARDRAIL or _holds_mappings(read.data):
        raise _refused(f"{text!r} is not of one setting of a policy's guardrail, with numbers, text or lists of them to try")
    if place[1] not in tuned:
        raise _refused(f"{path!r} is a setting of a policy that is not tuned")
    if place in _thresholds(plan.settings[0].policies[int(place[1])], int(place[1])):
        raise _refused(f"{path!r} is the threshold, which tuning finds; try other settings")
    return place, assignments


def _holds_mappings(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_holds_mappings, value)))


def _refused(problem: str) -> FileErrors:
    return FileErrors([(_TRY, Mistake("try", "", problem))])


def _thresholds(policy: Policy, index: int) -> set[DataPath]:
    """Return where the settings stand that place a policy's thresholds; a hold keeps its own."""
    return {
        ("policies", index, "guardrails", number, "rule", guardrail.rule.key, file_name(SETTINGS[guardrail.rule.key].name))
        for number, guardrail in enumerate(policy.guardrails)
        if guardrail.respond != "hold" and guardrail.rule.key in SETTINGS
    }


def _with_all(study: Document, assignments: Iterable[str]) -> Document:
    for assignment in assignments:
        study = study.with_override(assignment, option=_TRY)
    return study


def _candidate(study: Document, index: int) -> Candidate:
    held: Any = study.data
    return Candidate({path: get(held, path) for path in study.overrides}, held["policies"][index])


def with_settings(entry: Mapping[str, Any], settings: Mapping[DataPath, Any]) -> dict[str, Any]:
    """Return a policy's entry with settings at their places in it."""
    changed = copy.deepcopy(dict(entry))
    for path, value in settings.items():
        put(changed, path, value)
    return changed


def get(data: Any, path: DataPath) -> Any:
    """Return what stands at a place; None where nothing does."""
    for part in path:
        if data is None or (isinstance(data, dict) and part not in data):
            return None
        data = data[part]
    return data


def put(data: Any, path: DataPath, value: Any) -> None:
    """Put a value in place; a rule that says nothing of its settings gets a mapping for them."""
    for part in path[:-1]:
        if isinstance(data, dict) and data.get(part) is None:
            data[part] = {}
        data = data[part]
    data[path[-1]] = value
