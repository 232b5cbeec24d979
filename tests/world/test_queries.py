"""A DuckDB query over files beside a recording gives what the file gives, and can do nothing but read them."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from simlab.errors import FileErrors, RecordingError
from tests.world.test_reading import EVENTS, SERIES, events, read, read_as_it_is, series

FROM_FILE = "file: data.parquet"


def asked(query: str, described: str = SERIES, **tables: str) -> str:
    named = ", ".join(f"{name}: {file!r}" for name, file in (tables or {"samples": "data.parquet"}).items())
    indented = query.replace("\n", "\n    ")
    return described.replace(FROM_FILE, f"duckdb:\n  tables: {{{named}}}\n  query: |\n    {indented}")


def test_a_query_gives_what_the_file_gives(tmp_path: Path) -> None:
    in_file = read(tmp_path, SERIES, series())
    found = read_as_it_is(tmp_path, asked('SELECT "at", errors\nFROM samples\nORDER BY "at"'))
    np.testing.assert_array_equal(found.sums["errors"], in_file.sums["errors"])
    assert found.rows == in_file.rows


def test_events_are_joined_and_summed(tmp_path: Path) -> None:
    in_file = read(tmp_path, EVENTS, events())
    (tmp_path / "arms.csv").write_text("letter,variant\na,new\nb,old\nc,bot\n")
    table = events().assign(letter=lambda held: held["variant"].map({"new": "a", "old": "b", "bot": "c"}))
    table.drop(columns="variant").to_parquet(tmp_path / "data.parquet")
    query = 'SELECT "at", errors, variant FROM samples JOIN arms USING (letter)'
    found = read_as_it_is(tmp_path, asked(query, EVENTS, samples="data.parquet", arms="arms.csv"))
    np.testing.assert_array_equal(found.sums["errors"], in_file.sums["errors"])


def test_a_database_is_read(tmp_path: Path) -> None:
    in_file = read(tmp_path, SERIES, series())
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as made:
        made.execute(f"CREATE TABLE samples AS FROM '{tmp_path / 'data.parquet'}'")
    found = read_as_it_is(tmp_path, asked('FROM shop.samples ORDER BY "at"', shop="shop.duckdb"))
    np.testing.assert_array_equal(found.sums["errors"], in_file.sums["errors"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('SELECT "at",\n  wrong\nFROM samples', r"recording\.yaml:5:\d+: .*\"wrong\" not found.*line 2 of the query"),
        ('SELEC "at"', r"syntax error.*line 1 of the query"),
        ('SELECT "at"; SELECT "at"', "must be one SELECT"),
        ("DROP VIEW samples", "must be one SELECT"),
        ("COPY samples TO 'data.parquet'", "must be one SELECT"),
        ("INSTALL httpfs", "must be one SELECT"),
        ("SET memory_limit = '99GB'", "must be one SELECT"),
        ("WITH w AS (COPY (SELECT 1) TO 'OWN') SELECT * FROM samples", "COPY statement must be at the top level"),
        ("WITH w AS (COPY (SELECT 1) TO 'NEW') SELECT * FROM samples", "COPY statement must be at the top level"),
        ("SELECT content AS \"at\", 1 AS errors FROM read_text('SECRET')", "file system operations are disabled"),
        ("SELECT content AS \"at\", 1 AS errors FROM read_text('NEW')", "file system operations are disabled"),
        ("FROM read_csv('http://127.0.0.1:1/x.csv')", "file system operations are disabled"),
        ("FROM frame", "frame does not exist"),
    ],
)
def test_a_query_that_is_wrong_or_does_more_than_read_is_refused(tmp_path: Path, query: str, expected: str) -> None:
    frame = series()  # no query reaches into Python
    read(tmp_path, SERIES, frame)
    (tmp_path / "secret.txt").write_text("secret")
    held = sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir() if path.suffix != ".yaml")
    for word, name in (("OWN", "data.parquet"), ("NEW", "new.csv"), ("SECRET", "secret.txt")):
        query = query.replace(word, str(tmp_path / name))
    with pytest.raises(FileErrors, match=f"(?s){expected}"):
        read_as_it_is(tmp_path, asked(query))
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir() if path.suffix != ".yaml") == held


@pytest.mark.parametrize(
    ("query", "tables", "expected"),
    [
        ('SELECT "at" FROM samples', {}, "query: no column 'errors'; there is: at"),
        ("SELECT \"at\", 'x' AS errors FROM samples", {}, "query: column 'errors' does not hold numbers"),
        ('SELECT "at", errors FROM samples WHERE "at" < 0', {}, "query: gives no row"),
        ('SELECT "at", error(\'broken \' || "at") :: DOUBLE AS errors FROM samples', {}, "query: .*broken"),
        ('SELECT "at", errors FROM samples, range(100000000) ORDER BY random()', {}, "query: .*Memory"),
        ("FROM other", {"other": "../data.parquet"}, "outside the folder of the recording"),
        ("FROM other", {"other": "absent.parquet"}, "there is no such file"),
        ("FROM other", {"other": "*.parquet"}, r"must not hold any of"),
        ("FROM other", {"other": "recording.yaml"}, "must end in one of"),
        ("FROM other", {"other": "alike.csv"}, "alike.csv: columns 'Shop', 'shop' differ by case at most"),
        ("FROM other", {"other": "alike.parquet"}, "alike.parquet: columns 'Shop', 'shop' differ by case at most"),
        ("FROM other", {"other": "data.parquet", "Other": "data.parquet"}, "already exists"),
        ("FROM other", {"other": "bad.duckdb"}, "bad.duckdb: cannot be read by DuckDB"),
        ("FROM other", {"other": "bad.parquet"}, "bad.parquet: cannot be read, perhaps cut short"),
    ],
)
def test_what_fails_on_the_way_is_told(tmp_path: Path, query: str, tables: dict[str, str], expected: str) -> None:
    read(tmp_path, SERIES, series())
    (tmp_path / "bad.parquet").write_bytes((tmp_path / "data.parquet").read_bytes()[:-20])
    (tmp_path / "bad.duckdb").write_bytes(b"not a database" * 1000)
    pd.DataFrame({"Shop": [1], "shop": [2]}).to_parquet(tmp_path / "alike.parquet")
    (tmp_path / "alike.csv").write_text("Shop,shop\n1,2\n")
    with pytest.raises(RecordingError, match=expected):
        read_as_it_is(tmp_path, asked(query, **tables))
