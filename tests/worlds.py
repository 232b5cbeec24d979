"""Small scenarios and plans for tests, built from the same mappings that files hold."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from simlab.documents import Document
from simlab.plan import Plan, _plan
from simlab.reading_scenarios import read_scenario
from simlab.scenario import Scenario
from simlab.study import read_study

SCENARIO: dict[str, Any] = {
    "scenario": "small",
    "starts": "2026-03-02T00:00:00Z",
    "tick": "5m",
    "horizon": "12h",
    "users": {"count": 100_000, "activity": {"gamma": 0.7}, "segments": {"web": "70%", "app": "30%"}},
    "traffic": {"requests": "2000/m"},
    "metrics": {
        "errors": {"kind": "proportion", "per": "request", "normal": "2%", "personal_cv": 1.5},
        "latency": {"kind": "duration", "per": "request", "median": "200ms", "p99": "2s", "harmed_above": "2s"},
    },
    "rollout": {
        "steps": [
            {"expose": "10%", "soak": "2h"},
            {"expose": "50%", "soak": "4h"},
            {"expose": "100%", "soak": "rest"},
        ]
    },
    "harms": [
        {
            "name": "app-errors",
            "shape": "step",
            "metric": "errors",
            "segment": "app",
            "onset": {"after": "first exposure", "wait": "1h", "jitter": "10m"},
            "add": "2pp",
        }
    ],
    "response": {
        "people": {"answer": "5m-30m", "diagnose": "10m", "right": "95%"},
        "rollback": {"takes": "2m-5m", "succeeds": "99%"},
    },
}

CUSUM: dict[str, Any] = {
    "watch": "errors",
    "compare": "difference",
    "by": "segment",
    "rule": {"cusum": {"k": 0.5, "h": 5.0}},
    "every": "5m",
    "respond": "rollback",
}


def document(data: dict[str, Any]) -> Document:
    """Return a document as if it had been read from a file."""
    return Document(file="test.yaml", path=Path("test.yaml"), data=data, lines=(), positions={})


def changed(data: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a copy with top-level keys replaced; None takes one away."""
    found = copy.deepcopy(data) | copy.deepcopy(changes)
    return {key: value for key, value in found.items() if value is not None}


def scenario(**changes: Any) -> Scenario:
    """Return the small scenario with top-level keys replaced."""
    return read_scenario(document(changed(SCENARIO, **changes)))


def plan(
    *,
    scenarios: list[dict[str, Any]] | None = None,
    policies: list[dict[str, Any]] | None = None,
    gates: list[dict[str, Any]] | None = None,
    seed: int = 7,
    start: int = 100,
    cap: int = 100,
    precision: str | None = None,
) -> Plan:
    """Return a plan of scenarios (mappings) and policies (mappings)."""
    found = scenarios or [SCENARIO]
    held = {
        "study": "test",
        "why": "a test",
        "owner": "tests",
        "scenarios": [f"../{each['scenario']}.yaml" for each in found],
        "policies": policies or [{"name": "cusum", "guardrails": [CUSUM]}],
        "gates": gates or [],
        "lanes": {"start": start, "cap": cap} | ({} if precision is None else {"precision": precision}),
        "seed": seed,
    }
    of_study = document(held)
    return _plan(read_study(of_study), of_study, [document(each) for each in found])
