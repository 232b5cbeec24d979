"""A recording steps through the same guardrails; on public data the alarms come when an independent calculation says."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simlab.errors import FileErrors, RecordingError
from simlab.replays import ReplayResult, load_replay, run_replay
from simlab.shipped import scenarios_folder

DESCRIBED = """
recording: small
file: data.parquet
tick: 1m
time: {column: at, unit: s}
values: {errors: {column: errors}}
within: 5m
onsets: [2026-01-01T00:10:30Z]
"""
POLICIES = """
policies:
  - name: above
    guardrails:
      - {watch: errors, of: everyone, rule: {above: {limit: 3}}, every: 1m}
"""
START = 1_767_225_600  # 2026-01-01T00:00:00Z


def write(
    folder: Path, *, times: object = None, values: object = None, described: str = DESCRIBED, policies: str = POLICIES
) -> None:
    times = START + 60 * np.arange(20) if times is None else times
    values = np.where(np.arange(20) == 12, 5.0, 1.0) if values is None else values
    pd.DataFrame({"at": times, "errors": values, "unread": ["x"] * len(times)}).to_parquet(folder / "data.parquet")  # type: ignore[arg-type]
    (folder / "recording.yaml").write_text(described)
    (folder / "policies.yaml").write_text(policies)


def replayed(folder: Path) -> ReplayResult:
    return run_replay(load_replay(folder / "recording.yaml", policies=folder / "policies.yaml"))


def test_an_alarm_comes_at_its_stamp(tmp_path: Path) -> None:
    write(tmp_path)
    result = replayed(tmp_path)
    policy = result.policies[0]
    assert policy.alarms == ("2026-01-01T00:12:00Z",)
    assert policy.onset_delays == (1.5,)
    assert (result.ticks, result.healthy_ticks, result.masked_ticks) == (20, 15, 0)
    assert policy.estimates["false_alarms_per_week"].value == 0
    assert result.judged


def test_what_was_alarming_already_is_counted(tmp_path: Path) -> None:
    write(tmp_path, values=np.where(np.arange(20) >= 9, 5.0, 1.0))
    policy = replayed(tmp_path).policies[0]
    assert policy.already_alarming == 1
    # It began in healthy time, a minute and a half before the onset.
    assert policy.estimates["false_alarms_per_week"].n == 1


def test_stamps_may_wander_around_their_grid(tmp_path: Path) -> None:
    wandering = START + 60 * np.arange(20) + np.arange(20) % 3 * 10
    write(tmp_path, times=wandering)
    assert replayed(tmp_path).policies[0].alarms == ("2026-01-01T00:12:00Z",)


def test_a_gap_is_unknown_where_the_file_says_so(tmp_path: Path) -> None:
    times = np.delete(START + 60 * np.arange(20), [5, 6])
    values = np.ones(18)
    values[3] = np.nan
    write(tmp_path, times=times, values=values, described=DESCRIBED + "gaps: unknown\n")
    result = replayed(tmp_path)
    assert result.policies[0].unknown_looks == 3
    assert (result.rows["without_a_value"], result.rows["ticks_without_a_row"]) == (1, 2)


def test_a_metric_that_vanishes_in_an_incident_is_refused_or_unknown_and_counted(tmp_path: Path) -> None:
    values = np.r_[np.ones(11), np.full(9, np.nan)]
    write(tmp_path, values=values)
    with pytest.raises(RecordingError, match=r"errors is not a number .*: row 12, 13, 14 and 6 more"):
        replayed(tmp_path)
    write(tmp_path, values=values, described=DESCRIBED + "gaps: unknown\n")
    result = replayed(tmp_path)
    assert (result.rows["without_a_value"], result.policies[0].unknown_looks, result.policies[0].alarms) == (9, 9, ())
    assert result.policies[0].onset_delays == (None,)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"times": START + 60 * np.r_[0:10, 9, 11:20]}, r"times stand twice .*: row 11"),
        ({"times": START + 60 * np.r_[0:10, 12, 11, 10, 13:20]}, r"times go backwards .*: row 12, 13$"),  # and no word of a gap
        ({"times": START + 60 * np.r_[0:5, 10:20, 5:10]}, r"times go backwards .*: row 16$"),
        ({"times": START + 60 * np.r_[0:5, 10:21, 5:9]}, r"times go backwards .*: row 17\n.*missing before this row .*: row 6$"),
        ({"times": START + 60 * np.r_[0:10, 12:22]}, "samples are missing before this row"),
        ({"values": np.r_[np.ones(19), np.nan]}, "errors is not a number .* row 20"),
        ({"values": np.r_[np.ones(19), np.inf]}, "errors is infinite: row 20"),
        ({"described": DESCRIBED.replace("column: errors", "column: eror")}, "no column 'eror'; there is: at, errors, unread"),
        ({"described": DESCRIBED.replace(", unit: s", "")}, "say their unit"),
        (
            {"times": pd.date_range("2026-01-01", periods=20, freq="1min"), "described": DESCRIBED.replace(", unit: s", "")},
            "name no zone",
        ),
        ({"described": DESCRIBED.replace("00:10:30Z", "23:10:30Z")}, "outside the recording"),
        ({"values": ["a"] * 20}, "column 'errors' does not hold numbers, but .*string"),
        ({"values": ["12"] * 20}, "data.parquet: column 'errors' does not hold numbers, but .*string"),
        ({"values": [True] * 20}, "column 'errors' does not hold numbers, but bool"),
        ({"values": pd.date_range("2026-01-01", periods=20)}, "does not hold numbers, but timestamp"),
        ({"times": [str(START + 60 * tick) for tick in range(20)]}, "column 'at' does not hold numbers, but"),
        ({"times": np.r_[START + 60 * np.arange(19), np.nan]}, "at: 1 row without a time"),
        (
            {"times": START + 60 * np.r_[0:19, 5_000_000], "described": DESCRIBED + "gaps: unknown\n"},
            "5,000,001 ticks of 1m; at most 1,000,000 are replayed",
        ),
    ],
)
def test_data_that_cannot_be_trusted_are_refused(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    write(tmp_path, **change)  # type: ignore[arg-type]
    with pytest.raises(RecordingError, match=expected):
        replayed(tmp_path)


@pytest.mark.parametrize("kind", [int, np.float32, Decimal])
def test_numbers_of_every_kind_are_read(tmp_path: Path, kind: Callable[[int], object]) -> None:
    write(tmp_path, values=[kind(5 if tick == 12 else 1) for tick in range(20)])
    assert replayed(tmp_path).policies[0].alarms == ("2026-01-01T00:12:00Z",)


def test_every_kind_of_trouble_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, times=START + 60 * np.r_[0:10, 9, 11:20], values=np.r_[np.ones(19), np.nan])
    with pytest.raises(RecordingError, match=r"stand twice(.|\n)*not a number"):
        replayed(tmp_path)


def test_a_file_cut_short_is_a_clear_error(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "data.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RecordingError, match="perhaps cut short"):
        replayed(tmp_path)
    path.unlink()
    with pytest.raises(RecordingError, match="no such file"):
        replayed(tmp_path)


def test_a_series_has_no_arms_to_compare(tmp_path: Path) -> None:
    write(tmp_path, policies=POLICIES.replace("of: everyone", "compare: difference"))
    with pytest.raises(FileErrors, match="no arms to compare"):
        replayed(tmp_path)


def test_the_public_recording_against_an_independent_calculation(shared_data: Path) -> None:
    folder = scenarios_folder() / "recordings"
    result = run_replay(load_replay(folder / "nezha-frontend.yaml", policies=folder / "frontend-policies.yaml", data=shared_data))
    found = {policy.policy: policy for policy in result.policies}
    table = pd.read_parquet(shared_data / "nezha_ob_2022-08-22_front.parquet")
    faults = json.loads((shared_data / "nezha_ob_2022-08-22_faults.json").read_text())
    onsets = [pd.Timestamp(fault["inject_time"], tz="UTC").timestamp() for fault in faults]
    tail = table.iloc[-936:]
    limit = tail["LatencyP50(s)"].mean() + 3 * tail["LatencyP50(s)"].std()
    slow, failing = table["LatencyP50(s)"] > limit, table["SuccessRate(%)"] < 99
    assert (int(slow[-936:].sum()), int(failing[-936:].sum())) == (7, 0)
    masked = np.zeros(len(table), dtype=bool)
    for mask in result.recording.masks:
        masked |= (table["TimeStamp"] * 1000).between(mask.from_, mask.to).to_numpy()
    for name, alarms in (("latency", slow), ("success-rate", failing), ("latency-or-success", slow | failing)):
        began = alarms & ~alarms.shift(fill_value=False)
        expected = [pd.Timestamp(stamp, unit="s").strftime("%Y-%m-%dT%H:%M:%SZ") for stamp in table["TimeStamp"][began]]
        assert list(found[name].alarms) == expected
        hits = table["TimeStamp"][alarms & ~masked].to_numpy()
        delays = [next((float(hit - onset) / 60 for hit in hits if onset < hit <= onset + 360), None) for onset in onsets]
        assert list(found[name].onset_delays) == pytest.approx(delays)
    both = found["latency-or-success"]
    delays = [delay for delay in both.onset_delays if delay is not None]
    assert (len(delays), len(onsets)) == (17, 24)
    assert np.median(delays) == pytest.approx(1.0, abs=0.05)


def test_a_recorded_experiment_is_compared_arm_with_arm(tmp_path: Path) -> None:
    generator = np.random.default_rng(12)
    rows = 6000
    at = START + generator.integers(0, 1200, rows)
    arm = generator.choice(["new", "old"], rows)
    failed = generator.random(rows) < np.where((arm == "new") & (at >= START + 600), 0.2, 0.05)
    table = pd.DataFrame({"at": at, "arm": arm, "failed": failed})
    table.to_parquet(tmp_path / "events.parquet")
    (tmp_path / "recording.yaml").write_text("""
recording: experiment
file: events.parquet
kind: events
tick: 1m
time: {column: at, unit: s}
arms: {treatment: new, control: old, column: arm}
values: {errors: {column: failed}}
within: 5m
onsets: [2026-01-01T00:10:00Z]
""")
    policies = POLICIES.replace(
        "of: everyone, rule: {above: {limit: 3}}", "compare: difference, rule: {shewhart: {sigmas: 4, sides: 1}}"
    )
    (tmp_path / "policies.yaml").write_text(policies)
    result = replayed(tmp_path)
    expected = []
    for _, tick in table.groupby((table["at"] - START) // 60):
        new, old = tick["failed"][tick["arm"] == "new"], tick["failed"][tick["arm"] == "old"]
        error = np.sqrt(tick["failed"].var(ddof=1) * (1 / len(new) + 1 / len(old)))
        expected.append((new.mean() - old.mean()) / error)
    np.testing.assert_allclose(result.traces[0].statistics[0][:, 0], expected)
    assert max(expected[:10]) < 4 <= max(expected[10:15])
    assert result.policies[0].estimates["detected"].value == 1
    assert "increments" not in result.limits
    shares = policies.replace(
        "watch: errors, compare: difference, rule: {shewhart: {sigmas: 4, sides: 1}}", "compare: shares, rule: {srm: {}}"
    )
    (tmp_path / "policies.yaml").write_text(shares)
    with pytest.raises(FileErrors, match="shares are of users"):
        replayed(tmp_path)


def test_what_was_not_really_exposed_is_no_evidence(tmp_path: Path) -> None:
    described = DESCRIBED + "support: real\n"
    write(tmp_path, described=described)
    table = pd.read_parquet(tmp_path / "data.parquet").assign(real=True)
    table.to_parquet(tmp_path / "data.parquet")
    assert replayed(tmp_path).policies[0].onset_delays == (1.5,)
    table["real"] = ~table.index.isin([2, 3, 12])  # the sample of the alarm among them
    table.to_parquet(tmp_path / "data.parquet")
    result = replayed(tmp_path)
    assert result.policies[0].alarms == ()
    assert result.policies[0].unknown_looks == 3
    assert (result.rows["exposure_not_real"], result.unsupported_ticks, result.healthy_ticks) == (3, 3, 13)
    assert "not real" in result.limits
    assert result.to_dict()["unsupported_ticks"] == 3


def test_events_of_exposures_that_were_not_real_are_left_out(tmp_path: Path) -> None:
    described = DESCRIBED.replace("tick: 1m", "tick: 1m\nkind: events").replace("within", "support: real\nwithin")
    generator = np.random.default_rng(3)
    table = pd.DataFrame({"at": START + generator.integers(0, 1200, 2000), "errors": 1.0, "real": generator.integers(0, 2, 2000)})
    table.loc[(table["at"] - START) // 60 == 4, "real"] = 0
    write(tmp_path, described=described)
    table.to_parquet(tmp_path / "data.parquet")
    result = replayed(tmp_path)
    real = table[table["real"] == 1]
    assert result.series.sums["errors"][0].sum() == len(real)
    assert np.flatnonzero(~result.series.supported).tolist() == [4]
    assert result.rows["exposure_not_real"] == len(table) - len(real)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [("maybe", "series", "real is neither true nor false: row 1"), ("1", "cumulative", "hold all exposures")],
)
def test_support_that_says_nothing_is_refused(tmp_path: Path, value: str, kind: str, expected: str) -> None:
    write(tmp_path, described=DESCRIBED.replace("tick: 1m", f"tick: 1m\nkind: {kind}\nsupport: real"))
    pd.read_parquet(tmp_path / "data.parquet").assign(real=value).to_parquet(tmp_path / "data.parquet")
    with pytest.raises((FileErrors, RecordingError), match=expected):
        replayed(tmp_path)
