"""What kind of file is this, and is it right? For ``validate`` and ``schema``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from simlab.documents import read_document
from simlab.errors import FileErrors
from simlab.plan import load
from simlab.reading_scenarios import read_scenario
from simlab.scenario import Scenario
from simlab.schemas import json_schema, read_settings
from simlab.shipped import shipped_path
from simlab.study import Lanes, Policies, Study
from simlab.ticks import format_count

_KINDS: dict[str, type[Any]] = {"scenario": Scenario, "study": Study, "policies": Policies}


def _settings_of(kind: str) -> type[Any]:
    if kind == "recording":
        from simlab.world.recording import Recording

        return Recording
    if kind == "graft":
        from simlab.world.grafts import Graft

        return Graft
    return _KINDS[kind]


def schema_of(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind of file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **json_schema(_settings_of(kind))}


def check_file(file: str, *, overrides: Iterable[str] = ()) -> str:
    """Return in words what a file holds, after checking all of it and, for a study, its scenarios.

    Raises
    ------
    FileErrors
        With every mistake.
    """
    document = read_document(shipped_path(file))
    kinds = [kind for kind in ("plan", "study", "scenario", "recording", "graft", "policies") if kind in document.data]
    if not kinds:
        problem = "is no scenario, study, recording, graft or list of policies; the first key says which"
        raise FileErrors([(document.file, document.mistake((), "kind", problem))])
    if kinds[0] in {"plan", "study"}:
        plan = load(document, overrides=overrides)
        study = plan.study
        return (
            f"ok, study {study.study}: {format_count(len(plan.settings), 'scenario')}, {_policies(len(study.policies))}, "
            f"{format_count(len(study.gates), 'gate')}, {_lanes(study.lanes)}, plan {plan.digest[:16]}"
        )
    for override in overrides:
        document = document.with_override(override)
    if kinds[0] == "scenario":
        return f"ok, scenario {read_scenario(document).scenario}"
    read = read_settings(document, _settings_of(kinds[0]))
    if kinds[0] == "policies":
        return f"ok, {_policies(len(read.policies))}"
    return f"ok, {kinds[0]} {getattr(read, kinds[0])}"


def _policies(number: int) -> str:
    return format_count(number, "policy", plural="policies")


def _lanes(lanes: Lanes) -> str:
    most = format_count(lanes.cap, "lane")
    return most if lanes.start == lanes.cap else f"{lanes.start:,} to {most}"
