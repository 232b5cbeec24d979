"""Guardrails step through the benchmark as they do anywhere: checked on a small corpus of the same form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from simlab.cli import cli
from simlab.errors import FileErrors, RecordingError
from simlab.nab.replay import load_nab, run_nab, totals
from simlab.nab.scoring import Profile, Window, labelled, raw_score, rising_edges, scaled

POLICIES = """
policies:
  - {name: never, guardrails: [{rule: {never: {}}, every: 5m}]}
  - name: far
    guardrails: [{watch: value, of: everyone, baseline: 1d, rule: {shewhart: {sigmas: 4, sides: 2}}, every: 5m}]
  - name: level
    guardrails: [{watch: value, of: everyone, rule: {above: {limit: 3}}, every: 5m}]
"""
LENGTHS = {"a/long.csv": 500, "a/short.csv": 300, "b/even.csv": 300}


def write(folder: Path, *, policies: str = POLICIES) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(8)
    values, frames, windows = {}, [], {}
    for name, rows in LENGTHS.items():
        stamps = pd.date_range("2020-01-01", periods=rows, freq="5min").strftime("%Y-%m-%d %H:%M:%S")
        values[name] = generator.normal(0, 1, rows)
        values[name][200:220] += 6
        windows[name] = [[f"{stamps[195]}.000000", f"{stamps[225]}.000000"]]
        frames.append(pd.DataFrame({"series": name, "timestamp": stamps, "value": values[name]}))
    pd.concat(frames).to_parquet(folder / "nab_data.parquet")
    scores = [
        pd.DataFrame({"detector": "d", "series": name, "row": range(rows), "anomaly_score": 0.0})
        for name, rows in LENGTHS.items()
    ]
    pd.concat(scores).to_parquet(folder / "nab_detector_scores.parquet")
    held = {
        "nab_combined_windows": windows,
        "nab_profiles": {"standard": {"CostMatrix": {"tpWeight": 1.0, "fnWeight": 1.0, "fpWeight": 0.11}}},
        "nab_thresholds": {"d": {"standard": {"threshold": 0.5, "score": 0}}},
        "nab_final_results": {"d": {"standard": 0.0}},
    }
    for name, content in held.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "policies.yaml").write_text(policies)
    return values


def test_scores_agree_with_an_independent_calculation(tmp_path: Path) -> None:
    values = write(tmp_path)
    result = run_nab(load_nab(tmp_path / "policies.yaml", data=tmp_path))
    found = totals(result.policies)
    profile = Profile("standard")
    corpus = [labelled(name, rows, [Window(195, 225)]) for name, rows in LENGTHS.items()]
    far = level = 0.0
    for series in corpus:
        x = values[series.name]
        learnt = x[: series.probation]  # 1d is longer than the probation, so that the probation is the baseline
        z = np.abs(x - learnt.mean()) / learnt.std(ddof=1)
        z[: series.probation] = 0
        far += raw_score(rising_edges(z >= 4), series, profile)
        level += raw_score(rising_edges(x >= 3), series, profile)
    assert found["far"]["standard"].score == pytest.approx(scaled(far, corpus, profile))
    assert found["level"]["standard"].score == pytest.approx(scaled(level, corpus, profile))
    assert found["far"]["standard"].score > 0
    assert found["never"]["standard"].score == 0
    assert found["never"]["standard"].optimised is None
    for name in ("far", "level"):
        assert found[name]["standard"].optimised >= found[name]["standard"].score - 1e-9
    assert totals(result.recomputed)["d"]["standard"].score == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("of: everyone, rule", "compare: difference, rule"), "watch everyone"),
        (("watch: value, of: everyone, baseline", "watch: speed, of: everyone, baseline"), "no metric 'speed'"),
        (("rule: {above: {limit: 3}}, every: 5m", "rule: {above: {limit: 3}}, every: 10m"), "as often as the first"),
    ],
)
def test_what_cannot_watch_a_single_value_is_a_mistake_with_its_place(
    tmp_path: Path, change: tuple[str, str], expected: str
) -> None:
    write(tmp_path, policies=POLICIES.replace(*change))
    with pytest.raises(FileErrors, match=expected) as caught:
        load_nab(tmp_path / "policies.yaml", data=tmp_path)
    assert "policies.yaml:" in caught.value.render()


def test_a_corpus_that_is_not_whole_is_a_clear_error(tmp_path: Path) -> None:
    write(tmp_path)
    scores = pd.read_parquet(tmp_path / "nab_detector_scores.parquet")
    scores.iloc[:-1].to_parquet(tmp_path / "nab_detector_scores.parquet")
    with pytest.raises(RecordingError, match="scores of d do not cover each row"):
        load_nab(tmp_path / "policies.yaml", data=tmp_path)
    (tmp_path / "nab_profiles.json").write_text("{")
    with pytest.raises(RecordingError, match=r"nab_profiles\.json: cannot be read"):
        load_nab(tmp_path / "policies.yaml", data=tmp_path)


def test_the_command_prints_both_columns_and_keeps_the_result(tmp_path: Path) -> None:
    write(tmp_path)
    arguments = ["replay", "--nab", "--policies", str(tmp_path / "policies.yaml"), "--data", str(tmp_path)]
    answer = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "out")], standalone_mode=False)
    assert answer.exception is None
    assert "optimised" in answer.output
    assert "never reset" in " ".join(answer.output.split())
    held = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (held["series"], held["windows"], held["status"]) == (3, 3, "scored")
    wrong = CliRunner().invoke(cli, ["replay", "--policies", "x"])
    assert wrong.exit_code == 2
