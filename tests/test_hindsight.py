"""What alarms would have been worth: every setting of a sweep equals a replay of that setting; spared harm by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simlab.hindsight import MOST_THRESHOLDS
from simlab.replay import FOR_LOOKS, ReplayResult, load_replay, run_replay
from simlab.report.post_mortem import render_post_mortem

START = 1_767_225_600  # 2026-01-01T00:00:00Z
ROWS = 120
DESCRIBED = """
recording: shop
file: data.parquet
tick: 1m
time: {column: at, unit: s}
values: {errors: {column: errors}, hurt: {column: hurt}}
within: 20m
onsets: [{from: 2026-01-01T01:00:00Z, to: 2026-01-01T01:02:00Z}]
incident:
  owner: shop-team
  impact: "checkout <failed>"
  contributing_factors: [no canary]
  remedies: [add a canary]
  learnt: [alarms came late]
  alarmed: 2026-01-01T01:25:00Z
  contained: 2026-01-01T01:30:00Z
  harm: {metric: hurt, unit: users}
"""
POLICY = """
policies:
  - name: level
    guardrails:
      - {watch: errors, of: everyone, rule: {above: {limit: LIMIT, for: FOR}}, every: 1m, on_unknown: ignore}
"""


def table() -> pd.DataFrame:
    generator = np.random.default_rng(3)
    stamps = START + 60 * np.arange(1, ROWS + 1)
    bad = (stamps > START + 3600) & (stamps <= START + 5400)
    return pd.DataFrame({"at": stamps, "errors": np.round(generator.normal(2, 1, ROWS) + 2 * bad, 1), "hurt": 5.0 + 95 * bad})


def replayed(folder: Path, *, limit: float = 3.0, for_: str = "1m", described: str = DESCRIBED) -> ReplayResult:
    table().to_parquet(folder / "data.parquet")
    (folder / "recording.yaml").write_text(described)
    (folder / "policies.yaml").write_text(POLICY.replace("LIMIT", f"{limit}").replace("FOR", for_))
    return run_replay(load_replay(folder / "recording.yaml", policies=folder / "policies.yaml"))


def test_every_setting_of_the_sweep_equals_a_replay_of_that_setting(tmp_path: Path) -> None:
    swept = replayed(tmp_path).policies[0].swept
    assert {each.for_ for each in swept} == {60_000 * looks for looks in FOR_LOOKS}
    assert [(each.threshold, each.for_) for each in swept if each.as_set] == [(3.0, 60_000)]
    for each in swept[:: len(swept) // 12]:
        alone = replayed(tmp_path, limit=each.threshold, for_=f"{each.for_ // 60_000}m").policies[0]
        assert alone.estimates == each.estimates
    # Both ends occur: settings that find the onset and settings that do not.
    assert {each.estimates["detected"].value for each in swept} == {0.0, 1.0}


def test_a_long_sweep_keeps_the_ends_and_the_policy_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [each.threshold for each in replayed(tmp_path).policies[0].swept if each.for_ == 60_000]
    assert 10 < len(whole) <= MOST_THRESHOLDS + 1
    monkeypatch.setattr("simlab.hindsight.MOST_THRESHOLDS", 5)
    some = [each.threshold for each in replayed(tmp_path).policies[0].swept if each.for_ == 60_000]
    assert 5 <= len(some) <= 6
    assert (some[0], some[-1]) == (whole[0], whole[-1])
    assert 3.0 in some


def test_a_policy_of_several_guardrails_has_no_one_threshold(tmp_path: Path) -> None:
    replayed(tmp_path)
    entry = "      - {watch: errors, of: everyone, rule: {above: {limit: 9}}, every: 1m}\n"
    path = tmp_path / "policies.yaml"
    path.write_text(path.read_text() + entry)
    assert run_replay(load_replay(tmp_path / "recording.yaml", policies=path)).policies[0].swept == ()


def test_harm_after_the_first_alarm_is_what_it_would_have_spared(tmp_path: Path) -> None:
    result = replayed(tmp_path, limit=4.5, for_="0m")
    policy = result.policies[0]
    assert policy.blast is not None
    assert policy.blast.expected == 5
    assert policy.blast.harmed == 30 * 95
    errors = table()["errors"].to_numpy()
    first = next(row for row in range(60, 90) if errors[row] >= 4.5)
    assert first > 60
    assert policy.blast.spared == (89 - first) * 95
    assert policy.blast.alarm == (START + 60 * (first + 1)) * 1000
    never = replayed(tmp_path, limit=99).policies[0]
    assert never.blast is not None
    assert (never.blast.spared, never.blast.alarm, never.blast.harmed) == (0, None, 30 * 95)


def test_an_onset_known_to_an_interval_opens_the_window_at_its_begin_and_closes_it_after_its_end(tmp_path: Path) -> None:
    described = DESCRIBED.replace("within: 20m", "within: 1m").replace("  contained: 2026-01-01T01:30:00Z\n", "")
    result = replayed(tmp_path, limit=-9, for_="0m", described=described)
    assert result.onset_widths == (2.0,)
    assert result.policies[0].onset_delays == (1.0,)
    # One minute within, two minutes of interval, nothing masked.
    assert result.healthy_ticks == ROWS - 3
    assert result.policies[0].blast is None


def test_time_until_containment_is_not_healthy(tmp_path: Path) -> None:
    assert replayed(tmp_path).healthy_ticks == ROWS - 30


def test_the_page_carries_the_incident_and_says_its_limits(tmp_path: Path) -> None:
    page = render_post_mortem(replayed(tmp_path))
    for text in (
        "shop-team",
        "checkout &lt;failed&gt;",
        "no canary",
        "add a canary",
        "alarms came late",
        "alarm of the time",
        "2026-01-01T01:30:00Z",
        "known to within 2 min",
        "2,850",
        "(as set)",
        "one factual path",
        "<svg",
    ):
        assert text in page, text
    assert "<script" not in page
    assert "checkout <failed>" not in page
    assert len(page.encode()) < 1 << 20
