"""The isolation check passes a clean world, and tells a shared salt and users who change arms with their counts."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.stats import kstest

from simlab.cli import cli
from simlab.documents import read_document
from simlab.errors import FileErrors, RecordingError
from simlab.isolation import Leak, leak_of, pairs_of
from simlab.reading_scenarios import read_scenario
from simlab.schemas import read_settings
from simlab.shipped import shipped_path
from simlab.world import sources
from simlab.world.recording import Recording

START = 1_767_225_600  # 2026-01-01T00:00:00Z
FILE = """
recording: log
file: data.parquet
kind: events
tick: 1m
within: 5m
time: {column: at, unit: s}
arms: {treatment: new, control: old, outside: none, column: variant}
user: who
values: {errors: {column: errors}}
"""


def leak(folder: Path, table: pd.DataFrame, described: str = FILE) -> Leak:
    table.to_parquet(folder / "data.parquet")
    (folder / "recording.yaml").write_text(described)
    document = read_document(folder / "recording.yaml")
    return leak_of(read_settings(document, Recording), document)


def log(rows: int = 5000, users: int = 400) -> pd.DataFrame:
    """Return a log in which one user in five is not held to an arm."""
    generator = np.random.default_rng(8)
    who = generator.integers(0, users, rows)
    arm = np.where(who % 5 == 0, generator.integers(0, 3, rows), who % 3)
    at = START + np.sort(generator.integers(0, 1200, rows))
    return pd.DataFrame({"at": at, "variant": np.array(["new", "old", "none"])[arm], "who": who, "errors": 0.0})


def run(*args: str) -> tuple[int, str]:
    ran = CliRunner().invoke(cli, ["validate", "--isolation", *args], standalone_mode=False)
    assert ran.exception is None, ran.exception
    return int(ran.return_value), ran.output


def test_a_clean_world_passes_and_a_shared_salt_does_not() -> None:
    code, output = run("parallel/two-experiments")
    assert code == 0
    assert "checkout-and" not in output
    assert "rollout and search: buckets independent; 4,000 users" in output
    code, output = run("parallel/two-experiments", "parallel/one-salt")
    assert code == 1
    assert "one-salt: NOT ISOLATED" in output
    assert "two-experiments: isolated" in output


def test_a_scenario_of_cells_has_no_other_experiment() -> None:
    code, output = run("studies/checkout-canary")
    assert (code, output.count("no other experiment")) == (0, 2)


def test_independent_buckets_give_uniform_p_values() -> None:
    scenario = read_scenario(read_document(shipped_path("parallel/two-experiments")))
    found = [pairs_of(scenario, seed=seed)[0] for seed in range(100)]
    # Fails by chance once in a thousand; seeded, so always or never.
    assert kstest([pair.p_value for pair in found], "uniform").pvalue > 0.001
    assert all(pair.independent for pair in found)
    assert max(pair.association for pair in found) < 0.05


def test_a_recorded_lane_leaks_if_its_world_does(tmp_path: Path) -> None:
    codes = {}
    for share in ("0%", "1%"):
        override = ("--set", f"telemetry.misassigned={share}")
        out = tmp_path / f"lane{share[0]}.parquet"
        ran = CliRunner().invoke(cli, ["record", "parallel/two-experiments", "--out", str(out), *override])
        assert ran.exception is None, ran.exception
        codes[share], output = run(str(out.with_suffix(".yaml")))
    assert codes == {"0%": 0, "1%": 1}
    assert "back and forth" in output


def test_who_changes_arms_is_what_pandas_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = log()
    arms = table[table["variant"] != "none"].groupby("who", sort=False)["variant"].agg(list)
    changes = arms.map(lambda each: sum(one != other for one, other in itertools.pairwise(each)))
    last = arms.map(lambda each: each[-1])
    expected = {
        "treatment": ((changes == 0) & (last == "new")).sum(),
        "control": ((changes == 0) & (last == "old")).sum(),
        "into_treatment": ((changes == 1) & (last == "new")).sum(),
        "into_control": ((changes == 1) & (last == "old")).sum(),
        "back_and_forth": (changes > 1).sum(),
    }
    found = leak(tmp_path, table)
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.back_and_forth > 50
    assert found.leaked.n == len(arms)
    assert not found.isolated
    monkeypatch.setattr(sources, "ROWS", 97)
    assert leak(tmp_path, table) == found
    held = table[table["who"] % 5 != 0]
    assert leak(tmp_path, held).isolated


def test_who_went_to_treatment_once_is_told_and_no_leak(tmp_path: Path) -> None:
    rows = [(0, "a", "old"), (1, "b", "new"), (2, "a", "new"), (3, "c", "old"), (4, "c", "old")]
    table = pd.DataFrame([(START + at, who, arm, 0.0) for at, who, arm in rows], columns=["at", "who", "variant", "errors"])
    found = leak(tmp_path, table)
    assert (found.into_treatment, found.treatment, found.control) == (1, 1, 1)
    assert found.isolated


def test_what_cannot_be_told_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="times go backwards, and their order tells who changed arms: row "):
        leak(tmp_path, log().assign(at=lambda table: table["at"].to_numpy()[::-1]))
    with pytest.raises(FileErrors, match="isolation is of users in arms: say the column user"):
        leak(tmp_path, log(), FILE.replace("user: who\n", ""))
    (tmp_path / "policies.yaml").write_text("policies: [{name: p, guardrails: [{rule: {never: {}}, every: 5m}]}]")
    ran = CliRunner().invoke(cli, ["validate", "--isolation", str(tmp_path / "policies.yaml")], standalone_mode=False)
    assert isinstance(ran.exception, FileErrors)
    assert "which alone have experiments" in ran.exception.render()
    assert CliRunner().invoke(cli, ["validate", "parallel/one-salt", "--data", str(tmp_path)]).exit_code == 2
