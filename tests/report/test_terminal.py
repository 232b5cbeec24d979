"""The terminal says the verdict first, fits 80 columns, and obeys no name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from simlab.replays import load_replay, run_replay
from simlab.report.terminal import print_replay, print_result
from simlab.report.words import words
from simlab.results import Result
from simlab.runner import run_plan
from tests.worlds import SCENARIO, changed, plan


def printed(result: Result, *, width: int = 80) -> list[str]:
    console = Console(file=StringIO(), width=width)
    print_result(result, console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_verdict_is_the_first_line(result: Result) -> None:
    assert printed(result)[0] == f"{result.status.upper()}  test  plan {result.provenance.plan[:12]}"
    assert printed(result, width=20)[0] == printed(result)[0]


@pytest.mark.parametrize("decision", ["passed", "failed", "inconclusive"])
def test_the_worst_gate_decides(result: Result, decision: str) -> None:
    told = replace(result, verdicts=tuple(replace(each, decision=decision) for each in result.verdicts))
    assert printed(told)[0].startswith(f"{decision.upper()}  ")
    assert sum(line.lstrip().startswith(decision.upper()) for line in printed(told)[1:]) == 3


def test_gates_show_their_arithmetic(result: Result) -> None:
    text = " ".join(" ".join(printed(result)).split())
    for verdict in result.verdicts:
        said = words(verdict.estimate)
        assert (
            f"{verdict.scenario} / {verdict.policy}: {verdict.gate} {said.value}, 95 % interval {said.interval}, n = 60" in text
        )


def test_every_policy_has_every_measure_with_interval_and_n(result: Result) -> None:
    lines = printed(result)
    measures = (
        "false_alarms",
        "detected",
        "detected_at_random",
        "delay_restricted_mean",
        "users_harmed",
        "users_exposed",
        "ramp_time_lost",
    )
    found = [line.split() for line in lines if re.match(r"  (cusum|today \(reference\)|\(never alarms\)) ", line)]
    performances = result.scenarios[0].performances
    expected = [
        f"{name} {said.value} {said.interval} {said.n}".split()
        for measure in measures
        for name, performance in zip(("cusum", "today (reference)", "(never alarms)"), performances, strict=True)
        for said in [words(performance.estimates[measure])]
    ]
    assert found == expected


def test_it_fits_eighty_columns_and_has_no_colour_codes(result: Result) -> None:
    lines = printed(result)
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)


def test_names_are_not_obeyed(result: Result, renamed: Callable[..., Result]) -> None:
    name = "[red]x[/red]\x1b]0;title\x07:smile:\u202e"
    console = Console(file=StringIO(), width=160, force_terminal=True, color_system=None)
    study = replace(result.plan.study, study=name)
    told = replace(renamed(result, scenario=name, policy=name), plan=replace(result.plan, study=study))
    print_result(told, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    shown = r"[red]x[/red]\x1b]0;title\x07:smile:\x202e"
    assert text.splitlines()[0] == f"{result.status.upper()}  {shown}  plan {result.provenance.plan[:12]}"
    # One in the first line, two for each gate, one for the scenario, one for each measure.
    assert text.count(shown) == 1 + 2 * 3 + 1 + 7
    assert not re.search("[\x07\u202e\U0001f604]", text)
    assert not re.search(r"\x1b\]|\x1b\[31m", text)


def test_a_terminal_without_unicode_is_enough(result: Result) -> None:
    held = BytesIO()
    console = Console(file=TextIOWrapper(held, encoding="ascii", write_through=True), width=80)
    print_result(result, console)
    assert held.getvalue().decode("ascii").startswith(result.status.upper())


def test_the_limit_is_stated(result: Result) -> None:
    assert "Lanes are followed for 5h 30m after the onset" in " ".join(printed(result))


def test_without_gates_or_harm_it_says_so() -> None:
    harmless = run_plan(plan(scenarios=[changed(SCENARIO, harms=None)], start=5, cap=5), command="simlab run x.yaml")
    lines = printed(harmless)
    assert lines[0].startswith("INCONCLUSIVE  test  plan ")
    assert "The study has no gates, so that nothing was judged." in lines
    assert "This scenario has no harm." in lines
    assert not any(line.startswith(("detected", "users")) for line in lines)


def test_intervals_of_a_run_that_ended_by_what_it_saw_say_so(result: Result, precise: Result) -> None:
    shown = " ".join(printed(precise))
    assert f"98.75 % interval {words(precise.precise[0].estimate).interval}" in shown
    assert "How many lanes are run depends on what they show." in shown
    assert "depends on what they show" not in " ".join(printed(result))


RECORDING = """
recording: small
file: data.parquet
tick: 1m
time: {column: at, unit: s}
values: {errors: {column: errors}}
within: 5m
onsets: [2026-01-01T00:10:30Z]
"""
WATCHING = """
policies:
  - name: above
    guardrails:
      - {watch: errors, of: everyone, rule: {above: {limit: 3}}, every: 1m}
"""


def test_a_replay_says_what_it_saw_and_what_it_cannot_tell(tmp_path: Path) -> None:
    values = np.where(np.isin(np.arange(20), (2, 4, 6, 12)), 5.0, 1.0)
    pd.DataFrame({"at": 1_767_225_600 + 60 * np.arange(20), "errors": values}).to_parquet(tmp_path / "data.parquet")
    (tmp_path / "recording.yaml").write_text(RECORDING)
    (tmp_path / "policies.yaml").write_text(WATCHING)
    replayed = run_replay(load_replay(tmp_path / "recording.yaml", policies=tmp_path / "policies.yaml"))
    console = Console(file=StringIO(), width=80)
    print_replay(replayed, console)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert lines[0] == f"REPLAYED  small  plan {replayed.provenance.plan[:12]}"
    text = " ".join(" ".join(lines).split())
    assert "20 ticks of 1m, 15 of them healthy and 0 masked; 1 onset." in text
    assert "above: 4 alarms (2026-01-01T00:02:00Z, 2026-01-01T00:04:00Z, 2026-01-01T00:06:00Z, ...), 0 looks unknown" in text
    found = [line.split()[1:] for line in lines if line.startswith("  above ")]
    estimates = replayed.policies[0].estimates
    said = [words(estimates[name]) for name in ("detected", "delay_p50", "alarm_looks_healthy", "false_alarms_per_week")]
    assert found == [f"{each.value} {each.interval} {each.n}".split() for each in said]
    assert "A replay is one factual path" in text


def test_a_replay_that_judged_nothing_is_inconclusive(tmp_path: Path) -> None:
    frame = pd.DataFrame({"at": 1_767_225_600 + 60 * np.arange(20), "errors": np.full(20, np.nan)})
    frame.to_parquet(tmp_path / "data.parquet")
    (tmp_path / "recording.yaml").write_text(RECORDING + "gaps: unknown\n")
    (tmp_path / "policies.yaml").write_text(WATCHING)
    replayed = run_replay(load_replay(tmp_path / "recording.yaml", policies=tmp_path / "policies.yaml"))
    console = Console(file=StringIO(), width=80)
    print_replay(replayed, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0].startswith("INCONCLUSIVE  small")
    assert lines[1] == "No look of any policy could be judged."
