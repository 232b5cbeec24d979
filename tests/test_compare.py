"""Two runs compared lane by lane."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simlab.cli import main
from simlab.comparisons import CompareError, compare_runs
from simlab.output import prepare, write_result
from simlab.plan import Plan
from simlab.results import Result
from simlab.runner import run_plan
from tests.worlds import CUSUM, SCENARIO, changed, plan

LANES = 80


def studied(h: float, *, lanes: int = LANES, **more: Any) -> Plan:
    entry = changed(CUSUM, rule={"cusum": {"k": 0.5, "h": h}})
    short = changed(SCENARIO, **{"horizon": "6h", **more.pop("scenario", {})})
    return plan(scenarios=[short], policies=[{"name": "cusum", "guardrails": [entry]}], start=lanes, cap=lanes, **more)


def written(folder: Path, made: Plan) -> Result:
    result = run_plan(made)
    prepare(folder, fresh=True)
    write_result(result, folder)
    return result


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run, the same run with a later alarm and fewer lanes, and one with another seed."""
    folder = tmp_path_factory.mktemp("runs")
    written(folder / "soon", studied(3.0))
    written(folder / "late", studied(12.0, lanes=LANES - 10))
    written(folder / "seed", studied(3.0, lanes=10, seed=8))
    return folder


def test_differences_are_those_of_the_rows_lane_by_lane(runs: Path) -> None:
    found = compare_runs(runs / "soon", runs / "late")
    (difference,) = found.differences
    soon, late = (run_plan(studied(h, lanes=lanes)).scenarios[0].rows for h, lanes in ((3.0, LANES), (12.0, LANES - 10)))

    def twins(rows: dict[str, np.ndarray]) -> np.ndarray:
        mine = (rows["policy"] == "cusum") & ~rows["harmed"]
        return np.asarray(rows["action_time"][mine][: LANES - 10] >= 0)

    expected = twins(late).mean() - twins(soon).mean()
    assert difference.estimates["false_alarms"].value == pytest.approx(expected, abs=1e-12)
    assert difference.estimates["false_alarms"].n == LANES - 10
    assert difference.estimates["users_harmed"].value > 0 > expected
    assert found.notes == ("small has 80 and 70 lanes; those that both have are compared",)


def test_a_regression_is_what_is_worse_for_certain(runs: Path) -> None:
    late = compare_runs(runs / "soon", runs / "late").regressions
    assert ("small", "cusum", "users_harmed") in late
    assert ("small", "cusum", "false_alarms") not in late
    assert ("small", "cusum", "false_alarms") in compare_runs(runs / "late", runs / "soon").regressions
    same = compare_runs(runs / "soon", runs / "soon")
    assert not same.regressions
    assert same.differences[0].estimates["users_harmed"].value == 0


@pytest.mark.parametrize(("order", "fail_on", "code"), [
    (("soon", "late"), True, 1),
    (("soon", "late"), False, 0),
    (("soon", "soon"), True, 0),
])  # fmt: skip
def test_the_command_fails_on_a_regression_if_asked_to(
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    order: tuple[str, str],
    fail_on: bool,
    code: int,
) -> None:
    more = ["--fail-on", "regression"] if fail_on else []
    monkeypatch.setattr("sys.argv", ["simlab", "compare", *(str(runs / name) for name in order), *more])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert "users harmed" in capsys.readouterr().out


def test_refuses_what_is_not_paired(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="seeds differ"):
        compare_runs(runs / "soon", runs / "seed")
    with pytest.raises(CompareError, match="not the folder of a finished run"):
        compare_runs(runs / "soon", tmp_path)


def test_says_what_else_was_changed(runs: Path, tmp_path: Path) -> None:
    written(tmp_path / "busier", studied(3.0, lanes=10, scenario={"traffic": {"requests": "2500/m"}}))
    written(tmp_path / "longer", studied(3.0, lanes=10, scenario={"horizon": "7h"}))
    assert "the scenario small was changed" in compare_runs(runs / "soon", tmp_path / "busier").notes[0]
    longer = compare_runs(runs / "soon", tmp_path / "longer")
    assert not longer.differences
    assert any("horizon" in each for each in longer.missing)
    assert compare_runs(runs / "soon", runs / "soon").notes == ("both runs are of the same plan",)


def other_rows(runs: Path, folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """Return a folder with the run "soon", its outcomes changed."""
    shutil.copytree(runs / "soon", folder)
    change(pd.read_parquet(folder / "outcomes.parquet")).to_parquet(folder / "outcomes.parquet", index=False)
    return folder


def test_lanes_are_paired_by_number_in_whatever_order_they_stand(runs: Path, tmp_path: Path) -> None:
    shuffled = other_rows(runs, tmp_path / "shuffled", lambda table: table.sample(frac=1, random_state=1))
    assert compare_runs(runs / "soon", runs / "late").differences == compare_runs(shuffled, runs / "late").differences


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda table: table.drop(columns="users_harmed"), "no column 'users_harmed'"),
        (lambda table: table.astype({"users_harmed": str}), "no column 'users_harmed' of its kind"),
        (lambda table: table[table["lane"] % 2 == 1], "not every lane once"),
        (lambda table: table.replace({"policy": {"cusum": "other"}}), "do not name the same policies"),
        (lambda table: table[table["harmed"] | (table["lane"] < 5)], "not every lane once"),
    ],
)
def test_refuses_rows_that_no_run_writes(
    runs: Path, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], problem: str
) -> None:
    with pytest.raises(CompareError, match=problem):
        compare_runs(other_rows(runs, tmp_path / "other", change), runs / "late")


@pytest.mark.parametrize("results", ['{"status": "interrupted"}', "{", None])
def test_refuses_a_run_that_did_not_finish(runs: Path, tmp_path: Path, results: str | None) -> None:
    folder = shutil.copytree(runs / "soon", tmp_path / "unfinished")
    (folder / "results.json").unlink()
    if results is not None:
        (folder / "results.json").write_text(results)
    with pytest.raises(CompareError, match="not the folder of a finished run"):
        compare_runs(folder, runs / "soon")


def test_what_is_gone_or_changed_so_that_it_is_not_compared_is_no_pass(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"name": "renamed", "guardrails": [CUSUM]}
    policies = [{"name": "cusum", "guardrails": [changed(CUSUM, rule={"cusum": {"k": 0.5, "h": 3.0}})]}, other]
    both = plan(scenarios=[changed(SCENARIO, horizon="6h")], policies=policies, start=10, cap=10)
    written(tmp_path / "both", both)
    for command, code in ((["--fail-on", "regression"], 3), ([], 0)):
        monkeypatch.setattr("sys.argv", ["simlab", "compare", str(tmp_path / "both"), str(runs / "soon"), *command])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
    assert compare_runs(tmp_path / "both", runs / "soon").missing == ("small / renamed is in the earlier run only",)
