"""Recordings of every kind and format come to the same sums; what is bad is told with its line or row."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simlab.documents import read_document
from simlab.errors import FileErrors, RecordingError
from simlab.guardrails.look import CONTROL, OUTSIDE, TREATMENT
from simlab.schemas import read_settings
from simlab.world.reading import read_series
from simlab.world.recording import Recording, Series

START = 1_767_225_600  # 2026-01-01T00:00:00Z
SERIES = """
recording: small
file: data.parquet
tick: 1m
time: {column: at, unit: s}
values: {errors: {column: errors}}
within: 5m
"""
EVENTS = SERIES.replace("tick: 1m", "tick: 1m\nkind: events\narms: {treatment: new, control: old, column: variant}")
CUMULATIVE = """
recording: small
file: data.parquet
tick: 12h
kind: cumulative
time: {column: day, unit: d, since: 2026-01-01T00:00:00Z}
arms: {treatment: t, control: c}
where: {metric: 1}
values: {clicks: {count: "count_{arm}", mean: "mean_{arm}", variance: "var_{arm}"}}
within: 5d
gaps: unknown
"""


def read(folder: Path, described: str, table: pd.DataFrame, *, suffix: str = ".parquet") -> Series:
    path = folder / f"data{suffix}"
    if suffix == ".parquet":
        table.to_parquet(path)
    elif suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        path.write_text(table.to_json(orient="records", lines=True))
    return read_as_it_is(folder, described.replace("data.parquet", path.name))


def read_as_it_is(folder: Path, described: str) -> Series:
    (folder / "recording.yaml").write_text(described)
    document = read_document(folder / "recording.yaml")
    return read_series(read_settings(document, Recording), document)


def series() -> pd.DataFrame:
    return pd.DataFrame({"at": START + 60 * np.arange(20), "errors": np.arange(20) / 4, "unread": "x"})


def events(rows: int = 3000) -> pd.DataFrame:
    generator = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "at": START + generator.integers(0, 600, rows),  # in no order
            "variant": generator.choice(["new", "old", "bot"], rows),
            "errors": generator.integers(0, 4, rows) / 2,
        }
    )


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize(("described", "table"), [(SERIES, series()), (EVENTS, events())])
def test_every_format_gives_the_same_sums(tmp_path: Path, suffix: str, described: str, table: pd.DataFrame) -> None:
    parquet, other = read(tmp_path, described, table), read(tmp_path, described, table, suffix=suffix)
    np.testing.assert_array_equal(parquet.sums["errors"], other.sums["errors"])
    np.testing.assert_array_equal(parquet.stamps, other.stamps)
    assert parquet.rows == other.rows


def test_events_are_summed_by_tick_and_arm(tmp_path: Path) -> None:
    table = events()
    found = read(tmp_path, EVENTS, table)
    assert found.clock.starts == START * 1000
    for name, arm in (("new", TREATMENT), ("old", CONTROL)):
        by_tick = table[table["variant"] == name].groupby((table["at"] - START) // 60)["errors"]
        expected = [by_tick.count(), by_tick.sum(), by_tick.agg(lambda values: (values**2).sum())]
        np.testing.assert_allclose(found.sums["errors"][:, arm], expected)
    assert not found.sums["errors"][:, OUTSIDE].any()
    assert found.rows["of_neither_arm"] == int((table["variant"] == "bot").sum())


def test_batches_are_merged_to_the_same_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(tmp_path, EVENTS, events())
    monkeypatch.setattr("simlab.world.sources.ROWS", 7)  # more batches than are kept before they are merged
    for suffix in (".parquet", ".jsonl"):
        np.testing.assert_allclose(whole.sums["errors"], read(tmp_path, EVENTS, events(), suffix=suffix).sums["errors"])


MEASURE = """
import resource, sys
from simlab.documents import read_document
from simlab.schemas import read_settings
from simlab.world.reading import read_series
from simlab.world.recording import Recording
document = read_document(sys.argv[1])
read_series(read_settings(document, Recording), document)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is counted in other units elsewhere")
def test_the_peak_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for groups in (4, 64):
        samples = np.random.default_rng(groups).random(200_000)
        with pq.ParquetWriter(tmp_path / "data.parquet", pa.schema({"at": pa.int64(), "errors": pa.float64()})) as writer:
            for group in range(groups):
                at = START + (group * 200_000 + np.arange(200_000)) // 1000
                writer.write_table(pa.table({"at": at, "errors": samples}))
        (tmp_path / "recording.yaml").write_text(SERIES.replace("tick: 1m", "tick: 1m\nkind: events"))
        command = [sys.executable, "-c", MEASURE, str(tmp_path / "recording.yaml")]
        peaks.append(int(subprocess.run(command, capture_output=True, check=True, text=True).stdout))
    assert peaks[1] < 1.1 * peaks[0]


def test_cumulative_statistics_become_increments(tmp_path: Path) -> None:
    generator = np.random.default_rng(6)
    samples = {arm: [generator.normal(2, 1, size) for size in (40, 70, 25, 60)] for arm in "tc"}
    rows = []
    for last in range(1, 5):
        row: dict[str, float] = {"day": 0.5 * last, "metric": 1}
        for arm, parts in samples.items():
            held = np.concatenate(parts[:last])
            row |= {f"count_{arm}": len(held), f"mean_{arm}": held.mean(), f"var_{arm}": held.var(ddof=1)}
        rows += [row, row | {"metric": 2, "count_t": 1.0}]
    rows[4]["var_t"] = np.nan  # the third moment of treatment: its data come with the fourth
    found = read(tmp_path, CUMULATIVE, pd.DataFrame(rows))
    assert (found.rows["left_out"], found.rows["without_a_value"]) == (4, 1)
    control = [[len(part), part.sum(), (part**2).sum()] for part in samples["c"]]
    np.testing.assert_allclose(found.sums["clicks"][:, CONTROL].T, control)
    late = np.concatenate(samples["t"][2:])
    assert found.sums["clicks"][:, TREATMENT, 2].tolist() == [0, 0, 0]
    np.testing.assert_allclose(found.sums["clicks"][:, TREATMENT, 3], [85, late.sum(), (late**2).sum()])


def test_a_cumulative_count_cannot_fall(tmp_path: Path) -> None:
    row = {"day": 0.5, "metric": 1, "count_t": 9, "mean_t": 1, "var_t": 1, "count_c": 9, "mean_c": 1, "var_c": 1}
    with pytest.raises(RecordingError, match="cumulative count falls at row 2"):
        read(tmp_path, CUMULATIVE, pd.DataFrame([row, row | {"day": 1.0, "count_c": 8}]))


def test_stated_repairs_are_made_and_counted(tmp_path: Path) -> None:
    table = series().iloc[[0, 2, 1, 3, 3, *range(4, 20)]]
    with pytest.raises(RecordingError, match=r"backwards .*: row 3\n.*twice .*: row 5$"):
        read(tmp_path, SERIES, table)
    found = read(tmp_path, SERIES + "repair: [sort, first_of_duplicates]\n", table)
    np.testing.assert_array_equal(found.sums["errors"], read(tmp_path, SERIES, series()).sums["errors"])
    assert (found.rows["sorted"], found.rows["duplicates_dropped"], found.rows["read"]) == (1, 1, 21)


@pytest.mark.parametrize(
    ("suffix", "content", "expected"),
    [
        (".csv", "at,errors\n0,1\n60,much\n", r"data\.csv:3:4: errors: 'much' is not a number"),
        (".csv", "at,errors\n0,1\n60\n", r"data\.csv:3:.*1 fields where the first line names 2, perhaps cut short"),
        (".csv", "at,eror\n0,1\n", "no column 'errors'; there is: at, eror"),
        (".csv", "at,errors\n", "holds no row"),
        (".jsonl", '{"at": 0, "errors": 1}\n{"at": 60, "err', r"data\.jsonl:2:\d+: no JSON, perhaps cut short"),
        (".jsonl", '{"at": 0, "errors": 1}\n{"at": 60, "errors": "1"}\n', r"data\.jsonl:2:12: errors: '1' is not a number"),
        (".jsonl", '{"at": 0}\n', r"data\.jsonl:1:1: no 'errors'"),
        (".jsonl", "[1]\n", r"data\.jsonl:1:1: a line must hold one object"),
        (".txt", "", "must end in one of"),
    ],
)
def test_bad_text_is_told_with_its_line_and_column(tmp_path: Path, suffix: str, content: str, expected: str) -> None:
    (tmp_path / f"data{suffix}").write_text(content)
    with pytest.raises(RecordingError, match=expected):
        read_as_it_is(tmp_path, SERIES.replace(".parquet", suffix))


def test_names_that_differ_only_by_case_are_kept_apart(tmp_path: Path) -> None:
    table = pd.concat([series().assign(node="Shop"), series().assign(node="shop", errors=9.0)])
    found = read(tmp_path, SERIES + "where: {node: Shop}\n", table)
    assert found.sums["errors"][1, OUTSIDE].tolist() == (np.arange(20) / 4).tolist()
    assert found.rows["left_out"] == 20


def test_mixed_zones_are_not_guessed(tmp_path: Path) -> None:
    described = SERIES.replace(", unit: s", ", zone: UTC")
    rows = [{"at": "2026-01-01T00:00:00Z", "errors": 1}, {"at": "2026-01-01T00:01:00", "errors": 1}]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(RecordingError, match=r"at: .*mixed zones are not guessed"):
        read_as_it_is(tmp_path, described.replace(".parquet", ".jsonl"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("values: {errors: {column: errors}}", "values: {errors: {mean: errors}}"), "series need a column"),
        (("tick: 1m", "tick: 1m\nkind: cumulative"), "cumulative need arms(.|\n)*need count, mean and variance"),
        (("tick: 1m", "tick: 1m\narms: {treatment: a, control: b}"), "a metric series has no arms"),
        (("tick: 1m", "tick: 1m\nkind: events\narms: {treatment: a, control: b}"), "needs the column that names the arm"),
        (
            ("within: 5m", "within: 5m\nonsets: [{from: 2026-01-01T00:09:00Z, to: 2026-01-01T00:08:00Z}]"),
            "must not end before it begins",
        ),
        (("within: 5m", "within: 5m\nincident: {owner: me, harm: {metric: users}}"), "there is no metric 'users'"),
    ],
)
def test_what_does_not_go_with_the_kind_is_a_mistake(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    with pytest.raises(FileErrors, match=expected):
        read(tmp_path, SERIES.replace(*change), series())
