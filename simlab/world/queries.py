"""Recorded tables that a DuckDB query makes of files beside the recording.

The query runs in a database of its own in memory. Before it is bound, every file that the recording names stands there as a
table, and everything else is shut: no other file, no network, no extension, no temporary file, no setting. Only one SELECT is
run, and it is described first, which refuses a WITH that would write.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MinLen

from simlab.errors import RecordingError
from simlab.settings import settings
from simlab.ticks import Name
from simlab.world.sources import ROWS, Batch, Wanted, refuse_absent, refuse_text, typed

MEMORY = "512MB"
_READERS = {".parquet": "read_parquet", ".csv": "read_csv", ".jsonl": "read_json", ".ndjson": "read_json"}
_DATABASES = (".duckdb", ".db")
_SHUT = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "memory_limit": MEMORY,
    "temp_directory": "",
    "max_temp_directory_size": "0B",
    "threads": "1",
}


@settings
class DuckDB:
    """What DuckDB is asked.

    Parameters
    ----------
    query : str
        One SELECT; its columns are those of the recording. Without ORDER BY the order of its rows is not promised.
    tables : dict of str to str
        Files beside the recording by the name that the query gives them: Parquet, CSV, JSON Lines, or a DuckDB database, whose
        tables are then ``name.table``.
    """

    query: Annotated[str, MinLen(1)]
    tables: Annotated[dict[Name, Annotated[str, MinLen(1)]], MinLen(1)]


def problem_of(asked: DuckDB, folder: Path) -> str:
    """Return what is wrong with a query, with its line; nothing if it can be run.

    Raises
    ------
    RecordingError
        If DuckDB is not installed, or if a file is absent, outside the folder, of no known kind or cannot be read.
    """
    import duckdb

    connection = _opened(asked, folder)
    try:
        statements = duckdb.extract_statements(asked.query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            return "must be one SELECT"
        connection.execute(f"DESCRIBE {statements[0].query}")
    except duckdb.Error as error:
        return _told(error)
    finally:
        connection.close()
    return ""


def query_batches(asked: DuckDB, folder: Path, wanted: Wanted) -> Iterator[Batch]:
    """Yield the rows of a query that `problem_of` has found nothing wrong with.

    Raises
    ------
    RecordingError
        If a column is missing or holds no numbers, if there is no row, if memory does not suffice, or where a row fails.
    """
    import duckdb

    connection = _opened(asked, folder)
    first = 0
    try:
        with connection.sql(asked.query).to_arrow_reader(ROWS) as reader:
            refuse_absent("query", wanted, reader.schema.names)
            for name in wanted.numbers:
                refuse_text("query", name, reader.schema.field(name).type, booleans=wanted.booleans)
            for batch in reader:
                if batch.num_rows:
                    yield Batch(first, {name: typed(batch.column(name), name, wanted) for name in wanted.columns})
                    first += batch.num_rows
    except (duckdb.Error, OSError) as error:  # Arrow passes on what DuckDB says as OSError
        raise RecordingError(f"query: {_told(error)}") from None
    finally:
        connection.close()
    if first == 0:
        raise RecordingError("query: gives no row")


def _opened(asked: DuckDB, folder: Path) -> Any:
    """Return a connection in which the tables stand and all else is shut."""
    try:
        import duckdb
    except ImportError:
        raise RecordingError("a query needs DuckDB: pip install 'simlab[duckdb]'") from None
    paths = {name: _inside(folder, file) for name, file in asked.tables.items()}
    for path in paths.values():
        _refuse_names_alike(path)
    shut: dict[str, str | bool | int | float | list[str]] = dict(_SHUT)
    connection = duckdb.connect(":memory:", config=shut)
    name = ""
    try:
        connection.execute("SET enable_progress_bar = false")  # it would stand among what is printed
        connection.execute(f"SET allowed_paths = [{', '.join(_quoted(path) for path in paths.values())}]")
        for name, path in paths.items():
            if path.suffix in _DATABASES:
                connection.execute(f'ATTACH {_quoted(path)} AS "{name}" (READ_ONLY)')
            else:
                reader = _READERS[path.suffix]
                connection.execute(f'CREATE VIEW "{name}" AS SELECT * FROM {reader}({_quoted(path)})')  # noqa: S608 - quoted
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except duckdb.Error as error:
        connection.close()
        raise RecordingError(f"{asked.tables.get(name, name)}: cannot be read by DuckDB: {_told(error)}") from None
    return connection


def _inside(folder: Path, file: str) -> Path:
    """Return the path of a file that stands in a folder, links followed."""
    path = (folder / file).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise RecordingError(f"{file}: is outside the folder of the recording")
    if path.suffix not in {*_READERS, *_DATABASES}:
        raise RecordingError(f"{file}: its name must end in one of {', '.join([*_READERS, *_DATABASES])}")
    # DuckDB would take such a name for a pattern, and read other files.
    if any(sign in str(path) for sign in "*?[]{}"):
        raise RecordingError(f"{file}: the path must not hold any of *?[]{{}}")
    if not path.is_file():
        raise RecordingError(f"{file}: there is no such file in {folder}")
    return path


def _refuse_names_alike(path: Path) -> None:
    """Raise if columns differ only by case, which DuckDB does not tell apart: a query would be given the first of them."""
    if path.suffix not in {".parquet", ".csv"}:
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            names = list(pq.read_schema(path).names)
        else:
            with path.open(encoding="utf-8-sig", newline="") as text:
                names = next(csv.reader(text), [])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RecordingError(f"{path.name}: cannot be read, perhaps cut short: {error}") from None
    alike = sorted(name for name in names if sum(name.lower() == other.lower() for other in names) > 1)
    if alike:
        shown = ", ".join(map(repr, alike))
        raise RecordingError(f"{path.name}: columns {shown} differ by case at most, which a query does not tell apart; use file")


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _told(error: Exception) -> str:
    """Return the first line of what DuckDB says, with the line of the query."""
    said = str(error).strip().split("\n")
    lines = [line.split(":")[0].removeprefix("LINE ") for line in said if line.startswith("LINE ")]
    return f"{said[0]} (line {lines[0]} of the query)" if lines else said[0]
