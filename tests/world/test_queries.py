"""What a DuckDB query gives is replayed as a file is; it reads the files it names and nothing else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from simlab.documents import read_document
from simlab.errors import FileErrors, RecordingError
from simlab.schemas import read_settings
from simlab.world.reading import read_series
from simlab.world.recording import Recording, Series

SHARES = """
recording: shares
duckdb:
  SOURCE
  query: "QUERY"
tick: 1m
time: {column: stamp, unit: s}
values: {errors: {column: share}}
within: 5m
"""
LOG = "tables: {log: log.parquet}"
QUERY = "select stamp // 60 * 60 + 60 as stamp, avg(failed) as share from log group by all order by 1"
FILE = SHARES[: SHARES.index("duckdb")] + "file: shares.parquet" + SHARES[SHARES.index("\ntick") :]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = pd.DataFrame({"stamp": np.arange(0, 1200, 2), "failed": np.arange(600) % 7 == 0})
    log.astype({"failed": int}).to_parquet(tmp_path / "log.parquet")
    shares = log.groupby(log["stamp"] // 60 * 60 + 60)["failed"].mean().rename("share").reset_index()
    shares.to_parquet(tmp_path / "shares.parquet")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(f"create table log as select * from '{tmp_path}/log.parquet'")
    (tmp_path / "secret.csv").write_text("stamp,share\n60,1\n")
    return tmp_path


def read(folder: Path, text: str) -> Series:
    (folder / "recording.yaml").write_text(text)
    document = read_document(folder / "recording.yaml")
    return read_series(read_settings(document, Recording), document)


def queried(folder: Path, query: str, source: str = LOG) -> Series:
    return read(folder, SHARES.replace("QUERY", query).replace("SOURCE", source))


@pytest.mark.parametrize("source", [LOG, "database: shop.duckdb"])
def test_a_query_gives_what_a_file_gives(folder: Path, source: str) -> None:
    asked, plain = queried(folder, QUERY, source), read(folder, FILE)
    np.testing.assert_array_equal(asked.stamps, plain.stamps)
    np.testing.assert_allclose(asked.sums["errors"], plain.sums["errors"], rtol=1e-12)
    assert asked.rows["read"] == 20


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("select * from 'secret.csv'", "Cannot access file"),
        ("select stamp, share from read_csv('FOLDER/secret.csv')", "Cannot access file"),
        ("select * from 'https://127.0.0.1/x.csv'", "Cannot access file"),
        ("copy log to 'out.csv'", "must be one SELECT, not COPY"),
        ("select 1 as stamp, 1 as share; select 2 as stamp, 2 as share", "must be one SELECT, not SELECT, SELECT"),
        ("set threads = 8", "must be one SELECT, not SET"),
        ("install httpfs", "must be one SELECT, not LOAD"),
        ("selec stamp from log", "syntax error"),
        ("select stamp from log", "query: no column 'share'; there is: stamp"),
        ("select stamp, 'much' as share from log", "column 'share' does not hold numbers"),
        ("select stamp, 1.0 as share from log where stamp < 0", "query: holds no row"),
        ("select stamp, 1.0 as share from log order by 1 desc", "times go backwards"),
        ("select stamp, 1.0 as share from range(1000000000) as r(stamp) order by hash(stamp)", "Out of Memory"),
    ],
)
def test_a_query_that_cannot_be_used_is_told(folder: Path, query: str, problem: str) -> None:
    with pytest.raises(RecordingError, match=problem):
        queried(folder, query.replace("FOLDER", str(folder)))
    assert not (folder / "out.csv").exists()


def test_its_files_must_be_there_and_of_a_known_kind(folder: Path) -> None:
    with pytest.raises(RecordingError, match=r"absent.parquet: there is no such file"):
        queried(folder, QUERY, "tables: {log: absent.parquet}")
    with pytest.raises(RecordingError, match=r"recording.yaml: its name must end in one of .parquet, .csv"):
        queried(folder, QUERY, "tables: {log: recording.yaml}")


def test_there_is_one_source(folder: Path) -> None:
    with pytest.raises(FileErrors, match="must say exactly one of file, duckdb, prometheus"):
        read(folder, SHARES.replace("QUERY", QUERY).replace("SOURCE", LOG).replace("tick:", "file: shares.parquet\ntick:"))
