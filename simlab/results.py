"""The result of a run: verdicts, measures, outcomes and provenance, as tables, JSON and files."""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simlab import __version__
from simlab.engine import Trace
from simlab.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_PASSED
from simlab.measures.gates import FAILED, INCONCLUSIVE, PASSED, Verdict
from simlab.measures.guarantees import GuaranteeCheck
from simlab.measures.outcomes import Rows
from simlab.measures.performance import Difference, Performance
from simlab.measures.precision import Precise
from simlab.measures.privacy import Spent
from simlab.plan import Plan
from simlab.response import ACTIONS
from simlab.ticks import Clock

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
_TIMES = ("onset", "action_time", "evidence", "rollback_time", "containment_time", "completed_time")
_LENGTHS = ("watched", "behind")


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from: enough to make them again.

    Attributes
    ----------
    plan : str
        SHA-256 of the canonical plan.
    seed : int
        The seed.
    command : str
        As it was typed.
    versions : dict of str to str
        Of simlab, Python and the packages that decide numbers.
    machine : str
        System and processor.
    """

    plan: str
    seed: int
    command: str
    versions: dict[str, str]
    machine: str


def provenance(plan_digest: str, *, seed: int, command: str) -> Provenance:
    """Return the provenance of a run on this machine."""
    packages = {name: version(name) for name in ("numpy", "scipy", "numba", "simpy", "pandas")}
    versions = {"simlab": __version__, "python": platform.python_version(), **packages}
    return Provenance(plan_digest, seed, command, versions, f"{platform.system()} {platform.machine()}")


def typed_command() -> str:
    """Return the command of this process, without the folder of the program."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


@dataclass(frozen=True)
class ShieldPrice:
    """What a shield costs one policy.

    Attributes
    ----------
    difference : Difference
        With the shield minus without it, on the same lanes.
    spent : Spent or None
        What its noise adds up to; None where it has none.
    """

    difference: Difference
    spent: Spent | None


@dataclass(frozen=True)
class ScenarioResult:
    """What a run found in one scenario.

    Attributes
    ----------
    name : str
        The scenario's name.
    about : str
        In its own words.
    clock : Clock
        The grid of ticks.
    lanes : int
        Lanes run.
    planned_onset : int or None
        Milliseconds from the start to the first harm if nothing stops the ramp, without jitter.
    rows : dict of str to array[rows]
        Outcome rows, times in ticks.
    performances : tuple of Performance
        One a policy.
    differences : tuple of Difference
        One a pair of policies.
    guarantees : tuple of GuaranteeCheck
        Of every guardrail.
    traces : tuple of Trace
        A few lanes, look by look.
    prices : tuple of ShieldPrice
        One a policy where telemetry has a shield.
    """

    name: str
    about: str
    clock: Clock
    lanes: int
    planned_onset: int | None
    rows: Rows
    performances: tuple[Performance, ...]
    differences: tuple[Difference, ...]
    guarantees: tuple[GuaranteeCheck, ...]
    traces: tuple[Trace, ...]
    prices: tuple[ShieldPrice, ...] = ()


@dataclass(frozen=True)
class Result:
    """The result of a study.

    Attributes
    ----------
    plan : Plan
        What was run.
    verdicts : tuple of Verdict
        One for each gate, scenario and gated policy.
    scenarios : tuple of ScenarioResult
        In the order of the study.
    provenance : Provenance
        Where the numbers come from.
    precise : tuple of Precise
        How precise the rates are, if the plan asks for a precision.
    """

    plan: Plan
    verdicts: tuple[Verdict, ...]
    scenarios: tuple[ScenarioResult, ...]
    provenance: Provenance
    precise: tuple[Precise, ...] = ()

    @property
    def status(self) -> str:
        """The worst decision of all gates; inconclusive without any gate, or where a precision asked for was not reached."""
        decisions = {verdict.decision for verdict in self.verdicts}
        decisions |= {INCONCLUSIVE for each in self.precise if not each.reached}
        worst_first = (FAILED, INCONCLUSIVE, PASSED)
        return next((decision for decision in worst_first if decision in decisions), INCONCLUSIVE)

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        return {PASSED: EXIT_PASSED, FAILED: EXIT_FAILED, INCONCLUSIVE: EXIT_INCONCLUSIVE}[self.status]

    def __repr__(self) -> str:
        name, lanes = self.plan.study.study, sum(scenario.lanes for scenario in self.scenarios)
        lines = [f"<Result {name}: {self.status}, {lanes} lanes, plan {self.provenance.plan[:12]}>"]
        lines += [f"  {each.scenario} / {each.policy} / {each.gate}: {each.arithmetic}" for each in self.verdicts]
        return "\n".join(lines)

    def to_pandas(self) -> pd.DataFrame:
        """Return the outcome table: one row a scenario, policy, twin and lane; times in minutes from the start."""
        import pandas as pd

        return pd.concat([_outcome_table(scenario) for scenario in self.scenarios], ignore_index=True)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``results.json`` holds; numbers that do not exist are None."""
        study = self.plan.study
        held: dict[str, Any] = plain(
            {
                "schema": SCHEMA_VERSION,
                "status": self.status,
                "passed": self.status == PASSED,
                "study": study.study,
                "why": study.why,
                "owner": study.owner,
                "gates": [{**asdict(verdict), "passed": verdict.passed} for verdict in self.verdicts],
                "scenarios": [_scenario_dict(scenario) for scenario in self.scenarios],
                "precision": [asdict(each) for each in self.precise],
                "provenance": asdict(self.provenance),
            }
        )
        return held

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _scenario_dict(scenario: ScenarioResult) -> dict[str, Any]:
    return {
        "scenario": scenario.name,
        "lanes": scenario.lanes,
        "planned_onset_minutes": None if scenario.planned_onset is None else scenario.planned_onset / 60_000,
        "performances": [asdict(performance) for performance in scenario.performances],
        "differences": [asdict(difference) for difference in scenario.differences],
        "guarantees": [{**asdict(check), "verdict": check.verdict} for check in scenario.guarantees],
        "shield": [asdict(price) for price in scenario.prices],
    }


def _in_order(rows: Rows) -> Rows:
    """Return outcome rows by policy as in the plan, harmed lanes before twins, then by lane, whatever blocks they came from."""
    place = {policy: index for index, policy in enumerate(dict.fromkeys(rows["policy"].tolist()))}
    places = np.array([place[policy] for policy in rows["policy"].tolist()])
    order = np.lexsort((rows["lane"], ~rows["harmed"], places))
    return {name: values[order] for name, values in rows.items()}


def _outcome_table(scenario: ScenarioResult) -> pd.DataFrame:
    import pandas as pd

    minutes, rows = scenario.clock.tick / 60_000, _in_order(scenario.rows)
    table = pd.DataFrame({name: values for name, values in rows.items() if name not in (*_TIMES, *_LENGTHS)})
    table.insert(0, "scenario", scenario.name)
    for name in (*_TIMES, *_LENGTHS):
        ticks = rows[name]
        table[f"{name}_minutes"] = np.where(ticks < 0, np.nan, ticks * minutes)
    if scenario.planned_onset is not None:
        table["scheduled_onset_minutes"] = scenario.planned_onset / 60_000
    table["action"] = np.array(ACTIONS)[rows["action"]]
    return table


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: no NaN, no infinity, no tuples, no arrays."""
    if isinstance(value, Mapping):
        return {str(key): plain(held) for key, held in value.items()}
    if isinstance(value, str | bool | int | None):
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return [plain(held) for held in value] if isinstance(value, Iterable) else str(value)
